"""llm_prompt, llm_param and calls of models in a statement: checked when it is planned, then written for Spark."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from sqlllm.dialect import RenderedSql
from sqlllm.errors import ParseError
from sqlllm.places import Source
from sqlllm.udfs import literals, prompts, requests, templates
from sqlllm.udfs.functions import FUNCTIONS

from . import calls, functions
from .calls import Call, Cut, Edit

if TYPE_CHECKING:
    from .session import Session

_FUNCTIONS = frozenset({"llm_prompt", "llm_param"})
_ONCE = {  # what stands before the argument, and after it
    name: tuple(re.split(r"\b(?:answer|m)\b", FUNCTIONS[name][2]))
    for name in ("llm_param", "llm_result", "llm_response_predict", "llm_thoughts")
}
_REQUEST = 'llm_param(map("instruction", ...))'


def checked(session: Session, sql: RenderedSql, more: Iterable[str] = ()) -> RenderedSql:
    """`sql` with the fields of its prompts by position, their values in an array, and NULL as llm.nulls has it.

    `more`: names of models, in lower case, that the session does not have yet. Raises ParseError for a template that
    does not fit its values, a key that llm_param does not know, and a call of a model whose argument cannot be a
    request.
    """
    models = frozenset(session.models).union(more)
    if not models and "llm_p" not in sql.text.lower():
        return sql

    def write(call: Call, cut: Cut) -> str | None:
        if call.name == "llm_param":
            _check_keys(sql, call)
        elif call.name in models:
            _check_request(sql, call)
        elif (prompt := _Prompt.read(sql, call, cut, session.settings.llm.nulls)) is not None:
            made = prompt.sql()
            return made if made.split() != cut(call.start, call.end).split() else None
        return None

    return calls.written_out(sql, _FUNCTIONS | models, write)


def for_spark(sql: RenderedSql) -> RenderedSql:
    """`sql` with each llm_prompt, and the map in each llm_param, as expressions in which every value keeps its kind.

    Functions of ours that use their argument once become their expression: Spark's analyser takes a step for each call
    of a SQL function, and gives up after a hundred.
    """
    if "llm_" not in sql.text.lower():
        return sql

    def write(call: Call, cut: Cut) -> str | list[Edit] | None:
        if call.name in _ONCE:
            return _inlined(call) + (_param(call, cut) if call.name == "llm_param" else [])
        prompt = _Prompt.read(sql, call, cut, "empty") if call.name == "llm_prompt" else None
        return None if prompt is None else prompt.written_out()

    return calls.written_out(sql, {*_FUNCTIONS, *_ONCE, "map"}, write)


def template(call: str) -> tuple[str, list[str]] | None:
    """The template of a call of llm_prompt, with its fields by position, and the SQL of its values.

    None if the template is not a literal, its values are not written out, or they do not fit it.
    """
    sql = RenderedSql(call, Source(call).place(0, len(call)))
    found = calls.calls(call, _FUNCTIONS)
    if len(found) != 1 or found[0].name != "llm_prompt":
        return None
    try:
        prompt = _Prompt.read(sql, found[0], lambda start, end: call[start:end], "empty")
    except ParseError:
        return None
    if prompt is None or prompt.constant is None or prompt.values is None:
        return None
    return prompt.constant, prompt.values


@dataclass(frozen=True)
class _Prompt:
    """A call of llm_prompt: the SQL of its template, and its text if it is a constant with the fields by position.

    `values` are None if they are an array that is not written out, which is `array`.
    """

    template: str
    constant: str | None
    values: list[str] | None
    array: str
    nulls: str

    def sql(self) -> str:
        """The call with its values in an array."""
        template = self.template if self.constant is None else literals.text(self.constant)
        array = self.array if self.values is None else f"array({', '.join(self.values)})"
        more = f", {literals.text(self.nulls)}" if self.nulls != "empty" else ""
        return f"llm_prompt({template}, {array}{more})"

    def written_out(self) -> str:
        """The expression that it stands for."""
        if self.constant is not None and self.values is not None:
            return prompts.filled(templates.parse(self.constant), self.values, self.nulls)
        array = self.array if self.values is None else prompts.listed(self.values)
        return functions.prompt(self.template, array, self.nulls)

    @classmethod
    def read(cls, sql: RenderedSql, call: Call, cut: Cut, nulls: str) -> _Prompt | None:
        """None for the wrong number of arguments, which Spark reports. Raises ParseError."""
        given = {one.name.lower() or position: one for position, one in enumerate(call.arguments)}
        told = given.pop("nulls", None) or given.pop(2, None)
        if not given or not given.keys() <= {0, 1}:
            return None
        place = sql.place_at(call.start, call.end)
        if told is not None:
            nulls = str(_constant(cut(told.start, told.end)))
            if nulls not in prompts.NULLS:
                cure = f"Write one of {', '.join(prompts.NULLS)}."
                raise ParseError(f"nulls of llm_prompt cannot be {nulls}", cure=cure, place=place)
        texts = [cut(one.start, one.end) for one in (given[0], *([given[1]] if 1 in given else []))]
        template = _constant(texts[0])
        if not isinstance(template, str):
            values = _values(texts[1])[1] if len(texts) > 1 else []
            return cls(texts[0], None, values, texts[-1], nulls)
        names, values = _values(texts[1]) if len(texts) > 1 else _columns(template)
        try:
            if values is None:
                _refuse_names(template)
            else:
                template = templates.by_position(template, names)
        except templates.TemplateError as error:
            at = sql.text.find(error.written, given[0].start, given[0].end) if error.written else -1
            where = sql.place_at(at, at + len(error.written)) if at >= 0 else place
            raise ParseError(error.message, cure=error.cure, place=where) from None
        return cls(texts[0], template, values, texts[-1], nulls)


def _constant(sql: str) -> Any:
    try:
        return literals.constant(sql)
    except literals.NotConstant:
        return None


def _values(sql: str) -> tuple[list[str], list[str] | None]:
    """The names and the SQL of the values in an array or a struct that is written out; None for another expression."""
    found = calls.calls(sql, ("array", "struct", "named_struct"))
    if len(found) != 1 or (found[0].start, found[0].end) != (0, len(sql)):
        return [], None
    texts = [sql[one.start : one.end] for one in found[0].arguments]
    if found[0].name == "named_struct":
        return [str(_constant(name)) for name in texts[::2]], texts[1::2]
    if found[0].name == "array":
        return list(map(_name, texts)), texts
    pairs = [literals.alias(one) for one in texts]
    return [name or _name(value) for value, name in pairs], [value for value, _ in pairs]


def _name(sql: str) -> str:
    """The name of a column, with that of its table; empty for another expression."""
    node = literals.tree(sql)
    return ".".join(part.name for part in node.parts) if isinstance(node, exp.Column) else ""


def _columns(template: str) -> tuple[list[str], list[str]]:
    """The names in a template without values: they are columns."""
    fields = [one.name for one in templates.parse(template) if isinstance(one, templates.Field) and one.name]
    names = list(dict.fromkeys(fields))
    return names, [".".join(f"`{part}`" for part in name.split(".")) for name in names]


def _refuse_names(template: str) -> None:
    """TemplateError for a field by name: the values are an array that is not written out."""
    for piece in templates.parse(template):
        if isinstance(piece, templates.Field) and piece.name:
            templates.resolved([piece], [])


# --- llm_param and models ----------------------------------------------------------------------------------------


def _check_keys(sql: RenderedSql, call: Call) -> None:
    """ParseError for a key of a map that is written out, or a constant under it, which no request can have."""
    if len(call.arguments) != 1:
        return  # Spark reports it
    (given,) = call.arguments
    pairs = literals.pairs(sql.text[given.start : given.end]) or []
    for key, value in pairs:
        if key is None:
            continue
        try:
            requests.check(str(key), literals.as_text(value))
        except ValueError as error:
            at = sql.text.find(str(key), given.start, given.end)
            place = sql.place_at(at, at + len(str(key))) if at >= 0 else sql.place_at(call.start, call.end)
            cure = f"Keys: {', '.join(requests.KEYS)}." if "did you mean" not in str(error) else ""
            raise ParseError(str(error), cure=cure, place=place) from None


def _check_request(sql: RenderedSql, call: Call) -> None:
    """ParseError for a call of a model with something that is not a request, as far as its syntax says."""
    place = sql.place_at(call.start, call.end)
    cure = f"Write {sql.text[call.start : call.end].partition('(')[0].strip()}({_REQUEST})."
    if len(call.arguments) != 1:
        raise ParseError(f"{call.name} takes one argument, a request", cure=cure, place=place)
    (given,) = call.arguments
    text = sql.text[given.start : given.end]
    node = literals.tree(text)
    if prompts.is_text(node) or isinstance(node, (exp.VarMap, exp.Struct, exp.Literal, exp.Boolean)):
        raise ParseError(f"{call.name} takes a request, not {_shortened(text)}", cure=cure, place=place)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _inlined(call: Call) -> list[Edit]:
    """The edits around the only argument of a function; none for the wrong number of arguments, which Spark reports."""
    if len(call.arguments) != 1 or call.arguments[0].name or call.arguments[0].start == call.arguments[0].end:
        return []
    (given,) = call.arguments
    before, after = _ONCE[call.name]
    return [(call.start, given.start, before), (given.end, call.end, after)]


def _param(call: Call, cut: Cut) -> list[Edit]:
    """The values of the map in llm_param, if it is written out, each as a text."""
    if len(call.arguments) != 1 or not call.inside or call.inside[0].name != "map":
        return []
    (given,), made = call.arguments, call.inside[0]
    if (made.start, made.end) != (given.start, given.end) or len(made.arguments) % 2:
        return []
    values = [(one.start, one.end, cut(one.start, one.end)) for one in made.arguments[1::2] if one.start < one.end]
    return [(start, end, text) for start, end, value in values if (text := prompts.as_text(value)) != value]
