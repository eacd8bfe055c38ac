"""The conversations of one batch, answered at once: one that fails is a choice with its error, its neighbours go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlllm.wire import RequestError

from ..protocol import failed_choice

_OF_ALL = frozenset({403, 404, 503})  # statuses that every conversation would get


@dataclass
class Sent:
    """What was sent for one conversation."""

    under_way: bool = False  # a request is at the provider now: it is paid for
    answered: int = 0  # requests that the provider answered, with whatever


sent: ContextVar[Sent] = ContextVar("sent")
"""Of the conversation that the current task answers; what sends requests keeps it up to date."""


async def choices(
    answer: Callable[[int, Any], Awaitable[dict[str, Any]]], batch: Sequence[Any]
) -> list[dict[str, Any]]:
    """A choice for each conversation: what `answer` makes of its place and itself, or its RequestError.

    After an error that every conversation would get, only what is under way is waited for, and the others have that
    error, too. RequestError if then none is answered.
    """
    marks = [Sent() for _ in batch]
    fatal: RequestError | None = None

    async def one(place: int) -> dict[str, Any]:
        nonlocal fatal
        sent.set(marks[place])
        try:
            choice = await answer(place, batch[place])
        except RequestError as error:
            if error.status in _OF_ALL and fatal is None:
                fatal = error
                for other, task in enumerate(tasks):
                    if other != place and not marks[other].under_way:
                        task.cancel()
            choice = failed_choice(place, error)
        return choice if marks[place].answered <= 1 else {**choice, "calls": marks[place].answered}

    tasks = [asyncio.create_task(one(place)) for place in range(len(batch))]
    try:
        found = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for task in tasks:
            task.cancel()
    given: list[Any] = []
    for place, choice in enumerate(found):
        if isinstance(choice, asyncio.CancelledError) and fatal is not None:
            given.append({**failed_choice(place, fatal), "calls": 0})
        elif isinstance(choice, BaseException):
            raise choice
        else:
            given.append(choice)
    if fatal is not None and all("error" in choice for choice in given):
        raise fatal
    return given
