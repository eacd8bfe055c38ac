"""A model's choice for one conversation to the answer of its row: JSON text in Byzer-LLM's shape.

An answer is `{"output", "input", "metadata", "history"}`. `output` is the text without the model's thoughts, or the
value that the request's `returns` asks for; `thoughts` and `raw`, the text as the model wrote it, stand beside it where
they differ. An answer that could not be had is `{"error": {"kind", "message", "attempts"}}`, with `raw` if there was a
text.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import numpy as np
import orjson

from sqlllm import wire

from . import reading, thoughts
from .requests import Choice, Conversation, RequestError

# Of a choice: how it differs from a plain call of the model.
_MARKS = ("cached", "joined", "truncated", "model", "media_type")
UNREADABLE = "unreadable_answer"
"""The kind of error of an answer that does not hold what the request's `returns` asks for."""


def without_thoughts(choice: Choice) -> Choice:
    """The choice with its thoughts apart from its text, wherever the model or its engine put them."""
    message = choice.get("message")
    if "error" in choice or not isinstance(message, dict):
        return choice
    content = message.get("content")
    apart = str(message.get("reasoning_content") or message.get("reasoning") or "")
    text: str | None = content
    if isinstance(content, str) and "media_type" not in choice:
        text, within = thoughts.split(content)
        apart = "\n\n".join(filter(None, (apart, within)))
        if within:
            choice = {**choice, "raw": content}
    message = {**message, "content": text} | ({"reasoning_content": apart} if apart else {})
    return {**choice, "message": message}


def checked(conversation: Conversation, choice: Choice) -> Choice:
    """The choice, read as the request's `returns` asks; an error if it holds no answer, or none that can be read."""
    if "error" in choice or conversation.task or "media_type" in choice:
        return choice
    message, reason = choice["message"], choice.get("finish_reason")
    text = message.get("content")
    if text is None or (not text and message.get("reasoning_content")):
        return {**choice, "error": _missing(message, reason)}
    if conversation.returns is None:
        return choice
    try:
        value = reading.read(text, conversation.returns, cut=reason == "length")
    except reading.Unreadable as error:
        return {"raw": text, **choice, "error": {"code": UNREADABLE, "message": str(error)}}
    return {"raw": text, **choice, "value": value} if value != text else choice


def _missing(message: dict[str, Any], reason: object) -> dict[str, str]:
    """Why a message has no text; the gateway reports most of these itself."""
    if refusal := message.get("refusal"):
        return {"code": wire.REFUSAL, "message": f"the model refuses: {refusal}"}
    if reason == "content_filter":
        return {"code": wire.CONTENT_FILTER, "message": "a filter stopped the answer"}
    what = "thoughts and no answer" if message.get("reasoning_content") else "an empty answer"
    cure = "; set a larger max_tokens" if reason == "length" else ""
    return {"code": wire.NO_ANSWER, "message": f"the model gives {what}{cure}"}


def answer(conversation: Conversation, choice: Choice, *, milliseconds: float) -> str:
    """The answer for one choice of a batch."""
    output = choice["value"] if "value" in choice else choice["message"].get("content")
    usage = choice.get("usage") or {}
    metadata = {
        "request_id": choice.get("request_id"),
        "input_tokens_count": usage.get("prompt_tokens"),
        "generated_tokens_count": usage.get("completion_tokens"),
        "finish_reason": choice.get("finish_reason"),
        "time_cost": round(milliseconds),
    }
    metadata |= {mark: choice[mark] for mark in _MARKS if mark in choice}
    told: dict[str, Any] = {"output": output, "input": conversation.prompt, "metadata": metadata}
    if conversation.task == "embed" and isinstance(output, str):
        told["output"] = np.frombuffer(b64decode(output), "<f4")
    elif conversation.task == "rerank":
        texts = [message["content"] for message in conversation.messages[1:]]
        told["output"] = [{**found, "text": texts[found["index"]]} for found in output]
    elif not conversation.task and "media_type" not in choice:
        said = {"role": "assistant", "content": choice["message"].get("content")}
        told["history"] = [*conversation.messages, said]
    if apart := choice["message"].get("reasoning_content"):
        told["thoughts"] = apart
    if "raw" in choice:
        told["raw"] = choice["raw"]
    if choice.get("logprobs"):
        told["logprobs"] = choice["logprobs"]
    return orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def error_of(choice: Choice) -> RequestError:
    """What a choice without an answer says."""
    error = choice["error"]
    kind = error.get("code") or error.get("type") or "error"
    said = RequestError(str(kind), str(error.get("message") or "no reason given"), error.get("attempts", 1))
    said.raw = choice.get("raw")
    return said


def failure(error: RequestError) -> str:
    """The answer that says why there is none."""
    told: dict[str, Any] = {"error": {"kind": error.kind, "message": error.message, "attempts": error.attempts}}
    if error.raw is not None:
        told["raw"] = error.raw
    return orjson.dumps(told).decode()
