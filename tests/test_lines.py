"""Lines of a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sqlllm.lines import alines, lines

TEXT = 'data: {"a": "one\u2028two\x85three"}\r\n\ndata: é\nlast'
LINES = ['data: {"a": "one\u2028two\x85three"}', "", "data: é", "last"]


def test_a_line_ends_at_a_line_feed_alone_however_it_comes() -> None:
    content = TEXT.encode()
    for size in (1, 2, 3, 7, 1000):
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        assert list(lines(pieces)) == LINES

        async def come(pieces: list[bytes] = pieces) -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        async def read() -> list[str]:
            return [line async for line in alines(come())]

        assert asyncio.run(read()) == LINES
