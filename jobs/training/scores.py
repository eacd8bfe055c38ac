"""How close an answer is to the reference: exact match, F1 and ROUGE-L of their words, each from 0 to 1.

Words are compared in lower case and without punctuation; where a script has no spaces each character is a word.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

_WORDS = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|[^\W_\u3040-\u9fff\uac00-\ud7af]+"
)


class Scores(NamedTuple):
    """One answer's, or the mean of many."""

    exact_match: float
    """1 if the texts are the same but for white space around them."""
    f1: float
    """Harmonic mean of precision and recall of the words, as in SQuAD."""
    rouge_l: float
    """The same of the longest common subsequence of words."""


def score(answer: str, reference: str) -> Scores:
    """The scores of one answer."""
    said, wanted = words(answer), words(reference)
    common = sum((Counter(said) & Counter(wanted)).values())
    exact = float(answer.strip() == reference.strip())
    if not said and not wanted:  # marks alone: no words to compare
        return Scores(exact, exact, exact)
    return Scores(exact, _f(common, said, wanted), _f(longest_common(said, wanted), said, wanted))


def mean(scores: list[Scores]) -> Scores:
    """The mean of one or more."""
    return Scores(*(sum(column) / len(scores) for column in zip(*scores, strict=True)))


def words(text: str) -> list[str]:
    """The words of a text."""
    return _WORDS.findall(text.lower())


def longest_common(one: list[str], other: list[str]) -> int:
    """Length of the longest common subsequence, with a bit for each word of `one` (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(one)) - 1
    unmatched = everything
    for word in other:
        found = unmatched & places.get(word, 0)
        unmatched = (unmatched + found | unmatched - found) & everything
    return len(one) - unmatched.bit_count()


def _f(common: int, said: list[str], wanted: list[str]) -> float:
    return 2 * common / (len(said) + len(wanted))
