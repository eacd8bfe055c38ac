"""The calls of a select in the user's own words: `ai_classify(note, array('a', 'b'))`, never what it stands for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from sqlllm.planner.sql import is_call, read, write

from .calls import tokens_of
from .functions import separators

if TYPE_CHECKING:
    from sqlllm.dialect import RenderedSql
    from sqlllm.planner.asked import Asked


@dataclass(frozen=True, slots=True)
class _Call:
    """A call: its model in lower case, its request as the planner writes it, and how the user wrote the whole."""

    model: str
    request: str
    text: str


def wording(sql: RenderedSql, asked: Sequence[Asked], models: Collection[str]) -> list[str]:
    """What the user wrote for each call that the planner makes of `sql`, in which the ai_* functions stand written out.

    A call that serves several of the user's has the texts of all, with "or".
    """
    calls = _calls(sql, models)
    found = [_matches(call, calls, models) for call in asked]
    known = {id(one) for matches in found for one in matches}
    texts = []
    for call, matches in zip(asked, found, strict=True):
        # A request that was changed beyond recognition is of a call that no other request is of.
        own = matches or [one for one in calls if one.model == call.model and id(one) not in known]
        texts.append(" or ".join(dict.fromkeys(one.text for one in own)) or f"{call.model}({call.request})")
    return texts


def _calls(sql: RenderedSql, models: Collection[str]) -> list[_Call]:
    """The calls in the order of the text."""
    tree, tokens = read(sql.text), tokens_of(sql.text)
    nodes = [node for node in tree.find_all(exp.Anonymous) if is_call(node, models)] if tree else []
    nodes = sorted(nodes, key=lambda node: node.meta.get("start", 0))
    places = {token.start: index for index, token in enumerate(tokens)}
    found = []
    for node in nodes:
        if (index := places.get(node.meta.get("start", -1))) is None:
            continue
        end = separators(tokens, index + 1)[1]
        place = sql.place_at(tokens[index].start, end.end if end else None)
        found.append(_Call(node.name.lower(), write(node.expressions[0]), " ".join(place.text.split())))
    return found


def _matches(asked: Asked, calls: Sequence[_Call], models: Collection[str]) -> list[_Call]:
    """The calls whose request is a part of what is asked, but not of a call inside it."""
    tree = read(f"select {asked.request}")
    nodes = tree.expressions[0].walk(prune=lambda node: is_call(node, models)) if isinstance(tree, exp.Select) else ()
    parts = {write(node) for node in nodes}
    return [call for call in calls if call.model == asked.model and call.request in parts]
