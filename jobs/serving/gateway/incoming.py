"""What a request says, before a model is asked: its form, its statement, its batch."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.requests import Request

from sqlllm.wire import QUERY_HEADER, TASKS

from ..protocol import RequestError
from .access import Caller
from .models import Model
from .usage import Query

_LARGEST_FILE = 25 * 2**20  # bytes, as OpenAI has it


async def form(request: Request) -> bytes:
    """A multipart form as JSON; its file is base64."""
    fields: dict[str, Any] = {}
    async with request.form() as form:
        for name, value in form.multi_items():
            if name.endswith("[]"):  # a list comes as several fields
                fields.setdefault(name.removesuffix("[]"), []).append(value)
            elif isinstance(value, str):
                fields[name] = value
            else:
                content = await value.read(_LARGEST_FILE + 1)
                if len(content) > _LARGEST_FILE:
                    raise RequestError(
                        "the file is larger than 25 MiB; send it in parts, or as MP3", status=413, param=name
                    )
                fields[name] = b64encode(content).decode()
    if not fields.get("file"):
        raise RequestError("file is missing: send a form with a sound file and a model", param="file")
    return orjson.dumps(fields)


def number(values: Mapping[str, str], name: str) -> float:
    """A parameter of the address that is a number; 0 if it is absent."""
    try:
        return float(values.get(name) or 0)
    except ValueError:
        raise RequestError(f"{name} must be a number", param=name) from None


@lru_cache(maxsize=256)
def query(header: str) -> Query:
    """The statement of a request; an anonymous one without the header."""
    try:
        return Query.model_validate_json(header)
    except ValidationError as error:
        raise RequestError(f"the header {QUERY_HEADER} is wrong: {error.errors()[0]['msg']}") from None


def statement(request: Request, caller: Caller) -> Query:
    """The statement of a request; its user is the caller, whoever the header says it is."""
    told = query(request.headers.get(QUERY_HEADER, "{}"))
    if not caller.name:
        return told
    return told.model_copy(update={"user": caller.name, "id": told.id and f"{caller.name}/{told.id}"})


def renamed(model: Model, fields: dict[str, Any], body: bytes) -> bytes:
    """The body for the model, which knows itself by one name only."""
    return body if fields["model"] == model.name else orjson.dumps({**fields, "model": model.name})


def check_task(fields: dict[str, Any]) -> None:
    """RequestError for a batch of something that is not a task."""
    if (task := fields.get("task")) is not None and task not in TASKS:
        known = ", ".join(TASKS)
        raise RequestError(f"unknown task {task}; known: {known}, or none for a chat", param="task")


@dataclass(frozen=True)
class Batch:
    """A batch request: its conversations, not yet looked into, and its other fields."""

    model: Model
    fingerprint: str
    body: bytes
    messages: list[Any]
    params: dict[str, Any]

    @property
    def route(self) -> str:
        """`chat_batch`, or the like of a task."""
        return f"{self.params.get('task') or 'chat'}_batch"

    def part(self, places: list[int]) -> bytes:
        """The body that asks for some of the conversations."""
        if len(places) == len(self.messages):
            return self.body
        return orjson.dumps({**self.params, "messages": [self.messages[place] for place in places]})
