"""What each semantic operator costs on made data with a known truth: `python -m bench.semantic`.

An oracle answers, whose share of wrong answers is in the title; no model runs. `calls` and `tokens` are those of the
operator, `naive_calls` those of one call for each row or pair. `f1` is that of the rows, pairs or groups found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from . import report, semantic_filter, semantic_joins, semantic_ranks

OPERATORS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "filter": ("filter 10,000 rows, targets 0.9, helper 85 % right, half true", semantic_filter.cascade),
    "filter_most": ("the same, 80 % true", partial(semantic_filter.cascade, share=0.8)),
    "join": ("join 60 x 60, 48 matches", semantic_joins.join),
    "join_err": ("join 60 x 60, 1 % of the oracle's answers wrong", partial(semantic_joins.join, error=0.01)),
    "match": ("entity match 1,000 x 1,000, recall target 0.95", partial(semantic_joins.join, 1000, 500, recall=0.95)),
    "dedup": ("300 names of 100 companies", semantic_joins.dedup),
    "dedup_err": ("300 names, 0.1 % of the oracle's answers wrong", partial(semantic_joins.dedup, error=0.001)),
    "cluster": ("600 texts in 8 clusters, with names", semantic_joins.cluster),
    "top": ("the ten highest of 200 texts", semantic_ranks.top_ten),
    "top_err": ("the ten highest of 200, each seen with an error of 2 places", partial(semantic_ranks.top_ten, 2.0)),
    "summary": ("a summary of 500 texts beyond the context", semantic_ranks.summary),
    "count": ("an approximate count of 100,000 rows, 2 % more or less", semantic_ranks.approximate),
}
"""A title and what measures it, by the operator's name in the last line."""


def main() -> None:
    found = {name: measure() for name, (_, measure) in OPERATORS.items()}
    rows = [
        (OPERATORS[name][0], one["calls"], one["tokens"], one["f1"], one["naive_calls"]) for name, one in found.items()
    ]
    report.table("Semantic operators", ("work", "calls", "tokens", "f1", "naive calls"), rows)
    report.last_line(found)


if __name__ == "__main__":
    main()
