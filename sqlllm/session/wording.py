"""The calls of a select in the user's own words: `ai_classify(note, array('a', 'b'))`, never what it stands for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from sqlllm.planner.sql import is_call, read, write
from sqlllm.udfs.ai import FUNCTIONS

from .calls import calls, tokens_of
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
    written = _calls(sql, models)
    found = [_matches(call, written, models) for call in asked]
    known = {id(one) for matches in found for one in matches}
    texts = []
    for call, matches in zip(asked, found, strict=True):
        # A request that was changed beyond recognition is of a call that no other request is of.
        own = matches or [one for one in written if one.model == call.model and id(one) not in known]
        texts.append(" or ".join(dict.fromkeys(one.text for one in own)) or f"{call.model}({call.request})")
    return texts


def _calls(sql: RenderedSql, models: Collection[str]) -> list[_Call]:
    """The calls in the order of the text."""
    tree, tokens = read(sql.text), tokens_of(sql.text)
    nodes = [node for node in tree.find_all(exp.Anonymous) if is_call(node, models)] if tree else []
    nodes = sorted(nodes, key=lambda node: node.meta.get("start", 0))
    places = {token.start: index for index, token in enumerate(tokens)}
    written: dict[str, list[exp.Expr]] = {}  # what stands for a text of the user's
    for node in nodes:
        if (index := places.get(node.meta.get("start", -1))) is not None:
            end = separators(tokens, index + 1)[1]
            place = sql.place_at(tokens[index].start, end.end if end else None)
            written.setdefault(place.text, []).append(node)
    return [
        _Call(node.name.lower(), request, " ".join(text.split()))
        for outer, inner in written.items()
        for node, request, text in _texts(outer, inner, models)
    ]


def _texts(outer: str, nodes: list[exp.Expr], models: Collection[str]) -> Iterator[tuple[exp.Expr, str, str]]:
    """Each of `nodes`, for which the text `outer` stands, with its request and its own part of that text."""
    found = calls(outer, {*FUNCTIONS, *models})
    while nodes:
        ids = set(map(id, nodes))
        around = [node for node in nodes if not any(id(one) in ids for one in _above(node))]
        requests = [write(node.expressions[0]) for node in around]
        distinct = list(dict.fromkeys(requests))
        own = [outer[one.start : one.end] for one in found] if len(found) == len(distinct) else [outer] * len(distinct)
        for node, request in zip(around, requests, strict=True):
            yield node, request, own[distinct.index(request)]
        nodes = [node for node in nodes if not any(node is one for one in around)]
        found = [inner for one in found for inner in one.inside]


def _above(node: exp.Expr) -> Iterator[exp.Expr]:
    while node.parent is not None:
        node = node.parent
        yield node


def _matches(asked: Asked, written: Sequence[_Call], models: Collection[str]) -> list[_Call]:
    """The calls whose request is a part of what is asked, but not of a call inside it."""
    tree = read(f"select {asked.request}")
    nodes = tree.expressions[0].walk(prune=lambda node: is_call(node, models)) if isinstance(tree, exp.Select) else ()
    parts = {write(node) for node in nodes}
    return [call for call in written if call.model == asked.model and call.request in parts]
