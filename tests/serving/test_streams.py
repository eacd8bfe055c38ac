"""Streams at the gateway: what is counted of them, and when. No model, no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sqlllm.jobs.serving.gateway import streams
from sqlllm.jobs.serving.protocol import SSE_DONE, sse

PIECE = sse({"choices": [{"delta": {"content": "x"}}]})
USED = sse({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})


class Counter:
    """The events of a stream, in turn."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def first(self) -> None:
        self.told.append("first")

    def end(self) -> None:
        self.told.append("end")

    def spend(self, prompt: int, answer: int) -> None:
        self.told.append((prompt, answer))


@pytest.mark.parametrize(
    ("events", "used"),
    [
        ([PIECE, PIECE, USED, SSE_DONE], (7, 3)),
        ([PIECE, PIECE, USED + SSE_DONE], (7, 3)),
        ([PIECE + PIECE + USED + SSE_DONE], (7, 3)),
        ([PIECE, PIECE, SSE_DONE], (10, 2)),
        ([PIECE + PIECE + SSE_DONE], (10, 2)),
        ([PIECE, PIECE], (10, 2)),  # it broke off
    ],
)
def test_tokens_are_counted_however_the_events_come(events: list[bytes], used: tuple[int, int]) -> None:
    counter = Counter()

    async def items() -> AsyncIterator[bytes]:
        for event in events:
            yield event

    async def check() -> None:
        found = []
        async for event in streams.counted(items(), 40, counter.spend, counter):  # type: ignore[arg-type]
            found.append(event)
            assert not event.endswith(SSE_DONE) or counter.told[-1] == used  # before its client knows
        assert found == events

    asyncio.run(check())
    assert counter.told == ["first", "end", used]
