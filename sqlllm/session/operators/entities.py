"""Which records are the same: records that are near each other are grouped in one prompt, and groups merged; pure.

Records are compared through the representative of their group, so a prompt settles the pairs of whole groups at once.
The result does not depend on the order of the records. A chain of records, each like the next, does not become one
entity: every record of an entity was judged the same as its canonical record, in one prompt.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sqlllm.udfs.requests import RequestError

from . import numbered
from .blocks import WAVE, Ask
from .neighbours import Vectors, among, enough, similarities

RECORDS = 24
"""Records in a prompt at most."""

_WIDTH = 8  # neighbours of a record that are compared at first
_SAMPLE = 64  # records whose wider neighbourhood says whether that was enough
_SEED = 17
_UNREADABLE = "unreadable_answer"
Pair = tuple[int, int]


@dataclass
class Entities:
    """For each record the number of its canonical record; the pairs that have no answer, with the reason."""

    canonical: list[int]
    failed: dict[Pair, RequestError] = field(default_factory=dict)
    prompts: int = 0


@dataclass(frozen=True)
class Limits:
    """`tokens` counts those of a text, `context` is how many a prompt and its answer may have."""

    tokens: Callable[[str], int]
    context: int
    records: int = RECORDS
    recall: float = 0.95
    confidence: float = 0.95


def prompt(records: Sequence[str], statement: str) -> str:
    """The prompt about some records; `statement` has {A} and {B} for two of them."""
    lines = [_TASK.format(statement=statement), ""]
    lines += [f"{number}: {record}" for number, record in enumerate(records, 1)]
    return "\n".join([*lines, "", _FORM])


_TASK = "Sort these records into groups. Two records A and B are of one group if this is true:\n{statement}"
_FORM = (
    "Write one line for each group: the numbers of its records, separated by commas. Each record is in one line; a"
    " record without another of its kind has a line of its own. After the last line write END. For example:\n"
    "1, 3\n2\nEND"
)


def entities(records: Sequence[str], vectors: Vectors, statement: str, limits: Limits, ask: Ask) -> Entities:
    """The entities of distinct `records`, whose `vectors` say which are near each other."""
    order = sorted(range(len(records)), key=lambda row: records[row])
    run = _Run([records[row] for row in order], vectors[order], statement, limits, ask)
    found = run.run()
    canonical = [0] * len(records)
    for place, row in enumerate(order):
        canonical[row] = order[found[place]]
    failed = {(order[one], order[other]): error for (one, other), error in run.failed.items()}
    return Entities(canonical, failed, run.prompts)


class _Run:
    """Works on records in the order of their texts."""

    def __init__(self, records: list[str], vectors: Vectors, statement: str, limits: Limits, ask: Ask) -> None:
        self._records, self._vectors, self._statement, self._limits, self._ask = (
            records, vectors, statement, limits, ask,
        )  # fmt: skip
        self._sizes = [limits.tokens(record) + 8 for record in records]
        self._room = limits.context * 0.8 - limits.tokens(prompt([], statement))
        self._root = list(range(len(records)))
        self._members = {row: [row] for row in range(len(records))}
        self._apart: dict[int, set[int]] = defaultdict(set)  # by root, both ways
        self._direct: set[Pair] = set()  # judged the same in one prompt
        self._most = dict[int, int]()  # records in a prompt with this one, after an answer that failed
        self._good, self._bad = set[int](), set[int]()  # that some answer named; that failed beside one of these
        self.failed: dict[Pair, RequestError] = {}
        self.prompts = 0

    def run(self) -> list[int]:
        count = len(self._records)
        width = min(_WIDTH, count - 1)
        while width > 0:
            ranks = among(self._vectors, width)
            self._settle(ranks)
            if width >= count - 1 or self._is_enough(width):
                break
            width = min(2 * width, count - 1)
        return self._split()

    def _is_enough(self, width: int) -> bool:
        """Whether the next neighbours of a sample of records hold few enough matches."""
        drawn = random.Random(_SEED)  # noqa: S311 - not a secret
        rows = range(len(self._records))
        wide = among(self._vectors, min(2 * width, len(rows) - 1))
        sample = set(drawn.sample(rows, min(_SAMPLE, len(rows))))
        near = {pair: rank for pair, rank in wide.items() if sample & set(pair)}
        self._settle(near)
        ranks = [rank for (one, other), rank in near.items() if self._root[one] == self._root[other]]
        count = enough(ranks, 2 * width, self._limits.recall, self._limits.confidence)
        if count is None:  # too few matches for that confidence
            return sum(rank > width for rank in ranks) <= (1 - self._limits.recall) * len(ranks)
        return count <= width

    # --- Rounds of prompts ---------------------------------------------------------------------------------------

    def _settle(self, pairs: Iterable[Pair]) -> None:
        """Ask until each of `pairs` is in one group, or apart."""
        waiting = list(pairs)
        while edges := self._open(waiting):
            waiting = [(one, other) for one, other in waiting if not self._is_settled(one, other)]
            blocks = self._blocks(edges)
            for start in range(0, len(blocks), WAVE):
                self._round(blocks[start : start + WAVE])

    def _is_settled(self, one: int, other: int) -> bool:
        a, b = self._root[one], self._root[other]
        return a == b or b in self._apart[a] or not self._bad.isdisjoint((a, b))

    def _open(self, pairs: Iterable[Pair]) -> dict[int, dict[int, float]]:
        """Roots that have not been compared yet, by root, with how near they are."""
        found = {(self._root[one], self._root[other]) for one, other in pairs if not self._is_settled(one, other)}
        roots = sorted({(min(pair), max(pair)) for pair in found})
        edges: dict[int, dict[int, float]] = defaultdict(dict)
        for (a, b), near in zip(roots, similarities(self._vectors, roots), strict=True):
            edges[a][b] = edges[b][a] = near
        return edges

    def _blocks(self, edges: dict[int, dict[int, float]]) -> list[list[int]]:
        """Sets of roots that are near each other, none in two; small ones share a block."""
        free, blocks = dict.fromkeys(sorted(edges)), list[list[int]]()
        strongest = sorted(edges, key=lambda row: (-max(edges[row].values()), row))
        for seed in strongest:
            if seed not in free:
                continue
            block, reach = [seed], dict(edges[seed])
            del free[seed]
            while reach and self._fits(block):
                row = min(reach, key=lambda one: (-reach[one], one))
                del reach[row]
                if row not in free or not self._fits([*block, row]):
                    continue
                block.append(row)
                del free[row]
                for one, near in edges[row].items():
                    if one in free:
                        reach[one] = reach.get(one, 0.0) + near
            if len(block) > 1:
                blocks.append(block)
        return self._packed(blocks)

    def _packed(self, blocks: list[list[int]]) -> list[list[int]]:
        packed: list[list[int]] = []
        for block in blocks:
            if packed and self._fits([*packed[-1], *block]):
                packed[-1] += block
            else:
                packed.append(list(block))
        return [sorted(block) for block in packed]

    def _fits(self, block: Sequence[int]) -> bool:
        most = min((self._most.get(row, self._limits.records) for row in block), default=self._limits.records)
        return len(block) <= 2 or (len(block) <= most and sum(self._sizes[row] for row in block) <= self._room)

    def _round(self, blocks: Sequence[list[int]]) -> None:
        """Ask about blocks of roots, which have no root in common."""
        for block, parts, error in self._answers(blocks):
            if error is not None:
                self._shrink(block, error, block)
                continue
            roots = [self._merge(part) for part in parts]
            for root in roots:
                self._apart[root].update(one for one in roots if one != root)
            named = {row for part in parts for row in part}
            self._good |= named
            if missing := [row for row in block if row not in named]:
                self._shrink(block, RequestError(_UNREADABLE, "the answer leaves out a record"), missing)

    def _answers(self, blocks: Sequence[list[int]]) -> list[tuple[list[int], list[list[int]], RequestError | None]]:
        """What is said of each block: its groups, or why there is no answer."""
        texts = [prompt([self._records[row] for row in block], self._statement) for block in blocks]
        replies = self._ask(texts)
        self.prompts += len(texts)
        found: list[tuple[list[int], list[list[int]], RequestError | None]] = []
        for block, reply in zip(blocks, replies, strict=True):
            if isinstance(reply, RequestError):
                found.append((block, [], reply))
            else:
                parts = [[block[one] for one in part] for part in numbered.groups(reply, len(block))]
                self._direct.update((a, b) for part in parts for a in part for b in part if a < b)
                found.append((block, parts, None))
        return found

    def _shrink(self, block: Sequence[int], error: RequestError, missing: Sequence[int]) -> None:
        """Ask about those that are missing with fewer others at once, or give up on a pair."""
        if len(block) == 2:
            one, other = block
            self.failed[one, other] = error
            self._apart[one].add(other)
            self._apart[other].add(one)
            if error.kind != _UNREADABLE and (bad := [row for row in block if row not in self._good]) and len(bad) == 1:
                self._bad.update(bad)  # the reason, as the other one had answers
                self._most.clear()
                return
        for row in missing:
            self._most[row] = max(2, len(block) // 2)

    def _merge(self, roots: Sequence[int]) -> int:
        """One group of several, under the record that is nearest to all of its records."""
        if len(roots) == 1:
            return roots[0]
        members = sorted(row for root in roots for row in self._members.pop(root))
        root, apart = central(self._records, self._vectors, members), set[int]()
        for one in roots:
            apart |= self._apart.pop(one, set())
        apart -= set(roots)
        for other in apart:
            self._apart[other] = self._apart[other] - set(roots) | {root}
        self._apart[root], self._members[root] = apart, members
        for row in members:
            self._root[row] = root
        return root

    # --- The end -------------------------------------------------------------------------------------------------

    def _split(self) -> list[int]:
        """The canonical record of each record. Records that met theirs only through others are compared with it."""
        found, waiting = list(self._root), list[list[int]]()
        for root, members in sorted(self._members.items()):
            block = [root]
            for row in members:
                if row == root or (min(row, root), max(row, root)) in self._direct:
                    continue
                if not self._fits([*block, row]):
                    waiting.append(block)
                    block = [root]
                block.append(row)
            waiting += [block] if len(block) > 1 else []
        while waiting:
            blocks, waiting = waiting[:WAVE], waiting[WAVE:]
            for block, parts, error in self._answers(blocks):
                root, *rows = block
                named = {row for part in parts for row in part}
                named = named if root in named else set()
                for part in parts if named else ():
                    if root not in part:
                        new = central(self._records, self._vectors, part)
                        for row in part:
                            found[row] = new
                missing = [row for row in rows if row not in named]
                if len(block) > 2:
                    waiting += [[root, row] for row in missing]
                elif missing:
                    said = error or RequestError(_UNREADABLE, "the answer leaves out a record")
                    self.failed[min(block), max(block)] = said
        return found


def central(records: Sequence[str], vectors: Vectors, members: Sequence[int]) -> int:
    """The member that is nearest to all others; of several the one with the longest record, then the first."""
    mine = vectors[list(members)]
    near = np.asarray(mine @ np.asarray(mine.sum(axis=0)).ravel()).ravel()
    found = zip(near, members, strict=True)  # rounded, as sums differ from processor to processor
    return min(found, key=lambda one: (-round(float(one[0]), 4), -len(records[one[1]]), one[1]))[1]
