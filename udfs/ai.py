"""The functions ai_*: each is SQL around a call of a model's function, so that all that holds for such calls does.

Names, arguments and results are those of Databricks and of Snowflake where they agree, else those of Databricks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import cascades, kinds, labels, literals, requests
from .literals import text

_NAMED = ("model", "modelParameters", "failOnError")
_CASCADE = ("cascade", "recall_target", "precision_target", "confidence", "thresholds")

Arguments = Mapping[str, str]
"""The SQL of each argument, by the name of its parameter."""


@dataclass(frozen=True)
class Asked:
    """The model that a call asks."""

    model: str

    def call(self, request: str) -> str:
        """The model's function."""
        plain = re.fullmatch(r"[A-Za-z_]\w*", self.model, re.ASCII)
        name = self.model if plain else "`" + self.model.replace("`", "``") + "`"
        return f"{name}({request})"


@dataclass(frozen=True)
class Function:
    """One function: its parameters in order, how many of them it needs, and the SQL that it stands for.

    `write` raises ValueError for an argument that it cannot use. `named` are parameters that are only given by name.
    """

    parameters: tuple[str, ...]
    needed: int
    write: Callable[[Asked, Arguments], str]
    named: tuple[str, ...] = _NAMED
    embeds: bool = False  # its model is one that embeds
    asks: bool = True  # a model; else what it stands for is made by the session


def _answer(asked: Asked, arguments: Arguments, instruction: str, **fields: str) -> str:
    """The answer to `instruction`; `fields` are other fields of the request. All are SQL."""
    pairs = [("instruction", instruction), *fields.items()]
    rest = ""
    if given := arguments.get("modelParameters"):
        known = literals.pairs(given)
        if known is None:
            rest = f", from_json(to_json({given}), 'map<string,string>')"
        else:
            for key, value in known:
                requests.check(str(key), literals.as_text(value), "modelParameters")
                pairs.append((str(key), _kept(value)))
    written = f"map({', '.join(f'{text(key)}, {value}' for key, value in pairs)})"
    return asked.call(f"llm_param({f'map_concat({written}{rest})' if rest else written})")


def _kept(value: str) -> str:
    """A value as a text that keeps its kind, whatever stands beside it in a map."""
    if re.fullmatch(r"-?[\d.]+|true|false", value, re.IGNORECASE):
        return text(value.lower())
    return value if value[:1] in "'\"" else f"get_json_object(to_json(named_struct('v', {value})), '$.v')"


def _typed(answer: str, kind: kinds.Kind) -> str:
    """The value of an answer that the model function has read as `kind`, as Spark's type."""
    result = f"llm_result({answer})"
    if isinstance(kind, kinds.Labels) and not kind.multiple:
        return result
    if not isinstance(kind, kinds.Atom):
        return f"from_json({result}, {text(str(kind))})"
    match str(kind):
        case "string":
            return result
        case "binary":
            return f"unbase64({result})"
        case "variant":
            return f"parse_json({result})"
    return f"cast({result} as {kind})"


def _result(name: str, answer: str, value: str, arguments: Arguments) -> str:
    """The value of an answer, or what `failOnError` makes of it."""
    error = f"llm_error({answer})"
    match arguments.get("failOnError", "").lower():
        case "":
            return value
        case "false":
            return f"named_struct('result', {value}, 'errorMessage', {error}, 'rawAnswer', llm_raw({answer}))"
        case "true":
            return f"if({error} is null, {value}, raise_error(concat('{name}: ', {error})))"
    raise ValueError("failOnError is true or false")


def _query(asked: Asked, arguments: Arguments) -> str:
    fields: dict[str, str] = {}
    kind: kinds.Kind = kinds.Atom("string")
    if given := arguments.get("returnType"):
        try:
            name = literals.constant(given)
        except literals.NotConstant:
            name = None
        if not isinstance(name, str):
            raise ValueError("returnType is a type in quotes, as in 'int' or 'struct<name: string>'")
        kind = kinds.parse(name.strip())
        fields["returns"] = text(name.strip())
    if given := arguments.get("labels"):
        if "returnType" in arguments:
            raise ValueError("ai_query takes returnType or labels, not both")
        kind = kinds.Labels(())
        fields["labels"] = labels.task(given, None).names
    if given := arguments.get("responseFormat"):
        fields["response_format"] = given
    answer = _answer(asked, arguments, arguments["request"], **fields)
    return _result("ai_query", answer, _typed(answer, kind), arguments)


def _classify(asked: Asked, arguments: Arguments) -> str:
    task = labels.task(arguments["labels"], arguments.get("options"))
    fields = {"system_msg": task.system, "labels": task.names} | ({"returns": text("labels")} if task.multiple else {})

    def value(content: str) -> str:
        answer = _answer(asked, arguments, content, **fields)
        return _result("ai_classify", answer, _typed(answer, kinds.Labels((), task.multiple)), arguments)

    allowed = f"array_contains(from_json({task.names}, 'array<string>'), {{0}})"
    return _surely(arguments, "string", task.system, allowed, value)


def _surely(arguments: Arguments, kind: str, system: str, allowed: str, value: Callable[[str], str]) -> str:
    """The helper's answer where it is sure and `allowed`, else the `value` that the main model gives of a content."""
    content, given = arguments["content"], _decision(arguments)
    if given is None:
        return value(content)
    if given.by != "confidence" or arguments.get("failOnError"):
        raise ValueError('thresholds are {"by": "confidence", "low": 0.9} here, and failOnError goes without a cascade')
    fields = {
        "instruction": content,
        "system_msg": f"concat({system}, {text(' ' + cascades.SURE)})",
        "returns": text(cascades.SURELY[kind]),
    }
    pairs = ", ".join(f"{text(key)}, {one}" for key, one in fields.items())
    helper = Asked(_constant(arguments["cascade"])).call(f"llm_param(map({pairs}))")
    answer, stands = cascades.standing(helper, kind, given, allowed)
    return f"if({stands}, {answer}, {value(f'if({stands}, null, {content})')})"


def _score(asked: Asked, arguments: Arguments) -> str:
    rubric = arguments.get("rubric")
    system = f"concat({text(SCORE)}, {arguments['criterion']}{f', {text(RUBRIC)}, {rubric}' if rubric else ''})"

    def value(content: str) -> str:
        answer = _answer(asked, arguments, content, system_msg=system, returns=text("double"))
        score = f"array_max(filter(array({_typed(answer, kinds.Atom('double'))}), x -> x between 0 and 1))"
        return _result("ai_score", answer, score, arguments)

    return _surely(arguments, "double", system, "{0} between 0 and 1", value)


def _sentiment(asked: Asked, arguments: Arguments) -> str:
    return _classify(asked, {**arguments, "labels": "array('positive', 'negative', 'neutral', 'mixed')"})


def _extract(asked: Asked, arguments: Arguments) -> str:
    kind = _fields(arguments["labels"])
    listed = ", ".join(_listed(field) for field in kind.fields)
    fields = {"system_msg": text(_EXTRACT.format(listed)), "returns": text(str(kind))}
    answer = _answer(asked, arguments, arguments["content"], **fields)
    return _result("ai_extract", answer, _typed(answer, kind), arguments)


def _listed(field: kinds.Field) -> str:
    told = "" if field.kind == kinds.Atom("string") else f" ({str(field.kind).replace('`', '')})"
    return f"{field.name}{told}" + (f": {field.description}" if field.description else "")


def _fields(sql: str) -> kinds.StructOf:
    """The fields that are asked for: names, names with descriptions, or a type; ValueError for anything else."""
    usage = "array('name', 'price'), map('name', 'of the buyer') or 'struct<name string, price double>'"
    try:
        given = literals.constant(sql)
        if isinstance(given, str) and given.lstrip()[:1] in ("[", "{"):
            given = json.loads(given)
    except (literals.NotConstant, json.JSONDecodeError):
        raise ValueError(f"labels of ai_extract are written out: {usage}") from None
    if isinstance(given, str):
        kind = kinds.parse(given.strip())
        if isinstance(kind, kinds.StructOf):
            return kind
        raise ValueError(f"ai_extract gives a struct, not {kind}: {usage}")
    told = given if isinstance(given, dict) else dict.fromkeys(given) if isinstance(given, list) else {}
    if not told or not all(isinstance(name, str) and name for name in told):
        raise ValueError(f"labels of ai_extract are names: {usage}")
    if not all(one is None or isinstance(one, str) for one in told.values()):
        raise ValueError(f"labels of ai_extract are names with descriptions: {usage}")
    string = kinds.Atom("string")
    return kinds.StructOf(tuple(kinds.Field(name, string, description=one or "") for name, one in told.items()))


def _filter(asked: Asked, arguments: Arguments) -> str:
    content, fields = arguments["content"], {"system_msg": text(FILTER), "returns": text("boolean")}
    given = _decision(arguments)
    score = ""
    if given:
        score = _likely(given, Asked(_constant(arguments["cascade"])), content)
        content = cascades.undecided(score, given, content)
    answer = _answer(asked, arguments, content, **fields)
    value = _typed(answer, kinds.Atom("boolean"))
    return _result("ai_filter", answer, cascades.chosen(score, given, value) if given else value, arguments)


def _decision(arguments: Arguments) -> cascades.Decision | None:
    """What `thresholds` holds: without it, the main model answers every row."""
    if "thresholds" not in arguments:
        return None
    if "cascade" not in arguments:
        raise ValueError("thresholds need the helper that they are for: cascade => '...'")
    return cascades.Decision.read(_constant(arguments["thresholds"]))


def _constant(sql: str) -> str:
    try:
        found = literals.constant(sql)
    except literals.NotConstant:
        found = None
    if not isinstance(found, str):
        raise ValueError("cascade and thresholds are texts in quotes: the query is planned by them")
    return found


def _likely(given: cascades.Decision, helper: Asked, content: str) -> str:
    """What the helper thinks of `content`, for a filter."""
    if given.by == "vector":
        return cascades.dot(_vector(helper, content), given.weights)
    if given.by == "cluster":
        return cascades.share(_vector(helper, content), given.clusters)
    if given.by == "logprobs":
        fields = {"instruction": content, "system_msg": text(FILTER)} | {k: text(v) for k, v in cascades.SCORED.items()}
    else:
        fields = {"instruction": content, "system_msg": text(cascades.LIKELY), "returns": text("double")}
    pairs = ", ".join(f"{text(key)}, {value}" for key, value in fields.items())
    return cascades.likely(helper.call(f"llm_param(map({pairs}))"), given.by)


def _instruct(name: str, task: str, extra: str = "", default: str = "") -> Callable[[Asked, Arguments], str]:
    """A task whose answer is text; `extra` names a parameter that ends the system message."""

    def write(asked: Asked, arguments: Arguments) -> str:
        system = f"concat({text(task)}, {arguments.get(extra, default)})" if extra else text(task)
        answer = _answer(asked, arguments, arguments["content"], system_msg=system)
        return _result(name, answer, f"llm_result({answer})", arguments)

    return write


def _generate(asked: Asked, arguments: Arguments) -> str:
    answer = _answer(asked, arguments, arguments["request"])
    return _result("ai_gen", answer, f"llm_result({answer})", arguments)


def _mask(asked: Asked, arguments: Arguments) -> str:
    system = f"concat({text(_MASK)}, array_join({arguments['labels']}, ', '))"
    answer = _answer(asked, arguments, arguments["content"], system_msg=system)
    return _result("ai_mask", answer, f"llm_result({answer})", arguments)


def _vector(asked: Asked, content: str) -> str:
    request = f"llm_param(map('instruction', {content}, 'embedding', 'true'))"
    return f"from_json(llm_result({asked.call(request)}), 'array<float>')"


def _similarity(asked: Asked, arguments: Arguments) -> str:
    one, other = (_vector(asked, arguments[key]) for key in ("content1", "content2"))
    return f"vector_cosine_similarity({one}, {other})"


def _rerank(asked: Asked, arguments: Arguments) -> str:
    request = f"llm_param(map('instruction', {arguments['query']}, 'rerank', to_json({arguments['texts']})))"
    return f"from_json(llm_result({asked.call(request)}), 'array<struct<index:int,score:float,text:string>>')"


_EXTRACT = (
    "Extract from the text: {}. Answer with one JSON object that has these keys and nothing else; the value of what"
    " the text does not say is null."
)
FILTER = "Is what the user says true? Answer with true or false and nothing else."
SCORE = "Score the text from 0 to 1. Answer with the number and nothing else. What 0 and 1 stand for: "
RUBRIC = "\nRubric:\n"
_MASK = "Repeat the text word by word, but write [MASKED] in place of each of these kinds of information: "
_TRANSLATE = "Translate the text. Answer with the translation and nothing else. Translate into: "
_GRAMMAR = "Correct the grammar of the text and change nothing else. Answer with the corrected text and nothing else."
_IN_SELECT = "in a select, an insert or a create table"
_SUMMARIZE = "Summarize the text. Answer with the summary and nothing else. At most so many words: "


def _of_rows(where: str) -> Callable[[Asked, Arguments], str]:
    """A function over several rows, which an operator runs: what it has left cannot run."""

    def write(_asked: Asked, _arguments: Arguments) -> str:
        raise ValueError(f"it is over several rows, and can only stand {where}")

    return write


def _no_model(asked: Asked, arguments: Arguments) -> str:
    raise NotImplementedError("the session writes it")


FUNCTIONS: dict[str, Function] = {
    "ai_answer": Function(
        (
            "index",
            "question",
            "num_results",
            "query_type",
            "filters",
            "prompt",
            "history",
            "version",
            "reranker",
            "num_candidates",
        ),
        2,
        _no_model,
        named=("model",),
        asks=False,
    ),
    "ai_chunk": Function(("text", "max_tokens", "overlap", "by"), 1, _no_model, named=("model",), asks=False),
    "ai_parse_document": Function(("content", "options"), 1, _no_model, named=(), asks=False),
    "ai_query": Function(
        ("endpoint", "request", "returnType", "failOnError", "modelParameters", "responseFormat"),
        2,
        _query,
        named=("labels",),
    ),
    "ai_gen": Function(("request",), 1, _generate),
    "ai_classify": Function(("content", "labels", "options"), 2, _classify, named=(*_NAMED, *_CASCADE)),
    "ai_score": Function(("content", "criterion"), 2, _score, named=(*_NAMED, *_CASCADE, "rubric")),
    "ai_extract": Function(("content", "labels"), 2, _extract),
    "ai_filter": Function(("content",), 1, _filter, named=(*_NAMED, "method", *_CASCADE)),
    "ai_analyze_sentiment": Function(("content",), 1, _sentiment),
    "ai_fix_grammar": Function(("content",), 1, _instruct("ai_fix_grammar", _GRAMMAR)),
    "ai_mask": Function(("content", "labels"), 2, _mask),
    "ai_summarize": Function(
        ("content", "max_words"), 1, _instruct("ai_summarize", _SUMMARIZE, "max_words", default="'50'")
    ),
    "ai_translate": Function(("content", "to_lang"), 2, _instruct("ai_translate", _TRANSLATE, "to_lang")),
    "ai_embed": Function(("model", "content"), 2, lambda asked, given: _vector(asked, given["content"]), named=()),
    "ai_similarity": Function(("content1", "content2"), 2, _similarity, named=("model",), embeds=True),
    "ai_rerank": Function(("model", "query", "texts"), 3, _rerank, named=()),
    "ai_rank": Function(
        ("content", "criterion"), 1, _of_rows("in a select, with OVER"), named=("model", "list_size", "orders")
    ),
    "ai_agg": Function(
        ("content", "instruction"), 2, _of_rows(_IN_SELECT), named=("model", "returnType", "failOnError")
    ),
    "ai_summarize_agg": Function(
        ("content", "max_words"), 1, _of_rows(_IN_SELECT), named=("model", "returnType", "failOnError")
    ),
    "ai_approx_count": Function(("condition", "error", "confidence"), 1, _of_rows(_IN_SELECT), named=()),
    "ai_approx_avg": Function(("value", "error", "confidence"), 1, _of_rows(_IN_SELECT), named=("least", "most")),
}
