"""Batches for models that hear, speak or draw: each conversation is one sound or one text, its answer a text or base64.

A conversation's last message is a text, or OpenAI's parts with an `input_audio`. A text may also be JSON as Byzer-LLM
has it, with `input` or `audio` and the request's other fields.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from ..protocol import JSON, RequestError, batch_response, conversations, usage
from . import rows

Answer = tuple[str, str]
"""Text or base64, and the media type of what it is."""


async def transcribe(model: Any, fields: dict[str, Any]) -> Answer:
    """The text of a sound; with another `response_format` than `json`, that."""
    audio, text = fields.pop("audio", None), fields.pop("input", None)
    if not isinstance(audio, str):
        cure = 'llm_param(map("instruction", "", "audio", base64(content)))'
        raise RequestError(f"this model transcribes speech: send a sound, in SQL {cure}", param="audio")
    if text:
        fields.setdefault("prompt", text)
    sound = await model.transcriptions({**fields, "file": audio})
    if sound.media_type == JSON and fields.get("response_format", "json") == "json":
        return str(orjson.loads(sound.content)["text"]), "text/plain"
    return sound.content.decode(), sound.media_type


async def speak(model: Any, fields: dict[str, Any]) -> Answer:
    """Base64 of a text as sound."""
    sound = await model.speech(_made(model, fields))
    return b64encode(sound.content).decode(), sound.media_type


async def draw(model: Any, fields: dict[str, Any]) -> Answer:
    """Base64 of an image of a text, or the address that a provider has it at."""
    if fields.get("n") not in (None, 1):
        raise RequestError("a conversation of a batch gets one image: n must be 1", param="n")
    fields["prompt"] = fields.pop("input", None)
    (image,) = orjson.loads(await model.images(_made(model, fields)))["data"]
    return (image["b64_json"], "image/png") if image.get("b64_json") else (image["url"], "text/uri-list")


def batch(
    answer: Callable[[Any, dict[str, Any]], Awaitable[Answer]],
) -> Callable[[Any, dict[str, Any]], Awaitable[bytes]]:
    """What answers a batch by `answer`: one choice for each conversation, a bad one as a choice with `error`."""

    async def run(model: Any, request: dict[str, Any]) -> bytes:
        asked = conversations(request)
        shared = {name: value for name, value in request.items() if name != "task"}

        async def choice(place: int, messages: Any) -> dict[str, Any]:
            content, media_type = await answer(model, {**shared, **_fields(messages)})
            message = {"role": "assistant", "content": content}
            told = {"message": message, "finish_reason": "stop", "media_type": media_type}
            return {"index": place, **told, "usage": usage(0, 0)}

        return batch_response(request["model"], await rows.choices(choice, asked))

    return run


def _made(model: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """The same row, the same image, unless it asks for another; SQL asks temperature 0 of all models."""
    if fields.get("temperature") == 0:
        del fields["temperature"]
    return {**({"seed": 0} if getattr(model, "seeded", False) else {}), **fields}


def _fields(messages: Any) -> dict[str, Any]:
    """What the last message asks: `input`, `audio`, and what else Byzer-LLM's JSON has."""
    last = messages[-1] if isinstance(messages, list) and messages else None
    content = last.get("content") if isinstance(last, dict) else None
    if isinstance(content, str):
        return _byzer(content) or {"input": content}
    found: dict[str, Any] = {}
    for part in content if isinstance(content, list) else ():
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            found["input"] = part.get("text")
        elif kind == "input_audio" and isinstance(part.get(kind), dict):
            found["audio"] = part[kind].get("data")
        else:
            raise RequestError(f"this model takes no content of type {kind}", param="messages")
    if not found:
        raise RequestError("a conversation ends with a text or a sound", param="messages")
    return found


def _byzer(content: str) -> dict[str, Any] | None:
    """The fields of JSON with `audio` or `input`; of a sound it holds segments, too."""
    if not content.lstrip().startswith("{"):
        return None
    try:
        fields = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if not fields.keys() & {"audio", "input"}:
        return None
    return {"response_format": "verbose_json", **fields} if "audio" in fields else dict(fields)
