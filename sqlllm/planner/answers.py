"""The calls of a select: each is two layers, one with the request and one with the answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlglot import exp

from . import guards
from .layers import Layers
from .sql import NotUnderstood, calls, is_volatile, partition, write

_MOST = 24
"""Calls of one select: each is two layers, and parsers nest only so deep."""


class _Place(NamedTuple):
    """A call in an expression, and what it asks there: NULL unless it is needed."""

    call: exp.Expr
    root: exp.Expr
    asked: exp.Expr
    everywhere: bool


class Answers:
    """The calls that were made in `layers`."""

    def __init__(self, layers: Layers, models: Collection[str], *, keeps_order: bool) -> None:
        self._layers, self._models, self._keeps_order = layers, models, keeps_order
        self._asked: dict[str, tuple[exp.Column, exp.Column, bool]] = {}
        self._number = 0
        self.row: exp.Column | None = None
        """The place of the row before the first call, if the rows shall keep their order."""
        self.fresh = False
        """Whether the rows hold answers that Spark would ask for again to read them twice."""

    def fill(self, roots: list[exp.Expr]) -> None:
        """A layer for each call in `roots`, inner ones first; the answers stand in the places of the calls."""
        while found := [(call, root) for root in roots for call in calls(root, self._models)]:
            ready: dict[str, list[_Place]] = {}
            for call, root in found:
                asked, everywhere = guards.request(call, root)
                if not calls(asked, self._models):
                    ready.setdefault(write(call), []).append(_Place(call, root, asked, everywhere))
            if not ready:
                raise NotUnderstood("its calls need each other")
            groups = self._either(ready, [write(call) for call, _ in found])
            answers: list[exp.Expr] = [
                self._ask(group[0].call, guards.first(*(place.asked for place in group)))[1] for group in groups
            ]
            merged = {id(place.call) for group in groups for place in group}
            if any(len(places) > 1 and is_volatile(places[0].call) for places in ready.values()):
                raise NotUnderstood("the same call, of a function that may give another value each time, stands twice")
            for text, places in ready.items():
                if id(places[0].call) not in merged:
                    groups.append(places)
                    answers.append(self._answer_one(text, places))
            for places, answer in zip(groups, answers, strict=True):
                for place in places:
                    place.call.replace(answer.copy())

    def forget(self) -> None:
        """The rows were grouped: what was answered before is not among their columns."""
        self._asked.clear()
        self.fresh = False

    def _either(self, ready: dict[str, list[_Place]], found: list[str]) -> list[list[_Place]]:
        """Calls of one model in branches of one CASE: no row needs two of them, so one call serves all."""
        groups: dict[tuple[str, int], dict[int, _Place]] = {}
        for text, (place, *_) in ready.items():
            branch = guards.branch(place.call, place.root)
            if branch is not None and found.count(text) == 1 and text not in self._asked:
                case, index = branch
                groups.setdefault((place.call.name.lower(), id(case)), {}).setdefault(index, place)
        return [list(group.values()) for group in groups.values() if len(group) > 1]

    def _answer_one(self, text: str, places: list[_Place]) -> exp.Expr:
        """The answer to the call `text` in all its `places`."""
        known = self._asked.get(text)
        if known and known[2]:
            return known[1]
        call = places[0].call
        everywhere = any(place.everywhere for place in places)
        requests = {write(place.asked): place.asked for place in places}
        asked = call.expressions[0].copy() if everywhere else guards.first(*requests.values())
        if known:  # asked for some rows, now for others, too
            asked = guards.when(guards.is_null(known[0]), asked)
        request, answer = self._ask(call, asked)
        if known:
            return guards.first(known[1].copy(), answer)
        self._asked[text] = (request, answer, everywhere)
        return answer

    def _ask(self, call: exp.Expr, asked: exp.Expr) -> tuple[exp.Column, exp.Column]:
        """Layers that ask the model of `call` for `asked`: the columns of request and answer."""
        self._number += 1
        if self._number > _MOST:
            raise NotUnderstood(f"it holds more than {_MOST} different calls")
        if self._keeps_order and self.row is None:
            self.row, request = self._layers.add(exp.Anonymous(this="monotonically_increasing_id"), asked)
        else:
            (request,) = self._layers.add(asked)
        self._layers.top.set("cluster", exp.Cluster(expressions=[request.copy()]))
        (answer,) = self._layers.add(exp.Anonymous(this=call.this, expressions=[request.copy()]))
        self.fresh = True
        # Always true, and Spark does not know: else it drops the order below for one above.
        self._layers.top.where(exp.GTE(this=partition(), expression=exp.Literal.number(0)), copy=False)
        return request, answer
