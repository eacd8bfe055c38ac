"""What a model answers: text, thoughts, tool calls, usage, cost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a call; `cached_tokens` of the prompt and `reasoning_tokens` of the answer are counted in them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    calls: int = 0  # requests to the model that were answered

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.calls + other.calls,
        )

    @classmethod
    def of(cls, told: Any) -> Usage:
        """OpenAI's usage object; what a provider leaves out, or null, counts as 0."""
        if not isinstance(told, dict):
            return cls(calls=1)
        prompt = told.get("prompt_tokens_details") or {}
        answer = told.get("completion_tokens_details") or {}
        return cls(
            _count(told.get("prompt_tokens", told.get("input_tokens"))),
            _count(told.get("completion_tokens", told.get("output_tokens"))),
            _count(prompt.get("cached_tokens", told.get("prompt_cache_hit_tokens"))),
            _count(answer.get("reasoning_tokens")),
            1,
        )


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called; `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str = ""

    def to_dict(self) -> dict[str, Any]:
        """OpenAI's shape."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True)
class Reply(Generic[T]):
    """An answer. `str(reply)` is its text.

    `value` is the typed answer (the text where no type was asked for), `values` what the called tools returned, in
    order. `messages` is the conversation with this answer at its end, ready for the next turn. `cost` is the
    provider's own figure, else that of `LLM(price=...)`, else None.
    """

    text: str
    value: T
    thoughts: str = ""
    finish_reason: str | None = None
    usage: Usage = Usage()
    tool_calls: tuple[ToolCall, ...] = ()
    cost: float | None = None
    model: str = ""
    id: str = ""
    values: tuple[Any, ...] = ()
    messages: list[dict[str, Any]] = field(default_factory=list, repr=False)
    raw: dict[str, Any] = field(default_factory=dict, repr=False)  # the last response as it came

    def __str__(self) -> str:
        return self.text

    @property
    def message(self) -> dict[str, Any]:
        """This answer as a message of a conversation."""
        calls = {"tool_calls": [call.to_dict() for call in self.tool_calls]} if self.tool_calls else {}
        return {"role": "assistant", "content": self.text or (None if calls else ""), **calls}


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer that is streamed; `str(delta)` is its text.

    `partial` is the typed answer so far, where a type was asked for.
    """

    text: str = ""
    thoughts: str = ""
    tool_calls: tuple[ToolCall, ...] = ()  # whole ones, before they are called
    partial: Any = None
    results: tuple[str, ...] = ()  # what tools gave back, as the model gets it

    def __str__(self) -> str:
        return self.text


def with_text(reply: Reply[Any], text: str) -> Reply[str]:
    """The reply with another text as its value."""
    return replace(reply, text=text, value=text)
