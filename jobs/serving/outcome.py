"""What a model gave back: text and thoughts apart, or the kind of failure that an answer without text is."""

from __future__ import annotations

from typing import Any

from sqlllm.wire import CONTENT_FILTER, NO_ANSWER, REFUSAL, RequestError

_GIVES = ("tool_calls", "function_call", "audio")  # fields of a message that answer without text
# Reasons that providers give for an answer which their filter stopped; some append ": SAFETY" or the like.
_FILTERED = frozenset(
    {"content_filter", "content_filtered", "guardrail_intervened", "sensitive", "safety", "prohibited_content",
     "blocklist", "recitation", "spii"}
)  # fmt: skip
_TEXTS = ("text", "output_text")
_THOUGHTS = ("thinking", "reasoning", "reasoning_text")


def plain(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose content is text: parts are joined, thoughts and a refusal go to fields of their own."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    found = {**message, "content": _joined(content, _TEXTS)}
    if thoughts := _joined(content, _THOUGHTS):
        found["reasoning_content"] = (message.get("reasoning_content") or "") + thoughts
    if refusal := _joined(content, ("refusal",)):
        found["refusal"] = message.get("refusal") or refusal
    return found


def plain_choices(answer: dict[str, Any]) -> dict[str, Any]:
    """A response, or a chunk of a stream, with plain messages."""
    choices = [_plain_choice(choice) if isinstance(choice, dict) else choice for choice in answer.get("choices") or ()]
    return {**answer, "choices": choices}


def _plain_choice(choice: dict[str, Any]) -> dict[str, Any]:
    for field in ("message", "delta"):
        if isinstance(made := choice.get(field), dict) and isinstance(made.get("content"), list):
            return {**choice, field: plain(made)}
    return choice


def is_filtered(choice: dict[str, Any]) -> bool:
    """Whether the provider's filter stopped the answer."""
    return str(choice.get("finish_reason") or "").partition(":")[0].strip().lower() in _FILTERED


def failure(choice: dict[str, Any], who: str) -> RequestError | None:
    """The error that a choice is: refused, filtered, or without any answer; `who` is asked. None for an answer."""
    message = choice["message"]
    content = message.get("content") or ""
    if refusal := message.get("refusal"):
        return RequestError(f"{who} refuses: {refusal!s:.500}", status=422, kind="refusal_error", code=REFUSAL)
    if is_filtered(choice):
        said = f": {content!s:.500}" if content else ""
        stopped = f"{who}'s filter stopped the answer{said}"
        return RequestError(stopped, status=422, kind="content_filter_error", code=CONTENT_FILTER)
    if content or any(message.get(field) for field in _GIVES):
        return None
    thought = message.get("reasoning_content") or message.get("reasoning")
    why = "gives thoughts and no answer" if thought else "gives an empty answer"
    cure = "; set a larger max_tokens" if choice.get("finish_reason") == "length" else ""
    return RequestError(f"{who} {why}{cure}", status=422, kind="no_answer_error", code=NO_ANSWER)


def _joined(parts: list[Any], kinds: tuple[str, ...]) -> str:
    """The texts of the parts of these kinds; a thought may hold parts of its own."""
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts += [part] if kinds is _TEXTS else []
        elif isinstance(part, dict) and part.get("type", "text") in kinds:
            value = next((part[key] for key in (part.get("type", "text"), "text") if part.get(key)), "")
            texts.append(_joined(value, _TEXTS) if isinstance(value, list) else str(value))
    return "".join(texts)
