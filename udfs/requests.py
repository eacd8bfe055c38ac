"""One row's request (JSON text, the keys of Byzer-LLM) to one conversation.

With `"embedding", "true"` the output is a vector, and with `"rerank", '["a", "b"]'` the order of these texts; both
without a history. An `image` is shown to the model, an `audio` is played to it: base64, a `data:` URL, or the address
of an image; a JSON array of several. `returns` is the type that the answer is read as, in Spark's DDL, or `label` and
`labels` for one or several of those in the key `labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import orjson

from sqlllm.errors import nearest

from . import kinds

Message = dict[str, Any]
Choice = dict[str, Any]


class RequestError(ValueError):
    """This row's request cannot be sent; its neighbours can."""

    def __init__(self, kind: str, message: str, attempts: int = 1) -> None:
        super().__init__(kind, message, attempts)
        self.kind = kind
        self.message = message
        self.attempts = attempts
        self.raw: str | None = None  # what the model wrote, if it wrote something


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a row asks.

    `prompt` is the text of the last turn, `messages` the conversation in OpenAI's shape, and `params` the other fields
    of the request as JSON: rows that share them can share a request. `task` is `embed` or `rerank` if no chat is meant.
    `returns` is the kind of value that the answer is read as; None for its text.
    """

    prompt: str
    messages: list[Message]
    params: bytes
    task: str = ""
    returns: kinds.Kind | None = None


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


def _texts(text: str) -> list[str]:
    """A JSON array of strings, or one string as it stands."""
    if not text.startswith("["):
        return [text]
    values = orjson.loads(text)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(text)
    return list(values)


def _stops(text: str) -> list[str]:
    """The same; a mark such as [END] is one string."""
    try:
        return _texts(text)
    except orjson.JSONDecodeError:
        if '"' in text:  # an array that is written wrong
            raise
        return [text]


def _form(text: str) -> Any:
    """A JSON object, as chat has it, or the name of a form, as speech does."""
    return orjson.loads(text) if text.startswith("{") else text


def _integer(text: str) -> int:
    """A whole number; SQL writes `5.0` where it stands beside 0.5 in a map."""
    return int(text.removesuffix(".0"))


def _task_name(text: str) -> str:
    if text not in MEDIA_TASKS:
        raise ValueError(text)
    return text


MEDIA_TASKS = ("transcribe", "speak", "draw")  # of a model that has chat, too: a provider's
# Our key -> (OpenAI's or vLLM's field, how its text is read).
PARAMS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "temperature": ("temperature", float),
    "top_p": ("top_p", float),
    "top_k": ("top_k", _integer),
    "min_p": ("min_p", float),
    "seed": ("seed", _integer),
    "max_tokens": ("max_tokens", _integer),
    "max_length": ("max_tokens", _integer),
    "max_new_tokens": ("max_tokens", _integer),
    "min_tokens": ("min_tokens", _integer),
    "stop": ("stop", _stops),
    "stopping_sequences": ("stop", lambda text: text.split(",")),
    "stop_token_ids": ("stop_token_ids", orjson.loads),
    "presence_penalty": ("presence_penalty", float),
    "frequency_penalty": ("frequency_penalty", float),
    "repetition_penalty": ("repetition_penalty", float),
    "ignore_eos": ("ignore_eos", _boolean),
    "response_format": ("response_format", _form),
    "logprobs": ("logprobs", _boolean),
    "top_logprobs": ("top_logprobs", _integer),
    "lora_name": ("lora_name", str),
    # Of models that hear, speak or draw; the last ones are Byzer-LLM's and diffusers' words.
    "task": ("task", _task_name),
    "language": ("language", str),
    "timestamp_granularities": ("timestamp_granularities", orjson.loads),
    "voice": ("voice", str),
    "speed": ("speed", float),
    "size": ("size", str),
    "quality": ("quality", str),
    "width": ("width", _integer),
    "height": ("height", _integer),
    "negative_prompt": ("negative_prompt", str),
    "num_inference_steps": ("num_inference_steps", _integer),
    "sampling_steps": ("num_inference_steps", _integer),
    "guidance_scale": ("guidance_scale", float),
    "cfg_scale": ("guidance_scale", float),
}
TEXTS = (
    "instruction",
    "query",
    "history",
    "system_msg",
    "user_role",
    "assistant_role",
    "embedding",
    "rerank",
    "image",
    "audio",
    "returns",
    "labels",
)
# What a file's base64 begins with. Where nothing fits the model, which looks into it, may know better.
_IMAGES = {"iVBORw0": "png", "R0lGOD": "gif", "UklGR": "webp"}
_SOUNDS = {"ZkxhQ": "flac", "T2dnUw": "ogg", "SUQz": "mp3", "//": "mp3"}
_KNOWN = {*PARAMS, *TEXTS}
KEYS = (*TEXTS, *PARAMS)
"""The keys of a request, those of Byzer-LLM with their other spellings."""


def parse(request: str, *, constrains: bool = True) -> Conversation | None:
    """The conversation of one request; None if its instruction is NULL. Raises RequestError.

    A model that `constrains` its answers to a JSON schema is held to that of `returns`.
    """
    try:
        fields = orjson.loads(request)
    except orjson.JSONDecodeError as error:
        raise RequestError("invalid_request", f"a request is JSON, as llm_param() makes it: {error}") from None
    if not isinstance(fields, dict):
        raise RequestError("invalid_request", "a request is a JSON object, as llm_param(map(...)) makes it")
    if isinstance(fields.get("error"), dict):  # an earlier turn failed: its reason is this turn's reason
        raise RequestError(str(fields["error"].get("kind")), str(fields["error"].get("message")))
    asked = [fields.pop(key) for key in ("query", "instruction") if key in fields]
    if not asked and "audio" not in fields:
        raise RequestError("invalid_request", "llm_param needs the key instruction")
    prompt = next((text for text in asked if text is not None), None if asked else "")
    if prompt is None or any(fields.get(key, "") is None for key in ("rerank", "image", "audio", "labels")):
        return None
    if not isinstance(prompt, str) or not (prompt.strip() or fields.get("audio")):
        raise RequestError("empty_prompt", "the instruction is empty")
    if fields.get("embedding", "false") != "false" or "rerank" in fields:
        return _task(prompt, fields)
    fields.pop("embedding", None)
    # Roles of one's own, as in `"user_role", "Human"`, name the turns of `history`; the model sees the standard ones.
    roles = {"user": "user", "assistant": "assistant", "system": "system", "tool": "tool"}
    roles[str(fields.pop("user_role", None) or "user").lower()] = "user"
    roles[str(fields.pop("assistant_role", None) or "assistant").lower()] = "assistant"
    messages = _history(fields.pop("history", None), roles)
    if system := fields.pop("system_msg", None):
        messages = [{"role": "system", "content": system}, *(m for m in messages if m["role"] != "system")]
    parts = [*_media(fields, "image", _image), *_media(fields, "audio", _sound)]
    if parts and prompt.strip():
        parts.append({"type": "text", "text": prompt})
    messages.append({"role": "user", "content": parts or prompt})
    returns = _returns(fields)
    schema = None
    if constrains and returns is not None and not kinds.is_text(returns) and "response_format" not in fields:
        schema = kinds.schema(returns)
    return Conversation(prompt, messages, _params(fields, schema), returns=returns)


def _returns(fields: dict[str, Any]) -> kinds.Kind | None:
    """The kind of value that is asked for; a string is the text as it is."""
    name, labels = fields.pop("returns", None), fields.pop("labels", None)
    if name is None and labels is None:
        return None
    try:
        kind = kinds.parse(str(name or "label").strip(), labels)
    except ValueError as error:
        raise RequestError("invalid_request", f"returns: {error}") from None
    return None if kind == kinds.Atom("string") else kind


def _media(fields: dict[str, Any], key: str, part: Callable[[str], Message]) -> list[Message]:
    """The parts of a message for what stands under a key."""
    try:
        # Base64 may come in lines, as that of Spark's base64().
        given = ["".join(one.split()) for one in _texts(fields.pop(key))] if key in fields else []
        if not all(given):
            raise ValueError
    except (ValueError, TypeError, AttributeError):
        said = f"{key} is base64, a data: URL, an address, or a JSON array of these"
        raise RequestError("invalid_request", said) from None
    return [part(one) for one in given]


def _image(given: str) -> Message:
    if not given.startswith(("data:", "http://", "https://")):
        kind = next((kind for start, kind in _IMAGES.items() if given.startswith(start)), "jpeg")
        given = f"data:image/{kind};base64,{given}"
    return {"type": "image_url", "image_url": {"url": given}}


def _sound(given: str) -> Message:
    data = given.partition(";base64,")[2] if given.startswith("data:") else given
    kind = next((kind for start, kind in _SOUNDS.items() if data.startswith(start)), "wav")
    return {"type": "input_audio", "input_audio": {"data": data, "format": kind}}


def _task(prompt: str, fields: dict[str, Any]) -> Conversation:
    """A text to embed, or texts to rank by their fit to it."""
    messages: list[Message] = [{"role": "user", "content": prompt}]
    params: dict[str, Any] = {"task": "embed"}
    try:
        if "rerank" in fields:
            messages += [{"role": "document", "content": text} for text in _documents(fields.pop("rerank"))]
            params["task"] = "rerank"
        elif not _boolean(fields.pop("embedding")):
            raise ValueError
        elif "dimensions" in fields:
            params["dimensions"] = int(fields.pop("dimensions"))
    except (ValueError, TypeError, AttributeError):
        said = 'embedding is "true", rerank a JSON array of texts that are not empty, dimensions a number'
        raise RequestError("invalid_request", said) from None
    if fields.pop("embedding", None) or fields:
        raise RequestError("invalid_request", f"{params['task']} takes no {min(fields, default='embedding')}")
    return Conversation(prompt, messages, orjson.dumps(params), params["task"])


def _documents(text: str) -> list[str]:
    texts = orjson.loads(text)
    if not texts or not all(isinstance(one, str) and one for one in texts):
        raise ValueError(text)
    return list(texts)


def _history(text: str | None, roles: dict[str, str]) -> list[Message]:
    if not text:
        return []
    try:
        turns = orjson.loads(text)
        return [{"role": roles[turn["role"].lower()], "content": turn["content"]} for turn in turns]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise RequestError(
            "invalid_request", f'history is a JSON array of {{"role", "content"}} with roles {", ".join(roles)}'
        ) from None


def check(key: str, text: str | None, what: str = "llm_param") -> None:
    """ValueError for a key that `what` does not know, or a text that it cannot be; None for a text not known yet."""
    if what != "llm_param" or _bare(key) not in TEXTS:
        _param(key, text, PARAMS if what != "llm_param" else _KNOWN, what)


def _param(key: str, text: Any, known: Collection[str], what: str) -> tuple[str, Any] | None:
    """The field of a request and its value; None for a NULL. Raises ValueError."""
    name = _bare(key)
    if name not in PARAMS:
        near = nearest(name, known)
        hint = f"; did you mean {near}?" if near else ""
        raise ValueError(f"{what} does not know the key {key}{hint}")
    if text is None:
        return None
    field, read = PARAMS[name]
    try:
        return field, read(text)
    except (ValueError, TypeError, AttributeError):  # it is not text at all
        raise ValueError(f"{key} cannot be {text!r}") from None


def _bare(key: str) -> str:
    return key.removeprefix("generation.").removeprefix("gen.")


def _params(fields: dict[str, Any], schema: dict[str, Any] | None = None) -> bytes:
    params: dict[str, Any] = {"temperature": 0.0}  # the same row, the same answer, unless asked otherwise
    try:
        for key, text in fields.items():
            if (param := _param(key, text, _KNOWN, "llm_param")) is not None:
                params[param[0]] = param[1]
    except ValueError as error:
        raise RequestError("invalid_request", str(error)) from None
    if schema is not None:
        form = {"name": "answer", "strict": True, "schema": schema}
        params["response_format"] = {"type": "json_schema", "json_schema": form}
    return orjson.dumps(params, option=orjson.OPT_SORT_KEYS)
