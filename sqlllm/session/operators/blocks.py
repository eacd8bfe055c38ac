"""Blocks of rows of two sides in one prompt, and which pairs of them the answers say belong together; pure.

A prompt holds one block, or several small ones. An answer names, for each row of the left side, the rows of the right
side that belong to it. Rows that an answer leaves out are asked about again, and where nothing of it can be read, in
halves, at last pair by pair: so a row that the model cannot answer fails alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sqlllm.udfs import reading
from sqlllm.udfs.kinds import Atom
from sqlllm.udfs.requests import RequestError

from . import numbered

Reply = str | RequestError
"""The text of an answer, or why there is none."""

Ask = Callable[[Sequence[str]], Sequence[Reply]]
"""Asks the model: prompts to a reply for each, in order."""

WAVE = 64
"""Prompts that are asked at once."""

_TOO_LONG = "context_length_exceeded"
_UNREADABLE = "unreadable_answer"


@dataclass(frozen=True, slots=True)
class Block:
    """Each of the rows `lefts` is compared with each of `rights`."""

    lefts: tuple[int, ...]
    rights: tuple[int, ...]

    @property
    def pairs(self) -> int:
        return len(self.lefts) * len(self.rights)

    @property
    def sides(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.lefts, self.rights

    def part(self, side: int, rows: tuple[int, ...]) -> Block:
        """The block with `rows` as its left (0) or right (1) side."""
        return Block(rows, self.rights) if side == 0 else Block(self.lefts, rows)


@dataclass(frozen=True)
class Sides:
    """The texts of both sides, and the statement about a pair, `{L}` and `{R}` in place of their rows.

    `pair` writes the whole question about one pair.
    """

    lefts: Sequence[str]
    rights: Sequence[str]
    statement: str
    pair: Callable[[int, int], str]


@dataclass
class Found:
    """The pairs for which the statement is true, and the pairs that have no answer, with the reason."""

    pairs: set[tuple[int, int]] = field(default_factory=set)
    failed: list[tuple[Block, RequestError]] = field(default_factory=list)
    prompts: int = 0


def prompt(sides: Sides, blocks: Sequence[Block]) -> str:
    """The prompt about some blocks. The rows R come first: prompts with the same ones begin alike."""
    if len(blocks) == 1 and blocks[0].pairs == 1:
        return sides.pair(blocks[0].lefts[0], blocks[0].rights[0])
    lines, left, right = [_TASK.format(statement=sides.statement)], 0, 0
    for number, block in enumerate(blocks, 1):
        lines += [f"\nGroup {number}"] if len(blocks) > 1 else [""]
        lines += [f"R{right + at}: {sides.rights[row]}" for at, row in enumerate(block.rights, 1)]
        lines += [f"L{left + at}: {sides.lefts[row]}" for at, row in enumerate(block.lefts, 1)]
        left, right = left + len(block.lefts), right + len(block.rights)
    return "\n".join([*lines, "", _FORM.format(of=" of its group" if len(blocks) > 1 else "")])


_TASK = "Find all pairs of a row L and a row R for which this statement is true:\n{statement}"
_FORM = (
    "Write one line for each row L: its name, and the names of all rows R{of} for which the statement is true, or none."
    " After the last line write END. For example:\nL1: R2, R5\nL2: none\nEND"
)


def resolve(requests: Iterable[Sequence[Block]], sides: Sides, ask: Ask) -> Found:
    """Ask about all blocks, `WAVE` prompts at a time; `requests` are the blocks of each prompt."""
    return _Run(requests, sides, ask).run()


class _Run:
    def __init__(self, requests: Iterable[Sequence[Block]], sides: Sides, ask: Ask) -> None:
        self._requests, self._sides, self._ask = iter(requests), sides, ask
        self._again: deque[Sequence[Block]] = deque()
        self._good = (set[int](), set[int]())  # rows of both sides that some answer was about
        self._bad = (dict[int, RequestError](), dict[int, RequestError]())  # those that failed alone among good ones
        self._most = 0  # rows L of a prompt, once an answer was cut
        self.found = Found()

    def run(self) -> Found:
        while wave := self._wave():
            replies = self._ask([prompt(self._sides, blocks) for blocks in wave])
            self.found.prompts += len(wave)
            # What is readable first: it shows which rows of those that failed are not the reason.
            read = [(blocks, self._read(blocks, reply)) for blocks, reply in zip(wave, replies, strict=True)]
            for blocks, error in read:
                if error is not None:
                    self._fail(blocks, error)
        return self.found

    def _wave(self) -> list[Sequence[Block]]:
        """The next prompts. What is asked again comes first: it shows how large the others may be."""
        wave: list[Sequence[Block]] = []
        while len(wave) < WAVE:
            blocks = self._again.popleft() if self._again else next(self._requests, None)
            if blocks is None:
                break
            wave += self._fitted([part for block in blocks if (part := self._without_bad(block))])
        return wave

    def _without_bad(self, block: Block) -> Block | None:
        """The block without rows that are known to fail; None if it then has no pairs."""
        for side in (0, 1):
            for row in [row for row in block.sides[side] if row in self._bad[side]]:
                self.found.failed.append((block.part(side, (row,)), self._bad[side][row]))
                block = block.part(side, tuple(one for one in block.sides[side] if one != row))
        return block if block.pairs else None

    def _fitted(self, blocks: Sequence[Block]) -> list[Sequence[Block]]:
        """The blocks of a prompt in as many prompts as cut answers have shown to be needed."""
        if not blocks or not self._most or sum(len(block.lefts) for block in blocks) <= self._most:
            return [blocks] if blocks else []
        cut = range(0, max(len(block.lefts) for block in blocks), self._most)
        return [[block.part(0, rows)] for block in blocks for at in cut if (rows := block.lefts[at : at + self._most])]

    def _read(self, blocks: Sequence[Block], reply: Reply) -> RequestError | None:
        """Keep what a reply says. Gives why it says nothing; None if it says something."""
        if isinstance(reply, RequestError):
            return reply
        if len(blocks) == 1 and blocks[0].pairs == 1:
            return self._read_pair(blocks[0], reply)
        said = numbered.links(reply, *(sum(len(block.sides[side]) for block in blocks) for side in (0, 1)))
        left = right = 0
        missing = list[Block]()
        for block in blocks:
            shown = range(right, right + len(block.rights))
            linked = {row: said.get(left + at) for at, row in enumerate(block.lefts)}
            for row, found in linked.items():
                if found is not None:
                    self._keep(row, [block.rights[one - right] for one in found if one in shown], block.rights)
            if rest := tuple(row for row, found in linked.items() if found is None):
                missing.append(block.part(0, rest))
            left, right = left + len(block.lefts), right + len(block.rights)
        if not said:
            return RequestError(_UNREADABLE, "the answer names none of the rows")
        if missing:
            self._again.append(missing)
            if numbered.END not in reply:
                self._most = len(said)
        return None

    def _read_pair(self, block: Block, reply: str) -> RequestError | None:
        try:
            true = reading.read(reply, Atom("boolean"))
        except reading.Unreadable as error:
            return RequestError(_UNREADABLE, str(error))
        self._keep(block.lefts[0], block.rights if true == "true" else (), block.rights)
        return None

    def _keep(self, left: int, linked: Iterable[int], shown: Iterable[int]) -> None:
        self.found.pairs.update((left, right) for right in linked)
        self._good[0].add(left)
        self._good[1].update(shown)

    def _fail(self, blocks: Sequence[Block], error: RequestError) -> None:
        """Ask about parts of the blocks, or give up where the reason is one row."""
        if len(blocks) > 1:
            half = len(blocks) // 2
            self._again += [blocks[:half], blocks[half:]]
            return
        (block,) = blocks
        new = [[row for row in side if row not in good] for side, good in zip(block.sides, self._good, strict=True)]
        alone = [len(side) == 1 for side in block.sides]
        refused = error.kind not in (_UNREADABLE, _TOO_LONG)
        # One row that no answer was ever about, among rows that answers were about: it is the reason.
        reason = [refused and alone[side] and bool(new[side]) and not new[1 - side] for side in (0, 1)]
        if block.pairs == 1 or any(reason):
            self.found.failed.append((block, error))
            for side in (0, 1):
                if reason[side]:
                    self._bad[side][block.sides[side][0]] = error
            return
        side = 0 if len(block.lefts) >= len(block.rights) else 1
        if refused and any(new):
            side = 0 if new[0] and not alone[0] else 1 if not alone[1] else 0
        elif error.kind == _UNREADABLE and not alone[0]:
            side = 0
        rows = block.sides[side]
        self._again += [[block.part(side, part)] for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :])]
