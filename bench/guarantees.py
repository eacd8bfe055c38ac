"""Whether a cascade's targets hold as often as they say: `python -m bench.guarantees`.

For each of three selectivities and two helpers (right about 75 % and 90 % of the rows when they must choose), 1,000
tables of 10,000 rows: a table's rows, its sample and the helper's scores come from its seed. A table misses if recall
or precision, against the main model's answer for every row, is below its target. `misses` is that of the worst of the
six, `allowed` the share that the confidence allows. `asked` is the mean share of the rows that the main model sees.
"""

from __future__ import annotations

from statistics import NormalDist, fmean

import numpy as np

from sqlllm.session.operators import guarantee

from . import report

SEEDS = 1000
ROWS = 10_000
SELECTIVITIES = (0.05, 0.3, 0.6)
RIGHT = (0.75, 0.9)
TARGETS = guarantee.Targets(recall=0.9, precision=0.9, confidence=0.95)


def table(seed: int, selectivity: float, right: float) -> tuple[bool, float]:
    """Whether a target is missed, and the share of the rows that the main model is asked about."""
    chance = np.random.default_rng(seed)
    apart = NormalDist().inv_cdf(right)
    true = chance.random(ROWS) < selectivity
    scores = chance.normal(np.where(true, apart, -apart), 1.0)
    order = chance.permutation(ROWS)
    first = guarantee.first_sample(ROWS)
    found = guarantee.sampled(lambda n: (scores[order[:n]], true[order[:n]].tolist()), ROWS, first, TARGETS)
    taken, asked = guarantee.decided(scores, found.found)
    result = taken | (asked & true)
    recall = (result & true).sum() / max(1, true.sum())
    precision = (result & true).sum() / max(1, result.sum())
    asked[order[: found.asked]] = True
    return bool(recall < TARGETS.recall or precision < TARGETS.precision), float(asked.mean())


def main() -> None:
    worst = 0
    for right in RIGHT:
        for selectivity in SELECTIVITIES:
            runs = [table(seed, selectivity, right) for seed in range(SEEDS)]
            misses = sum(missed for missed, _ in runs)
            worst = max(worst, misses)
            asked = fmean(share for _, share in runs)
            print(f"helper {right:.0%} right, {selectivity:.0%} true: {misses:4} missed, {asked:6.1%} asked")
    report.last_line({"misses": worst, "allowed": round((1 - TARGETS.confidence) * SEEDS)})


if __name__ == "__main__":
    main()
