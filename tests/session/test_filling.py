"""A LIMIT over a model's condition asks about few rows more than it must."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from sqlllm.session.operators.filling import fill


def filled(answers: Sequence[tuple[int, bool]], needed: int) -> tuple[list[int], list[int]]:
    """The places of the rows that are found, and how many keys each chunk asked about; `answers`: key, passes."""
    chunks: list[int] = []

    def passes(rows: Sequence[tuple[int, tuple[int, bool]]]) -> set[int]:
        chunks.append(len(rows))
        assert len({key for _, (key, _) in rows}) == len(rows)
        return {place for place, (_, (_, passed)) in enumerate(rows) if passed}

    found = fill(iter(list(enumerate(answers))), needed, lambda row: row[1][0], passes)
    return [place for place, _ in found], chunks


def least(answers: Sequence[tuple[int, bool]], needed: int) -> int:
    """Keys that are asked about row by row."""
    seen: set[int] = set()
    for key, passed in answers:
        if needed <= 0:
            break
        seen.add(key)
        needed -= passed
    return len(seen)


@pytest.mark.parametrize("needed", [1, 2, 5, 20, 100])
@pytest.mark.parametrize("share", [1.0, 0.74, 0.5, 0.1, 0.01, 0.0])
@pytest.mark.parametrize("seed", range(20))
def test_calls_are_within_their_bound(needed: int, share: float, seed: int) -> None:
    chance = random.Random(seed)
    answers = [(number, chance.random() < share) for number in range(5000)]
    found, chunks = filled(answers, needed)
    assert found == [number for number, passed in answers if passed][:needed]
    assert sum(chunks) <= 1.5 * least(answers, needed) + 5
    assert len(chunks) <= 20


def test_the_share_may_change_within_the_table() -> None:
    answers = [(number, number < 50 or number > 4000) for number in range(5000)]
    found, chunks = filled(answers, 60)
    assert found == [*range(50), *range(4001, 4011)]
    assert sum(chunks) <= 1.5 * 4011 + 5


def test_rows_that_ask_alike_are_asked_once() -> None:
    answers = [(number % 7, number % 7 == 3) for number in range(1000)]
    found, chunks = filled(answers, 20)
    assert found == [place for place, (_, passed) in enumerate(answers) if passed][:20]
    assert sum(chunks) == 7


def test_what_is_known_to_pass_is_taken_without_reading_on() -> None:
    read: list[int] = []

    def rows() -> object:
        for number in range(1000):
            read.append(number)
            yield number

    found = fill(rows(), 10, lambda _: "same", lambda rows: {0})  # type: ignore[arg-type]
    assert found == list(range(10))
    assert len(read) == 10


def test_nothing_passes_and_nothing_is_there() -> None:
    assert filled([(number, False) for number in range(10)], 3) == ([], [3, 7])
    assert filled([], 3) == ([], [])
