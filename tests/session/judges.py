"""Models that rank, as functions of prompts: exact ones, ones that err, and ones that look at the place alone."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlllm.session.operators.steps import Prompt


class Answer(NamedTuple):
    """A reply."""

    text: str | None
    value: Any = None
    error: str = ""


def shown(prompt: str) -> list[tuple[int, str]]:
    """The numbers and texts in a prompt that lists some."""
    return [(int(number), text) for number, text in re.findall(r"^\[(\d+)\] (.*)$", prompt, re.M)]


class Judge:
    """Orders what is listed by `value`, the highest first, and counts the prompts and rounds.

    `noise` is added to each value each time; a list that holds a text of `bad` has no answer; `reply` may change an
    answer.
    """

    def __init__(
        self,
        value: Callable[[str], float],
        *,
        noise: float = 0.0,
        bad: Sequence[str] = (),
        reply: Callable[[str, int], str] = lambda answer, number: answer,
    ) -> None:
        self._value, self._noise, self._bad, self._reply = value, noise, bad, reply
        self._chance = random.Random(5)
        self.prompts: list[str] = []
        self.rounds = 0

    def __call__(self, prompts: Sequence[Prompt]) -> list[Answer]:
        self.rounds += 1
        return [self._answer(prompt.text) for prompt in prompts]

    def _answer(self, prompt: str) -> Answer:
        self.prompts.append(prompt)
        texts = shown(prompt)
        if any(text in self._bad for _, text in texts):
            return Answer(None, error="content_filter: no")
        groups: dict[float, list[int]] = {}
        for number, text in texts:
            value = self._value(text) + (self._chance.gauss(0, self._noise) if self._noise else 0)
            groups.setdefault(value, []).append(number)
        ordered = [group if len(group) > 1 else group[0] for _, group in sorted(groups.items(), reverse=True)]
        return Answer(self._reply(str(ordered), len(self.prompts)))


class FirstShown:
    """Prefers what is shown first, whatever it is."""

    def __call__(self, prompts: Sequence[Prompt]) -> list[Answer]:
        return [Answer(str([number for number, _ in shown(prompt.text)])) for prompt in prompts]


def answer(prompt: str) -> str | None:
    """For `oracle/function`: what the operators ask, about texts with one number and perhaps a mark `<...>`.

    Texts are ordered by their numbers, marks are collected, and a statement is true if its number is even. There is no
    answer about a text with the word `refused`.
    """
    if "refused" in prompt:
        return None
    texts = shown(prompt)
    if prompt.startswith("Order the"):
        return Judge(lambda text: float(re.findall(r"-?\d+", text)[-1]))._answer(prompt).text
    marks = re.findall(r"<\w+>", prompt)
    if "Count" in prompt:
        return str(len(marks))
    if marks or texts:
        return " ".join(marks) or "nothing"
    number = int(re.findall(r"\d+", prompt)[-1])
    return str(number % 10 / 10) if "Rate" in prompt else str(number % 2 == 0).lower()
