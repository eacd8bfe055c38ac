"""The kinds of answers: Spark's types and labels, read from their names; as a JSON schema, and by `str` as DDL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from . import loose_json


@dataclass(frozen=True, slots=True)
class Atom:
    """One value of the type `name`; `size` is a decimal's precision, or the length of a char or varchar."""

    name: str
    size: int = 0
    scale: int = 0

    def __str__(self) -> str:
        if self.name in ("char", "varchar"):  # from_json and cast have strings alone
            return "string"
        return f"decimal({self.size},{self.scale})" if self.name == "decimal" else self.name


@dataclass(frozen=True, slots=True)
class ArrayOf:
    element: Kind

    def __str__(self) -> str:
        return f"array<{self.element}>"


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map from strings."""

    value: Kind

    def __str__(self) -> str:
        return f"map<string,{self.value}>"


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: Kind
    required: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class StructOf:
    fields: tuple[Field, ...]

    def __str__(self) -> str:
        return f"struct<{','.join(f'`{_name(field.name)}`:{field.kind}' for field in self.fields)}>"


@dataclass(frozen=True, slots=True)
class Labels:
    """One of these labels, or with `multiple` any number of them."""

    names: tuple[str, ...]
    multiple: bool = False

    def __str__(self) -> str:
        return "array<string>" if self.multiple else "string"


Kind = Atom | ArrayOf | MapOf | StructOf | Labels

_ATOMS = {  # sqlglot's name: Spark's
    "TEXT": "string",
    "BOOLEAN": "boolean",
    "TINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INT": "int",
    "BIGINT": "bigint",
    "FLOAT": "float",
    "DOUBLE": "double",
    "DATE": "date",
    "TIMESTAMPTZ": "timestamp",
    "TIMESTAMPLTZ": "timestamp",
    "TIMESTAMPNTZ": "timestamp_ntz",
    "BINARY": "binary",
    "VARIANT": "variant",
}
_JSON = dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "integer")
_JSON |= {"float": "number", "double": "number", "decimal": "number", "boolean": "boolean"}
_FORMATS = {"date": "date", "timestamp": "date-time"}
_COLUMNS = re.compile(r"\s*(?:`[^`]+`|(?!interval\b)\w+)(?:\s*:\s*|\s+)(?!precision\b|collate\b)\w", re.IGNORECASE)
LABELS = ("label", "labels")
"""Names of the kinds that are labels: one of them, and any number of them."""


@lru_cache(maxsize=256)
def parse(name: str, labels: str | None = None) -> Kind:
    """The kind of a Spark type in DDL, as in 'struct<name string, price double>', of columns, or of `labels` (JSON).

    Raises ValueError for what is not a type, or not labels.
    """
    if name in LABELS:
        return Labels(tuple(_label_names(labels)), name == "labels")
    if labels is not None:
        raise ValueError('labels go with returns "label" or "labels"')
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    text = f"struct<{name}>" if _COLUMNS.match(name) else name
    try:
        if text.count("<") == text.count(">") and text.count("(") == text.count(")"):
            return _kind(exp.DataType.build(text, dialect="spark"))
    except (SqlglotError, TypeError):
        pass
    raise ValueError(f"{name!r} is not a type of Spark, such as int, date or struct<name: string, price: double>")


def _kind(node: Any) -> Kind:
    from sqlglot import exp

    name = getattr(node.this, "name", "")
    inner = node.expressions
    if name == "ARRAY" and len(inner) == 1:
        return ArrayOf(_kind(inner[0]))
    if name == "MAP" and len(inner) == 2:
        if (key := _kind(inner[0])) != Atom("string"):
            raise ValueError(f"the keys of a map cannot be {key}: those of JSON are strings")
        return MapOf(_kind(inner[1]))
    if name == "STRUCT" and inner and all(isinstance(one, exp.ColumnDef) and one.kind for one in inner):
        fields = tuple(_field(one) for one in inner)
        if len({field.name.lower() for field in fields}) < len(fields):
            raise ValueError(f"a field is there twice in {node.sql('spark')}")
        return StructOf(fields)
    sizes = [int(one.name) for one in inner]
    if name == "DECIMAL":
        size, scale = (*sizes, 10, 0)[:2] if len(sizes) != 1 else (sizes[0], 0)
        if not 0 <= scale <= size <= 38 or not size:
            raise ValueError(f"decimal({size},{scale}) is not a type of Spark: it has at most 38 digits")
        return Atom("decimal", size, scale)
    if name in ("VARCHAR", "CHAR") and len(sizes) == 1:
        return Atom(name.lower(), sizes[0])
    if name in _ATOMS:
        return Atom(_ATOMS[name])
    raise ValueError(f"an answer cannot be read as {node.sql('spark').lower()}")


def _field(node: Any) -> Field:
    from sqlglot import exp

    told = [constraint.kind for constraint in node.args.get("constraints") or ()]
    comment = next((one.this.name for one in told if isinstance(one, exp.CommentColumnConstraint)), "")
    required = any(isinstance(one, exp.NotNullColumnConstraint) for one in told)
    return Field(node.name, _kind(node.kind), required, comment)


def _label_names(text: str | None) -> Iterator[str]:
    """The names in a JSON array of texts or of {"label": ...}, or in a JSON object from each to its description."""
    wrong = ValueError('labels are a JSON array of texts or of {"label", "description"}, or an object of descriptions')
    try:
        given = loose_json.loads(text or "")
    except loose_json.Malformed:
        raise wrong from None
    for one in given if isinstance(given, (list, dict)) else ():
        name = one.get("label") if isinstance(one, dict) else one
        if not isinstance(name, str) or not name.strip():
            raise wrong
        yield str(name)
    if not given or not isinstance(given, (list, dict)):
        raise wrong


def schema(kind: Kind) -> dict[str, Any]:
    """A JSON schema of an object that holds one `kind`: as it is for a struct, else under `answer` or `label`."""
    if isinstance(kind, StructOf):
        return _schema(kind)
    return _object({wrapper(kind): _schema(kind)})


def is_text(kind: Kind) -> bool:
    """Whether any text is such a value: no schema is needed."""
    return isinstance(kind, Atom) and kind.name in ("string", "varchar", "char")


def wrapper(kind: Kind) -> str:
    """The field that holds a value which is not a struct."""
    return ("labels" if kind.multiple else "label") if isinstance(kind, Labels) else "answer"


def _schema(kind: Kind) -> dict[str, Any]:
    match kind:
        case Labels(names, multiple):
            one: dict[str, Any] = {"type": "string", "enum": list(dict.fromkeys(names))}
            return {"type": "array", "items": one} if multiple else one
        case ArrayOf(element):
            return {"type": "array", "items": _schema(element)}
        case MapOf(value):
            return {"type": "object", "additionalProperties": _schema(value)}
        case StructOf(fields):
            return _object({field.name: _described(field) for field in fields})
    if kind.name == "variant":
        return {}
    shape = {"type": _JSON.get(kind.name, "string")}
    return shape | ({"format": _FORMATS[kind.name]} if kind.name in _FORMATS else {})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _described(field: Field) -> dict[str, Any]:
    """The schema of a field, which may be null unless it is required."""
    told = _schema(field.kind)
    if "type" in told and not field.required:
        told["type"] = [told["type"], "null"]
    return {**told, "description": field.description} if field.description else told


def _name(name: str) -> str:
    return name.replace("`", "``")
