"""Typed answers: a Python type as the JSON schema that a model is held to, and the answer as a value of the type."""

from __future__ import annotations

import enum
import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

from sqlllm.errors import OptionError

T = TypeVar("T")
_FENCE = re.compile(r"^[ \t]*```[\w-]*[ \t]*\r?\n(.*)\r?\n[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
_AROUND = "\"'`*_ .\u3002"  # of a bare answer
_STRICT = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref", "$defs",
     "description", "title"}
)  # fmt: skip


class Shape(Generic[T]):
    """A type that an answer is to have: a pydantic class, dataclass, TypedDict, Literal, Enum, list, number, ..."""

    def __init__(self, kind: type[T] | Any) -> None:
        from pydantic import PydanticUserError, TypeAdapter
        from pydantic.errors import PydanticUndefinedAnnotation

        self.kind = kind
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(adapted(kind))
            schema = self._adapter.json_schema()
        except PydanticUndefinedAnnotation as error:
            raise OptionError(
                f"{_name(kind)} refers to {error.name}, which is not defined", cure="Define it before its use."
            ) from None
        except (PydanticUserError, NameError, TypeError, RecursionError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise OptionError(
                f"{_name(kind)} is not a valid type of an answer: {reason}",
                cure="Use a pydantic class, a dataclass, a TypedDict, Literal, Enum, list, dict, str or a number.",
            ) from None
        self._wrapped = not ("properties" in _root(schema) or _root(schema).get("type") == "object")
        if self._wrapped:
            definitions = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
            schema = {"type": "object", "properties": {"value": schema}, "required": ["value"], **definitions}
        elif "$ref" in schema:  # a recursive class: providers want an object at the root
            schema = {**_root(schema), "$defs": schema["$defs"]}
        self.schema: dict[str, Any] = closed(schema)

    @property
    def name(self) -> str:
        """A name for the schema, as providers take it."""
        return re.sub(r"\W", "_", _name(self.kind), flags=re.ASCII)[:64] or "answer"

    @cached_property
    def response_format(self) -> dict[str, Any]:
        """OpenAI's `response_format`."""
        named = {"name": self.name, "schema": self.schema, "strict": _is_strict(self.schema)}
        return {"type": "json_schema", "json_schema": named}

    @property
    def instructions(self) -> str:
        """The words for a model that cannot be held to a schema."""
        schema = json.dumps(self.schema, ensure_ascii=False)
        return f"Answer with JSON alone, which follows this JSON schema:\n{schema}"

    def parse(self, text: str) -> T:
        """The value in an answer. Raises: ValueError with what is wrong, in words for the model."""
        from pydantic import ValidationError

        problem = "the answer holds no JSON"
        for data in self._read(text):
            try:
                return self._adapter.validate_python(data)
            except ValidationError as error:
                lines = [_told(one) for one in error.errors()[:5]]
                problem = "; ".join(lines)
        raise ValueError(problem)

    def take(self, data: Any) -> T:
        """The value in plain data. Raises: ValueError with what is wrong."""
        from pydantic import ValidationError

        try:
            return self._adapter.validate_python(self._by_python(data))
        except ValidationError as error:
            raise ValueError("; ".join(_told(one) for one in error.errors()[:5])) from None

    def partial(self, text: str) -> Any:
        """The answer so far as plain data; None before there is any."""
        from pydantic_core import from_json

        start = min((place for place in (text.find("{"), text.find("[")) if place >= 0), default=-1)
        if start < 0:
            return None
        try:
            data = from_json(text[start:], allow_partial="trailing-strings")
        except ValueError:
            return None
        return data.get("value") if self._wrapped and isinstance(data, dict) else data

    def _read(self, text: str) -> list[Any]:
        """What the answer may mean, the likeliest first."""
        found = []
        for candidate in candidates(text):
            try:
                data = json.loads(candidate)
            except (ValueError, RecursionError):
                continue
            if self._wrapped and isinstance(data, dict) and "value" in data:
                found.append(data["value"])
            if not self._wrapped and isinstance(data, list) and len(data) == 1:
                found.append(data[0])
            found.append(data)
            if self._wrapped and isinstance(data, dict) and len(data) == 1:  # {"label": ...}
                found += data.values()
            break
        if self._wrapped:
            plain = text.strip()
            found += [plain, plain.strip(_AROUND), re.split("[:\uff1a]", plain)[-1].strip(_AROUND)]
        return [self._by_python(data) for data in found] if found else []

    def _by_python(self, data: Any) -> Any:
        """An Enum's member may be meant by its name."""
        if isinstance(self.kind, type) and issubclass(self.kind, enum.Enum) and isinstance(data, str):
            values = {member.value for member in self.kind}
            if data not in values and data in self.kind.__members__:
                return self.kind[data]
        return data


def candidates(text: str) -> typing.Iterator[str]:
    """The whole text; what an outer fence holds, which begins and ends a line; from the first bracket to its end."""
    yield text
    if match := _FENCE.search(text):
        yield match[1]
    decoder = json.JSONDecoder()
    for match in re.finditer(r"[{\[]", text):
        try:
            _, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        yield text[match.start() : end]
        return


def _told(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {error['msg']}" if where else str(error["msg"])


def shape(kind: Any) -> Shape[Any] | None:
    """The shape of a type; None for `str`, which is the text itself."""
    if kind in (None, str, typing.Any):
        return None
    if isinstance(kind, Shape):
        return kind
    try:
        return _shape(kind)
    except TypeError:  # a type that cannot be a key
        return Shape(kind)


_shape = lru_cache(maxsize=128)(Shape)


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind).replace("typing.", "")


def _root(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        found: Mapping[str, Any] = schema["$defs"][reference.removeprefix("#/$defs/")]
        return found
    return schema


def closed(schema: Any) -> Any:
    """The schema without titles; its objects take no other keys."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in ("properties", "$defs"):
            made[key] = {name: closed(one) for name, one in value.items()}
        else:
            made[key] = value if key in ("default", "enum", "const", "examples") else closed(value)
    if "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


def _is_strict(schema: Any) -> bool:
    """Whether OpenAI takes the schema with `strict`: every property required, no keyword that it does not know."""
    if isinstance(schema, list):
        return all(_is_strict(one) for one in schema)
    if not isinstance(schema, dict):
        return True
    if not schema.keys() <= _STRICT or ("type" in schema and schema["type"] == "object" and "properties" not in schema):
        return False
    if "properties" in schema and set(schema["properties"]) != set(schema.get("required", ())):
        return False
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", [])]
    return _is_strict(inner) and _is_strict(schema.get("items"))


def adapted(kind: Any) -> Any:
    """The type with each `typing.TypedDict` as that of typing_extensions, the only one pydantic takes before 3.12."""
    if sys.version_info >= (3, 12):
        return kind
    return _typed_dicts(kind, {})


def _typed_dicts(kind: Any, seen: dict[Any, Any]) -> Any:
    if typing.is_typeddict(kind) and type(kind).__module__ == "typing":
        return _typed_dict(kind, seen)
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if not arguments or origin in (typing.Literal, None):
        return kind
    made = tuple(_typed_dicts(one, seen) for one in arguments)
    if made == arguments:
        return kind
    if origin is typing.Annotated:
        return typing.Annotated[made[0], *arguments[1:]]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[made]  # noqa: UP007
    return origin[made]


def _typed_dict(kind: Any, seen: dict[Any, Any]) -> Any:
    import typing_extensions

    if kind in seen:
        return seen[kind]
    seen[kind] = kind.__name__  # a recursive one stays a name, which pydantic reports
    fields = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        mark = typing.get_origin(hint)  # which a postponed annotation has kept from `__required_keys__`
        if mark in (typing.Required, typing.NotRequired):
            hint = typing.get_args(hint)[0]
        else:
            mark = typing.Required if name in kind.__required_keys__ else typing.NotRequired
        fields[name] = mark[_typed_dicts(hint, seen)]
    make: Any = typing_extensions.TypedDict
    seen[kind] = made = make(kind.__name__, fields)
    made.__doc__, made.__module__ = kind.__doc__, kind.__module__
    return made
