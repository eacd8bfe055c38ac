"""Requests and answers of llama.cpp's server, in its words and in OpenAI's."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ...protocol import RequestError, usage
from .requests import Request

_SEEDS = 2**32 - 1  # one more is llama.cpp's word for any
# Fields that go on as they are.
_SAME = (
    "temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "logit_bias", "ignore_eos",
    "tools", "tool_choice", "parallel_tool_calls", "chat_template_kwargs",
)  # fmt: skip


class LlamaRequest(Request):
    """The fields of a chat or completion request that llama.cpp honours."""

    logprobs: bool | int | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: dict[str, Any] | None = None
    logit_bias: dict[str, float] | None = None
    ignore_eos: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    @property
    def asked(self) -> int | None:
        """Tokens of the answer, at most."""
        return self.max_completion_tokens or self.max_tokens


def body(typed: LlamaRequest) -> dict[str, Any]:
    """What all routes have in common, in llama.cpp's names."""
    found = {name: value for name in _SAME if (value := getattr(typed, name)) is not None}
    if typed.top_k is not None:
        found["top_k"] = max(0, typed.top_k)
    if typed.repetition_penalty is not None:
        found["repeat_penalty"] = typed.repetition_penalty
    if typed.seed is not None:
        found["seed"] = typed.seed % _SEEDS
    if typed.stops:
        found["stop"] = typed.stops
    if typed.asked:
        found["max_tokens"] = typed.asked
    return found


def choice(choice: dict[str, Any], route: str) -> dict[str, Any]:
    """llama.cpp's choice; log probabilities of plain text in OpenAI's older shape."""
    if route == "completions" and choice.get("logprobs"):
        return {**choice, "logprobs": _plain_logprobs(choice["logprobs"]["content"])}
    return choice


def _plain_logprobs(tokens: list[dict[str, Any]]) -> dict[str, Any]:
    texts = [token["token"] for token in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [{one["token"]: one["logprob"] for one in token["top_logprobs"]} for token in tokens],
        "text_offset": [sum(map(len, texts[:place])) for place in range(len(texts))],
    }


def counted(answer: dict[str, Any]) -> dict[str, int] | None:
    """The tokens that llama.cpp says; None if it says none."""
    counted = answer.get("usage")
    return usage(counted["prompt_tokens"], counted["completion_tokens"]) if counted else None


def schema(form: dict[str, Any] | None) -> dict[str, Any] | None:
    """The JSON schema that `response_format` asks for; None for plain text."""
    kind = (form or {}).get("type", "text")
    if kind == "text":
        return None
    if form is None or kind not in ("json_object", "json_schema"):
        raise RequestError(f"response_format {kind!r} is unknown", param="response_format")
    schema = form.get("schema") or (form.get("json_schema") or {}).get("schema") or {"type": "object"}
    return dict(schema)


def prompts(typed: LlamaRequest) -> list[Any]:
    """The prompts of a completion: texts, or lists of tokens."""
    prompt = typed.prompt
    if prompt is None or prompt == []:
        raise RequestError("prompt is missing", param="prompt")
    return [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else list(prompt)
