"""How many rows fulfil a condition, or a mean, from a sample that grows until the interval is narrow enough; pure.

The intervals hold at every size of the sample at once, with the stated confidence, so that one may look and stop:
confidence sequences by betting, for samples without replacement (Waudby-Smith and Ramdas, 2024).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_FIRST = 64  # rows that are asked at first
_STEPS = 1000  # between the means that are looked at, at least
_MOST = 0.5  # of what a bet may lose


class Interval(NamedTuple):
    """An estimate, the bounds around the true value, and the rows that were asked."""

    value: float | None
    low: float | None
    high: float | None
    asked: int


def next_sample(asked: int, rows: int, off: float, error: float) -> int:
    """How many more of `rows` to ask; 0 if the estimate is near enough, or nothing is left.

    `off` falls with the square root of the sample at the slowest.
    """
    if asked and off <= error:
        return 0
    if not asked:
        return min(rows, _FIRST)
    likely = asked * min(4.0, max(1.1, (off / error) ** 2)) ** 0.5 if off > 2 * error else asked * (off / error) ** 2
    return min(rows, max(asked + 16, math.ceil(min(likely, 1.5 * asked)))) - asked


class Mean:
    """The mean of values from `least` to `most`, of those of `rows` that have one; a row without one is None.

    The bounds are the means against which no bet has won 1 / (1 - confidence) times its stake: half of the stake says
    that the mean is higher, half that it is lower. What is bet on a row depends on the rows before it; the bets win
    soonest against a mean that is `error` (a share of what is possible) away.
    """

    def __init__(self, rows: int, error: float, confidence: float, least: float = 0.0, most: float = 1.0) -> None:
        self._rows, self._error, self._least, self._width = rows, error, least, most - least
        self._won = math.log(2 / (1 - confidence))
        steps = max(_STEPS, math.ceil(20 / error))
        self._step = 1 / steps
        self._means = np.linspace(0, 1, steps + 1)  # those that are possible
        self._higher, self._lower = np.zeros(steps + 1), np.zeros(steps + 1)  # logarithms of what the bets are worth
        self._asked = self._seen = 0
        self._sum, self._spread = 0.0, 0.25

    def add(self, values: Iterable[float | None]) -> None:
        """More of the sample. ValueError for a value out of its bounds."""
        for value in values:
            self._asked += 1
            if value is None:
                continue
            share = (value - self._least) / self._width
            if not 0 <= share <= 1:
                raise ValueError(f"{value:g} is not between {self._least:g} and {self._least + self._width:g}")
            self._bet(share)
        possible = np.maximum(self._higher, self._lower) < self._won
        if possible.any():
            self._means, self._higher, self._lower = (
                array[possible] for array in (self._means, self._higher, self._lower)
            )

    @property
    def interval(self) -> Interval:
        """All None while no row has a value."""
        if not self._seen:
            return Interval(None, None, None, self._asked)
        value, low, high = (self._least + self._width * share for share in self._shares())
        return Interval(value, low, high, self._asked)

    @property
    def off(self) -> float:
        """How far the mean may be from the estimate, as a share of what is possible."""
        if not self._seen:
            return 0.0 if self._asked == self._rows else 1.0
        value, low, high = self._shares()
        return max(high - value, value - low)

    def _shares(self) -> tuple[float, float, float]:
        mean = self._sum / self._seen
        if self._asked == self._rows:
            return mean, mean, mean
        low = max(0.0, float(self._means[0]) - self._step)  # what lies between two of the means is possible, too
        high = min(1.0, float(self._means[-1]) + self._step)
        return min(max(mean, low), high), low, high

    def _bet(self, share: float) -> None:
        # The mean of the rows that are left, if the mean of all is that of the grid. Rows without a value make it
        # a sample of an unknown number of rows: those that are left have the mean of all.
        left = self._means
        if self._seen == self._asked - 1:
            left = (self._rows * self._means - self._sum) / (self._rows - self._seen)
        stake = self._error * (self._seen + 1) / self._spread
        inside = np.clip(left, 1e-9, 1 - 1e-9)
        self._higher += np.log1p(np.minimum(stake, _MOST / inside) * (share - inside))
        self._lower += np.log1p(-np.minimum(stake, _MOST / (1 - inside)) * (share - inside))
        # Such means are not possible any more.
        self._higher[left < 0] = math.inf
        self._lower[left > 1] = math.inf
        self._seen += 1
        self._sum += share
        self._spread += (share - (0.5 + self._sum) / (self._seen + 1)) ** 2


class Count:
    """How many of `rows` are true; None is not. As `Mean`, in rows; `error` is a share of the rows."""

    def __init__(self, rows: int, error: float, confidence: float) -> None:
        self._rows, self._mean = rows, Mean(rows, error, confidence)

    def add(self, values: Iterable[float | None]) -> None:
        """More of the sample."""
        self._mean.add(float(bool(value)) for value in values)

    @property
    def interval(self) -> Interval:
        """In whole rows."""
        value, low, high, asked = self._mean.interval
        if value is None or low is None or high is None:
            return Interval(0, 0, 0, asked) if not self._rows else Interval(None, None, None, asked)
        least, most = math.ceil(low * self._rows - 1e-6), math.floor(high * self._rows + 1e-6)
        return Interval(min(max(round(value * self._rows), least), most), least, most, asked)

    @property
    def off(self) -> float:
        """As of `Mean`."""
        return self._mean.off
