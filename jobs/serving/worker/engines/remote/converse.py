"""Bedrock's Converse API in OpenAI's shapes and back, as plain values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson

from ....protocol import RequestError, new_id, usage, well_formed
from .messages import content_parts, content_text

_SETTINGS = {"temperature": "temperature", "top_p": "topP"}
_READ = {
    "model", "messages", "max_tokens", "max_completion_tokens", "stop", "tools", "tool_choice", "response_format", "n",
    "stream", "stream_options", "user", *_SETTINGS,
}  # fmt: skip
_CHOICES: dict[str, dict[str, Any]] = {"auto": {"auto": {}}, "required": {"any": {}}}
_FINISHED = {
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


@well_formed()
def request(chat: dict[str, Any], max_tokens: int | None) -> dict[str, Any]:
    """OpenAI's request as Bedrock's; fields that Converse does not know go to the model as they are."""
    if chat.get("n") not in (None, 1):
        raise _unsupported("gives one answer: n must be 1", "n")
    system = [one for one in chat["messages"] if one["role"] in ("system", "developer")]
    body: dict[str, Any] = {"messages": _turns(one for one in chat["messages"] if one not in system)}
    if system:
        body["system"] = [{"text": content_text(one["content"])} for one in system]
    settings = {ours: chat[name] for name, ours in _SETTINGS.items() if chat.get(name) is not None}
    if most := chat.get("max_completion_tokens") or chat.get("max_tokens") or max_tokens:
        settings["maxTokens"] = most
    if stop := chat.get("stop"):
        settings["stopSequences"] = [stop] if isinstance(stop, str) else stop
    if settings:
        body["inferenceConfig"] = settings
    if tools := chat.get("tools"):
        body["toolConfig"] = {"tools": [_tool(tool["function"]) for tool in tools]}
        if choice := chat.get("tool_choice"):
            body["toolConfig"]["toolChoice"] = _choice(choice)
    if form := _form(chat.get("response_format") or {}):
        body["outputConfig"] = {"textFormat": form}
    if own := {name: value for name, value in chat.items() if name not in _READ and value is not None}:
        body["additionalModelRequestFields"] = own
    return body


def _unsupported(what: str, param: str) -> RequestError:
    return RequestError(f"Bedrock {what}", param=param, code="unsupported")


def _turns(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages of a user and an assistant in turn, each with its blocks."""
    found: list[dict[str, Any]] = []
    for message in messages:
        role, blocks = (
            message["role"],
            [_block(part) for part in content_parts(message.get("content")) if part.get("text") != ""],
        )
        if role == "tool":
            role = "user"
            blocks = [{"toolResult": {"toolUseId": message["tool_call_id"], "content": blocks}}]
        for call in message.get("tool_calls") or ():
            made = orjson.loads(call["function"]["arguments"] or "{}")
            blocks.append({"toolUse": {"toolUseId": call["id"], "name": call["function"]["name"], "input": made}})
        if found and found[-1]["role"] == role:
            found[-1]["content"] += blocks
        else:
            found.append({"role": role, "content": blocks})
    return found


def _block(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"text": part["text"]}
    if part.get("type") != "image_url":
        raise _unsupported(f"takes no content of type {part.get('type')}", "messages")
    kind, _, data = part["image_url"]["url"].partition(";base64,")
    if not data:
        raise _unsupported("takes pictures as they are, not their addresses: data:image/png;base64,...", "messages")
    return {"image": {"format": kind.removeprefix("data:image/"), "source": {"bytes": data}}}


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    told = {"description": function["description"]} if function.get("description") else {}
    schema = function.get("parameters") or {"type": "object"}
    return {"toolSpec": {"name": function["name"], **told, "inputSchema": {"json": schema}}}


def _choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, dict):
        return {"tool": {"name": choice["function"]["name"]}}
    if choice not in _CHOICES:
        raise _unsupported(f"has no tool_choice {choice}: leave the tools out", "tool_choice")
    return _CHOICES[choice]


def _form(form: dict[str, Any]) -> dict[str, Any] | None:
    if form.get("type") == "json_object":
        raise _unsupported("needs a schema: response_format json_schema", "response_format")
    if form.get("type") != "json_schema":
        return None
    named = form["json_schema"]
    schema = {"schema": orjson.dumps(named["schema"]).decode(), "name": named.get("name") or "answer"}
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def answer(told: dict[str, Any]) -> dict[str, Any]:
    """Bedrock's answer as OpenAI's response; KeyError or TypeError if it is none."""
    blocks = told["output"]["message"]["content"]
    made: dict[str, Any] = {"role": "assistant", "content": "".join(block.get("text", "") for block in blocks)}
    thoughts = [block["reasoningContent"].get("reasoningText", {}) for block in blocks if "reasoningContent" in block]
    if thought := "".join(one.get("text", "") for one in thoughts):
        made["reasoning_content"] = thought
    if calls := [block["toolUse"] for block in blocks if "toolUse" in block]:
        made["tool_calls"] = [_call(call, orjson.dumps(call["input"]).decode()) for call in calls]
        made["content"] = made["content"] or None
    choice = {"index": 0, "message": made, "finish_reason": _FINISHED.get(told["stopReason"], "stop")}
    return {**_head("chat.completion"), "choices": [choice], "usage": _counted(told["usage"])}


def _head(kind: str) -> dict[str, Any]:
    return {"id": new_id("chatcmpl"), "object": kind, "created": 0}


def _call(call: dict[str, Any], arguments: str) -> dict[str, Any]:
    return {"id": call["toolUseId"], "type": "function", "function": {"name": call["name"], "arguments": arguments}}


def _counted(told: dict[str, Any]) -> dict[str, int]:
    read = sum(told.get(key) or 0 for key in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"))
    return usage(read, told.get("outputTokens") or 0)


async def chunks(events: AsyncIterator[tuple[str, dict[str, Any]]], with_usage: bool) -> AsyncIterator[dict[str, Any]]:
    """Bedrock's events, each with its type, as OpenAI's chunks."""
    head = _head("chat.completion.chunk")
    places: dict[int, int] = {}  # of a block among the calls of tools

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    async for kind, event in events:
        if kind == "messageStart":
            yield chunk({"role": "assistant", "content": ""})
        elif kind == "contentBlockStart" and "toolUse" in event["start"]:
            places[event["contentBlockIndex"]] = place = len(places)
            yield chunk({"tool_calls": [{"index": place, **_call(event["start"]["toolUse"], "")}]})
        elif kind == "contentBlockDelta":
            delta = event["delta"]
            if "text" in delta:
                yield chunk({"content": delta["text"]})
            elif "toolUse" in delta:
                piece = {"arguments": delta["toolUse"]["input"]}
                yield chunk({"tool_calls": [{"index": places[event["contentBlockIndex"]], "function": piece}]})
            elif thought := delta.get("reasoningContent", {}).get("text"):
                yield chunk({"reasoning_content": thought})
        elif kind == "messageStop":
            yield chunk({}, _FINISHED.get(event["stopReason"], "stop"))
        elif kind == "metadata" and with_usage:
            yield {**head, "choices": [], "usage": _counted(event["usage"])}
