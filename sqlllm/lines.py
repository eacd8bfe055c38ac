"""Lines of a stream of events: they end at a line feed alone.

httpx's own `iter_lines` also ends one at U+0085 or U+2028, which JSON in UTF-8 may hold.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """The lines of bytes that come in pieces, without their ends; the last one may lack its own."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from map(_text, whole)
    if rest:
        yield _text(rest)


async def alines(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """The same, of pieces that are awaited."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield _text(line)
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="replace")
