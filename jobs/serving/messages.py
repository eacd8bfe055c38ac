"""Anthropic's Messages protocol in OpenAI's shapes and back, as plain values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

from .protocol import RequestError, check_fields, new_id, usage

_SAME = ("model", "max_tokens", "temperature", "top_p", "top_k", "stream")
_FIELDS = (*_SAME, "messages", "system", "stop_sequences", "tools", "tool_choice", "output_config", "thinking")
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_FINISHED = {reason: finish for finish, reason in _REASONS.items()} | {"stop_sequence": "stop", "pause_turn": "stop"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def chat_request(request: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's request as OpenAI's; RequestError for what has no counterpart."""
    check_fields(request, _FIELDS)
    if (request.get("thinking") or {}).get("type", "disabled") != "disabled":
        raise RequestError("thinking is not supported", param="thinking")
    if request.get("max_tokens") is None:
        raise RequestError("max_tokens is missing", param="max_tokens")
    chat: dict[str, Any] = {name: request[name] for name in _SAME if request.get(name) is not None}
    chat["messages"] = [*_system(request.get("system")), *_turns(request.get("messages"))]
    if request.get("stop_sequences"):
        chat["stop"] = request["stop_sequences"]
    if tools := request.get("tools"):
        chat["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": _need(tool, "name"),
                    "description": tool.get("description") or "",
                    "parameters": _need(tool, "input_schema"),
                },
            }
            for tool in tools
        ]
    if choice := request.get("tool_choice"):
        named = {"type": "function", "function": {"name": choice.get("name")}}
        chat["tool_choice"] = named if choice.get("type") == "tool" else _CHOICES.get(choice.get("type"), "auto")
    if form := (request.get("output_config") or {}).get("format"):
        schema = {"name": "answer", "strict": True, "schema": _need(form, "schema")}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    if chat.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    return chat


def _need(values: Any, key: str) -> Any:
    if not isinstance(values, dict) or key not in values:
        raise RequestError(f"{key} is missing", param=key)
    return values[key]


def _system(system: Any) -> list[dict[str, Any]]:
    if isinstance(system, list):
        system = "\n\n".join(str(_need(block, "text")) for block in system)
    return [{"role": "system", "content": system}] if system else []


def _turns(messages: Any) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages must be a list with at least one message", param="messages")
    turns: list[dict[str, Any]] = []
    for message in messages:
        content = _need(message, "content")
        if isinstance(content, str):
            turns.append({"role": message.get("role"), "content": content})
        else:
            turns += _blocks(message.get("role"), content)
    return turns


def _blocks(role: Any, blocks: list[Any]) -> list[dict[str, Any]]:
    """One message's blocks: the results of tools are messages of their own."""
    parts: list[dict[str, Any]] = []
    calls, results = list[dict[str, Any]](), list[dict[str, Any]]()
    for block in blocks:
        kind = _need(block, "type")
        if kind == "text":
            parts.append({"type": "text", "text": block["text"]})
        elif kind == "image":
            source = _need(block, "source")
            url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
        elif kind == "tool_use":
            function = {"name": block["name"], "arguments": orjson.dumps(block.get("input") or {}).decode()}
            calls.append({"id": block["id"], "type": "function", "function": function})
        elif kind == "tool_result":
            results.append({"role": "tool", "tool_call_id": block["tool_use_id"], "content": _plain(block)})
        elif kind not in ("thinking", "redacted_thinking"):
            raise RequestError(f"content of type {kind} is not supported", param="messages")
    texts = [part["text"] for part in parts if part["type"] == "text"]
    content: Any = "".join(texts) if len(texts) == len(parts) else parts
    if calls:
        return [{"role": role, "content": content or None, "tool_calls": calls}]
    return [*results, *([{"role": role, "content": content}] if parts or not results else [])]


def _plain(block: dict[str, Any]) -> str:
    content = block.get("content") or ""
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)


def message(answer: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's response as Anthropic's."""
    choice = answer["choices"][0]
    content: list[dict[str, Any]] = []
    if text := choice["message"].get("content"):
        content.append({"type": "text", "text": text})
    for call in choice["message"].get("tool_calls") or ():
        made = orjson.loads(call["function"]["arguments"] or "{}")
        content.append({"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": made})
    return _head(answer["model"], content, _REASONS.get(choice["finish_reason"], "end_turn"), answer.get("usage"))


def _head(model: str, content: list[dict[str, Any]], reason: str | None, counted: Any) -> dict[str, Any]:
    return {
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": _used(counted),
    }


def _used(counted: Any) -> dict[str, int]:
    counted = counted or {}
    return {"input_tokens": counted.get("prompt_tokens") or 0, "output_tokens": counted.get("completion_tokens") or 0}


async def events(model: str, chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    """OpenAI's chunks as Anthropic's events; a chunk with `error` is the last."""
    yield _event("message_start", message=_head(model, [], None, None))
    index, kind, reason, counted = -1, "", "end_turn", None
    async for chunk in chunks:
        if error := chunk.get("error"):
            yield _event("error", error={"type": "api_error", "message": error["message"]})
            return
        counted = chunk.get("usage") or counted
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            pieces: list[tuple[str, str, dict[str, Any]]] = (
                [("text", delta["content"], {})] if delta.get("content") else []
            )
            for call in delta.get("tool_calls") or ():
                pieces.append((f"tool_use {call['index']}", call["function"].get("arguments") or "", call))
            for wanted, piece, call in pieces:
                if wanted != kind:
                    if kind:
                        yield _event("content_block_stop", index=index)
                    index, kind = index + 1, wanted
                    block: dict[str, Any] = {"type": "text", "text": ""}
                    if call:
                        named = call["function"].get("name")
                        block = {"type": "tool_use", "id": call.get("id"), "name": named, "input": {}}
                    yield _event("content_block_start", index=index, content_block=block)
                told = {"type": "input_json_delta", "partial_json": piece} if call else _text_delta(piece)
                yield _event("content_block_delta", index=index, delta=told)
            reason = _REASONS.get(choice.get("finish_reason"), reason)
    if kind:
        yield _event("content_block_stop", index=index)
    yield _event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=_used(counted))
    yield _event("message_stop")


def _text_delta(text: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": text}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def error_body(error: RequestError) -> bytes:
    """An error in Anthropic's shape."""
    told = {"type": _KINDS.get(error.status, "api_error"), "message": error.message}
    return orjson.dumps({"type": "error", "error": told})


# The other way: what an adapter sends to Anthropic, and what it makes of the answers.


def messages_request(chat: dict[str, Any], max_tokens: int) -> dict[str, Any]:
    """OpenAI's request as Anthropic's, with `max_tokens` where it says none; RequestError for what Anthropic lacks."""
    request: dict[str, Any] = {name: chat[name] for name in ("temperature", "top_p", "top_k", "stream") if name in chat}
    request["max_tokens"] = chat.get("max_completion_tokens") or chat.get("max_tokens") or max_tokens
    known = {*request, "model", "messages", "max_completion_tokens", "stop", "tools", "tool_choice", "stream_options"}
    if unknown := min(chat.keys() - known - {"seed", "response_format", "n", "user"}, default=None):
        raise RequestError(f"Anthropic has no {unknown}", param=unknown, code="unsupported")
    if chat.get("n") not in (None, 1):
        raise RequestError("Anthropic gives one answer: n must be 1", param="n", code="unsupported")
    if stop := chat.get("stop"):
        request["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    system = [one["content"] for one in chat["messages"] if one["role"] in ("system", "developer")]
    if system:
        request["system"] = "\n\n".join(map(content_text, system))
    request["messages"] = _alternating(one for one in chat["messages"] if one["role"] not in ("system", "developer"))
    if tools := chat.get("tools"):
        functions = [tool["function"] for tool in tools]
        request["tools"] = [
            {
                "name": function["name"],
                "description": function.get("description") or "",
                "input_schema": function.get("parameters") or {"type": "object"},
            }
            for function in functions
        ]
    if choice := chat.get("tool_choice"):
        named = {"auto": "auto", "required": "any", "none": "none"}
        request["tool_choice"] = (
            {"type": named[choice]} if isinstance(choice, str) else {"type": "tool", "name": choice["function"]["name"]}
        )
    form = chat.get("response_format") or {}
    if form.get("type") == "json_schema":
        request["output_config"] = {"format": {"type": "json_schema", "schema": form["json_schema"]["schema"]}}
    elif form.get("type") == "json_object":
        raise RequestError("Anthropic needs a schema: response_format json_schema", param="response_format")
    return request


def content_text(content: Any) -> str:
    """The texts of a message's content."""
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content or ())


def _alternating(turns: Any) -> list[dict[str, Any]]:
    """Messages of a user and an assistant in turn, each with its blocks."""
    found: list[dict[str, Any]] = []
    for turn in turns:
        if turn["role"] == "tool":
            text = content_text(turn["content"])
            role, blocks = "user", [{"type": "tool_result", "tool_use_id": turn["tool_call_id"], "content": text}]
        else:
            role, blocks = turn["role"], [*map(_block, content_parts(turn.get("content")))]
            for call in turn.get("tool_calls") or ():
                made = orjson.loads(call["function"]["arguments"] or "{}")
                blocks.append({"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": made})
        if found and found[-1]["role"] == role:
            found[-1]["content"] += blocks
        else:
            found.append({"role": role, "content": blocks})
    return found


def content_parts(content: Any) -> list[dict[str, Any]]:
    """The parts of a message's content."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())


def _block(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "text": part["text"]}
    if part.get("type") != "image_url":
        raise RequestError(f"Anthropic takes no content of type {part.get('type')}", param="messages")
    url: str = part["image_url"]["url"]
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def chat_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's message as OpenAI's response; KeyError or TypeError if it is none."""
    texts = [block["text"] for block in answer["content"] if block["type"] == "text"]
    made: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if calls := [block for block in answer["content"] if block["type"] == "tool_use"]:
        made["tool_calls"] = [_call(block, orjson.dumps(block["input"]).decode()) for block in calls]
        made["content"] = made["content"] or None
    choice = {"index": 0, "message": made, "finish_reason": _FINISHED.get(answer["stop_reason"], "stop")}
    counted = _counted(answer["usage"])
    return {"id": answer["id"], "object": "chat.completion", "created": 0, "choices": [choice], "usage": counted}


def _call(block: dict[str, Any], arguments: str) -> dict[str, Any]:
    return {"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": arguments}}


def _counted(told: dict[str, Any]) -> dict[str, int]:
    read = sum(told.get(key) or 0 for key in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"))
    return usage(read, told.get("output_tokens") or 0)


async def chunks(found: AsyncIterator[dict[str, Any]], with_usage: bool) -> AsyncIterator[dict[str, Any]]:
    """Anthropic's events as OpenAI's chunks."""
    shared: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": 0}
    counted: dict[str, Any] = {}
    places: dict[int, int] = {}  # of a block among the calls of tools

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    async for event in found:
        kind = event["type"]
        if kind == "message_start":
            shared["id"], counted = event["message"]["id"], dict(event["message"].get("usage") or {})
            yield chunk({"role": "assistant", "content": ""})
        elif kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
            places[event["index"]] = place = len(places)
            yield chunk({"tool_calls": [{"index": place, **_call(event["content_block"], "")}]})
        elif kind == "content_block_delta" and "text" in event["delta"]:
            yield chunk({"content": event["delta"]["text"]})
        elif kind == "content_block_delta" and "partial_json" in event["delta"]:
            part = {"index": places[event["index"]], "function": {"arguments": event["delta"]["partial_json"]}}
            yield chunk({"tool_calls": [part]})
        elif kind == "message_delta":
            counted |= {key: value for key, value in (event.get("usage") or {}).items() if value is not None}
            yield chunk({}, _FINISHED.get(event["delta"].get("stop_reason"), "stop"))
    if with_usage:
        yield {**shared, "choices": [], "usage": _counted(counted)}
