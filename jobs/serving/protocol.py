"""OpenAI's request and response shapes as plain values: what the gateway and all engines share."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

from sqlllm.errors import nearest
from sqlllm.wire import CONTEXT_LENGTH_EXCEEDED, JSON, UNSUPPORTED, RequestError

__all__ = ["CONTEXT_LENGTH_EXCEEDED", "JSON", "UNSUPPORTED", "RequestError"]  # of the contract, for the engines

TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# OpenAI's bookkeeping fields; they say nothing about the answer.
IGNORED_FIELDS = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)
# Why an answer ended, as Anthropic's protocol says it.
ANTHROPIC_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a request's body."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise RequestError("the body must be a JSON object")
    return request


def check_input(given: Any) -> None:
    """Refuse an empty text, or an empty list of tokens, among the inputs of a request for vectors."""
    if given in ("", []):
        raise RequestError("input is empty", param="input")
    if isinstance(given, list):
        for index, one in enumerate(given):
            if one in ("", []):
                raise RequestError(f"input[{index}] is empty; leave it out", param="input")


def check_fields(request: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse a field that would have no effect."""
    unknown = request.keys() - known - IGNORED_FIELDS
    if unknown:
        name = min(unknown)
        near = nearest(name, known)
        raise RequestError(f"unknown field {name}" + (f"; did you mean {near}?" if near else ""), param=name)


@contextmanager
def well_formed() -> Iterator[None]:
    """What is read here without a check of its own is refused if it is missing or of another kind."""
    try:
        yield
    except KeyError as error:
        raise RequestError(f"{error.args[0]} is missing", param=str(error.args[0])) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise RequestError(f"a field has a wrong value: {error}") from None


def check_messages(messages: object) -> list[dict[str, Any]]:
    """The conversation, if it is one: a non-empty list of objects with a known role and a content."""
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages must be a list with at least one message", param="messages")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise RequestError(f"{where} must be an object with role and content", param="messages")
        role = message.get("role")
        if role not in ROLES:
            raise RequestError(f"{where}.role is {role!r}; known roles: {', '.join(sorted(ROLES))}", param="messages")
        content = message.get("content")
        may_be_absent = role == "assistant" and (message.get("tool_calls") or message.get("function_call"))
        if not isinstance(content, str | list) and not (content is None and may_be_absent):
            raise RequestError(f"{where}.content must be text or a list of parts", param="messages")
    return messages


def text_messages(messages: list[dict[str, Any]], *, only: bool = True) -> list[dict[str, Any]]:
    """The conversation with texts for contents: parts that are texts are joined by line breaks.

    Raises: RequestError for a part of another kind, such as an image; without `only` its message stays as it is.
    """
    return [_text_message(index, message, only) for index, message in enumerate(messages)]


def _text_message(index: int, message: dict[str, Any], only: bool) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts: list[str] = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") in TEXT_PARTS else part
        if isinstance(text, str):
            texts.append(text)
        elif only:
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise RequestError(
                f"messages[{index}] has a part of type {kind}; this model reads texts alone",
                param="messages",
                code=UNSUPPORTED,
            )
        else:
            return message
    return {**message, "content": "\n".join(texts)}


def conversations(request: dict[str, Any]) -> list[Any]:
    """Take `messages` out of a batch request: a list of conversations, not yet looked into."""
    batch = request.pop("messages", None)
    if not isinstance(batch, list) or not batch:
        raise RequestError("messages must be a list of conversations, at least one", param="messages")
    if request.get("stream"):
        raise RequestError("a batch cannot be streamed; send the conversations one by one", param="stream")
    if request.get("n") not in (None, 1):
        raise RequestError("a batch gives one choice per conversation; n must be 1", param="n")
    return batch


def new_id(prefix: str) -> str:
    """A fresh response id, such as `chatcmpl-...`."""
    return f"{prefix}-{uuid.uuid4().hex}"


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def response(kind: str, id: str, model: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:  # noqa: A002 (OpenAI's name)
    """A response of kind `chat.completion`, `text_completion` or `chat.completion.chunk`."""
    return {"id": id, "object": kind, "created": int(time.time()), "model": model, "choices": choices, **more}


def batch_response(model: str, choices: list[dict[str, Any]]) -> bytes:
    """The answers of a batch; `usage` is the sum over its choices."""
    counts = [choice["usage"] for choice in choices if "usage" in choice]
    total = usage(sum(c["prompt_tokens"] for c in counts), sum(c["completion_tokens"] for c in counts))
    return orjson.dumps(response("chat.completion", new_id("chatcmpl"), model, choices, usage=total))


def failed_choice(index: int, error: RequestError) -> dict[str, Any]:
    """The choice of a conversation that cannot be answered; its neighbours are."""
    return {"index": index, "message": None, "finish_reason": "error", "error": error.to_dict()}


def sse(event: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(event) + b"\n\n"


SSE_DONE = b"data: [DONE]\n\n"
