"""What a filter with a helper costs, for `bench.semantic`: made scores, and a main model that is always right."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from sqlllm.session.operators import guarantee

_TOKENS = 30  # of a prompt and its answer


def cascade(rows: int = 10_000, right: float = 0.85, share: float = 0.5) -> dict[str, Any]:
    """`calls` are the main model's, for the sample and between the thresholds; the helper scores every row besides.

    Recall and precision are to be 0.9, with confidence 0.95. The helper is right about this share of rows if it must
    choose, and its score says how sure it is.
    """
    chance = np.random.default_rng(1)
    apart = NormalDist().inv_cdf(right)
    true = chance.random(rows) < share
    scores = chance.normal(np.where(true, apart, -apart), 1.0)
    order = chance.permutation(rows)
    first, targets = guarantee.first_sample(rows), guarantee.Targets()
    found = guarantee.sampled(lambda n: (scores[order[:n]], true[order[:n]].tolist()), rows, first, targets)
    taken, asked = guarantee.decided(scores, found.found)
    result = taken | (asked & true)
    asked[order[: found.asked]] = True
    calls, hits = int(asked.sum()), float((result & true).sum())
    return {
        "calls": calls,
        "tokens": calls * _TOKENS,
        "f1": round(2 * hits / float(result.sum() + true.sum()), 3),
        "naive_calls": rows,
        "recall": round(hits / float(true.sum()), 3),
        "precision": round(hits / float(result.sum()), 3),
        "helper_calls": rows,
    }
