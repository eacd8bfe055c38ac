"""`!if ... !elif ... !else ... !fi`: a flat row of macros made into a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import ParseError, ScriptError
from .branches import Condition, Expression, parse_condition
from .sql import SqlText
from .statements import Branch, If, Macro, Statement
from .tokens import Token

DEEPEST = 64


@dataclass
class _Open:
    opener: Macro
    conditions: list[tuple[Macro, Condition]]
    bodies: list[list[Statement]] = field(default_factory=lambda: [[]])
    has_else: bool = False


class Nesting:
    """Collects statements; the ones between `!if` and `!fi` go into an If."""

    def __init__(self, errors: list[ScriptError]) -> None:
        self._errors = errors
        self._statements: list[Statement] = []
        self._open: list[_Open] = []

    def add(self, statement: Statement) -> None:
        """Put a statement where it belongs; raises ParseError for a branch out of place."""
        step = _STEPS.get(statement.name) if isinstance(statement, Macro) else None
        if step is None:
            (self._open[-1].bodies[-1] if self._open else self._statements).append(statement)
            return
        assert isinstance(statement, Macro)
        if statement.args and statement.name not in {"if", "elif"}:
            raise ParseError(f"!{statement.name} takes no argument", place=statement.args[0].place)
        step(self, statement)

    def close(self) -> tuple[Statement, ...]:
        """All statements, at the end of the script; an `!if` without its `!fi` is an error."""
        while self._open:
            place = self._open[-1].opener.place
            self._errors.append(ParseError("this !if has no !fi", cure="Write !fi; where it ends.", place=place))
            self._finish(self._open[-1].opener)
        return tuple(self._statements)

    def _if(self, macro: Macro) -> None:
        if len(self._open) >= DEEPEST:
            raise ParseError(f"!if is nested more than {DEEPEST} deep", place=macro.place)
        self._open.append(_Open(macro, [(macro, self._condition(macro))]))

    def _elif(self, macro: Macro) -> None:
        block = self._innermost(macro)
        block.conditions.append((macro, self._condition(macro)))
        block.bodies.append([])

    def _else(self, macro: Macro) -> None:
        block = self._innermost(macro)
        block.has_else = True
        block.bodies.append([])

    def _then(self, macro: Macro) -> None:
        self._innermost(macro)

    def _condition(self, macro: Macro) -> Condition:
        """The condition of `macro`. One that cannot be read still opens a branch, so that its `!fi` finds it."""
        try:
            if len(macro.args) == 1:
                return parse_condition(macro.args[0], self._errors)
            place = macro.args[1].place if macro.args else macro.place
            cure = f"Write !{macro.name} ''':a > 1 and :b == \"x\"''';"
            raise ParseError(f"!{macro.name} takes one condition", cure=cure, place=place)
        except ParseError as error:
            self._errors.append(error)
            return Condition((), Expression(SqlText("", macro.place), ()))

    def _innermost(self, macro: Macro) -> _Open:
        if not self._open:
            raise ParseError(f"!{macro.name} without an !if before it", place=macro.place)
        if self._open[-1].has_else:
            raise ParseError(f"!{macro.name} after !else", cure="!else comes last.", place=macro.place)
        return self._open[-1]

    def _finish(self, macro: Macro) -> None:
        if not self._open:
            raise ParseError("!fi without an !if before it", place=macro.place)
        block = self._open.pop()
        otherwise = tuple(block.bodies.pop()) if block.has_else else ()
        branches = tuple(
            Branch(place=macro.place, condition=condition, statements=tuple(body))
            for (macro, condition), body in zip(block.conditions, block.bodies, strict=True)
        )
        start = block.opener.place
        place = start.source.place(start.start, max(start.end, macro.place.end))
        self.add(If(place=place, branches=branches, otherwise=otherwise))


_STEPS = {"if": Nesting._if, "elif": Nesting._elif, "else": Nesting._else, "then": Nesting._then, "fi": Nesting._finish}


def opens(tokens: Sequence[Token]) -> int:
    """How many blocks the statement of `tokens` opens: 1 for `!if`, -1 for `!fi`, else 0."""
    word = tokens[1].text.lower() if len(tokens) > 1 and tokens[0].text == "!" else ""
    return {"if": 1, "fi": -1}.get(word, 0)
