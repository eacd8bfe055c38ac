"""Modules of `run ... as Name` that Byzer-SQL has built in. Others come by the entry point group `sqlllm.modules`."""

from __future__ import annotations

from .inputs import DUMMY, columns_of, input_table, options_of

__all__ = ["DUMMY", "columns_of", "input_table", "options_of"]

# The handlers register themselves.
from . import (  # noqa: F401
    absent,
    databases,
    json,
    learning,
    partitions,
    profile,
    ray,
    retrieval,
    samples,
    semantic,
    shapes,
    syntax,
    trees,
)
