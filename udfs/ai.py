"""The functions ai_*: each is SQL around a call of a model's function, so that all that holds for such calls does.

Names, arguments and results are those of Databricks and of Snowflake where they agree, else those of Databricks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Arguments = Mapping[str, str]
"""The SQL of each argument, by the name of its parameter."""


@dataclass(frozen=True)
class Asked:
    """The model that a call asks; `constrains`: it can be held to a JSON schema."""

    model: str
    constrains: bool = True

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
    named: tuple[str, ...] = ("model", "modelParameters")
    embeds: bool = False  # its model is one that embeds


def _chat(asked: Asked, instruction: str, arguments: Arguments, **fields: str) -> str:
    """An answer to `instruction`; `fields` are other fields of the request, as SQL."""
    request = f"map({', '.join([_text('instruction'), instruction, *(_pair(key, fields[key]) for key in fields)])})"
    if given := arguments.get("modelParameters"):
        request = f"map_concat({request}, from_json(to_json({given}), 'map<string,string>'))"
    return asked.call(f"llm_param({request})")


def _task(asked: Asked, system: str, arguments: Arguments, properties: str = "", required: str = "") -> str:
    """The text of the answer to `content` under a system message (SQL), in JSON of these properties (SQL)."""
    fields = {"system_msg": system}
    if properties and asked.constrains:
        before, between, after = map(_text, _SCHEMA)
        fields["response_format"] = f"concat({before}, {properties}, {between}, {required}, {after})"
    return f"llm_result({_chat(asked, arguments['content'], arguments, **fields)})"


_SCHEMA = (
    '{"type":"json_schema","json_schema":{"name":"answer","strict":true,"schema":{"type":"object","properties":{',
    '},"required":',
    ',"additionalProperties":false}}}',
)


def _query(asked: Asked, arguments: Arguments) -> str:
    fields = {}
    if given := arguments.get("responseFormat"):
        fields["response_format"] = given
    answer = _chat(asked, arguments["request"], arguments, **fields)
    result = f"llm_result({answer})"
    if kind := arguments.get("returnType"):
        if not (quoted := re.fullmatch(r"(['\"])([^'\"\\]+)\1", kind)):
            raise ValueError("returnType is a type in quotes, as in 'int' or 'struct<name: string>'")
        atomic = re.fullmatch(r"\s*\w+\s*(\([\d\s,]*\))?\s*", quoted[2])
        result = f"cast({result} as {quoted[2]})" if atomic else f"from_json({result}, {kind})"
    error = f"llm_error({answer})"
    match arguments.get("failOnError", "").lower():
        case "":
            return result
        case "false":
            return f"named_struct('result', {result}, 'errorMessage', {error})"
        case "true":
            return f"if({error} is null, {result}, raise_error(concat('ai_query: ', {error})))"
    raise ValueError("failOnError is true or false")


def _classify(asked: Asked, arguments: Arguments) -> str:
    labels = arguments["labels"]
    system = f"concat({_text(_CLASSIFY)}, array_join({labels}, ', '))"
    property_ = f'concat(\'"label":{{"type":"string","enum":\', to_json({labels}), \'}}\')'
    answer = _task(asked, system, arguments, property_, "'[\"label\"]'")
    said = f"lower(trim(BOTH ' .\"\n' FROM coalesce(get_json_object({answer}, '$.label'), {answer})))"
    return f"get({labels}, cast(array_position(transform({labels}, label -> lower(label)), {said}) as int) - 1)"


def _extract(asked: Asked, arguments: Arguments) -> str:
    names = literal_texts(arguments["labels"])
    if not names:
        raise ValueError("labels of ai_extract are an array of texts, written out: array('name', 'price')")
    listed = ", ".join(names)
    properties = ",".join(f'"{_json(name)}":{{"type":["string","null"]}}' for name in names)
    required = f"[{','.join(_quoted(name) for name in names)}]"
    answer = _task(asked, _text(_EXTRACT.format(listed)), arguments, _text(properties), _text(required))
    schema = ", ".join(f"`{name.replace('`', '``')}` STRING" for name in names)
    return f"from_json(regexp_extract({answer}, '(?s)[{{].*[}}]', 0), {_text(schema)})"


def _filter(asked: Asked, arguments: Arguments) -> str:
    answer = _task(asked, _text(_FILTER), arguments, _text('"answer":{"type":"boolean"}'), "'[\"answer\"]'")
    word = f"regexp_extract(lower({answer}), '(^|[^a-z])(true|false|yes|no)([^a-z]|$)', 2)"
    return f"CASE {word} WHEN 'true' THEN true WHEN 'yes' THEN true WHEN 'false' THEN false WHEN 'no' THEN false END"


def _sentiment(asked: Asked, arguments: Arguments) -> str:
    return _classify(asked, {**arguments, "labels": "array('positive', 'negative', 'neutral', 'mixed')"})


def _instruct(text: str, extra: str = "") -> Callable[[Asked, Arguments], str]:
    """A task whose answer is text; `extra` names a parameter that ends the system message."""

    def write(asked: Asked, arguments: Arguments) -> str:
        system = f"concat({_text(text)}, {arguments[extra]})" if extra in arguments else _text(text)
        return _task(asked, system, arguments)

    return write


def _mask(asked: Asked, arguments: Arguments) -> str:
    return _task(asked, f"concat({_text(_MASK)}, array_join({arguments['labels']}, ', '))", arguments)


def _vector(asked: Asked, text: str) -> str:
    request = f"llm_param(map('instruction', {text}, 'embedding', 'true'))"
    return f"from_json(llm_result({asked.call(request)}), 'array<float>')"


def _similarity(asked: Asked, arguments: Arguments) -> str:
    one, other = (_vector(asked, arguments[key]) for key in ("content1", "content2"))
    return f"vector_cosine_similarity({one}, {other})"


def _rerank(asked: Asked, arguments: Arguments) -> str:
    request = f"llm_param(map('instruction', {arguments['query']}, 'rerank', to_json({arguments['texts']})))"
    return f"from_json(llm_result({asked.call(request)}), 'array<struct<index:int,score:float,text:string>>')"


_CLASSIFY = "Classify the text. Answer with one of these labels and nothing else: "
_EXTRACT = (
    "Extract from the text: {}. Answer with one JSON object that has these keys and nothing else; the value of what"
    " the text does not say is null."
)
_FILTER = "Is what the user says true? Answer with true or false and nothing else."
_MASK = "Repeat the text word by word, but write [MASKED] in place of each of these kinds of information: "
_TRANSLATE = "Translate the text. Answer with the translation and nothing else. Translate into: "
_GRAMMAR = "Correct the grammar of the text and change nothing else. Answer with the corrected text and nothing else."
_SUMMARIZE = "Summarize the text. Answer with the summary and nothing else. At most so many words: "

FUNCTIONS: dict[str, Function] = {
    "ai_query": Function(
        ("endpoint", "request", "returnType", "failOnError", "modelParameters", "responseFormat"),
        2,
        _query,
        named=(),
    ),
    "ai_gen": Function(("request",), 1, _query),
    "ai_classify": Function(("content", "labels"), 2, _classify),
    "ai_extract": Function(("content", "labels"), 2, _extract),
    "ai_filter": Function(("content",), 1, _filter),
    "ai_analyze_sentiment": Function(("content",), 1, _sentiment),
    "ai_fix_grammar": Function(("content",), 1, _instruct(_GRAMMAR)),
    "ai_mask": Function(("content", "labels"), 2, _mask),
    "ai_summarize": Function(
        ("content", "max_words"),
        1,
        lambda asked, given: _instruct(_SUMMARIZE, "max_words")(asked, {"max_words": "'50'", **given}),
    ),
    "ai_translate": Function(("content", "to_lang"), 2, _instruct(_TRANSLATE, "to_lang")),
    "ai_embed": Function(("model", "content"), 2, lambda asked, given: _vector(asked, given["content"]), named=()),
    "ai_similarity": Function(("content1", "content2"), 2, _similarity, named=("model",), embeds=True),
    "ai_rerank": Function(("model", "query", "texts"), 3, _rerank, named=()),
}


def literal_texts(sql: str) -> list[str]:
    """The texts of `array('a', 'b')`; none if it is something else."""
    inside = re.fullmatch(r"\s*array\s*\((.*)\)\s*", sql, re.DOTALL | re.IGNORECASE)
    quoted = r"\s*(?:'([^'\\]*)'|\"([^\"\\]*)\")\s*"
    if not inside or not re.fullmatch(f"{quoted}(,{quoted})*", inside[1]):
        return []
    return [one or other for one, other in re.findall(quoted, inside[1])]


def _text(text: str) -> str:
    """A literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _pair(key: str, value: str) -> str:
    return f"{_text(key)}, {value}"


def _json(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _quoted(text: str) -> str:
    return f'"{_json(text)}"'
