"""How many rows to ask about until a LIMIT is full; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import TypeVar

_SPARE = 5  # calls beyond one and a half times the least possible
T = TypeVar("T")


def fill(
    rows: Iterator[T], needed: int, key: Callable[[T], Hashable], passes: Callable[[Sequence[T]], Collection[int]]
) -> list[T]:
    """The first `needed` of `rows` that pass, in order; all that pass if there are fewer.

    `passes` gives the places of the rows that pass among some rows of different keys; rows of one key pass alike.
    It is asked about at most half as many keys, and `_SPARE`, more than one who asked row by row would ask about.
    """
    found: list[T] = []
    known: dict[Hashable, bool] = {}
    read = 0
    while len(found) < needed:
        size = chunk_size(needed - len(found), asked=len(known), read=read, found=len(found))
        chunk: dict[Hashable, T] = {}
        waiting: list[tuple[Hashable, T]] = []
        unknown = ready = 0
        for row in rows:
            named = key(row)
            read += 1
            waiting.append((named, row))
            if named not in known:
                chunk.setdefault(named, row)
                unknown += 1
            elif known[named] and not chunk:
                ready += 1  # no answer before it is missing
            if unknown >= size or ready >= needed - len(found):
                break
        if not waiting:
            break
        passed = passes(list(chunk.values())) if chunk else ()
        known |= {named: place in passed for place, named in enumerate(chunk)}
        found += [row for named, row in waiting if known[named]][: needed - len(found)]
    return found


def chunk_size(needed: int, *, asked: int, read: int, found: int) -> int:
    """Rows to ask about next: as many as are needed at the share of rows that has passed so far.

    `asked` keys of `read` rows are known, of which `found` pass; `needed` more shall. As at least `needed` more calls
    are to come, that number keeps within the bound of `fill`.
    """
    most = (asked + needed) * 3 // 2 + _SPARE - asked
    if not read:
        return needed
    return min(math.ceil(needed * read / found), most) if found else most
