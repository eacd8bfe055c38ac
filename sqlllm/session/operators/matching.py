"""How the pairs of a semantic join are asked about: the ways, what each costs, and the cheapest that is allowed; pure.

Groups are what the equalities of the join leave: the rows of one group are compared with each other alone. No list of
all pairs is ever made.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .blocks import Ask, Block, Found, Sides, prompt, resolve
from .neighbours import Embed, enough, fewest, nearest

METHODS = ("auto", "pairs", "blocks", "classify", "candidates")
"""The ways by name: a prompt for each pair; blocks of both sides; a prompt for each row of one side, with all rows of
the other; blocks of rows that are near each other by their vectors."""

SIDE = 32
"""Rows of one side in a prompt at most, unless the context has room for fewer."""

_SMALL = 64  # rows of a side that a prompt for each row of the other may show
_CALL = 20  # tokens that a call costs besides those of its prompt
_ANSWERED = 6  # tokens of an answer about one row
_GUESS = 4  # neighbours of a row, before the sample says how many are needed
_NET = 20  # neighbours of a row of the sample
_FILL = 0.8  # share of the context that a prompt and its answer may take: tokens are estimates
_SEED = 17


@dataclass(frozen=True)
class Problem:
    """What is to be joined. `tokens` counts those of a text, `context` is how many a prompt and its answer may have.

    `recall` is the share of matches that a way by candidates shall find: 1 excludes it. `rows` is the most rows of a
    side in a prompt.
    """

    sides: Sides
    groups: Sequence[Block]
    tokens: Callable[[str], int]
    context: int
    recall: float = 1.0
    confidence: float = 0.95
    rows: int = SIDE

    @property
    def pairs(self) -> int:
        """The pairs that a prompt for each would ask about."""
        return sum(block.pairs for block in self.groups)


@dataclass(frozen=True)
class Cost:
    """The calls and tokens that a way is expected to take; `total` orders the ways. Tokens of answers count double."""

    method: str
    calls: int
    prompt_tokens: int
    answer_tokens: int

    @property
    def total(self) -> int:
        return self.prompt_tokens + 2 * self.answer_tokens + _CALL * self.calls


def costs(problem: Problem, method: str = "auto") -> list[Cost]:
    """The ways that are possible, the cheapest first, and `method` among them."""
    if not problem.pairs:
        return [Cost("blocks" if method == "auto" else method, 0, 0, 0)]
    sizes = _Sizes(problem)
    found = [sizes.pairs(), sizes.blocks()]
    if sizes.small is not None or method == "classify":
        found.append(sizes.classify(sizes.smaller))
    if problem.recall < 1 or method == "candidates":
        found.append(sizes.candidates())
    return sorted(found, key=lambda cost: cost.total)


def match(problem: Problem, ask: Ask, embed: Embed, method: str = "auto") -> Found:
    """The pairs for which the statement is true, asked about in the cheapest way, or by `method`."""
    if not problem.pairs:
        return Found()
    chosen = costs(problem)[0].method if method == "auto" else method
    if chosen == "candidates":
        return _near(problem, ask, embed)
    sizes = _Sizes(problem)
    requests: Iterable[Sequence[Block]]
    if chosen == "pairs":
        requests = ([block] for group in problem.groups for block in _cut(group, 1, 1))
    elif chosen == "classify":
        requests = sizes.classified(sizes.smaller)
    else:
        requests = sizes.packed(problem.groups)
    return resolve(requests, problem.sides, ask)


class _Sizes:
    """How many rows fit a prompt, and what prompts cost."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._texts = tuple(
            {row: problem.tokens(texts[row]) + 4 for row in rows}
            for texts, rows in zip((problem.sides.lefts, problem.sides.rights), _rows(problem.groups), strict=True)
        )
        self._task = problem.tokens(prompt(problem.sides, [Block((), ())]))
        self._mean = [sum(side.values()) / max(1, len(side)) for side in self._texts]
        self._room = max(1.0, problem.context * _FILL - self._task)
        self._left, self._right = self._best()

    @property
    def smaller(self) -> int:
        """The side (0 left, 1 right) with fewer rows."""
        return int(len(self._texts[1]) <= len(self._texts[0]))

    @property
    def small(self) -> int | None:
        """The same side if a prompt can show all of its rows, else None."""
        side = self.smaller
        fits = sum(self._texts[side].values()) + max(self._texts[1 - side].values()) < self._room
        return side if fits and len(self._texts[side]) <= _SMALL else None

    def _best(self) -> tuple[int, int]:
        """The rows of each side in a prompt that cost the fewest tokens in all."""
        most = [
            min(self._problem.rows, max(len(block.sides[side]) for block in self._problem.groups)) for side in (0, 1)
        ]
        best = (math.inf, 1, 1)
        for left in _steps(most[0]):
            for right in _steps(most[1]):
                tokens = self._prompt(left, right)
                if (left, right) == (1, 1) or tokens <= self._room:
                    best = min(best, ((tokens + self._task + _CALL) / (left * right), left, right))
        return best[1], best[2]

    def _prompt(self, left: int, right: int) -> float:
        """Tokens of a prompt with these numbers of rows and of its answer, without its task."""
        return left * (self._mean[0] + _ANSWERED) + right * self._mean[1]

    def pairs(self) -> Cost:
        pairs = self._problem.pairs
        question = self._problem.tokens(self._problem.sides.pair(*(side[0] for side in self._problem.groups[0].sides)))
        return Cost("pairs", pairs, pairs * question, pairs)

    def blocks(self) -> Cost:
        calls, tokens, answered, small = 0, 0.0, 0, 0.0
        most = (self._left, self._right)
        for block in self._problem.groups:
            left, right = (-(-len(side) // limit) for side, limit in zip(block.sides, most, strict=True))
            shown = right * len(block.lefts) * self._mean[0] + left * len(block.rights) * self._mean[1]
            tokens += shown
            answered += right * len(block.lefts) * _ANSWERED
            if left * right == 1:  # shares a prompt
                small += max(shown / self._room, *(len(side) / (2 * self._problem.rows) for side in block.sides))
            else:
                calls += left * right
        calls += math.ceil(small)
        return Cost("blocks", calls, round(tokens + calls * self._task), answered)

    def classify(self, small: int) -> Cost:
        calls = len(self._texts[1 - small])
        shown = self._task + sum(self._texts[small].values()) + self._mean[1 - small]
        return Cost(
            "classify", calls, round(calls * shown), calls * _ANSWERED * (len(self._texts[0]) if not small else 1)
        )

    def candidates(self) -> Cost:
        """A guess: the sample decides how many neighbours are asked about."""
        rows, others = (len(side) for side in self._texts)
        sample = min(rows, 2 * fewest(self._problem.recall, self._problem.confidence))
        pairs = sample * min(_NET, others) + (rows - sample) * min(_GUESS, others)
        shown = pairs * self._mean[1] + rows * self._mean[0]
        calls = math.ceil(max(shown / self._room, pairs / (2 * self._problem.rows)))
        return Cost("candidates", calls, round(shown + calls * self._task), rows * _ANSWERED)

    def classified(self, small: int) -> Iterator[list[Block]]:
        """A prompt for each row of the larger side."""
        for group in self._problem.groups:
            for row in group.sides[1 - small]:
                yield [group.part(1 - small, (row,))]

    def packed(self, groups: Iterable[Block]) -> Iterator[list[Block]]:
        """The groups in prompts: large ones in blocks, several small ones in one prompt."""
        waiting: list[Block] = []
        used, rows = 0, [0, 0]
        for group in groups:
            blocks = list(self._cut(group)) if group.pairs <= self._left * self._right else []
            if len(blocks) != 1:
                yield from ([block] for block in blocks or self._cut(group))
                continue
            tokens, sizes = self._tokens(group), [len(side) for side in group.sides]
            full = any(sum(both) > 2 * self._problem.rows for both in zip(rows, sizes, strict=True))
            if waiting and (full or used + tokens > self._room):
                yield waiting
                waiting, used, rows = [], 0, [0, 0]
            waiting.append(group)
            used, rows = used + tokens, [sum(both) for both in zip(rows, sizes, strict=True)]
        if waiting:
            yield waiting

    def _tokens(self, block: Block) -> int:
        texts = sum(side[row] for side, rows in zip(self._texts, block.sides, strict=True) for row in rows)
        return texts + _ANSWERED * len(block.lefts)

    def _cut(self, group: Block) -> Iterator[Block]:
        """Blocks that fit a prompt."""
        for block in _cut(group, self._left, self._right):
            yield from self._halved(block)

    def _halved(self, block: Block) -> Iterator[Block]:
        if block.pairs == 1 or self._tokens(block) <= self._room:
            yield block
            return
        side = int(len(block.rights) > len(block.lefts))
        rows = block.sides[side]
        for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            yield from self._halved(block.part(side, part))


def _cut(group: Block, left: int, right: int) -> Iterator[Block]:
    """A group in blocks of at most these numbers of rows, about even, those with the same rows R one after another."""
    for rights in _even(group.rights, right):
        for lefts in _even(group.lefts, left):
            yield Block(lefts, rights)


def _even(rows: tuple[int, ...], most: int) -> Iterator[tuple[int, ...]]:
    parts = -(-len(rows) // most)
    for part in range(parts):
        yield rows[len(rows) * part // parts : len(rows) * (part + 1) // parts]


def _steps(most: int) -> Iterator[int]:
    """1, 2, 4 ... and `most`."""
    size = 1
    while size < most:
        yield size
        size *= 2
    yield most


def _rows(groups: Iterable[Block]) -> tuple[dict[int, None], dict[int, None]]:
    """The rows of both sides, each once."""
    found = (dict[int, None](), dict[int, None]())
    for block in groups:
        for side in (0, 1):
            found[side].update(dict.fromkeys(block.sides[side]))
    return found


# --- by candidates -----------------------------------------------------------------------------------------------


def _near(problem: Problem, ask: Ask, embed: Embed) -> Found:
    """Ask about the rows that are near each other by their vectors.

    A sample of rows L is compared with all of its neighbours in a wide net. The ranks of its matches say how many
    neighbours the other rows need; a sample with matches in the outer half of the net widens it.
    """
    order = random.Random(_SEED)  # noqa: S311 - not a secret
    sizes, total = _Sizes(problem), Found()
    lefts, rights = _rows(problem.groups)
    vectors = embed([problem.sides.lefts[row] for row in lefts] + [problem.sides.rights[row] for row in rights])
    one, other = vectors[: len(lefts)], vectors[len(lefts) :]
    left, right = list(lefts), list(rights)
    allowed = _Allowed(problem.groups)
    asked: set[tuple[int, int]] = set()

    def compare(pairs: Iterable[tuple[int, int]]) -> None:
        by_left = defaultdict[int, list[int]](list)
        for pair in pairs:
            if pair not in asked and allowed(*pair):
                asked.add(pair)
                by_left[pair[0]].append(pair[1])
        found = resolve(sizes.packed(Block((row,), tuple(near)) for row, near in by_left.items()), problem.sides, ask)
        total.pairs |= found.pairs
        total.failed += found.failed
        total.prompts += found.prompts

    width, largest = min(_NET, max(len(left), len(right))), max(len(left), len(right))
    drawn = order.sample(left, len(left))
    needed, size = fewest(problem.recall, problem.confidence), 0
    while True:
        ranks = {
            (left[a], right[b]): rank
            for (a, b), rank in nearest(one, other, width).items()
            if allowed(left[a], right[b])
        }
        near = defaultdict[int, list[int]](list)
        for a, b in ranks:
            near[a].append(b)
        while True:
            size = min(len(drawn), max(size, needed))
            sample = drawn[:size]
            compare((row, one) for row in sample for one in near[row])
            found = [ranks[row, one] for row in sample for one in near[row] if (row, one) in total.pairs]
            if len(found) >= needed or size == len(drawn):
                break
            size *= 2
        count = enough(found, width, problem.recall, problem.confidence)
        if width >= largest or (count is not None and 2 * count <= width):
            break
        if size == len(drawn) and sum(2 * rank > width for rank in found) <= (1 - problem.recall) * len(found):
            break  # all rows are asked about, and the outer half of the net holds few matches
        width = min(4 * width, largest)
    compare(pair for pair, rank in ranks.items() if rank <= (count or width))
    return total


class _Allowed:
    """Whether a pair is in one of the groups."""

    def __init__(self, groups: Sequence[Block]) -> None:
        self._of: dict[int, set[int]] = defaultdict(set)
        self._rights = [frozenset(block.rights) for block in groups]
        for number, block in enumerate(groups):
            for row in block.lefts:
                self._of[row].add(number)

    def __call__(self, left: int, right: int) -> bool:
        return any(right in self._rights[number] for number in self._of.get(left, ()))
