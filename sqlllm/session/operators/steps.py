"""Work that asks in rounds: a generator yields prompts and is sent the replies; pure.

What is written as one such generator a group runs for a thousand groups in the rounds of the slowest.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar


class Prompt(NamedTuple):
    """What is asked; `returns` is the type of the answer in Spark's DDL, "" for text."""

    text: str
    returns: str = ""


class Reply(Protocol):
    """The answer to one prompt: its text and its typed value, or None and the row's error."""

    @property
    def text(self) -> str | None: ...

    @property
    def value(self) -> Any: ...

    @property
    def error(self) -> str: ...


T = TypeVar("T")
Steps = Generator[Sequence[Prompt], Sequence[Reply], T]
"""Yields the prompts of a round, is sent a reply for each, in order, and returns its result."""


def together(steps: Sequence[Steps[T]]) -> Steps[list[T]]:
    """All of `steps` at once: a round of the whole holds the next round of each. Returns their results in order."""
    results: dict[int, T] = {}
    waiting: dict[int, Sequence[Prompt]] = {}

    def advance(index: int, replies: Sequence[Reply] | None) -> None:
        try:
            waiting[index] = next(steps[index]) if replies is None else steps[index].send(replies)
        except StopIteration as ended:
            waiting.pop(index, None)
            results[index] = ended.value

    for index in range(len(steps)):
        advance(index, None)
    while waiting:
        replies = yield [prompt for prompts in waiting.values() for prompt in prompts]
        start = 0
        for index, prompts in list(waiting.items()):
            own = replies[start : start + len(prompts)]
            start += len(prompts)
            advance(index, own)
    return [results[index] for index in range(len(steps))]


def run(steps: Steps[T], ask: Callable[[Sequence[Prompt]], Sequence[Reply]]) -> T:
    """The result of `steps`, whose prompts `ask` answers, a round at a time. A round without prompts asks nothing."""
    try:
        prompts = next(steps)
        while True:
            prompts = steps.send(ask(prompts) if prompts else [])
    except StopIteration as ended:
        result: T = ended.value
        return result
