"""What an answer about several numbered items says of each; pure.

Items are matched by the ids in the answer, never by their place in it. An item that the answer leaves out, names twice
with different results, or names last where the answer was cut, has no result: it is asked about again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

END = "END"
"""The last line of an answer: without it the answer was cut, and its last item may be incomplete."""

_LINK = re.compile(r"\b([LR])(\d+)\b|\b(none|null|no)\b|(\[\s*\]|[-–—](?=\s*(?:\n|$)))|\b(END)\b", re.IGNORECASE)  # noqa: RUF001
_NUMBER = re.compile(r"\d+")


def links(answer: str, lefts: int, rights: int) -> dict[int, frozenset[int]]:
    """For each row L that `answer` is about, the rows R after it: `L1: R2, R5`, `L2: none`, in lines or as JSON.

    Rows are numbered from 1 in the answer, and from 0 in the result. `lefts` and `rights` are how many there are.
    """
    found: dict[int, frozenset[int]] = {}
    wrong: set[int] = set()
    current, linked, closed, ended = -1, set[int](), False, False

    def close() -> None:
        if current < 0 or not (linked or closed):
            return
        if (linked and closed) or found.setdefault(current, frozenset(linked)) != linked:
            wrong.add(current)

    for match in _LINK.finditer(answer):
        side, number, none, empty, end = match.groups()
        if end:
            ended = end.isupper()
        elif side and side.upper() == "L":
            close()
            current, linked, closed, ended = int(number) - 1, set(), False, False
            if not 0 <= current < lefts:
                current = -1
        elif side:
            if 0 < int(number) <= rights:
                linked.add(int(number) - 1)
            elif current >= 0:
                wrong.add(current)  # a row that was not shown
        elif none or empty:
            closed = True
    if ended or answer.rstrip().endswith(("}", "```")):
        close()
    return {left: said for left, said in found.items() if left not in wrong}


def groups(answer: str, items: int) -> list[list[int]]:
    """The groups of an answer with one line for each: `1, 4, 7`. Numbers are from 1 in it, and from 0 in the result.

    An item in two groups is in none of the result.
    """
    lines = [line for line in re.split(r"[\n\];]", answer) if _NUMBER.search(line) or END in line]
    if not any(END in line for line in lines):
        lines = lines[: -1 if not answer.rstrip().endswith("]") else None]
    parts = [[int(one) - 1 for one in _NUMBER.findall(_listed(line.split(END)[0]))] for line in lines]
    seen: dict[int, int] = {}
    for number, part in enumerate(parts):
        for item in set(part):
            seen[item] = -1 if item in seen else number
    kept = [sorted({item for item in part if 0 <= item < items and seen[item] == at}) for at, part in enumerate(parts)]
    return [part for part in kept if part]


def _listed(line: str) -> str:
    """A line without the name of its group: `Group 2: 1, 4` or `2. 1, 4`."""
    return re.sub(r"^\W*(?:group|entity|cluster)\s*\d*\s*[:.)-]|^\s*\d+\s*[:)](?=\s*\S)", "", line, flags=re.IGNORECASE)


def named(answer: str, items: Collection[int]) -> dict[int, str]:
    """The names of an answer with one line for each item, `C1: Delivery`: of those of `items`, numbered from 0."""
    found: dict[int, str] = {}
    lines: Sequence[str] = answer.splitlines()
    if END not in answer and lines:
        lines = lines[:-1]
    for line in lines:
        if match := re.match(r"\W*C(\d+)\W*[:=]\s*(.+?)\s*$", line, re.IGNORECASE):
            name = match[2].strip("\"'*`., ")
            if name and int(match[1]) - 1 in items:
                found.setdefault(int(match[1]) - 1, name)
    return found
