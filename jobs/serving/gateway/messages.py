"""Anthropic's Messages protocol at our gateway: its requests as OpenAI's, OpenAI's answers as its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

from ..protocol import ANTHROPIC_REASONS, RequestError, check_fields, new_id, well_formed

_SAME = ("model", "max_tokens", "temperature", "top_p", "top_k", "stream")
_FIELDS = (*_SAME, "messages", "system", "stop_sequences", "tools", "tool_choice", "output_config", "thinking")
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


@well_formed()
def chat_request(request: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's request as OpenAI's; RequestError for what has no counterpart."""
    request = {name: value for name, value in request.items() if value is not None}
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
    reason, stop = _end(choice, "end_turn")
    for call in choice["message"].get("tool_calls") or ():
        made = _arguments(call["function"], cut=reason == "max_tokens")
        content.append({"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": made})
    if choice["message"].get("tool_calls") and reason == "end_turn":  # a call that was forced, at some providers
        reason = "tool_use"
    return {**_head(answer["model"], content, reason, answer.get("usage")), "stop_sequence": stop}


def _end(choice: dict[str, Any], before: str) -> tuple[str, str | None]:
    """Why an answer ended, and the stop sequence that ended it, if one did."""
    reason, stop = choice.get("finish_reason"), choice.get("stop_reason")
    if reason == "stop" and isinstance(stop, str):
        return "stop_sequence", stop
    return ANTHROPIC_REASONS.get(reason or "", before), None


def _arguments(function: dict[str, Any], *, cut: bool) -> dict[str, Any]:
    """The arguments of a tool's call; none if the call is cut off."""
    try:
        made = orjson.loads(function["arguments"] or "{}")
    except orjson.JSONDecodeError:
        made = {} if cut else None
    if not isinstance(made, dict):
        said = f"the model calls {function['name']} with what is not a JSON object: {function['arguments']!s:.200}"
        raise RequestError(f"{said}; ask again, or with more max_tokens", status=500, kind="server_error")
    return made


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
    index, kind, reason, stop, counted = -1, "", "end_turn", None, None
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
            if choice.get("finish_reason"):
                reason, stop = _end(choice, reason)
    if kind:
        yield _event("content_block_stop", index=index)
    yield _event("message_delta", delta={"stop_reason": reason, "stop_sequence": stop}, usage=_used(counted))
    yield _event("message_stop")


def _text_delta(text: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": text}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def error_body(error: RequestError) -> bytes:
    """An error in Anthropic's shape."""
    told = {"type": _KINDS.get(error.status, "api_error"), "message": error.message}
    return orjson.dumps({"type": "error", "error": told})
