"""Indexes over the texts of a table: written by save, read by load, searched by vector_search and ai_search."""

SEARCHES = ("vector_search", "ai_search")
"""Functions that search an index: a table, and an array of structs."""
PARAMETERS = (
    "index", "query", "num_results", "query_type", "filters", "query_vector", "columns", "model", "reranker",
    "num_candidates", "version", "table", "text", "vector", "key",
)  # fmt: skip
SAME = {"query_text": "query", "filters_json": "filters"}
"""Databricks' other names of parameters."""
