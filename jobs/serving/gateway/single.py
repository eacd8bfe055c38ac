"""Requests for one answer as batches of one: what is kept of them, and an answer that is kept as a response."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson

from .. import outcome
from ..asked import asked as all_asked
from ..protocol import IGNORED_FIELDS, JSON, SSE_DONE, new_id, response, sse, usage
from .store import Key, is_deterministic, keys

Choice = dict[str, Any]

_NOT_IN_KEYS = IGNORED_FIELDS | {"model", "messages", "stream", "stream_options"}  # the fingerprint says which model
_OF_ONE_KIND = frozenset({"embeddings", "rerank", "score"})  # the same request always has the same answer
_KEPT = _OF_ONE_KIND | {"chat", "completions"}


def key(route: str, fingerprint: str, fields: dict[str, Any], store: str) -> Key | None:
    """The key of a request's answer, the same as in a batch; None if it is not to be kept."""
    if route not in _KEPT or store == "off" or fields.get("n") not in (None, 1) or not fingerprint:
        return None
    params = asked(fields)
    if store == "on" and route not in _OF_ONE_KIND and not is_deterministic(params):
        return None
    if route == "chat":
        return keys(fingerprint, params, [fields.get("messages")])[0]
    digest = hashlib.blake2b(f"{route} {fingerprint}".encode(), digest_size=16)
    digest.update(orjson.dumps(params, option=orjson.OPT_SORT_KEYS))
    return digest.digest()


def asked(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that an answer follows from; those that ask for nothing are left out."""
    return {name: value for name, value in all_asked(fields).items() if name not in _NOT_IN_KEYS}


def choice(route: str, body: bytes, media_type: str) -> Choice:
    """A model's response as a choice: of a chat its only one, else `response`; of a sound or an image neither."""
    if media_type != JSON:
        return {"media_type": media_type}
    answer = orjson.loads(body)
    told = answer.get("usage") if isinstance(answer, dict) else None
    counted = {"usage": _counts(told)} if told else {}
    if route == "chat" and len(answer["choices"]) == 1:
        return {**plain(answer["choices"][0]), **counted}
    return {"response": answer, **counted}


def plain(chosen: dict[str, Any]) -> Choice:
    """A choice of a response as one of a batch."""
    message = {name: value for name, value in chosen["message"].items() if name == "content" or value not in (None, [])}
    logprobs = {"logprobs": chosen["logprobs"]} if chosen.get("logprobs") else {}
    stop = {"stop_reason": reason} if isinstance(reason := chosen.get("stop_reason"), str) else {}
    return {"message": message, "finish_reason": chosen.get("finish_reason"), **logprobs, **stop}


def may_be_kept(found: Choice) -> bool:
    """Whether it is an answer: not a sound or an image, an error, a refusal, or nothing."""
    if "response" in found:
        return True
    return isinstance(found.get("message"), dict) and outcome.failure(found, "") is None


def body(found: Choice, model: str) -> bytes:
    """The response that a choice stands for."""
    if "response" in found:
        return orjson.dumps(found["response"])
    made = {"index": 0, "logprobs": None, **{name: found[name] for name in ("message", "finish_reason")}}
    made |= {name: found[name] for name in ("logprobs", "stop_reason") if name in found}
    told = {"usage": found["usage"]} if "usage" in found else {}
    return orjson.dumps(response("chat.completion", new_id("chatcmpl"), model, [made], **told))


async def events(found: Choice, model: str, *, with_usage: bool) -> AsyncIterator[bytes]:
    """A choice as the events of a stream."""
    id_, message = new_id("chatcmpl"), dict(found["message"])
    calls = [{"index": place, **call} for place, call in enumerate(message.pop("tool_calls", None) or ())]
    delta = {**message, "role": "assistant", **({"tool_calls": calls} if calls else {})}
    first = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": found.get("logprobs")}
    yield sse(response("chat.completion.chunk", id_, model, [first]))
    last: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": found.get("finish_reason")}
    last |= {"stop_reason": found["stop_reason"]} if "stop_reason" in found else {}
    yield sse(response("chat.completion.chunk", id_, model, [last]))
    if with_usage and "usage" in found:
        yield sse(response("chat.completion.chunk", id_, model, [], usage=found["usage"]))
    yield SSE_DONE


def assembled(pieces: Iterable[bytes]) -> Choice | None:
    """The choice that a whole stream of a chat makes; None if it is not whole, or has an error."""
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    calls: dict[int, dict[str, Any]] = {}
    logprobs: list[Any] = []
    reason, stop, told, ended = None, None, None, False
    for line in b"".join(pieces).splitlines():
        if not line.startswith(b"data: "):
            continue
        if (data := line.removeprefix(b"data: ")) == b"[DONE]":
            ended = True
            continue
        chunk = orjson.loads(data)
        if "error" in chunk:
            return None
        told = chunk.get("usage") or told
        for one in chunk.get("choices") or ():
            reason = one.get("finish_reason") or reason
            stop = one.get("stop_reason") or stop
            logprobs += (one.get("logprobs") or {}).get("content") or ()
            for name, value in (one.get("delta") or {}).items():
                if name == "tool_calls":
                    for call in value or ():
                        _add(calls.setdefault(call["index"], {}), call)
                elif name != "role" and isinstance(value, str):
                    message[name] = (message.get(name) or "") + value
    if not ended or reason is None:
        return None
    if calls:
        message |= {"tool_calls": [calls[place] for place in sorted(calls)], "content": message["content"] or None}
    scored = {"logprobs": {"content": logprobs}} if logprobs else {}
    return {
        **plain({"message": message, "finish_reason": reason, "stop_reason": stop, **scored}),
        **({"usage": _counts(told)} if told else {}),
    }


def _add(call: dict[str, Any], piece: dict[str, Any]) -> None:
    """Append a piece of a tool's call."""
    function, more = call.setdefault("function", {"name": "", "arguments": ""}), piece.get("function") or {}
    function["name"] = function["name"] or more.get("name") or ""
    function["arguments"] += more.get("arguments") or ""
    call["id"] = call.get("id") or piece.get("id")
    call["type"] = "function"


def _counts(told: dict[str, Any]) -> dict[str, int]:
    return dict(usage(told.get("prompt_tokens") or 0, told.get("completion_tokens") or 0))
