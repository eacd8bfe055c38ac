"""Server-sent events, read by bytes: the data of each event, whatever way its bytes arrive."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LINE_END = re.compile(rb"\r\n|\r|\n")  # and nothing else: U+2028 is text
_BOM = b"\xef\xbb\xbf"


class Events:
    """Takes bytes as they arrive, gives the `data` of each event that is whole."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._begun = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The events that `piece` completes."""
        rest = self._rest + piece
        if not self._begun:
            if len(rest) < len(_BOM) and _BOM.startswith(rest):
                self._rest = rest
                return
            rest = rest.removeprefix(_BOM)
            self._begun = True
        # A trailing CR may be half a CRLF.
        end = len(rest) - 1 if rest.endswith(b"\r") else len(rest)
        start = 0
        for match in _LINE_END.finditer(rest, 0, end):
            yield from self._line(rest[start : match.start()])
            start = match.end()
        self._rest = rest[start:]

    def close(self) -> Iterator[bytes]:
        """The last event of a stream whose end lacks the empty line."""
        yield from self._line(self._rest.removesuffix(b"\r"))
        yield from self._line(b"")
        self._rest = b""

    def _line(self, line: bytes) -> Iterator[bytes]:
        if not line:
            if self._data:
                data, self._data = self._data, []
                yield b"\n".join(data)
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
