"""ai_filter with a helper: a cheap score decides where a labelled sample says that it may, the main model elsewhere.

Only the sample is asked about here. What it shows, two thresholds, becomes an argument of the call, and every task of
Spark's decides its rows with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
from sqlglot import exp

from sqlllm.udfs import ai, cascades
from sqlllm.udfs.cascades import Decision

from .. import options
from . import guarantee, proxy
from .cut import Arguments, Context, Cut, Unfit, Way, arguments, check_of_row, own, source

if TYPE_CHECKING:
    from .asking import Asker
    from .tools import Tools

_MIDDLE = 0.3  # of the rows that the main model is expected to decide
_ENGINES = ("vllm", "llama_cpp")  # that give log probabilities
_NUMBERS = ("recall_target", "precision_target", "confidence")


@dataclass(frozen=True)
class Asked:
    """What a call asks for: the helper, the main model, and the targets.

    The helper is a model, or learns from vectors: `emb` a classifier, `auto` the votes of clusters.
    """

    helper: str
    model: str
    targets: guarantee.Targets

    @property
    def embeds(self) -> bool:
        """Whether the helper is made of vectors."""
        return self.helper in ("emb", "auto")

    @classmethod
    def read(cls, helper: str, given: Arguments, context: Context) -> Asked:
        """Raises Unfit for a helper that is not a literal, OptionError for a target that is not between 0 and 1."""
        given.constant("cascade")
        texts = {name: given.constant(name) or str(getattr(context.settings, name)) for name in _NUMBERS}
        numbers = [options.share(texts, name) for name in _NUMBERS]
        return cls(helper, given.constant("model"), guarantee.Targets(*numbers))


def helper_of(call: exp.Expr, context: Context) -> str:
    """The helper that a call has; empty if it has none, or knows its thresholds."""
    given = arguments(call)
    if "thresholds" in given.by_name:
        return ""
    named = given.by_name.get("cascade")
    if named is not None:
        name = named.name if isinstance(named, exp.Literal) else "?"
    else:
        name = context.settings.cascade
        if name == "off" and context.settings.proxy == "auto" and call.name.lower() == "ai_filter":
            name = "emb" if context.settings.embedding_model else ""
    return "" if name.lower() in ("", "off") else name


class Filter:
    """ai_filter(text, cascade => 'small')."""

    functions: ClassVar[frozenset[str]] = frozenset({"ai_filter"})
    stand_in: ClassVar[Mapping[str, str]] = {}

    def nodes(self, select: exp.Select, context: Context) -> Sequence[exp.Expr]:
        """The calls that have a helper."""
        return [call for call in own(select, self.functions) if helper_of(call, context)]

    def cut(self, node: exp.Expr, select: exp.Select, context: Context) -> Cut:
        """A sample of the texts and their number; the call gets its thresholds."""
        given = arguments(node)
        if "modelparameters" in given.by_name:
            raise Unfit("it has modelParameters, which a sample does not")
        asked = Asked.read(helper_of(node, context), given, context)
        content = given.get("content", 0)
        if content is None:
            raise Unfit("it has no text")
        inputs = sampled_inputs(node, content, select, context)
        named = {"cascade": "off"}

        def run(tables: Mapping[str, pa.Table], tools: Tools) -> None:
            if (found := decision(tables, tools, asked)) is not None:
                helper = tools.model("" if asked.embeds else asked.helper, embeds=asked.embeds)
                named.update(cascade=helper, thresholds=found.json())

        def put(view: str) -> None:  # noqa: ARG001
            replace_named(node, named)

        unasked = None if "failonerror" in given.by_name else exp.true()
        return Cut(
            node,
            inputs,
            run,
            put,
            partial(ways, asked),
            unasked=unasked,
            samples={"sample": MOST},
        )


MOST = 800 * guarantee.GROWTH
"""Rows of the largest sample."""


def sampled_inputs(node: exp.Expr, content: exp.Expr, select: exp.Select, context: Context) -> dict[str, exp.Query]:
    """The texts of a call in one row of `select` each, and their number. Raises Unfit where it is not one of a row."""
    functions = {*ai.FUNCTIONS, *context.models}
    check_of_row(node, content, select, functions)
    limit = select.args.get("limit")
    most = limit.expression if isinstance(limit, exp.Limit) else None
    few = isinstance(most, exp.Literal) and most.is_int and int(most.name) < guarantee.first_sample(0)
    if few and not select.args.get("order") and node.find_ancestor(exp.Where, exp.Select) is not select:
        raise Unfit("its LIMIT may need fewer calls than a sample")
    rows = source(select, [exp.alias_(exp.cast(content.copy(), "string"), "text")], functions)
    some = exp.select("text").from_(rows.copy().subquery("llm_rows")).where("text is not null")
    number = exp.select(exp.alias_(exp.Count(this=exp.column("text")), "rows")).from_(rows.subquery("llm_rows"))
    return {"sample": some, "rows": number}


def decision(tables: Mapping[str, pa.Table], tools: Tools, asked: Asked) -> Decision | None:
    """The thresholds that a sample supports; None, with a note, if the main model is to decide every row."""
    texts: list[str] = tables["sample"]["text"].to_pylist()
    rows = tables["rows"]["rows"][0].as_py()
    main = tools.asker(asked.model)
    labels: list[bool] = []

    def labelled(count: int) -> list[bool]:
        asked_now = texts[len(labels) : count]
        system = {"system": ai.FILTER, "returns": "boolean", "what": "labelling a sample by"}
        labels.extend(reply.text == "true" for reply in main.ask(asked_now, **system))  # type: ignore[arg-type]
        return labels[:count]

    first = guarantee.first_sample(rows)
    if 2 * first > rows:
        tools.note(f"{main.model} decides every row, because {rows:,} rows are too few for a sample of {first:,}")
        return None
    if asked.embeds:
        learn = proxy.trained if asked.helper == "emb" else proxy.clustered
        helper = learn(tools, texts, labelled, first)
    else:
        helper = _helper(tools, asked.helper)
    seen = helper.seen

    def draw(count: int) -> tuple[Sequence[float], Sequence[bool]]:
        shown = texts[seen : seen + count]
        return helper.score(shown), labelled(seen + len(shown))[seen:]

    found = guarantee.sampled(draw, rows, first, asked.targets)
    if found.reason:
        tools.note(f"{main.model} decides every row, because {found.reason}")
        return None
    tools.step(f"cascade: below {found.found.low:.3g} false, from {found.found.high:.3g} true, {main.model} between")
    return Decision(helper.by, found.found.low, found.found.high, helper.weights, helper.clusters)


def _helper(tools: Tools, name: str) -> proxy.Proxy:
    """How the score of a model is read."""
    helper = tools.asker(name)
    if tools.backend(helper.model) in _ENGINES:
        return proxy.Proxy("logprobs", partial(_by_logprobs, helper))
    return proxy.Proxy("number", partial(_by_number, helper))


def _by_number(helper: Asker, texts: Sequence[str]) -> list[float]:
    replies = helper.ask(texts, system=cascades.LIKELY, returns="double", what="scoring by")
    return [float(reply.text) if reply.text is not None else float("nan") for reply in replies]


def _by_logprobs(helper: Asker, texts: Sequence[str]) -> list[float]:
    replies = helper.ask(
        texts, system=ai.FILTER, returns="boolean", logprobs=10, max_tokens=cascades.TOKENS, what="scoring by"
    )
    return [proxy.share_of_true(reply.logprobs) for reply in replies]


def ways(asked: Asked, tables: Mapping[str, pa.Table], tools: Tools) -> list[Way]:
    """The cascade, and the main model for every row."""
    texts: list[str] = tables["sample"]["text"].to_pylist()[:256]
    rows = tables["rows"]["rows"][0].as_py()
    model = tools.model(asked.model)
    counts = tools.count([f"{ai.FILTER}\n{text}" for text in texts], model)
    tokens = sum(counts) / len(counts) if counts else 0.0
    first = guarantee.first_sample(rows)
    taken = 2 * first <= rows
    some = min(rows, first + round(_MIDDLE * rows))
    helper = tools.model("" if asked.embeds else asked.helper, embeds=asked.embeds)
    name = f"cascade {asked.helper}"
    return [
        Way(name, model, some, round(some * tokens), 2 * some, taken, f"the sample of {first:,} decides how many"),
        Way(name, helper, rows, round(rows * tokens), 2 * rows, taken),
        Way("every row by the main model", model, rows, round(rows * tokens), 2 * rows, not taken),
    ]


def replace_named(call: exp.Expr, named: Mapping[str, str]) -> None:
    """Give a call these texts as named arguments, in place of those that it has under their names."""
    kept = [one for one in call.expressions if not (isinstance(one, exp.Kwarg) and one.this.name.lower() in named)]
    more = [exp.Kwarg(this=exp.var(key), expression=exp.Literal.string(text)) for key, text in named.items()]
    call.set("expressions", [*kept, *more])
