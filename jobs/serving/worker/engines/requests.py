"""A typed request, for engines that bring no OpenAI server of their own."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...protocol import RequestError, check_fields
from .held import Held, held

# Of OpenAI's protocol, and honoured by other engines.
_UNSUPPORTED = frozenset(
    {
        "functions",
        "function_call",
        "logit_bias",
        "logprobs",
        "response_format",
        "structured_outputs",
        "tool_choice",
        "tools",
        "top_logprobs",
        "echo",
        "suffix",
        "best_of",
    }
)


class Request(BaseModel):
    """The fields of a chat or completion request that this engine honours."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    messages: Any = None  # looked into one conversation at a time
    prompt: str | list[str] | list[int] | list[list[int]] | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    n: int | None = Field(1, ge=1, le=1, description="one answer per prompt")
    stop: str | list[str] | None = None
    stream: bool | None = False
    stream_options: dict[str, bool] | None = None
    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return tuple(text for text in ([self.stop] if isinstance(self.stop, str) else self.stop or []) if text)


class FullRequest(Request):
    """The fields of engines that write several answers, hold them to a form, score tokens and call tools."""

    n: int | None = Field(1, ge=1, le=128, description="answers to each prompt")
    logprobs: bool | int | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    @property
    def held(self) -> Held | None:
        """What the answer is held to."""
        return held(self.response_format, self.structured_outputs)

    @property
    def best(self) -> int | None:
        """The most probable tokens that each token of a chat is shown with; None without log probabilities."""
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestError("top_logprobs needs logprobs: true", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def best_plain(self) -> int | None:
        """The same of a plain completion, whose `logprobs` is a number."""
        return None if self.logprobs is None or self.logprobs is False else int(self.logprobs)

    def seed_of(self, number: int) -> int | None:
        """The seed of one of several answers."""
        return None if self.seed is None else self.seed + number


R = TypeVar("R", bound=Request)
F = TypeVar("F", bound=BaseModel)


def parse_request(request: dict[str, Any], kind: type[R]) -> R:
    """The typed request of that kind; a field that it does not have is refused."""
    refused = (request.keys() & _UNSUPPORTED) - kind.model_fields.keys()
    if refused:
        raise RequestError(f"this engine does not support {min(refused)}", param=min(refused))
    return parse_fields(request, kind)


def parse_fields(request: dict[str, Any], kind: type[F]) -> F:
    """The request's fields with their types; another field or a wrong value is refused."""
    check_fields(request, kind.model_fields)
    try:
        return kind(**{name: value for name, value in request.items() if name in kind.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        param = str(first["loc"][0])
        raise RequestError(f"{param}: {first['msg']}", param=param) from None
