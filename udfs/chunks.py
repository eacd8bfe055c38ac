"""A text in chunks that a model can embed: whole sections and sentences where they fit, none larger than it may be.

A chunk's `content` is what is embedded: the headings above it, and the body `text[start:end]`. The bodies, without what
they share with the one before, are the whole text but for the blanks between them.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from .counting import Counter, Places
from .outline import Block, Section, sections

WAYS = ("markdown", "text", "tokens", "characters")
_HEADINGS = 4  # the headings above a chunk get at most this part of it
# Where a text may be cut, the best first: between paragraphs, sentences, lines, words.
_ENDS = tuple(
    map(
        re.compile,
        (
            r"\n[ \t]*\n\s*",
            r"[。！？!?…．｡]+[”’»\"'）)\]】》」』]*\s*|\.[\"')\]”’]*\s+|；\s*",  # noqa: RUF001
            r"\n\s*",
            r"\s+|[，、：,:；]\s*|(?<=[\u3400-\u9fff])(?=[A-Za-z\d])",  # noqa: RUF001
        ),
    )
)
_Path = Sequence[tuple[int, str]]
_Piece = tuple[str, int, int, _Path]  # content, start, end, headings


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text[start:end]` in characters, from 0; `content` has the headings above it, too, as far as they fit."""

    chunk_id: int
    content: str
    start: int
    end: int
    headings: tuple[str, ...]
    tokens: int  # of content


def chunks(text: str, counter: Counter, max_tokens: int, overlap: int, by: str = "markdown") -> list[Chunk]:
    """The chunks of a text in order; none for a text without a letter. `overlap` is less than `max_tokens`."""
    if not text.strip():
        return []
    cutter = _Cutter(text, counter)
    if by in ("tokens", "characters"):
        found = cutter.windows(max_tokens, overlap)
    elif by == "text":
        found = cutter.prose(0, len(text), max_tokens, overlap)
    else:
        found = cutter.packed(max_tokens, overlap)
    return [
        Chunk(number, content, start, end, tuple(title for _, title in path), counter.count(content))
        for number, (content, start, end, path) in enumerate(found)
    ]


class _Cutter:
    """One text, its tokens, and where it may be cut."""

    def __init__(self, text: str, counter: Counter) -> None:
        self.text, self.counter = text, counter
        self.tokens = Places(text, counter)
        self.ends = [[match.end() for match in ends.finditer(text)] for ends in _ENDS]

    def windows(self, most: int, overlap: int) -> Iterator[_Piece]:
        """Of `most` tokens each, of which `overlap` are those that end the one before."""
        tokens = self.tokens
        for first in range(0, len(tokens), most - overlap):
            if first and first + overlap >= len(tokens):
                return  # all of it has been in the one before
            start = tokens.starts[first] if first else 0  # what is not a token goes with the token before
            end = tokens.starts[first + most] if first + most < len(tokens) else len(self.text)
            yield from self.prose(start, end, most, 0)  # one chunk, unless the part alone has more tokens

    def prose(self, start: int, end: int, most: int, overlap: int) -> Iterator[_Piece]:
        """Cut where most of a chunk is full and the text is least disturbed."""
        start, end = _trimmed(self.text, start, end)
        done = start  # what has been in a chunk
        while done < end:
            last, room = end, most
            while True:
                limit = self.tokens.after(start, room)
                last = end if limit is None or limit >= end else self._cut(start, limit, room, done)
                body = self.text[start:last].rstrip()
                over = self.counter.count(body) - most
                if over <= 0 or last - start == 1:
                    break
                # The tokens of a part are not always those of the whole.
                start, room = (done, most) if start < done and room <= over else (start, max(1, room - over))
                if room == 1 and start == done:
                    last = start + len(self.counter.cut(body, most)) or start + 1
                    body = self.text[start:last].rstrip()
                    break
            yield body, start, start + len(body), ()
            if last >= end:
                return
            done, _ = _trimmed(self.text, last, end)
            start, _ = _trimmed(self.text, self._next(start, last, overlap), end)

    def _cut(self, start: int, limit: int, room: int, done: int) -> int:
        """The best place to cut in `text[done:limit]`: a late one, but a sentence is cut only if it has to be."""
        half = max(self.tokens.after(start, max(1, room // 2)) or start, done)
        for kind, ends in enumerate(self.ends):
            found = bisect_right(ends, limit + _blanks(self.text, limit))
            if found and ends[found - 1] > (half if kind in (0, 2) else done):
                return ends[found - 1]
        return max(limit, done + 1)

    def _next(self, start: int, last: int, overlap: int) -> int:
        """Where the next chunk begins: up to `overlap` tokens before `last`, at a sentence if there is one."""
        if overlap <= 0:
            return last
        first = max(self.tokens.before(last, overlap), start + 1)
        for ends in self.ends[:2] + self.ends[3:]:
            found = bisect_left(ends, first)
            if found < len(ends) and ends[found] < last:
                return ends[found]
        return first if first < last else last

    def packed(self, most: int, overlap: int) -> Iterator[_Piece]:
        """Sections that stand together while they fit; a section that does not is cut."""
        group: list[Section] = []
        used = 0
        for section in sections(self.text):
            size = self.tokens.count(section.start, section.end) + 1
            # Headings alone wait for what stands under them.
            if group and _has_body(group) and (used + size > most or not 0 < group[0].level <= section.level):
                yield from self._region(group, most, overlap)
                group, used = [], 0
            group.append(section)
            used += size
        if group:
            yield from self._region(group, most, overlap)

    def _region(self, group: Sequence[Section], most: int, overlap: int) -> Iterator[_Piece]:
        start, end = _trimmed(self.text, group[0].start, group[-1].end)
        if start == end:
            return
        above = group[0].path[:-1] if group[0].level else ()
        if self.tokens.count(start, end) <= most or not _has_body(group):
            path = group[0].path
            for body, first, last, _ in self.prose(start, end, most, 0):
                yield self._headed(above if first == start else path, body, most), first, last, path
            return
        path = next(section.path for section in group if _has_body([section]))
        blocks = [block for section in group for block in section.blocks]
        while blocks[0].kind == "heading":
            del blocks[0]
        room = most - min(self.counter.count(_written(path)) + 1 if path else 0, most // _HEADINGS)
        begun = False
        for body, first, last, _ in self._bodies(blocks, room, overlap):
            content = self._headed(path, body, most)
            if not begun:  # the headings that begin the region belong to its first chunk
                whole = self.text[start:last]
                if body == self.text[first:last] and self.counter.count(whole) <= most:
                    content = self._headed(above, whole, most)
                first, begun = start, True
            yield content, first, last, path

    def _bodies(self, blocks: Sequence[Block], most: int, overlap: int) -> Iterator[_Piece]:
        for is_table, run in groupby(blocks, lambda block: block.kind == "table"):
            together = list(run)
            if is_table:
                for block in together:
                    yield from self._table(block, most)
            else:
                yield from self.prose(together[0].start, together[-1].end, most, overlap)

    def _table(self, table: Block, most: int) -> Iterator[_Piece]:
        """Cut between rows; the head stands in each chunk, unless it leaves no room for a row."""
        text, counter = self.text, self.counter
        head = text[table.rows[0][0] : table.rows[1][1]].rstrip()
        if counter.count(head) > most // 2:
            head = ""
        fixed = counter.count(head) + 1 if head else 0
        start, used = table.rows[0][0], fixed
        group: list[tuple[int, int]] = []

        def made() -> _Piece:
            body = "".join(text[slice(*row)] for row in group).rstrip()
            last = group[-1][0] + len(text[slice(*group[-1])].rstrip())
            return f"{head}\n{body}" if head else body, start, last, ()

        for row in table.rows[2:] if head else table.rows:
            size = counter.count(text[slice(*row)])
            if group and used + size > most:
                yield made()
                group, used, start = [], fixed, row[0]
            if fixed + size > most:  # a row that does not fit alone: its cells are text
                for body, _, last, _ in self.prose(start, row[1], most, 0):
                    yield body, start, last, ()
                    start = last
                start = row[1]
                continue
            group.append(row)
            used += size
        if group:
            yield made()
        elif start == table.rows[0][0]:  # a head without rows
            yield from self.prose(start, table.end, most, 0)

    def _headed(self, path: _Path, body: str, most: int) -> str:
        """`body` under its headings, as far as there is room for them: the nearest stays longest."""
        titles = [title for _, title in path if title]
        if not titles:
            return body
        count = self.counter.count
        room = min(most - count(body) - 1, max(most // _HEADINGS, 1))
        while len(titles) > 1 and count(" > ".join(titles)) > room:
            titles.pop(0)
        if count(" > ".join(titles)) > room:
            titles = [short] if (short := self.counter.cut(titles[0], room).strip()) else []
        content = f"{' > '.join(titles)}\n\n{body}" if titles else body
        return content if count(content) <= most else body


def _has_body(group: Sequence[Section]) -> bool:
    return any(block.kind != "heading" for section in group for block in section.blocks)


def _written(path: _Path) -> str:
    return " > ".join(title for _, title in path)


def _blanks(text: str, at: int) -> int:
    """The blanks at a place: they count for nothing in what ends before them."""
    match = re.compile(r"\s*").match(text, at)
    return match.end() - at if match else 0


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
