"""ai_agg(content, 'task') and ai_summarize_agg(content): one answer about all rows of a group.

    select product, ai_agg(review, 'What do customers complain about?') from reviews group by product

Rows whose content is NULL or blank are not shown. Without WITHIN GROUP (ORDER BY ...) the texts are shown in their own
order, so that the prompts, and with them the kept answers, do not depend on how Spark splits the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from sqlglot import exp

from sqlllm.errors import ModelError
from sqlllm.udfs import kinds

from .asking import Reply
from .cut import Arguments, Context, Cut, Unfit, Way, own
from .folding import Folded, Folding, folded
from .groups import KEY, VALUE, Grouped, given, grouped, number, put
from .steps import Prompt, Steps, run, together
from .telling import failures

if TYPE_CHECKING:
    from .tools import Tools

_TEXT = "llm_text"
_SUMMARIZE = "Summarize the texts in at most {} words."
_VALUE = pa.struct(
    [("result", pa.string()), ("errorMessage", pa.string()), ("rows", pa.int64()), ("rowsRead", pa.int64())]
)
_RESULT = pa.schema([(KEY, pa.string()), (VALUE, _VALUE)])


class Aggregate:
    functions: ClassVar[frozenset[str]] = frozenset({"ai_agg", "ai_summarize_agg"})
    stand_in: ClassVar[Mapping[str, str]] = dict.fromkeys(functions, "listagg(cast({0} as string))")

    def nodes(self, select: exp.Select, context: Context) -> Sequence[exp.Expr]:
        """The calls."""
        return own(select, self.functions)

    def cut(self, node: exp.Expr, select: exp.Select, context: Context) -> Cut:
        """The call with its FILTER, WITHIN GROUP and OVER."""
        found = grouped(node, select, context, self.functions)
        told, name = given(node), node.name.lower()
        content = told.get("content", 0)
        assert content is not None
        task, model = _task(name, told), told.constant("model")
        returns, fails = told.constant("returnType"), told.constant("failOnError").lower()
        if fails not in ("", "true", "false"):
            raise Unfit("failOnError is true or false")
        try:
            kind = kinds.parse(returns) if returns else None
        except ValueError as error:
            raise Unfit(str(error)) from None

        def steps(groups: Mapping[str, list[str]], tools: Tools) -> Steps[list[Folded]]:
            fold = Folding(task, partial(tools.tokens, model=model), tools.context(model), returns)
            return together([folded(texts, fold) for texts in groups.values()])

        def start(tables: Mapping[str, pa.Table], tools: Tools) -> pa.Table:
            groups, asker = _groups(tables["rows"]), tools.asker(model)

            def ask(prompts: Sequence[Prompt]) -> list[Reply]:
                replies: dict[int, Reply] = {}
                for kind in dict.fromkeys(prompt.returns for prompt in prompts):
                    places = [place for place, prompt in enumerate(prompts) if prompt.returns == kind]
                    texts = [prompts[place].text for place in places]
                    replies |= dict(zip(places, asker.ask(texts, returns=kind, what=name), strict=True))
                return [replies[place] for place in range(len(prompts))]

            results = run(steps(groups, tools), ask)
            rows = sum(map(len, groups.values()))
            failed = [error for one in results for error in one.failed.values()]
            tools.step(f"{name}: {rows - len(failed):,} of {rows:,} texts read in {asker.asked:,} calls")
            failures(tools, name, failed)
            for key, one in zip(groups, results, strict=True):
                if one.error and fails == "true":
                    raise ModelError(f"{name} has no answer{_of(key)}: {one.error}")
                if one.error and not fails:
                    tools.note(f"{name} has no answer{_of(key)}: {one.error}")
            return _result(groups, results)

        def stand(view: str) -> None:
            put(found.node, _value(found, view, kind, whole=fails == "false"))

        def ways(tables: Mapping[str, pa.Table], tools: Tools) -> Sequence[Way]:
            return [_expected(steps(_groups(tables["rows"]), tools), tools, model)]

        query = found.rows(select, [exp.alias_(exp.cast(content.copy(), "string"), _TEXT)], (_TEXT,))
        return Cut(found.node, {"rows": query}, start, stand, ways, _RESULT)


def _task(name: str, told: Arguments) -> str:
    if name == "ai_summarize_agg":
        return _SUMMARIZE.format(int(number(told, "max_words", 100, 1)))
    return told.constant("instruction", 1)


def _groups(rows: pa.Table) -> dict[str, list[str]]:
    """The texts of each group, in order."""
    groups: dict[str, list[str]] = {}
    for key, text in zip(rows[KEY].to_pylist(), rows[_TEXT].to_pylist(), strict=True):
        if text is not None and text.strip():
            groups.setdefault(key, []).append(text)
    return groups


def _of(key: str) -> str:
    """The group of this key, in words."""
    return f" about {', '.join(map(str, json.loads(key)))}" if key else ""


def _result(groups: Mapping[str, list[str]], results: Sequence[Folded]) -> pa.Table:
    values = [
        {
            "result": _written(one.value),
            "errorMessage": one.error or None,
            "rows": len(texts),
            "rowsRead": len(texts) - len(one.failed),
        }
        for texts, one in zip(groups.values(), results, strict=True)
    ]
    return pa.table([pa.array(list(groups), pa.string()), pa.array(values, _VALUE)], schema=_RESULT)


def _written(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(found: Grouped, view: str, kind: kinds.Kind | None, *, whole: bool) -> exp.Expr:
    """The answer as its type; with `whole` a struct of it, its error and how many rows it has read."""

    def part(name: str) -> exp.Expr:
        return exp.Dot(this=found.value(view), expression=exp.to_identifier(name))

    result = part("result")
    if isinstance(kind, kinds.Atom) and str(kind) != "string":
        result = exp.cast(result, str(kind), dialect="spark")
    elif kind is not None and not isinstance(kind, kinds.Atom):
        result = exp.Anonymous(this="from_json", expressions=[result, exp.Literal.string(str(kind))])
    if not whole:
        return result
    pairs = [("result", result), *((name, part(name)) for name in ("errorMessage", "rows", "rowsRead"))]
    fields = [one for name, value in pairs for one in (exp.Literal.string(name), value)]
    return exp.Anonymous(this="named_struct", expressions=fields)


def _expected(steps: Steps[list[Folded]], tools: Tools, model: str) -> Way:
    """As if each answer had 100 words."""
    asked: list[Prompt] = []

    def ask(prompts: Sequence[Prompt]) -> list[Reply]:
        asked.extend(prompts)
        return [Reply("word " * 100, 0) for _ in prompts]

    run(steps, ask)
    tokens = sum(tools.tokens(prompt.text, model) for prompt in asked)
    context = f"prompts of up to {tools.context(model):,} tokens"
    return Way("a tree of prompts", tools.model(model), len(asked), tokens, 130 * len(asked), taken=True, note=context)
