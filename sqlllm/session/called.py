"""The functions that SQL calls: which there are, how many arguments they take, which one a mistyped name means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from sqlllm.dialect import builtins
from sqlllm.dialect.calls import Call, calls
from sqlllm.dialect.parser import QUERIES, STATEMENTS
from sqlllm.errors import ParseError, SQLLLMError, TableError, nearest, suggest
from sqlllm.udfs import ai
from sqlllm.udfs.functions import FUNCTIONS as LLM_FUNCTIONS

from . import parsing, vectors
from .indexes import PARAMETERS, SAME, SEARCHES

if TYPE_CHECKING:
    from sqlllm.dialect import SqlText
    from sqlllm.dialect.tokens import Token
    from sqlllm.places import Place

_WITH_QUERY = ("insert", "create", "explain", "cache", "replace")  # statements of Spark's that hold a query
_MADE = re.compile(
    r"\s*create\s+(?:or\s+replace\s+)?(?:temporary\s+|temp\s+)?function\s+(?:if\s+not\s+exists\s+)?`?(\w+)`?", re.I
)


class Functions:
    """The functions that a script can call, as far as it has been read."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self._made = {name.lower(): name for name in models}
        self.sure = True  # nothing that only a run can know has made others

    def add(self, name: str) -> None:
        """A statement makes the function `name`: a model's, or one in Python or SQL."""
        self._made[name.lower()] = name

    def read(self, sql: SqlText) -> None:
        """Note the function that a `create function` makes."""
        if made := _MADE.match(sql.text):
            self.add(made[1])

    def check(self, sql: SqlText) -> Iterator[SQLLLMError]:
        """What is wrong with the calls in `sql`: TableError for an unknown function, ParseError for its arguments."""
        for call in calls(_query(sql.tokens)):
            name = call.name.content.lower()
            place = sql.place.source.place(call.name.start, call.name.end)
            if name in self._made or name in vectors.NAMES or name in parsing.NAMES:
                continue
            if function := ai.FUNCTIONS.get(name):
                yield from _ai(name, function, call, sql.place)
            elif name in SEARCHES:
                yield from _search(name, call, place)
            elif name in LLM_FUNCTIONS:
                parameters = re.findall(r"(?:^|, )(\w+) ", LLM_FUNCTIONS[name][0])
                # A template may name columns, and a third argument of llm_prompt says what NULL is.
                counts = (1, 2, 3) if name == "llm_prompt" else (len(parameters),)
                if call.arguments is not None and call.arguments not in counts:
                    wanted = builtins.counted(len(parameters), len(parameters))
                    yield _wrong(name, wanted, call.arguments, f"{name}({', '.join(parameters)})", place)
            elif builtin := builtins.functions().get(name):
                if call.arguments is not None and not call.named and not builtin.takes(call.arguments):
                    yield _wrong(name, builtin.wanted, call.arguments, builtin.call, place)
            else:
                known = f"The script makes {', '.join(sorted(self._made.values()))}." if self._made else ""
                error = no_function(call.name.content, self._made.values(), known).at(place)
                error.cure = error.cure or "Deploy the model, or register the function, in a statement before."
                yield error


def no_function(name: str, own: Iterable[str], known: str = "") -> TableError:
    """The error for a function that is not there, with the nearest one; `own` are models and other functions made."""
    near = _nearest(name, own)
    return TableError(f"there is no function {name}", cure=f"Did you mean {near}? {known}".strip() if near else known)


def _nearest(name: str, own: Iterable[str]) -> str | None:
    """The function that `name` means: one of the script's, ai_* or llm_* before Spark's."""
    ours = [*own, *ai.FUNCTIONS, *SEARCHES, *LLM_FUNCTIONS]
    word = name.lower()
    near = nearest(word, ours)
    if near and (word.startswith(("ai_", "llm_")) or SequenceMatcher(None, word, near.lower()).ratio() > 0.8):
        return near
    if len(word) > 5 and (holding := [one for one in ours if word in one.lower()]):
        return min(holding, key=len)  # sentiment: ai_analyze_sentiment
    return nearest(word, [*builtins.functions(), *ours])


def _ai(name: str, function: ai.Function, call: Call, place: Place) -> Iterator[ParseError]:
    known = (*function.parameters, *function.named)
    for token in call.named:
        if token.text.lower() not in map(str.lower, known):
            at = place.source.place(token.start, token.end)
            yield ParseError(
                f"{name} has no {token.text}", cure=suggest(token.text, known, what=f"arguments of {name}"), place=at
            )
            return
    if call.arguments is None:
        return
    by_place = call.arguments - len(call.named)
    named = {token.text.lower() for token in call.named}
    missing = [one for one in function.parameters[by_place : function.needed] if one.lower() not in named]
    if by_place > len(function.parameters) or missing:
        wanted = builtins.counted(function.needed, len(function.parameters))
        at = place.source.place(call.name.start, call.name.end)
        yield _wrong(name, wanted, call.arguments, signature(name), at)


def _search(name: str, call: Call, place: Place) -> Iterator[ParseError]:
    known = (*PARAMETERS, *SAME)
    for token in call.named:
        if token.text.lower() not in known:
            at = place.source.place(token.start, token.end)
            cure = suggest(token.text, PARAMETERS, what=f"arguments of {name}")
            yield ParseError(f"{name} has no {token.text}", cure=cure, place=at)
            return


def signature(name: str) -> str:
    """How one of the functions ai_* is called."""
    function = ai.FUNCTIONS[name]
    needed, more = function.parameters[: function.needed], (*function.parameters[function.needed :], *function.named)
    return f"{name}({', '.join(needed)}{''.join(f' [, {one} => ...]' for one in more)})"


def _wrong(name: str, wanted: str, count: int | None, call: str, place: Place) -> ParseError:
    return ParseError(f"{name} takes {wanted}, not {count}", cure=f"Write {call}." if call else "", place=place)


def _query(tokens: Sequence[Token]) -> Sequence[Token]:
    """The part of a statement that is a query: `create table t (a int)` has brackets that belong to no call."""
    first = tokens[0].text.lower() if tokens else ""
    if first in QUERIES or first not in STATEMENTS:
        return tokens
    if first not in _WITH_QUERY or any(token.text.lower() == "function" for token in tokens[:5]):
        return ()
    start = next((index for index, token in enumerate(tokens) if token.text.lower() in QUERIES - {"(", "table"}), 0)
    return tokens[start:] if start else ()
