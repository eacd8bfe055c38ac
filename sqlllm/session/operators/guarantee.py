"""Thresholds of a cascade: how far a helper's score may be trusted, from a sample that the main model labelled; pure.

Rows whose score is below `low` are out, those at `high` or above are in, and the main model decides between. So only
an accepted row can be wrong in the result (precision), and only a rejected row can be missing (recall); both compare
with what the main model says of every row. The sample is a uniform one of the rows. Of its `k` positives let `j` lie
below a threshold, and of its other rows `f` at or above another:

- recall: were the share of all positives below the first above 1 - recall, then so few would lie there with probability
  P(Bin(k, 1 - recall) <= j) at most.
- precision: at least recall * P of the P positives are in the result, so precision holds if no more than
  recall * P * (1 - precision) / precision others are. Were it more, so few would be found with probability
  P(Bin(k + f, share) <= f) at most, `share` being theirs among them and the P positives.

Both grow with the rows that a threshold decides. So the last threshold at which such a probability is within the risk
is wrong with that risk at most, however it was found: no correction for the number of thresholds is needed. Each
target has half of the risk, each look at a growing sample an equal part of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, exp, inf, isnan, lgamma, log, log1p

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Targets:
    """Shares that both hold with probability `confidence`, each between 0 and 1."""

    recall: float = 0.9
    precision: float = 0.9
    confidence: float = 0.95

    @property
    def risk(self) -> float:
        """With which each of the two may be missed."""
        return (1 - self.confidence) / 2

    @property
    def wrong(self) -> float:
        """The largest share of wrong rows among them and all positives."""
        odds = self.recall * (1 - self.precision) / self.precision
        return odds / (1 + odds)


@dataclass(frozen=True)
class Thresholds:
    """`low` is -inf where nothing may be rejected, `high` is inf where nothing may be accepted."""

    low: float
    high: float

    @property
    def helps(self) -> bool:
        """Whether any row can be decided without the main model."""
        return self.low > -inf or self.high < inf


def binomial_tail(hits: int, trials: int, share: float) -> float:
    """P(Bin(trials, share) <= hits)."""
    if hits >= trials:
        return 1.0
    if share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    total, odds = 0.0, log(share) - log1p(-share)
    base = lgamma(trials + 1) + trials * log1p(-share)
    for one in range(hits + 1):
        total += exp(base + one * odds - lgamma(one + 1) - lgamma(trials - one + 1))
    return min(total, 1.0)


def most_hits(trials: int, share: float, risk: float) -> int:
    """The most hits in these trials that show, with that risk, that their share is `share` at most; -1: none do."""
    found = -1
    while found + 1 < trials and binomial_tail(found + 1, trials, share) <= risk:
        found += 1
    return found


def fewest(targets: Targets, looks: int = 1) -> int:
    """Positives in the sample without which neither target can be shown."""
    return ceil(log(targets.risk / looks) / log(1 - min(1 - targets.recall, targets.wrong)))


def thresholds(scores: Sequence[float], labels: Sequence[bool], targets: Targets, *, looks: int = 1) -> Thresholds:
    """The widest thresholds that a uniform sample supports.

    `scores` of the sample; NaN for a row without one, which the main model decides. `looks`: times the sample is looked
    at and may grow, in all.
    """
    risk = targets.risk / looks
    given, true = np.asarray(scores, float), np.asarray(labels, bool)
    known = ~np.isnan(given)
    low = _low(np.sort(given[true & known]), int(true.sum()), 1 - targets.recall, risk)
    high = _high(np.sort(given[~true & known])[::-1], int(true.sum()), targets.wrong, risk)
    if low <= high:
        return Thresholds(low, high)
    between = np.sort(given[known & (given >= high) & (given <= low)])  # any of them meets both
    cut = float(between[len(between) // 2]) if len(between) else min(low, max(high, 0.5))
    return Thresholds(cut, cut)


def _low(positives: NDArray[np.float64], total: int, share: float, risk: float) -> float:
    """The largest score strictly below which few enough of the positives lie; `total` counts those without one, too."""
    most = most_hits(total, share, risk)
    if most < 0:
        return -inf
    return float(positives[most]) if most < len(positives) else inf


def _high(others: NDArray[np.float64], positives: int, share: float, risk: float) -> float:
    """The smallest score at which, and above which, few enough are not true; `others` are their scores, falling."""
    most = -1
    while most + 1 <= len(others) and binomial_tail(most + 1, positives + most + 1, share) <= risk:
        most += 1
    if most < 0:
        return inf
    if most >= len(others):
        return -inf
    return float(np.nextafter(others[most], inf))  # it and its ties stay out


def decided(scores: NDArray[np.float64], found: Thresholds) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows are in without the main model, and which it decides; all others are out."""
    taken = scores >= found.high
    rejected = (scores < found.low) & ~taken
    return taken, ~taken & ~rejected


@dataclass(frozen=True)
class Sampled:
    """What sampling has led to: the thresholds, the places asked about, and why nothing is decided, if so."""

    found: Thresholds
    asked: int
    positives: int
    reason: str = ""


LOOKS, GROWTH = 2, 4
"""How often the sample is looked at, and how much larger it is the second time."""


def first_sample(rows: int) -> int:
    """Rows to label at first; a cascade over fewer than twice as many costs more than it saves."""
    return max(200, min(rows // 20, 800))


def sampled(
    draw: Callable[[int], tuple[Sequence[float], Sequence[bool]]], rows: int, first: int, targets: Targets
) -> Sampled:
    """Draw a sample, and a larger one where the first has too few positives for the targets to be shown.

    `draw(n)` gives scores and labels of the first `n` rows in a random order; `rows` is how many there are. The
    sample is at most half of them: beyond that the main model had better decide all.
    """
    nothing = Thresholds(-inf, inf)
    if 2 * first > rows:
        return Sampled(nothing, 0, 0, f"{rows:,} rows are too few for a sample of {first:,}")
    needed, size = 2 * fewest(targets, LOOKS), first
    scores, labels = draw(size)
    if sum(labels) < needed and GROWTH * first <= rows // 2:
        size = GROWTH * first
        scores, labels = draw(size)
    positives = sum(labels)
    found = thresholds(scores, labels, targets, looks=LOOKS)
    reason = ""
    if not found.helps:
        few = f"{positives:,} of {size:,} sampled rows are true, which is too few to show the targets"
        poor = f"the helper does not separate true from false well enough in {size:,} sampled rows"
        reason = few if positives < needed else poor
    return Sampled(found, size, positives, reason)


def agreement(scores: Sequence[float], right: Sequence[bool], target: float, confidence: float) -> float:
    """The smallest confidence of a helper from which on its answers may stand; inf where none may.

    `right`: whether it answered as the main model did, in a uniform sample. `target` is the share of all rows that are
    to have the main model's answer. The wrong ones that stand grow as the threshold falls, so the last one at which
    P(Bin(n, 1 - target) <= wrong) is within the risk is too low with that risk at most.
    """
    given, wrong = np.asarray(scores, float), ~np.asarray(right, bool)
    most = most_hits(len(given), 1 - target, 1 - confidence)
    failing = np.sort(given[wrong & ~np.isnan(given)])[::-1]
    if most < 0:
        return inf
    return float(np.nextafter(failing[most], inf)) if most < len(failing) else -inf


def usable(score: float | None) -> float:
    """A score as a number; NaN for a missing score."""
    return float("nan") if score is None or isnan(score) else score
