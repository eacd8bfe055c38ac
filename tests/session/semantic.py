"""What the oracles of the semantic operators answer: a truth about texts like `item 17`, and a helper that errs."""

from __future__ import annotations

import random
import re
from math import exp

_CAUSES = ("engine", "brakes", "paint")


def _number(prompt: str) -> int:
    return int(re.findall(r"\d+", prompt)[-1])


def is_true(number: int) -> bool:
    """Of three in five items."""
    return random.Random(number).random() < 0.6


def cause(number: int) -> str:
    return _CAUSES[random.Random(number + 10**6).randrange(3)]


def truth(prompt: str) -> str:
    """The main model's answer; one item has none."""
    if "broken" in prompt:
        raise ValueError(prompt)
    return str(is_true(_number(prompt))).lower()


def guess(prompt: str) -> str:
    """The helper's score, from 0 to 1: right about 90 % of the items if it must choose."""
    number = _number(prompt)
    chance = random.Random(number + 10**9)
    score = chance.gauss(1.28 if is_true(number) else -1.28, 1.0)
    return f"{1 / (1 + exp(-2.56 * score)):.4f}"


def label(prompt: str) -> str:
    return cause(_number(prompt))


def labelled(prompt: str) -> str:
    """The helper's label and how sure it is: sure of what it knows, and right about four in five items."""
    number = _number(prompt)
    chance = random.Random(number + 10**9)
    knows = chance.random() < 0.7
    said = cause(number) if knows else chance.choice(_CAUSES)
    sure = chance.uniform(0.6, 1.0) if knows else chance.uniform(0.2, 0.7)
    return f'{{"answer": "{said}", "confidence": {sure:.3f}}}'


def rated(prompt: str) -> str:
    """A rubric, or the score that the number of the item stands for."""
    if "rubric" in prompt:
        return "0: calm. 1: furious."
    return f"{_number(prompt) % 11 / 10}"
