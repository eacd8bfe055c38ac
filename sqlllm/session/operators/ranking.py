"""The order of many texts from the orders of few: quickselect with several pivots, a list of texts to a prompt; pure.

A list is asked in one order and in the reverse. One text is above another where both answers say so; where they
disagree, as those of a model that prefers what is shown first do, the two are tied. A sample is ordered, and some of
its texts become pivots. Every other text is listed once with the pivots, which places it between two of them or ties
it with one. Only what may be among the first `k` goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import accumulate
from typing import NamedTuple

from . import listwise
from .steps import Prompt, Steps, together

SIZE = 20
"""Texts of a list at most: a model orders longer lists badly."""
_ANSWER = 6  # tokens of a number in the answer
SILENT = 3
"""Rounds without any answer, after which the rest is given up."""
_TRIES = 2  # more for a text that the answers about it alone leave out
Class = list[int]
"""Texts that are tied."""


@dataclass(frozen=True)
class Listing:
    """How texts are listed: `criterion` is the question, `context` what the model reads and answers, in tokens.

    `both`: each list is asked in one order and in the reverse.
    """

    criterion: str
    tokens: Callable[[str], int]
    context: int
    size: int = SIZE
    both: bool = True


@dataclass(frozen=True)
class Ranked:
    """`classes` are indexes of tied texts, the best first, until they hold `k` rows; `failed` says why by index."""

    classes: list[Class]
    failed: dict[int, str] = field(default_factory=dict)


def ranked(texts: Sequence[str], weights: Sequence[int], listing: Listing, k: int | None = None) -> Steps[Ranked]:
    """Order different `texts`, of which `weights` rows each are; with `k`, as far as the first `k` rows go.

    The order of `texts` has no effect on the result. A text whose list has no answer fails alone.
    """
    work = _Work(texts, weights, listing)
    # An order of their own, so that the lists are the same however the rows came.
    mixed = sorted(work.fitting(), key=lambda index: (blake2b(texts[index].encode()).digest(), texts[index]))
    classes = yield from work.ordered(mixed, sum(weights) if k is None else k)
    return Ranked(classes, work.failed)


def ranks(found: Ranked, weights: Sequence[int]) -> dict[int, int]:
    """SQL's rank() of each text that is ordered: 1 and the number of rows above it."""
    sizes = [sum(weights[index] for index in tied) for tied in found.classes]
    above = accumulate(sizes, initial=0)
    return {index: 1 + rows for tied, rows in zip(found.classes, above, strict=False) for index in tied}


class _Seen(NamedTuple):
    """The positions of texts in each order of a list; a text that an answer leaves out is absent."""

    positions: dict[int, tuple[int, ...]]

    def above(self, one: int, other: int) -> bool:
        pairs = zip(self.positions[one], self.positions[other], strict=True)
        return all(first < second for first, second in pairs)

    def classes(self) -> list[Class]:
        """Tied texts, the best first. A class goes on until a text is below its first."""
        found: list[Class] = []
        for index in sorted(self.positions, key=lambda index: (sum(self.positions[index]), self.positions[index])):
            if found and not self.above(found[-1][0], index):
                found[-1].append(index)
            else:
                found.append([index])
        return found


class _Work:
    def __init__(self, texts: Sequence[str], weights: Sequence[int], listing: Listing) -> None:
        self._texts, self._weights, self._listing = texts, weights, listing
        self.failed: dict[int, str] = {}
        self._room = listing.context - listing.tokens(listwise.prompt(listing.criterion, [])) - 2 * _ANSWER
        self._cost = [listing.tokens(f"[10] {text}\n") + _ANSWER for text in texts]

    def fitting(self) -> list[int]:
        """The texts of which a list takes two; the others fail."""
        for index, cost in enumerate(self._cost):
            if cost * 2 > self._room and len(self._texts) > 1:
                self.failed[index] = f"the text has {cost:,} tokens: a list of two is longer than the context"
        return [index for index in range(len(self._texts)) if index not in self.failed]

    def ordered(self, items: list[int], k: int) -> Steps[list[Class]]:
        """The classes of `items` until they hold `k` rows."""
        if k <= 0 or not items:
            return []
        if len(items) == 1:
            return [items]
        classes, rest = yield from self._sample(items)
        if not classes or not rest:
            return classes
        pivots = self._pivots(classes, rest, k / max(1, self._rows(items)))
        between, tied = yield from self._placed([classes[place][0] for place in pivots], rest)
        for gap, (start, end) in enumerate(zip([-1, *pivots], [*pivots, len(classes)], strict=True)):
            between[gap] += [index for known in classes[start + 1 : end] for index in known]
        fixed = [[*classes[place], *same] for place, same in zip(pivots, tied, strict=True)]
        segments = self._joined(between, fixed, len(items))
        place_of = {index: place for place, index in enumerate(items)}
        deeper, above = [], 0
        for among, same in segments:
            deeper.append(self.ordered(sorted(among, key=place_of.__getitem__), k - above))
            above += self._rows([*among, *same])
        parts = yield from together(deeper)
        found, above = list[Class](), 0
        for part, (_, same) in zip(parts, segments, strict=True):
            for tie in (*part, same):
                if tie and above < k:
                    found.append(tie)
                    above += self._rows(tie)
        return found

    def _joined(self, between: list[Class], fixed: list[Class], most: int) -> list[tuple[Class, Class]]:
        """Each gap and what is tied with the pivot after it; neighbours that fit one list are one, below `most`."""
        segments: list[tuple[Class, Class]] = []
        for gap, same in zip(between, [*fixed, []], strict=True):
            if segments and (last := segments[-1])[0] and gap:
                joined = [*last[0], *last[1], *gap]
                if len(joined) < most and len(self._packed([], joined, self._listing.size)) == 1:
                    segments[-1] = (joined, same)
                    continue
            segments.append((gap, same))
        return segments

    def _rows(self, items: Sequence[int]) -> int:
        return sum(self._weights[index] for index in items)

    def _sample(self, items: list[int]) -> Steps[tuple[list[Class], list[int]]]:
        """The classes of as many of the first `items` as one list takes, and all others."""
        waiting, size, alone = list(items), self._listing.size, 0
        while waiting:
            (sample, *_) = self._packed([], waiting, size)
            (seen,) = yield from self._asked([sample])
            if isinstance(seen, _Seen) and seen.positions:
                return seen.classes(), [index for index in waiting if index not in seen.positions]
            if len(sample) == 1:
                alone += 1
                for index in waiting if alone == SILENT else sample:  # no text is to blame
                    self._fail(index, seen)
                waiting = [index for index in waiting if index not in self.failed]
            size = max(1, len(sample) // 2)
        return [], []

    def _pivots(self, classes: list[Class], rest: list[int], wanted: float) -> list[int]:
        """Which of the sample's classes are pivots for the `rest`.

        If less than half is `wanted`, the best share of all rows, they are around where its end is likely.
        """
        known = sum(len(tied) for tied in classes)
        if wanted > 0.5:
            count = max(1, min(len(classes), self._listing.size // 2, len(rest) // 2))
            places = {(step + 1) * len(classes) // (count + 1) for step in range(count)}
        else:
            target = wanted * known
            after = list(accumulate(len(tied) for tied in classes))  # texts of the sample up to each class
            goals = (target / 2, target + target**0.5 / 2 + 0.5, target + 2 * target**0.5 + 1.5)
            last = len(classes) - 1
            places = {next((place for place, count in enumerate(after) if count >= goal), last) for goal in goals}
        pivots = sorted(places)
        longest = max(self._cost[index] for index in rest)  # has room beside them
        while len(pivots) > 1 and (
            len(pivots) > len(rest) or longest + sum(self._cost[classes[place][0]] for place in pivots) > self._room
        ):
            pivots.pop()
        return pivots

    def _placed(self, pivots: list[int], items: list[int]) -> Steps[tuple[list[Class], list[Class]]]:
        """The `items` in each gap around the pivots, and those tied with each."""
        between: list[Class] = [[] for _ in range(len(pivots) + 1)]
        tied: list[Class] = [[] for _ in pivots]
        pending = [(own, 0) for own in self._packed(pivots, items, self._listing.size)]
        silent = 0
        while pending:
            # Another order of the pivots is another prompt: an answer that left a text out is not met again.
            answers = yield from self._asked(
                [[*pivots[tries % len(pivots) :], *own, *pivots[: tries % len(pivots)]] for own, tries in pending]
            )
            again: list[tuple[list[int], int]] = []
            placed = False
            for (own, tries), seen in zip(pending, answers, strict=True):
                missing = own
                if isinstance(seen, _Seen) and all(pivot in seen.positions for pivot in pivots):
                    missing = [index for index in own if index not in seen.positions]
                    for index in own:
                        if index in seen.positions:
                            self._place(index, pivots, seen, between, tied)
                if len(missing) < len(own):
                    placed = True
                    again += [(missing, 0)] if missing else []
                elif silent == SILENT or (len(own) == 1 and (tries == _TRIES or isinstance(seen, str))):
                    for index in own:
                        self._fail(index, seen)
                elif len(own) == 1:
                    again.append((own, tries + 1))
                else:
                    again += [(own[: len(own) // 2], 0), (own[len(own) // 2 :], 0)]
            pending = again
            silent = 0 if placed else silent + 1
        return between, tied

    @staticmethod
    def _place(index: int, pivots: list[int], seen: _Seen, between: list[Class], tied: list[Class]) -> None:
        above = sum(seen.above(pivot, index) for pivot in pivots)
        below = sum(seen.above(index, pivot) for pivot in pivots)
        if same := len(pivots) - above - below:
            tied[above + (same - 1) // 2].append(index)
        else:
            between[above].append(index)

    def _fail(self, index: int, seen: _Seen | str) -> None:
        self.failed[index] = seen if isinstance(seen, str) else "the answer leaves this text out"

    def _packed(self, pivots: list[int], items: list[int], size: int) -> list[list[int]]:
        """Lists of `items` that fit a prompt beside the pivots, of about one length."""
        room, most = self._room - sum(self._cost[index] for index in pivots), max(1, size - len(pivots))
        count = -(-len(items) // most)
        most = -(-len(items) // count) if pivots else most
        lists: list[list[int]] = []
        used = 0
        for index in items:
            if not lists or len(lists[-1]) >= most or used + self._cost[index] > room:
                lists.append([])
                used = 0
            lists[-1].append(index)
            used += self._cost[index]
        return lists

    def _asked(self, lists: Sequence[Sequence[int]]) -> Steps[list[_Seen | str]]:
        """What the answers say of each list, or why there is none."""
        orders = [order for one in lists for order in ((one, one[::-1]) if self._listing.both else (one,))]
        replies = yield [Prompt(self._prompt(order)) for order in orders]
        each = len(orders) // len(lists)
        found: list[_Seen | str] = []
        for start in range(0, len(orders), each):
            told = replies[start : start + each]
            if errors := [reply.error or "no answer" for reply in told if reply.text is None]:
                found.append(errors[0])
                continue
            by_order = [
                {order[index]: position for index, position in listwise.positions(reply.text or "", len(order)).items()}
                for order, reply in zip(orders[start : start + each], told, strict=True)
            ]
            everywhere = [index for index in orders[start] if all(index in order for order in by_order)]
            found.append(_Seen({index: tuple(order[index] for order in by_order) for index in everywhere}))
        return found

    def _prompt(self, order: Sequence[int]) -> str:
        return listwise.prompt(self._listing.criterion, [self._texts[index] for index in order])
