"""Answers in the shapes of Byzer-LLM's client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlllm.client.replies import Reply


@dataclass
class LLMRequest:
    """What is asked in one text."""

    instruction: str | list[str]
    history: list[Any] = field(default_factory=list)
    extra_params: Any = None


@dataclass
class LLMResponse:
    """An answer: its text, or a vector; `metadata` and `meta` are the same."""

    output: Any
    input: Any = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def meta(self) -> dict[str, Any]:
        return self.metadata


@dataclass
class LLMFunctionCallResponse:
    """An answer with tools: `values` are what they returned."""

    response: LLMResponse
    values: list[Any]
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class LLMClassResponse:
    """A typed answer: `value`, or None and the reason in `metadata["reason"]`."""

    response: LLMResponse
    value: Any
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class SingleOutputMeta:
    """What is known of a streamed answer so far."""

    input_tokens_count: int = 0
    generated_tokens_count: int = 0
    reasoning_content: str = ""
    finish_reason: str = ""


class Responses(list[Any]):
    """A list of answers; `output` is that of the first."""

    @property
    def output(self) -> Any:
        return self[0].output


def meta(reply: Reply[Any], seconds: float) -> dict[str, Any]:
    """The tokens, the time and the end of an answer."""
    return {
        "request_id": reply.id,
        "input_tokens_count": reply.usage.prompt_tokens,
        "generated_tokens_count": reply.usage.completion_tokens,
        "time_cost": seconds,
        "first_token_time": 0,
        "speed": reply.usage.completion_tokens / seconds if seconds else 0.0,
        "finish_reason": reply.finish_reason or "",
        "reasoning_content": reply.thoughts,
    }
