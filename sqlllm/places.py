"""Scripts and places in them: what an error points at."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

SECRET_KEY = re.compile(r"(api_?key|secret|token(?!izer|s\b|_ids)|passw(or)?d|access_key|credential)", re.IGNORECASE)
"""Names whose values are never shown."""

_PASSWORD_IN_URL = re.compile(r"://[^\s/:@]*:[^\s/@]+@")

_SECRET_IN_TEXT = re.compile(
    r"""(?P<key>(?<![\w.`-])[\w.`-]*(?:api_?key|secret|token(?!izer|s\b|_ids)|passw(?:or)?d|access_key|credential)[\w.`-]*["']?\s*[=:,]\s*)"""
    r"""(?P<quote>'''|\"\"\"|["'`])(?P<value>(?:\\.|(?!(?P=quote)).)*)(?P=quote)""",
    re.IGNORECASE | re.DOTALL,
)


_SECRET_IN_VALUE = re.compile(
    r"""(?P<key>://[^\s/:@'"`]{0,100}+:|[?&;"'`][\w.]{0,50}(?:key|secret|token|passw(?:or)?d)=)"""
    r"""(?P<value>(?<==)[^\s&;'"`]++|(?<=:)[^\s/@'"`]++(?=@))""",
    re.IGNORECASE,
)
_SET = re.compile(
    r"""(?P<key>\bset\s++(?P<name>`[^`]*+`|[\w.]++)\s*+=\s*+)"""
    r"""(?P<value>'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*+'|"(?:\\.|[^"\\])*+"|`[^`]*+`|[^\s;]++)(?=(?P<rest>[^;]{0,500}+))""",
    re.IGNORECASE | re.DOTALL,
)


def mask_secrets(text: str) -> str:
    """`text` with its secrets starred out, its length and line breaks kept.

    Secrets are quoted values of secret-looking keys, passwords in URLs, and what `set` gives to a secret-looking name
    or hides with `visibility="un_select"`.
    """

    def star(match: re.Match[str]) -> str:
        return match["key"] + match["quote"] + _stars(match["value"]) + match["quote"]

    def star_set(match: re.Match[str]) -> str:
        if not SECRET_KEY.search(match["name"]) and "un_select" not in match["rest"]:
            return match[0]
        return match["key"] + re.sub(r"[^\n'\"`]", "*", match["value"])

    text = _SECRET_IN_TEXT.sub(star, text)
    text = _SECRET_IN_VALUE.sub(lambda match: match["key"] + _stars(match["value"]), text)
    return _SET.sub(star_set, text)


def is_secret(key: str, value: str) -> bool:
    """Whether an option's value is not to be shown: by its name, unless it is a number, or for a password in it."""
    return bool((SECRET_KEY.search(key) and not value.isdecimal()) or _PASSWORD_IN_URL.search(value))


def _stars(text: str) -> str:
    return re.sub(r"[^\n]", "*", text)


def carets(before: str, within: str) -> str:
    """The line under a line of text that points at `within`, which stands after `before`.

    Positions count characters (Unicode code points); a terminal gives an emoji two cells and an accent none.
    """
    from rich.cells import cell_len  # not before: an import of this package is to be quick

    # A tab is as wide as the terminal makes it, so the line repeats it.
    indent = "\t".join(" " * cell_len(part) for part in before.split("\t"))
    return indent + "^" * max(cell_len(within), 1)


@dataclass(frozen=True)
class Source:
    """One script: its text and the name errors show for it (a path, or `<script>`)."""

    text: str = field(repr=False)
    name: str = "<script>"

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of `offset`, both counted from 1, the column in characters (Unicode code points)."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line break, secrets masked."""
        start = self._line_starts[number - 1]
        end = self._line_starts[number] if number < len(self._line_starts) else len(self.text)
        # Masked over the whole text, so that a value which spans lines is hidden on each of them.
        return self._masked[start:end].rstrip("\r\n")

    @cached_property
    def _masked(self) -> str:
        return mask_secrets(self.text)

    def place(self, start: int, end: int | None = None) -> Place:
        """The place from `start` up to `end` (offsets; one character if `end` is None)."""
        return Place(self, start, start + 1 if end is None else end)


@dataclass(frozen=True)
class Place:
    """A stretch of a script, by offsets into its text."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def quote(self) -> str:
        """The line this place starts in, with carets under the place."""
        line, before, within, after = self.in_line()
        gutter = f"{line} | "
        return f"{gutter}{before}{within}{after}\n{' ' * (len(gutter) - 2)}| {carets(before, within)}"

    def in_line(self) -> tuple[int, str, str, str]:
        """The number of the line this place starts in, and its text before, within and after this place."""
        line, column = self.source.position(self.start)
        shown = self.source.line(line)
        first, last = column - 1, max(column - 1 + self.end - self.start, column)
        return line, shown[:first], shown[first:last], shown[last:]

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"
