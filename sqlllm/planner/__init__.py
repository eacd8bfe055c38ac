"""Rewrites a select so that it calls models less and means the same.

    rewrite("select id, up(p) as a from t order by id limit 5", {"up"})

A model function is deterministic within a query, answers NULL for NULL without a call, and asks equal requests that
follow each other in one task once. What is not understood is left as it was.
"""

from __future__ import annotations

from .asked import REQUEST, Asked, asked
from .fields import reorder
from .rewrite import Rewritten, first, limit, merged, normal, rewrite
from .sql import NotUnderstood

__all__ = [
    "REQUEST", "Asked", "NotUnderstood", "Rewritten",
    "asked", "first", "limit", "merged", "normal", "reorder", "rewrite",
]  # fmt: skip
