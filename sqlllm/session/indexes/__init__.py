"""Indexes over the texts of a table: written by save, read by load, searched by vector_search and ai_search."""
