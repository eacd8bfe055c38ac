"""One answer about many texts: a tree of prompts, each packed to the context; pure.

The leaves read the texts in order, each text once. The answers about the parts are combined in the same way until one
is left, which is the only one of the asked type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from .steps import Prompt, Steps

_WHOLE = """{instruction}

The task is about the numbered texts below, all together. Answer with the answer to the task and nothing else.

{texts}"""
_PART = """{instruction}

The task is about many texts. Below are some of them, numbered. Answer for these alone, in at most {words} words. \
Keep what is needed to answer for all texts later, as names and counts.

{texts}"""
_COMBINE = """{instruction}

The task is about many texts, which were read in parts. Below are the answers for {count} of the parts, in order. \
Combine them into one answer for all of these texts{most}. Answer with that answer and nothing else.

{texts}"""


@dataclass(frozen=True)
class Folding:
    """The task: `returns` is the type of its answer in Spark's DDL, "" for text. `context` counts tokens."""

    instruction: str
    tokens: Callable[[str], int]
    context: int
    returns: str = ""

    @property
    def answer(self) -> int:
        """Tokens that are left for an answer."""
        return min(1024, self.context // 4)


@dataclass(frozen=True)
class Folded:
    """The answer about all texts, or None and why. `failed` says why a text was not read, by its index."""

    value: Any
    error: str = ""
    failed: dict[int, str] = field(default_factory=dict)


SILENT = 3
"""Rounds without any answer, after which the rest is given up."""
_LEAST = 48  # tokens of a prompt for texts: with fewer, texts would be cut to pieces of a few letters
_SHRINKS = 0.9  # a round of combining leaves at most this share of the tokens


class _Piece(NamedTuple):
    """A text, a part of one, or an answer about parts; `rows` are the texts that it stands for."""

    text: str
    rows: tuple[int, ...]
    cost: int  # tokens


def folded(texts: Sequence[str], task: Folding) -> Steps[Folded]:
    """The answer to `task` about `texts`, in their order; None about none. A text that has no answer fails alone."""
    if not texts:
        return Folded(None)
    fold = _Fold(texts, task)
    if error := fold.cramped():
        return Folded(None, error, dict.fromkeys(range(len(texts)), error))
    pieces = fold.pieces()
    parts = fold.packed(pieces, _PART)
    if len(parts) == 1 and fold.fits(pieces, _WHOLE):
        (reply,) = yield [Prompt(fold.prompt(_WHOLE, pieces), task.returns)]
        if reply.text is not None:
            return Folded(reply.value if task.returns else reply.text)
        if len(pieces) == 1:
            return Folded(None, reply.error, dict.fromkeys(pieces[0].rows, reply.error))
        parts = fold.halves(pieces)  # which text is to blame shows when fewer are asked about
    answers = yield from fold.answered(parts)
    if not answers:
        return Folded(None, next(iter(fold.failed.values())), fold.failed)
    return (yield from fold.combined(answers))


class _Fold:
    def __init__(self, texts: Sequence[str], task: Folding) -> None:
        self._texts, self._task = texts, task
        self.failed: dict[int, str] = {}
        self._room = {form: self._left(form) for form in (_WHOLE, _PART, _COMBINE)}

    def cramped(self) -> str:
        """Why no text can be read: the task leaves too little of the context. Empty if it leaves enough."""
        room = min(self._room[form] for form in (_PART, _COMBINE))
        if room >= _LEAST:
            return ""
        context = f"a context of {self._task.context:,} tokens"
        return f"the task leaves {room:,} tokens for texts in {context}; shorten it, or name a model with a longer one"

    def pieces(self) -> list[_Piece]:
        """The texts, those in a row that are equal as one, and those longer than the context in parts."""
        found: list[_Piece] = []
        for text, group in groupby(range(len(self._texts)), key=self._texts.__getitem__):
            rows = tuple(group)
            label = f"[{rows[0] + 1}]" if len(rows) == 1 else f"[{rows[0] + 1} to {rows[-1] + 1}, all alike]"
            parts = split(text, self._task.tokens, self._room[_PART] - self._task.tokens(label) - 16)
            for number, part in enumerate(parts, 1):
                mark = label if len(parts) == 1 else f"{label} (part {number} of {len(parts)})"
                found.append(self._piece(f"{mark} {part}", rows))
        return found

    def answered(self, parts: list[list[_Piece]]) -> Steps[list[_Piece]]:
        """The answers about the parts, in order; a part without one is halved until a text is left, which fails.

        Where nothing at all is answered, halves of halves are not tried: no text is to blame.
        """
        found: list[list[_Piece] | _Piece] = list(parts)
        silent = 0
        while waiting := [part for part in found if isinstance(part, list)]:
            replies = iter((yield [Prompt(self.prompt(_PART, part)) for part in waiting]))
            before, found, answered = found, [], False
            for part in before:
                if not isinstance(part, list):
                    found.append(part)
                elif (reply := next(replies)).text is not None:
                    found.append(self._piece(reply.text, _rows(part)))
                    answered = True
                elif len(part) == 1 or silent == SILENT:
                    self.failed |= dict.fromkeys(_rows(part), reply.error)
                else:
                    found += self.halves(part)
            silent = 0 if answered else silent + 1
        return [piece for piece in found if not isinstance(piece, list)]

    def combined(self, answers: list[_Piece]) -> Steps[Folded]:
        """The one answer that the answers about parts make."""
        before = 0
        while len(answers) > 1 or self._task.returns:
            answers = [piece for answer in answers for piece in self._shortened(answer)]
            parts = self.packed(answers, _COMBINE)
            tokens = sum(answer.cost for answer in answers)
            if before and tokens > before * _SHRINKS and len(parts) > 1:
                error = f"the answers about parts do not get shorter: {tokens:,} tokens; ask for a shorter answer"
                return Folded(None, error, self.failed)
            before = tokens
            last = len(parts) == 1
            replies = yield [
                Prompt(self.prompt(_COMBINE, part, partly=not last), self._task.returns if last else "")
                for part in parts
            ]
            if error := next((reply.error for reply in replies if reply.text is None), ""):
                return Folded(None, error, self.failed)
            if last:
                return Folded(replies[0].value if self._task.returns else replies[0].text, "", self.failed)
            answers = [self._piece(reply.text or "", _rows(part)) for part, reply in zip(parts, replies, strict=True)]
        return Folded(answers[0].text, "", self.failed)

    @staticmethod
    def halves(part: list[_Piece]) -> list[list[_Piece]]:
        return [part[: len(part) // 2], part[len(part) // 2 :]]

    def packed(self, pieces: Sequence[_Piece], form: str) -> list[list[_Piece]]:
        """The pieces in prompts, in order: a prompt goes on until the next piece does not fit.

        So rows that are added at the end leave the prompts before them as they were, and those have their answers.
        """
        parts: list[list[_Piece]] = []
        used = 0
        for piece in pieces:
            if not parts or used + piece.cost > self._room[form]:
                parts.append([])
                used = 0
            parts[-1].append(piece)
            used += piece.cost
        return parts

    def fits(self, pieces: Sequence[_Piece], form: str) -> bool:
        return sum(piece.cost for piece in pieces) <= self._room[form]

    def prompt(self, form: str, pieces: Sequence[_Piece], *, partly: bool = False) -> str:
        words = max(20, self._task.answer // 4)
        return form.format(
            instruction=self._task.instruction.strip(),
            texts="\n\n".join(piece.text for piece in pieces),
            words=words,
            count=len(pieces),
            most=f", in at most {words} words" if partly else "",
        )

    def _shortened(self, answer: _Piece) -> list[_Piece]:
        """An answer that is longer than half of a prompt, cut: two of them must fit one."""
        room = self._room[_COMBINE] // 2
        if answer.cost <= room:
            return [answer]
        return [self._piece(part, answer.rows) for part in split(answer.text, self._task.tokens, room - 2)]

    def _piece(self, text: str, rows: tuple[int, ...]) -> _Piece:
        return _Piece(text, rows, self._task.tokens(text) + 2)  # and the line between two

    def _left(self, form: str) -> int:
        """Tokens of a prompt that are left for texts."""
        return max(1, self._task.context - self._task.answer - self._task.tokens(self.prompt(form, (), partly=True)))


def _rows(part: Sequence[_Piece]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(row for piece in part for row in piece.rows))


def split(text: str, tokens: Callable[[str], int], most: int) -> list[str]:
    """`text` in parts of at most `most` tokens, cut at a space if there is one; joined they are `text`."""
    if len(text) < 2 or tokens(text) <= most:
        return [text]
    middle = len(text) // 2
    spaces = [at for at in (text.rfind(" ", 1, middle), text.find(" ", middle)) if at > 0]
    cut = min(spaces, key=lambda at: abs(at - middle), default=middle)
    return [*split(text[:cut], tokens, most), *split(text[cut:], tokens, most)]
