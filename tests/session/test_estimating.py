"""Approximate answers: the intervals hold whenever one stops, and are as narrow as asked for."""

from __future__ import annotations

import random

import pytest

from sqlllm.session.operators.estimating import Count, Interval, Mean, next_sample


def stopped(estimate: Count | Mean, rows: list[float | None], error: float) -> tuple[Interval, list[Interval]]:
    """The interval once it is narrow enough, and all before it."""
    seen: list[Interval] = []
    asked = 0
    while more := next_sample(asked, len(rows), estimate.off, error):
        estimate.add(rows[asked : asked + more])
        asked += more
        seen.append(estimate.interval)
    return estimate.interval, seen


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5])
def test_counts_are_within_their_intervals_at_every_size_of_the_sample(share: float) -> None:
    """Over 120 samples at a confidence of 0.9 at most 23 may miss: a chance of 1 in 1,000 if 12 do."""
    true = round(400 * share)
    rows: list[float | None] = [1.0] * true + [0.0] * (400 - true)
    missed = 0
    for seed in range(120):
        random.Random(seed).shuffle(rows)
        last, seen = stopped(Count(400, 0.08, 0.9), rows, 0.08)
        assert last.low is not None
        assert last.high is not None
        assert last.value is not None
        assert max(last.high - last.value, last.value - last.low) <= 0.08 * 400 + 1
        missed += any(not one.low <= true <= one.high for one in seen)  # type: ignore[operator]
    assert missed <= 23


def test_means_are_within_their_intervals_at_every_size_of_the_sample() -> None:
    chance = random.Random(1)
    rows: list[float | None] = [min(5.0, max(1.0, chance.gauss(3.8, 1))) for _ in range(700)]
    true = sum(row or 0 for row in rows) / 700
    missed = 0
    for seed in range(120):
        random.Random(seed).shuffle(rows)
        last, seen = stopped(Mean(700, 0.05, 0.9, 1, 5), rows, 0.05)
        assert last.asked < 500
        missed += any(not one.low <= true <= one.high for one in seen)  # type: ignore[operator]
    assert missed <= 23


@pytest.mark.parametrize(("share", "most"), [(0.0, 500), (0.01, 600), (0.1, 2600), (0.5, 5200), (0.9, 2600)])
def test_few_of_many_rows_are_asked(share: float, most: int) -> None:
    rows: list[float | None] = [1.0] * int(50_000 * share) + [0.0] * (50_000 - int(50_000 * share))
    random.Random(2).shuffle(rows)
    last, seen = stopped(Count(50_000, 0.02, 0.95), rows, 0.02)
    assert last.asked <= most
    assert len(seen) <= 14


@pytest.mark.parametrize("rows", [0, 1, 2, 40])
def test_few_rows_are_asked_all_and_the_answer_is_exact(rows: int) -> None:
    values: list[float | None] = [float(row % 2) for row in range(rows)]
    assert stopped(Count(rows, 0.01, 0.95), values, 0.01)[0] == (rows // 2, rows // 2, rows // 2, rows)
    mean = stopped(Mean(rows, 0.01, 0.95), values, 0.01)[0]
    assert mean == ((rows // 2 / rows,) * 3 + (rows,) if rows else (None, None, None, 0))


def test_rows_without_a_value_are_not_part_of_a_mean_and_not_counted() -> None:
    values: list[float | None] = [None, 1.0, None, 0.5, None]
    assert stopped(Mean(5, 0.01, 0.95), values, 0.01)[0] == (0.75, 0.75, 0.75, 5)
    assert stopped(Count(5, 0.01, 0.95), values, 0.01)[0] == (2, 2, 2, 5)
    assert stopped(Mean(3, 0.01, 0.95), [None] * 3, 0.01)[0] == (None, None, None, 3)


def test_means_hold_where_half_of_the_rows_have_no_value() -> None:
    chance = random.Random(1)
    rows: list[float | None] = [chance.random() ** 2 if row % 2 else None for row in range(800)]
    true = sum(row or 0 for row in rows) / 400
    missed = 0
    for seed in range(120):
        random.Random(seed).shuffle(rows)
        _, seen = stopped(Mean(800, 0.1, 0.9), rows, 0.1)
        missed += any(one.low is not None and not one.low <= true <= one.high for one in seen)  # type: ignore[operator]
    assert missed <= 23


def test_a_value_out_of_its_bounds_is_an_error() -> None:
    with pytest.raises(ValueError, match="7 is not between 1 and 5"):
        Mean(10, 0.1, 0.9, 1, 5).add([3.0, 7.0])
