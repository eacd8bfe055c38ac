"""Indexes of texts as Lance datasets: their rows, their care, their search. Neither Spark nor Ray."""
