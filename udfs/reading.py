# ruff: noqa: RUF001 - other scripts' marks are meant
"""The value that an answer holds: strict about what it is, tolerant of what models write around it.

read('Sure!\\n```json\\n{"name": "Anna", "price": "12.5"}\\n```', parse("struct<name string, price double>"))
== '{"name":"Anna","price":12.5}'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from . import atoms, loose_json, phrases
from .kinds import ArrayOf, Atom, Kind, Labels, MapOf, StructOf
from .loose_json import Cut, Malformed, Number

NULL = object()
"""A model's null."""
_WRAPPERS = frozenset(
    re.findall(
        r"\w+",
        "answer label labels category categories class classification sentiment result results output response value"
        " verdict prediction items data",
    )
)
_NOTHING = frozenset({"", "null", "none", "n/a", "nil"})  # texts that stand for null where no text may stand
_NUMBERS = frozenset({"tinyint", "smallint", "int", "bigint", "float", "double", "decimal"})
_BETWEEN = ("\n", ";", "；", "|", "、", "，", ",", " and ", " & ")  # labels
_SHOWN = 200  # characters of an answer in an error


class Unreadable(ValueError):
    """The answer does not hold a value of this kind; the message says why, and shows the answer."""


def read(text: str, kind: Kind, *, cut: bool = False) -> str | None:
    """The value in an answer: JSON for an array, a map, a struct and several labels, else the text that Spark casts.

    None if the model says null. `cut`: the answer ends where max_tokens cut it. Raises Unreadable.
    """
    try:
        if isinstance(kind, Atom) and atoms.is_text(kind):
            return _any(text) if kind.name == "variant" else atoms.read(text, kind)
        value = _whole(text, kind)
    except (Unreadable, ValueError) as error:
        reason = str(error) if isinstance(error, (Unreadable, Malformed)) else ""
        raise Unreadable(_message(text, kind, "max_tokens cut it off" if cut else reason)) from None
    if cut and isinstance(kind, Atom) and kind.name in _NUMBERS:
        raise Unreadable(_message(text, kind, "max_tokens cut it off, and more digits may follow"))
    if value is NULL:
        return None
    return value if isinstance(kind, Atom) or (isinstance(kind, Labels) and not kind.multiple) else _json(value, kind)


def described(kind: Kind) -> str:
    """The kind in words, for an error."""
    if isinstance(kind, Labels):
        listed = ", ".join(kind.names[:20]) + (", ..." if len(kind.names) > 20 else "")
        return f"a list of the labels {listed}" if kind.multiple else f"one of the labels {listed}"
    name = f"{kind.name}({kind.size})" if isinstance(kind, Atom) and "char" in kind.name else str(kind).replace("`", "")
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _message(text: str, kind: Kind, reason: str) -> str:
    if not text.strip():
        return f"the answer is not {described(kind)}: it is empty"
    shown = " ".join(text.split())
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + " ..."
    return f"the answer is not {described(kind)}" + (f", {reason}" if reason else "") + f": {shown}"


# --- the whole answer --------------------------------------------------------------------------------------------


def _whole(text: str, kind: Kind) -> Any:
    blocks = phrases.fenced(text)
    for part in (blocks, [text]):  # what is fenced is the answer; else it stands in the text
        values = _distinct(_maybe(lambda one: _part(one, kind), block) for block in part)
        if len(values) > 1:
            raise Unreadable("it holds several that differ")
        if values:
            return values[0]
    return _part(blocks[0] if len(blocks) == 1 else text, kind)  # for its error


def _part(text: str, kind: Kind) -> Any:
    single = isinstance(kind, (Atom, Labels))
    try:
        values = _json_values(text)
    except Malformed:
        if not single:
            raise
        values = []
    if single and text.strip()[:1] not in ("{", "[", '"'):  # `as [1] says` holds no answer, `So: {"label": "x"}` does
        values = [value for value in values if isinstance(value, dict)]
    if values and not (single and _is_spoken(text, kind)):
        found = _distinct(_maybe(lambda one: _value(one, kind), one) for one in values)
        if len(found) > 1:
            raise Unreadable("it holds several that differ")
        return found[0] if found else _value(values[-1], kind)
    if not isinstance(kind, (Atom, Labels)):
        if isinstance(kind, ArrayOf) and (items := _bullets(text)):
            return _value(items, kind)
        raise Unreadable("")
    return _spoken(text, kind)


def _json_values(text: str) -> list[Any]:
    """The text as one value of JSON if it is a container or a quoted string, else the containers in it."""
    stripped = text.strip()
    if stripped[:1] in ("{", "[", '"'):
        try:
            return [loose_json.loads(stripped)]
        except Cut:
            if stripped[0] != '"':
                raise
        except Malformed:
            if stripped[0] == "{":  # `{...} as asked.` holds one; `{a: 1 b` holds none
                return loose_json.found(text)
    return loose_json.found(text)


def _is_spoken(text: str, kind: Kind) -> bool:
    """Whether the text itself, for all its brackets, is a label."""
    return isinstance(kind, Labels) and _maybe(lambda one: _one_label(one, kind), text.strip()) is not None


# --- one value ---------------------------------------------------------------------------------------------------


def _value(value: Any, kind: Kind) -> Any:
    """A value of JSON as one of `kind`; raises Unreadable."""
    match kind:
        case StructOf():
            return _struct(value, kind)
        case MapOf(element):
            if isinstance(value, dict) and set(value) == {"answer"} and isinstance(value["answer"], dict):
                value = value["answer"]
            if not isinstance(value, dict):
                raise Unreadable("")
            return {name: _inner(one, element, name) for name, one in value.items()}
        case ArrayOf(element):
            if isinstance(value, dict):
                value = _unwrapped(value)
            if not isinstance(value, list):
                raise Unreadable("")
            return [_inner(one, element, f"element {at}") for at, one in enumerate(value)]
        case Labels():
            return _labels(value, kind)
    while isinstance(value, (dict, list)) and len(value) >= 1:
        value = _unwrapped(value) if isinstance(value, dict) else (value[0] if len(value) == 1 else value)
        if isinstance(value, list) and len(value) != 1:
            raise Unreadable("")
    return _atom(value, kind)


def _struct(value: Any, kind: StructOf) -> Any:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise Unreadable("")
    names = {phrases.core(name): name for name in value}
    found = {field.name: names.get(phrases.core(field.name)) for field in kind.fields}
    found |= {field.name: field.name for field in kind.fields if field.name in value}
    if all(name is None for name in found.values()):
        if len(value) == 1 and isinstance(one := next(iter(value.values())), (dict, list)):
            return _struct(one, kind)
        raise Unreadable(f"it has none of the fields {', '.join(found)}")
    result = {}
    for field in kind.fields:
        given = value[name] if (name := found[field.name]) is not None else None
        result[field.name] = _inner(given, field.kind, field.name)
        if field.required and result[field.name] is NULL:
            raise Unreadable(f"{field.name} is missing")
    return result


def _inner(value: Any, kind: Kind, name: str) -> Any:
    """A value within another; a text that says that there is none is null where no text may stand."""
    if value is None:
        return NULL
    if isinstance(kind, Atom):
        if kind.name == "variant":
            return value
        if not atoms.is_text(kind) and isinstance(value, str) and value.strip().lower() in _NOTHING:
            return NULL
        try:
            return _atom(value, kind)
        except ValueError:
            raise Unreadable(f"{name} is not {described(kind)}") from None
    try:
        return _value(value, kind)
    except Unreadable as error:
        raise Unreadable(str(error) or f"{name} is not {described(kind)}") from None


def _atom(value: Any, kind: Atom) -> Any:
    """A scalar of JSON, or a text by itself, as the text of `kind`."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        if kind.name != "boolean" and not atoms.is_text(kind):
            raise Unreadable("")
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        if not atoms.is_text(kind):
            raise Unreadable("")
        return _plain(value)
    if isinstance(value, Number) or atoms.is_text(kind):
        return atoms.read(str(value), kind)
    return _peeled(value, lambda one: atoms.read(one, kind))


def _unwrapped(value: dict[str, Any]) -> Any:
    """What an object of one field holds, or that of its fields that is called the answer."""
    keys = list(value) if len(value) == 1 else [key for key in value if phrases.core(key) in _WRAPPERS]
    if len(keys) != 1:
        raise Unreadable("")
    return value[keys[0]]


# --- labels ------------------------------------------------------------------------------------------------------


def _labels(value: Any, kind: Labels) -> Any:
    if kind.multiple and isinstance(value, dict) and value and all(isinstance(one, bool) for one in value.values()):
        value = [name for name, holds in value.items() if holds]  # {"praise": true, "complaint": false}
    while isinstance(value, dict):
        value = _unwrapped(value)
    if value is None:
        return [] if kind.multiple else NULL
    if not kind.multiple:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, str):
            raise Unreadable("")
        return _peeled(value, lambda one: _one_label(one, kind))
    if isinstance(value, str):
        return _several(value, kind)
    found = [_label_in_list(one, kind) for one in value]
    return list(dict.fromkeys(found))


def _label_in_list(value: Any, kind: Labels) -> str:
    value = _unwrapped(value) if isinstance(value, dict) else value
    if not isinstance(value, str):
        raise Unreadable("")
    return str(_peeled(value, lambda one: _one_label(one, kind)))


def _several(text: str, kind: Labels) -> list[str]:
    """Labels parted by commas, semicolons, bars or lines; a label may hold such a mark."""
    text = text.strip()
    if text.lower().rstrip(".") in _NOTHING:
        return []
    try:
        return [_peeled(text, lambda one: _one_label(one, kind))]
    except Unreadable:
        for said in (text, *(rest for rest, before in phrases.peeled(text) if before)):
            for mark in _BETWEEN:
                parts = [part for part in said.split(mark) if part.strip()]
                if len(parts) > 1 and (found := _maybe(lambda given: [_several(one, kind) for one in given], parts)):
                    return list(dict.fromkeys(label for labels in found for label in labels))
        raise


def _one_label(text: str, kind: Labels) -> str:
    """The label that a text is, exactly if it can be, else without case, marks and separators."""
    for same in (str, phrases.folded, phrases.core):
        if found := [name for name in dict.fromkeys(kind.names) if same(name) == same(text)]:
            if len(found) > 1:
                raise Unreadable(f"it may be {' or '.join(found)}")
            return found[0]
    raise Unreadable("")


# --- spoken answers ----------------------------------------------------------------------------------------------


def _spoken(text: str, kind: Atom | Labels) -> Any:
    """A value that is said in plain text: by the whole of it, or by a line of it that no other line contradicts."""
    if isinstance(kind, Labels) and kind.multiple:
        return _several(text, kind)

    def convert(one: str) -> str:
        return _one_label(one, kind) if isinstance(kind, Labels) else atoms.read(one, kind)

    if text.strip().lower() == "null":
        return NULL
    try:
        return _peeled(text, convert)
    except Unreadable:
        said = [(line, alone, _maybe(lambda one: _peeled(one, convert), line)) for line, alone in phrases.lines(text)]
        values = _distinct(value for _, _, value in said)
        sure = any(value is not None and (alone or phrases.has_prefix(line)) for line, alone, value in said)
        if len(said) > 1 and len(values) == 1 and sure:
            return values[0]
        if len(said) == 1 and isinstance(kind, Atom) and kind.name == "boolean":
            first, _, rest = text.strip().partition(". ")  # `Yes. The text names a delivery.`
            words = re.findall(r"\w+", rest.casefold())
            if len(words) > 1 and not {*words} & (atoms.YES | atoms.NO):
                return _peeled(first, convert)
        raise


def _peeled(text: str, convert: Callable[[str], str]) -> str:
    """What `convert` makes of a text, or of the text with less around it; raises Unreadable."""
    for said, before in phrases.peeled(text):
        if before and _maybe(convert, before) is not None:  # `No: true`
            break
        if (value := _maybe(convert, said)) is not None:
            return str(value)
    raise Unreadable("")


def _maybe(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except ValueError:  # Unreadable and Malformed are such
        return None


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value is not None and value not in found:
            found.append(value)
    return found


def _bullets(text: str) -> list[str]:
    """The items of a list that is the whole text."""
    said = [line.strip() for line in text.strip().splitlines() if line.strip()]
    items = [match.group(1) for line in said if (match := phrases.ITEM.fullmatch(line))]
    return items if len(items) == len(said) else []


# --- JSON --------------------------------------------------------------------------------------------------------


def _any(text: str) -> str:
    """Any value of JSON, in its text."""
    values = _json_values((phrases.fenced(text) or [text])[-1])
    if len(values) == 1:
        return _plain(values[0])
    return _plain(loose_json.loads(text))


def _json(value: Any, kind: Kind) -> str:
    """The JSON of a value that was read, as from_json takes it."""
    if value is NULL:
        return "null"
    match kind:
        case StructOf(fields):
            pairs = (f"{_quoted(field.name)}:{_json(value[field.name], field.kind)}" for field in fields)
            return f"{{{','.join(pairs)}}}"
        case MapOf(element):
            return f"{{{','.join(f'{_quoted(key)}:{_json(one, element)}' for key, one in value.items())}}}"
        case ArrayOf(element):
            return f"[{','.join(_json(one, element) for one in value)}]"
        case Labels():
            return orjson.dumps(value).decode()
    if kind.name == "variant":
        return _plain(value)
    return value if kind.name in atoms.IN_JSON and value not in _SPECIAL else _quoted(value)


_SPECIAL = frozenset({"NaN", "Infinity", "-Infinity", "nan", "infinity", "-infinity"})


def _plain(value: Any) -> str:
    """The JSON of any value, numbers as they were written."""
    match value:
        case dict():
            return f"{{{','.join(f'{_quoted(str(key))}:{_plain(one)}' for key, one in value.items())}}}"
        case list():
            return f"[{','.join(map(_plain, value))}]"
        case Number():
            return _number(value)
        case str():
            return _quoted(value)
    return orjson.dumps(value).decode()


def _number(text: Number) -> str:
    try:
        orjson.loads(str(text))
    except orjson.JSONDecodeError:  # `+1`, `.5`, `5.`
        return repr(float(text)) if str(text) not in _SPECIAL else _quoted(text)
    return str(text)


def _quoted(text: str) -> str:
    return orjson.dumps(str(text)).decode()
