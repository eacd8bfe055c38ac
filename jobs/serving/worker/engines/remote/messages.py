"""Anthropic's Messages protocol of a provider: OpenAI's requests as Anthropic's, its answers as OpenAI's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

from ....protocol import ANTHROPIC_REASONS, RequestError, usage, well_formed

_FINISHED = {reason: finish for finish, reason in ANTHROPIC_REASONS.items()} | {
    "stop_sequence": "stop",
    "pause_turn": "stop",
}


@well_formed()
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
    if answer["stop_reason"] == "refusal":
        made["refusal"] = made["content"] or "it gives no reason"
    if thoughts := "".join(block.get("thinking", "") for block in answer["content"] if block["type"] == "thinking"):
        made["reasoning_content"] = thoughts
    choice = {"index": 0, "message": made, **_end(answer)}
    counted = _counted(answer["usage"])
    return {"id": answer["id"], "object": "chat.completion", "created": 0, "choices": [choice], "usage": counted}


def _end(told: dict[str, Any]) -> dict[str, Any]:
    """Why the answer ended, and by which stop sequence."""
    finish = {"finish_reason": _FINISHED.get(told.get("stop_reason") or "", "stop")}
    return {**finish, "stop_reason": stop} if (stop := told.get("stop_sequence")) else finish


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

    def chunk(delta: dict[str, Any], **end: Any) -> dict[str, Any]:
        return {**shared, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **end}]}

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
            yield chunk({}, **_end(event["delta"]))
    if with_usage:
        yield {**shared, "choices": [], "usage": _counted(counted)}
