"""Requests and answers of llama.cpp's server, in its words and in OpenAI's."""

from __future__ import annotations

from typing import Any

import orjson

from sqlllm.errors import PackageError

from ...protocol import RequestError, usage
from . import logprobs
from .held import COMPACT, Held
from .requests import FullRequest

_SEEDS = 2**32 - 1  # one more is llama.cpp's word for any
# Fields that go on as they are.
_SAME = (
    "temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "logit_bias", "ignore_eos",
    "chat_template_kwargs",
)  # fmt: skip


class LlamaRequest(FullRequest):
    """The fields of a chat or completion request that llama.cpp honours."""

    logit_bias: dict[str, float] | None = None
    ignore_eos: bool | None = None

    @property
    def asked(self) -> int | None:
        """Tokens of the answer, at most."""
        return self.max_completion_tokens or self.max_tokens


def body(typed: LlamaRequest, number: int = 0) -> dict[str, Any]:
    """What all routes have in common, in llama.cpp's names; `number` among several answers to one prompt."""
    found = {name: value for name in _SAME if (value := getattr(typed, name)) is not None}
    if typed.top_k is not None:
        found["top_k"] = max(0, typed.top_k)
    if typed.repetition_penalty is not None:
        found["repeat_penalty"] = typed.repetition_penalty
    if (seed := typed.seed_of(number)) is not None:
        found["seed"] = seed % _SEEDS
    if typed.stops:
        found |= {"stop": typed.stops, "verbose": True}  # then it also says which stop string it was
    if typed.asked:
        found["max_tokens"] = typed.asked
    return found


def choice(choice: dict[str, Any], answer: dict[str, Any], best: int | None, route: str) -> dict[str, Any]:
    """llama.cpp's choice in an answer, or in an event of a stream, as OpenAI's, with `best` log probabilities."""
    found = {name: value for name, value in choice.items() if name != "logprobs"}
    if stop := (answer.get("__verbose") or {}).get("stopping_word"):
        found["stop_reason"] = stop
    scored = (choice.get("logprobs") or {}).get("content")
    if best is None or not scored:
        return found
    tokens = [{**token, "top_logprobs": token["top_logprobs"][:best]} for token in scored]
    return {**found, "logprobs": {"content": tokens} if route == "chat" else logprobs.completion(tokens)}


def _check(schema: Any) -> None:
    """RequestError for a schema that llama.cpp would log an error about, and forget."""
    try:
        from llguidance import LLMatcher
    except ImportError as error:
        raise PackageError.from_import_error(error, package="llguidance", extra="llama-cpp") from error
    grammar = LLMatcher.grammar_from_json_schema(orjson.dumps(schema).decode())
    is_wrong, words = LLMatcher.validate_grammar_with_warnings(grammar)
    if is_wrong:
        raise RequestError(f"the answer cannot be held to this form: {words[0].strip().splitlines()[0]}")


def form(held: Held | None) -> dict[str, Any]:
    """What an answer is held to, in llama.cpp's words."""
    if held is None:
        return {}
    if held.kind == "json":
        _check(held.value)
        return {"json_schema": {**held.value, "x-guidance": COMPACT} if isinstance(held.value, dict) else held.value}
    if held.kind == "grammar":
        return {"grammar": held.value}
    if held.kind == "choice":
        texts = " | ".join(orjson.dumps(text).decode() for text in held.value)
        return {"grammar": f"root ::= {texts}"}
    raise RequestError("llama.cpp holds no answer to a regular expression; send a grammar", param="structured_outputs")


def counted(answer: dict[str, Any]) -> dict[str, int] | None:
    """The tokens that llama.cpp says; None if it says none."""
    counted = answer.get("usage")
    return usage(counted["prompt_tokens"], counted["completion_tokens"]) if counted else None


def prompts(typed: LlamaRequest) -> list[Any]:
    """The prompts of a completion: texts, or lists of tokens."""
    prompt = typed.prompt
    if prompt is None or prompt == []:
        raise RequestError("prompt is missing", param="prompt")
    return [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else list(prompt)
