"""What an answer is held to: a JSON schema, a regular expression, one of several texts, or a grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from ...protocol import RequestError, well_formed

Kind = Literal["json", "regex", "choice", "grammar"]
_KINDS: tuple[Kind, ...] = ("json", "regex", "choice", "grammar")
_ANY_OBJECT = {"type": "object"}
COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""How llguidance writes JSON: on one line. A weak model could write blanks without an end."""


@dataclass(frozen=True, slots=True)
class Held:
    """`value` is a JSON schema, a regular expression, a list of texts, or a grammar in GBNF or Lark."""

    kind: Kind
    value: Any

    @property
    def regex(self) -> str:
        """The texts of a choice as a regular expression."""
        return "|".join(map(re.escape, self.value))


@well_formed()
def held(response_format: dict[str, Any] | None, structured: dict[str, Any] | None) -> Held | None:
    """What OpenAI's `response_format` and vLLM's `structured_outputs` ask for; None for free text.

    Raises: RequestError for an unknown form, and for two at once.
    """
    found = [one for one in (_format(response_format), *_structured(structured)) if one]
    if len(found) > 1:
        raise RequestError("an answer is held to one form; send response_format or one of structured_outputs")
    return found[0] if found else None


def _format(form: dict[str, Any] | None) -> Held | None:
    kind = (form or {}).get("type", "text")
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return Held("json", _checked(form.get("schema") or _ANY_OBJECT, "response_format"))
    if kind != "json_schema":
        raise RequestError(f"response_format {kind!r} is unknown", param="response_format")
    schema = form.get("schema", (form.get("json_schema") or {}).get("schema"))
    if schema is None:  # an empty schema takes any value
        raise RequestError("response_format json_schema has no schema", param="response_format")
    return Held("json", _checked(schema or _ANY_OBJECT, "response_format"))


def _structured(form: dict[str, Any] | None) -> list[Held]:
    given = {name: value for name, value in (form or {}).items() if value is not None}
    if unknown := min(given.keys() - {*_KINDS, "json_object"}, default=None):
        raise RequestError(
            f"structured_outputs has no {unknown}; known: {', '.join(_KINDS)}", param="structured_outputs"
        )
    found = [Held("json", _ANY_OBJECT)] if given.get("json_object") else []
    for kind in _KINDS:
        value = given.get(kind)
        if value is None:
            continue
        if kind == "json":
            value = _checked(orjson.loads(value) if isinstance(value, str) else value, "structured_outputs")
        elif kind == "choice":
            if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
                raise RequestError("structured_outputs.choice must be a list of texts", param="structured_outputs")
        elif not isinstance(value, str):
            raise RequestError(f"structured_outputs.{kind} must be text", param="structured_outputs")
        found.append(Held(kind, value))
    return found


def _checked(schema: Any, param: str) -> dict[str, Any] | bool:
    if not isinstance(schema, dict | bool):
        raise RequestError(f"{param} must hold a JSON schema", param=param)
    return schema
