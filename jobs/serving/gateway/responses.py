"""OpenAI's Responses API at our gateway: its requests as those of a chat, a chat's answers as its own.

Nothing is kept between requests: a client sends the whole conversation, and `previous_response_id` is refused.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import orjson

from ..protocol import RequestError, check_fields, new_id, well_formed

_SAME = ("model", "temperature", "top_p", "stream", "seed", "top_k", "stop", "presence_penalty", "frequency_penalty")
# Of OpenAI's services; what they hold of a request says nothing about the answer.
_UNUSED = (
    "include",
    "truncation",
    "reasoning",
    "background",
    "max_tool_calls",
    "prompt",
    "conversation",
    "context_management",
)
_FIELDS = (
    *_SAME, *_UNUSED, "input", "instructions", "max_output_tokens", "tools", "tool_choice", "parallel_tool_calls",
    "text", "top_logprobs", "previous_response_id", "stream_options",
)  # fmt: skip
_NOTHING: dict[str, tuple[Any, ...]] = {
    "include": ([], ["reasoning.encrypted_content"], ["message.output_text.logprobs"]),
    "truncation": ("disabled", "auto"),
    "reasoning": ({}, {"effort": None}, {"effort": None, "summary": None}),
    "background": (False,),
}
_PARTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}


@well_formed()
def chat_request(request: dict[str, Any]) -> dict[str, Any]:
    """The request as that of a chat; RequestError for what has no counterpart."""
    request = {name: value for name, value in request.items() if value is not None}
    check_fields(request, _FIELDS)
    if request.get("previous_response_id"):
        raise RequestError(
            "no response is kept here; send the whole conversation in input", param="previous_response_id"
        )
    for name in _UNUSED:
        if (value := request.get(name)) is not None and value not in _NOTHING.get(name, ()):
            raise RequestError(f"{name} is not supported", param=name)
    chat: dict[str, Any] = {name: request[name] for name in _SAME if request.get(name) is not None}
    chat["messages"] = [*_instructions(request.get("instructions")), *_turns(request.get("input"))]
    if request.get("max_output_tokens") is not None:
        chat["max_tokens"] = request["max_output_tokens"]
    if tools := request.get("tools"):
        chat["tools"] = [_tool(index, tool) for index, tool in enumerate(tools)]
        if request.get("parallel_tool_calls") is not None:
            chat["parallel_tool_calls"] = request["parallel_tool_calls"]
    if (choice := request.get("tool_choice")) is not None:
        named = isinstance(choice, dict) and choice.get("type") == "function"
        chat["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}} if named else choice
    if (request.get("text") or {}).get("verbosity") not in (None, "medium"):
        raise RequestError("text.verbosity is not supported; ask for it in instructions", param="text")
    if request.get("top_logprobs") and "message.output_text.logprobs" not in (request.get("include") or ()):
        raise RequestError('top_logprobs needs include: ["message.output_text.logprobs"]', param="top_logprobs")
    if form := (request.get("text") or {}).get("format"):
        chat["response_format"] = _format(form)
    if "message.output_text.logprobs" in (request.get("include") or ()):
        chat |= {"logprobs": True, "top_logprobs": request.get("top_logprobs") or 0}
    if chat.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    return chat


def _instructions(text: Any) -> list[dict[str, Any]]:
    return [{"role": "system", "content": text}] if text else []


def _tool(index: int, tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise RequestError(f"tools[{index}] is of type {tool.get('type')}; only function is supported", param="tools")
    fields = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: tool[name] for name in fields if tool.get(name) is not None}}


def _format(form: dict[str, Any]) -> dict[str, Any]:
    if form.get("type") != "json_schema":
        return form
    fields = ("name", "schema", "strict", "description")
    return {"type": "json_schema", "json_schema": {name: form[name] for name in fields if form.get(name) is not None}}


def _turns(given: Any) -> list[dict[str, Any]]:
    """The items of `input` as messages: the calls of one turn are one message."""
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise RequestError("input must be text, or a list with at least one item", param="input")
    turns: list[dict[str, Any]] = []
    for index, item in enumerate(given):
        kind = item.get("type", "message")
        if kind == "message":
            turns.append({"role": item["role"], "content": _content(index, item["content"])})
        elif kind == "function_call":
            call = {"name": item["name"], "arguments": item["arguments"]}
            made = {"id": item["call_id"], "type": "function", "function": call}
            if turns and turns[-1]["role"] == "assistant":
                turns[-1].setdefault("tool_calls", []).append(made)
            else:
                turns.append({"role": "assistant", "content": None, "tool_calls": [made]})
        elif kind == "function_call_output":
            turns.append({"role": "tool", "tool_call_id": item["call_id"], "content": _content(index, item["output"])})
        elif kind != "reasoning":
            raise RequestError(f"input[{index}] is of type {kind}, which is not supported", param="input")
    return turns


def _content(index: int, content: Any) -> Any:
    """A message's content: text if it is texts alone, else parts as a chat has them."""
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for part in content:
        kind = part.get("type")
        if kind in _PARTS:
            parts.append({"type": "text", "text": part[_PARTS[kind]]})
        elif kind == "input_image" and part.get("image_url"):
            parts.append({"type": "image_url", "image_url": {"url": part["image_url"]}})
        else:
            raise RequestError(f"input[{index}] has a part of type {kind}, which is not supported", param="input")
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return "\n".join(texts) if len(texts) == len(parts) else parts


def response(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """A chat's answer as a response."""
    choice = answer["choices"][0]
    message = choice["message"]
    output = [item for item, _ in _items(message, choice.get("logprobs"))]
    return {**_head(request, answer["model"]), **_end(choice.get("finish_reason")), "output": output,
            "usage": _used(answer.get("usage"))}  # fmt: skip


def _items(message: dict[str, Any], logprobs: dict[str, Any] | None = None) -> Iterator[tuple[dict[str, Any], str]]:
    """The items of a message, and the text of each: its thoughts, its text, its calls."""
    if thoughts := message.get("reasoning_content") or message.get("reasoning"):
        content = [{"type": "reasoning_text", "text": thoughts}]
        yield {"id": new_id("rs"), "type": "reasoning", "summary": [], "content": content}, thoughts
    calls = message.get("tool_calls") or ()
    if message.get("refusal"):
        part = {"type": "refusal", "refusal": message["refusal"]}
        yield _message("completed", [part]), message["refusal"]
    elif message.get("content") or not calls:
        text = message.get("content") or ""
        yield _message("completed", [_text(text, (logprobs or {}).get("content"))]), text
    for call in calls:
        function = call["function"]
        item = {"id": new_id("fc"), "type": "function_call", "status": "completed", "call_id": call["id"]}
        yield {**item, "name": function["name"], "arguments": function["arguments"]}, function["arguments"]


def _message(status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": new_id("msg"), "type": "message", "status": status, "role": "assistant", "content": content}


def _text(text: str, logprobs: Any = None) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or []}


def _head(request: dict[str, Any], model: str) -> dict[str, Any]:
    told = {
        name: request.get(name) for name in ("instructions", "temperature", "top_p", "max_output_tokens", "metadata")
    }
    return {
        "id": new_id("resp"), "object": "response", "created_at": int(time.time()), "model": model, "error": None,
        "incomplete_details": None, "output": [], "status": "in_progress", "usage": None, "previous_response_id": None,
        "parallel_tool_calls": request.get("parallel_tool_calls") is not False, "store": False,
        "text": request.get("text") or {"format": {"type": "text"}}, "tools": request.get("tools") or [],
        "tool_choice": request.get("tool_choice") or "auto", "truncation": "disabled", **told,
    }  # fmt: skip


def _end(finish_reason: str | None) -> dict[str, Any]:
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish_reason or "")
    if cut:
        return {"status": "incomplete", "incomplete_details": {"reason": cut}}
    return {"status": "completed"}


def _used(counted: Any) -> dict[str, Any]:
    counted = counted or {}
    read, written = counted.get("prompt_tokens") or 0, counted.get("completion_tokens") or 0
    thought = (counted.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    cached = (counted.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": read, "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": written, "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": read + written,
    }  # fmt: skip


def events(request: dict[str, Any]) -> Callable[[str, AsyncIterator[dict[str, Any]]], AsyncIterator[bytes]]:
    """What makes events of the Responses API of a chat's chunks."""

    async def made(model: str, chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
        stream = _Stream(request, model)
        yield stream.event("response.created", response=stream.head)
        yield stream.event("response.in_progress", response=stream.head)
        async for chunk in chunks:
            for event in stream.take(chunk):
                yield event
            if stream.failed:
                return
        for event in stream.finish():
            yield event

    return made


class _Stream:
    """A response on its way: items open one behind the other."""

    def __init__(self, request: dict[str, Any], model: str) -> None:
        self.head = _head(request, model)
        self.failed = False
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._open: tuple[str, str] | None = None  # the kind of the open item, and which one of that kind
        self._reason: str | None = None
        self._counted: Any = None

    def event(self, kind: str, **fields: Any) -> bytes:
        """One event, with its number."""
        told = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(told) + b"\n\n"

    def take(self, chunk: dict[str, Any]) -> Iterator[bytes]:
        """The events of a chunk; one with `error` is the last."""
        if error := chunk.get("error"):
            self.failed = True
            told = {"code": error.get("code") or "server_error", "message": error["message"]}
            yield self.event("response.failed", response={**self.head, "status": "failed", "error": told})
            return
        self._counted = chunk.get("usage") or self._counted
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            if thoughts := delta.get("reasoning_content") or delta.get("reasoning"):
                yield from self._add("reasoning", "", thoughts)
            if text := delta.get("content"):
                yield from self._add("message", "", text)
            for call in delta.get("tool_calls") or ():
                yield from self._add("function_call", str(call["index"]), call["function"].get("arguments") or "", call)
            self._reason = choice.get("finish_reason") or self._reason

    def finish(self) -> Iterator[bytes]:
        """The last events."""
        if not self._output:
            yield from self._add("message", "", "")
        yield from self._close()
        end = _end(self._reason)
        whole = {**self.head, **end, "output": self._output, "usage": _used(self._counted)}
        yield self.event(f"response.{end['status']}", response=whole)

    def _add(self, kind: str, which: str, piece: str, call: dict[str, Any] | None = None) -> Iterator[bytes]:
        if self._open != (kind, which):
            yield from self._close()
            yield from self._begin(kind, which, call or {})
        item, at = self._output[-1], self._at()
        if kind == "function_call":
            item["arguments"] += piece
            if piece:
                yield self.event("response.function_call_arguments.delta", **at, delta=piece)
            return
        part = item["content"][0]
        part["text"] += piece
        name = "response.output_text.delta" if kind == "message" else "response.reasoning_text.delta"
        scores: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        yield self.event(name, **at, content_index=0, delta=piece, **scores)

    def _begin(self, kind: str, which: str, call: dict[str, Any]) -> Iterator[bytes]:
        self._open = kind, which
        if kind == "message":
            item = _message("in_progress", [])
        elif kind == "reasoning":
            item = {"id": new_id("rs"), "type": "reasoning", "summary": [], "content": [], "status": "in_progress"}
        else:
            item = {"id": new_id("fc"), "type": "function_call", "status": "in_progress", "arguments": ""}
            item |= {"call_id": call.get("id"), "name": call["function"].get("name")}
        self._output.append(item)
        yield self.event("response.output_item.added", output_index=len(self._output) - 1, item=item)
        if kind != "function_call":
            part = _text("") if kind == "message" else {"type": "reasoning_text", "text": ""}
            item["content"] = [part]
            yield self.event("response.content_part.added", **self._at(), content_index=0, part=part)

    def _close(self) -> Iterator[bytes]:
        if self._open is None:
            return
        kind, item, at = self._open[0], self._output[-1], self._at()
        item["status"] = "completed"
        if kind == "function_call":
            yield self.event(
                "response.function_call_arguments.done", **at, name=item["name"], arguments=item["arguments"]
            )
        else:
            part = item["content"][0]
            name = "response.output_text.done" if kind == "message" else "response.reasoning_text.done"
            scores: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
            yield self.event(name, **at, content_index=0, text=part["text"], **scores)
            yield self.event("response.content_part.done", **at, content_index=0, part=part)
        yield self.event("response.output_item.done", output_index=at["output_index"], item=item)
        self._open = None

    def _at(self) -> dict[str, Any]:
        return {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}
