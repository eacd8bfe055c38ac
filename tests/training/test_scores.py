from __future__ import annotations

import random
from functools import cache

import pytest

from sqlllm.jobs.training.scores import longest_common, score, words


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("Paris", "Paris", (1, 1, 1)),
        (" Paris\n", "Paris", (1, 1, 1)),
        ("paris.", "Paris", (0, 1, 1)),
        ("", "Paris", (0, 0, 0)),
        ("it is paris", "paris it is", (0, 1, 2 / 3)),
        # The figures that Google's rouge_score gives for its own example.
        ("the quick brown dog jumps on the log.", "the quick brown fox jumps over the lazy dog", (0, 12 / 17, 10 / 17)),
        ("我在北京", "我在南京", (0, 0.75, 0.75)),
        ("Größe 12", "größe 12", (0, 1, 1)),
        ("!", "!", (1, 1, 1)),
        ("!", "?", (0, 0, 0)),
    ],
)
def test_an_answer(answer: str, reference: str, expected: tuple[float, float, float]) -> None:
    assert score(answer, reference) == pytest.approx(expected)


def test_words_of_several_scripts() -> None:
    assert words("Don't say 2026-11-20, 我说!") == ["don", "t", "say", "2026", "11", "20", "我", "说"]


def test_the_longest_common_subsequence_is_the_textbooks() -> None:
    dice = random.Random(1)
    for _ in range(200):
        one, other = (tuple(dice.choices("abcd", k=dice.randrange(70))) for _ in range(2))

        @cache
        def longest(left: int, right: int, one: tuple[str, ...] = one, other: tuple[str, ...] = other) -> int:
            if not left or not right:
                return 0
            if one[left - 1] == other[right - 1]:
                return longest(left - 1, right - 1) + 1
            return max(longest(left - 1, right), longest(left, right - 1))

        assert longest_common(list(one), list(other)) == longest(len(one), len(other))
