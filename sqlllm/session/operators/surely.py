"""ai_classify and ai_score with a helper that says how sure it is: its answer stands where a sample says that it may.

The target is the share of all rows that get the main model's answer; a score within 0.1 of it counts as the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from sqlglot import exp

from sqlllm.planner.sql import write
from sqlllm.udfs import ai, cascades, labels, literals
from sqlllm.udfs.cascades import Decision

from . import guarantee
from .cascade import MOST, Asked, helper_of, replace_named, sampled_inputs, ways
from .cut import Arguments, Context, Cut, Unfit, Way, arguments, own

if TYPE_CHECKING:
    from .asking import Reply
    from .tools import Tools

_NEAR = 0.1  # between two scores that count as the same
_WRITE = (
    "Write a rubric of at most five lines by which a text gets a score from 0 to 1. Say what a text with 0, 0.5 and 1"
    " is like. What 0 and 1 stand for: "
)


class Classify:
    """ai_classify(text, labels, cascade => 'small')."""

    functions: ClassVar[frozenset[str]] = frozenset({"ai_classify"})
    stand_in: ClassVar[Mapping[str, str]] = {}

    def nodes(self, select: exp.Select, context: Context) -> Sequence[exp.Expr]:
        """The calls that have a helper."""
        return [call for call in own(select, self.functions) if helper_of(call, context)]

    def cut(self, node: exp.Expr, select: exp.Select, context: Context) -> Cut:
        """A sample of the texts; the call gets the confidence from which on the helper's label stands."""
        given = arguments(node)
        task = _task(given)
        names: list[str] = [str(name) for name in _constant(task.names)]
        how = {"system": str(_constant(task.system)), "labels": names}
        return _cut(node, select, context, how, "string", lambda one, other: one == other, lambda one: one in names)


class Score:
    """ai_score(text, criterion): its rubric, written once for the query, and its helper if it has one."""

    functions: ClassVar[frozenset[str]] = frozenset({"ai_score"})
    stand_in: ClassVar[Mapping[str, str]] = {}

    def nodes(self, select: exp.Select, context: Context) -> Sequence[exp.Expr]:
        """The calls that have no rubric, or a helper."""
        calls = own(select, self.functions)
        return [call for call in calls if helper_of(call, context) or "rubric" not in arguments(call).by_name]

    def cut(self, node: exp.Expr, select: exp.Select, context: Context) -> Cut:
        """A rubric by the main model, and a sample of the texts for a helper."""
        given = arguments(node)
        criterion = given.constant("criterion", 1)
        rubric = given.constant("rubric")
        how: dict[str, Any] = {"returns": "double"}
        inner = None
        if helper_of(node, context):
            inner = _cut(node, select, context, how, "double", _near, lambda one: 0 <= one <= 1)

        def run(tables: Mapping[str, pa.Table], tools: Tools) -> None:
            known = rubric or _rubric(tools, given.constant("model"), criterion)
            replace_named(node, {"rubric": known})
            how["system"] = f"{ai.SCORE}{criterion}{ai.RUBRIC}{known}"
            if inner is not None:
                inner.run(tables, tools)

        def show(tables: Mapping[str, pa.Table], tools: Tools) -> list[Way]:
            model = tools.model(given.constant("model"))
            once = Way("a rubric, once", model, 1, tools.count([_WRITE + criterion], model)[0], 150, taken=True)
            return ([] if rubric else [once]) + (list(inner.ways(tables, tools)) if inner else [])

        if inner is None:
            return Cut(node, {}, run, lambda _: None, show)
        return Cut(node, inner.inputs, run, inner.put, show, unasked=inner.unasked, samples=inner.samples)


def _near(one: Any, other: Any) -> bool:
    return other is not None and abs(float(one) - float(other)) <= _NEAR


def _task(given: Arguments) -> labels.Task:
    """What the labels and options of a call ask. Raises Unfit."""
    named, options = given.get("labels", 1), given.get("options", 2)
    try:
        task = labels.task("" if named is None else write(named), None if options is None else write(options))
    except ValueError as error:
        raise Unfit(str(error)) from None
    if task.multiple:
        raise Unfit("several labels may hold")
    return task


def _constant(sql: str) -> Any:
    try:
        found = literals.constant(sql)
    except literals.NotConstant:
        raise Unfit("its labels are not literals") from None
    return json.loads(found) if found.startswith("[") else found


def _rubric(tools: Tools, model: str, criterion: str) -> str:
    """Empty, with a note, if the model writes none."""
    asker = tools.asker(model)
    (reply,) = asker.ask([_WRITE + criterion], what="a rubric by")
    if reply.text is None:
        tools.note(f"ai_score goes without a rubric, because {asker.model} wrote none: {reply.error}")
    return reply.text or ""


def _cut(
    node: exp.Expr,
    select: exp.Select,
    context: Context,
    how: Mapping[str, Any],
    kind: str,
    same: Callable[[Any, Any], bool],
    allowed: Callable[[Any], bool],
) -> Cut:
    """`how` the main model is asked; `same`: whether two answers count as one, `allowed`: whether one may stand."""
    given = arguments(node)
    if given.by_name.keys() & {"modelparameters", "failonerror"}:
        raise Unfit("it has modelParameters or failOnError, which a cascade does not")
    asked = Asked.read(helper_of(node, context), given, context)
    content = given.get("content", 0)
    if content is None or asked.embeds:
        raise Unfit("it has no text" if content is None else "its helper can only be a model")
    inputs = sampled_inputs(node, content, select, context)
    named = {"cascade": "off"}

    def run(tables: Mapping[str, pa.Table], tools: Tools) -> None:
        texts: list[str] = tables["sample"]["text"].to_pylist()
        rows = tables["rows"]["rows"][0].as_py()
        main, helper = tools.asker(asked.model), tools.asker(asked.helper)
        first = guarantee.first_sample(rows)
        if 2 * first > rows:
            tools.note(f"{main.model} answers every row, because {rows:,} rows are too few for a sample of {first:,}")
            return
        texts = texts[:first]
        right = main.ask(texts, **how, what="labelling a sample by")
        form = {"system": f"{how['system']} {cascades.SURE}", "returns": cascades.SURELY[kind]}
        said = [_said(reply, allowed) for reply in helper.ask(texts, **form, what="scoring by")]  # type: ignore[arg-type]
        agree = [one.text is not None and same(one.text, other) for one, (other, _) in zip(right, said, strict=True)]
        scores = [score for _, score in said]
        start = guarantee.agreement(scores, agree, asked.targets.precision, asked.targets.confidence)
        if start == inf:
            tools.note(f"{main.model} answers every row, because {helper.model} is right in too few of {first:,} rows")
            return
        tools.step(f"cascade: answers of {helper.model} stand from a confidence of {max(0.0, start):.3g}")
        named.update(cascade=helper.model, thresholds=Decision("confidence", start).json())

    unasked = exp.cast(exp.null(), kind)
    put = partial(_put, node, named)
    return Cut(node, inputs, run, put, partial(ways, asked), unasked=unasked, samples={"sample": MOST})


def _put(node: exp.Expr, named: Mapping[str, str], view: str) -> None:  # noqa: ARG001
    replace_named(node, named)


def _said(reply: Reply, allowed: Callable[[Any], bool]) -> tuple[Any, float]:
    """A helper's answer, and how sure it is; NaN where the answer may not stand."""
    told = json.loads(reply.text) if reply.text is not None else {}
    answer, sure = told.get("answer"), told.get("confidence")
    stands = answer is not None and sure is not None and allowed(answer)
    return answer, float(sure or 0.0) if stands else float("nan")
