"""The parts of a Markdown text, as CommonMark has them: headings, code, tables, and all else as text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_DIVIDER = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")


@dataclass(slots=True)
class Block:
    """`text[start:end]`, whole lines."""

    kind: str  # heading, code, table or text
    start: int
    end: int
    level: int = 0
    title: str = ""
    rows: list[tuple[int, int]] = field(default_factory=list)  # of a table, its head in the first two


@dataclass(slots=True)
class Section:
    """A heading and what stands under it, up to the next heading; `path` holds the headings above, and its own."""

    start: int
    end: int
    path: list[tuple[int, str]]
    blocks: list[Block]

    @property
    def level(self) -> int:
        """Of its heading; 0 for what stands before the first."""
        return self.path[-1][0] if self.path else 0


def sections(text: str) -> list[Section]:
    """The sections in order; together they are the whole text."""
    found: list[Section] = [Section(0, 0, [], [])]
    for block in blocks(text):
        if block.kind == "heading":
            above = [one for one in found[-1].path if one[0] < block.level]
            found.append(Section(block.start, block.end, [*above, (block.level, block.title)], []))
        found[-1].blocks.append(block)
        found[-1].end = block.end
    return [one for one in found if one.blocks]


def blocks(text: str) -> list[Block]:
    """The blocks in order; empty lines belong to the text before them."""
    lines = _lines(text)
    found: list[Block] = []
    index = 0
    while index < len(lines):
        start, end = lines[index]
        line = text[start:end].rstrip("\r\n")
        if not line.strip() and found:
            found[-1].end = end
            index += 1
        elif fence := _FENCE.match(line):
            index = _after_fence(text, lines, index, fence[1])
            found.append(Block("code", start, lines[index - 1][1]))
        elif heading := _HEADING.match(line):
            found.append(Block("heading", start, end, len(heading[1]), (heading[2] or "").strip()))
            index += 1
        elif "|" in line and index + 1 < len(lines) and _is_divider(text, lines[index + 1], line):
            rows = [lines[index], lines[index + 1]]
            index += 2
            while index < len(lines) and "|" in text[slice(*lines[index])] and text[slice(*lines[index])].strip():
                rows.append(lines[index])
                index += 1
            found.append(Block("table", start, rows[-1][1], rows=rows))
        else:
            index = _text(text, lines, index, found)
    return found


def _text(text: str, lines: list[tuple[int, int]], index: int, found: list[Block]) -> int:
    """A line of text, joined to the text before; if it underlines that, both are a heading."""
    start, end = lines[index]
    line = text[start:end].rstrip("\r\n")
    last = found[-1] if found and found[-1].kind == "text" else None
    before = text[lines[index - 1][0] : lines[index - 1][1]].strip() if index and last else ""
    if before and last and (under := _UNDERLINE.match(line)) and not before.startswith(("-", "*", ">", "|")):
        above = lines[index - 1][0]
        single = above == last.start or not text[lines[index - 2][0] : lines[index - 2][1]].strip()
        if single:  # a paragraph of several lines is a heading in CommonMark, and never meant as one
            last.end = above
            if last.start == above:
                found.pop()
            found.append(Block("heading", above, end, 1 if under[1][0] == "=" else 2, before))
            return index + 1
    if last:
        last.end = end
    else:
        found.append(Block("text", start, end))
    return index + 1


def _after_fence(text: str, lines: list[tuple[int, int]], index: int, opened: str) -> int:
    """The line after a fenced code; an unclosed block goes on to the end."""
    closing = re.compile(rf" {{0,3}}{re.escape(opened[0])}{{{len(opened)},}}[ \t]*$")
    index += 1
    while index < len(lines):
        index += 1
        if closing.match(text[slice(*lines[index - 1])].rstrip("\r\n")):
            break
    return index


def _is_divider(text: str, line: tuple[int, int], head: str) -> bool:
    found = text[slice(*line)].rstrip("\r\n")
    return "-" in found and bool(_DIVIDER.match(found)) and ("|" in found or found.count("|") == head.count("|"))


def _lines(text: str) -> list[tuple[int, int]]:
    """Where each line begins and ends, its line break too."""
    return [match.span() for match in re.finditer(r"[^\n]*\n|[^\n]+\Z", text)]
