"""The oracle: answers from a table or a Python function, the same each time, with calls and tokens counted.

A script runs on it without a model, and learns what it would have asked one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from zlib import crc32

import orjson
from pydantic import BaseModel, ConfigDict, Field

from sqlllm.errors import ModelError

from ...protocol import (
    CONTEXT_LENGTH_EXCEEDED,
    SSE_DONE,
    RequestError,
    batch_response,
    check_messages,
    conversations,
    failed_choice,
    new_id,
    response,
    sse,
    usage,
)
from ...spec import ModelSpec
from . import parse_options
from .oracle_answers import find_function, find_key, in_words, read_table
from .requests import Request, parse_request
from .tokens import PlainTokens, TokenizerTokens, Tokens


class Options(BaseModel):
    """The engine's options."""

    model_config = ConfigDict(extra="forbid")

    function: str | None = Field(None, pattern=r"^[\w.]+:\w+$", description="`module:function`, prompt to answer")
    prompt: str = Field("prompt", description="the table's column of prompts, or of what `key` finds in them")
    answer: str = Field("answer", description="the table's column of answers")
    key: str | None = Field(None, description="regular expression: its first group, in a prompt, is looked up")
    default: str | None = Field(None, description="answer to what is not in the table; without it an error")
    tokenizer: str | None = Field(None, description="folder of the tokenizer that counts; without it 4 bytes a token")
    max_model_len: int = Field(131_072, ge=2, description="tokens of prompt and answer")
    latency: float = Field(0.0, ge=0, description="seconds that each request takes, however many prompts it has")
    failure_rate: float = Field(0.0, ge=0, le=1, description="share of prompts that fail, the same ones each time")


class OracleRequest(Request):
    """What has no effect on a fixed answer is taken, too: a script must run as it is."""

    min_tokens: int | None = None
    ignore_eos: bool | None = None
    stop_token_ids: list[int] | None = None
    response_format: dict[str, Any] | None = None


class Oracle:
    """The engine `oracle`."""

    name: ClassVar[str] = "oracle"
    generates: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()  # its answers follow from none

    @staticmethod
    def parse(options: Mapping[str, str]) -> dict[str, Any]:
        """The fields of `Options`."""
        found = parse_options(Options, options, "oracle")
        find_key(found.key)
        return found.model_dump()

    @staticmethod
    def check(spec: ModelSpec, options: Mapping[str, Any]) -> None:
        """The table, unless there is a function."""
        if options["function"] is None and not Path(spec.model_path).exists():
            raise ModelError(
                f"the oracle's table {spec.model_path} does not exist",
                cure="localModelDir is a Parquet, CSV or JSON file, or a folder of them.",
            )

    @staticmethod
    def resources(spec: ModelSpec, options: Mapping[str, Any], gpus: float) -> dict[str, Any]:  # noqa: ARG004
        """None: it waits more than it works."""
        return {"ray_actor_options": {"num_cpus": 0, "num_gpus": 0}}

    @staticmethod
    async def load(spec: ModelSpec, options: dict[str, Any], gpus: float) -> OracleModel:  # noqa: ARG004
        """Read the table, or import the function."""
        given = Options(**options)
        if given.function is not None:
            look_up = find_function(given.function)
        else:
            table = await asyncio.to_thread(read_table, Path(spec.model_path), given.prompt, given.answer)
            look_up = table.get
        return OracleModel(spec.name, look_up, given)


class OracleModel:
    """Fixed answers behind OpenAI's routes."""

    def __init__(self, name: str, look_up: Callable[[str], str | None], options: Options) -> None:
        self._name = name
        self._look_up = look_up
        self._options = options
        self._key = find_key(options.key)
        self._tokens: Tokens = TokenizerTokens.load(options.tokenizer) if options.tokenizer else PlainTokens()
        self._fails_below = int(options.failure_rate * 2**32)
        self._counts = {"requests": 0, "calls": 0, "failed": 0, "prompt_tokens": 0, "completion_tokens": 0}

    async def chat(self, request: dict[str, Any]) -> bytes:
        """Answer one conversation."""
        typed = await self._begin(request)
        text, end, counts = self._chat(typed, typed.messages)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, **end}
        return orjson.dumps(response("chat.completion", new_id("chatcmpl"), self._name, [choice], usage=counts))

    async def chat_batch(self, request: dict[str, Any]) -> bytes:
        """Answer all conversations: one choice each, a bad one as a choice with `error`."""
        batch = conversations(request)
        typed = await self._begin(request)
        choices: list[dict[str, Any]] = []
        for index, messages in enumerate(batch):
            try:
                text, end, counts = self._chat(typed, messages)
            except RequestError as error:
                choices.append(failed_choice(index, error))
                continue
            message = {"role": "assistant", "content": text}
            choices.append({"index": index, "message": message, **end, "usage": counts})
        return batch_response(self._name, choices)

    async def completions(self, request: dict[str, Any]) -> bytes:
        """Answer one prompt or several."""
        typed = await self._begin(request)
        answers = [self._answer(typed, prompt, self._tokens.count(prompt)) for prompt in _prompts(typed)]
        choices = [
            {"index": index, "text": text, **end, "logprobs": None} for index, (text, end, _) in enumerate(answers)
        ]
        counts = usage(*(sum(one[key] for _, _, one in answers) for key in ("prompt_tokens", "completion_tokens")))
        return orjson.dumps(response("text_completion", new_id("cmpl"), self._name, choices, usage=counts))

    async def stream(self, route: str, request: dict[str, Any]) -> AsyncIterator[bytes]:
        """Server-sent events, one per word."""
        typed = await self._begin(request)
        if route == "chat":
            text, end, counts = self._chat(typed, typed.messages)
            kind, id = "chat.completion.chunk", new_id("chatcmpl")  # noqa: A001 (OpenAI's name)
        else:
            prompts = _prompts(typed)
            if len(prompts) != 1:
                raise RequestError("a stream answers one prompt; send the prompts one by one", param="prompt")
            text, end, counts = self._answer(typed, prompts[0], self._tokens.count(prompts[0]))
            kind, id = "text_completion", new_id("cmpl")  # noqa: A001

        def event(piece: dict[str, Any], **end: str) -> bytes:
            choice = {"index": 0, **({"delta": piece} if route == "chat" else {"text": piece.get("content", "")})}
            return sse(response(kind, id, self._name, [{**choice, "finish_reason": None, **end}]))

        if route == "chat":
            yield event({"role": "assistant", "content": ""})
        for word in in_words(text):
            yield event({"content": word})
            await asyncio.sleep(0)  # other clients get their words in between
        yield event({}, **end)
        if (typed.stream_options or {}).get("include_usage"):
            yield sse(response(kind, id, self._name, [], usage=counts))
        yield SSE_DONE

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation."""
        return [self._tokens.count_chat(messages) for messages in batch]

    async def check_health(self) -> None:
        """There is nothing that can fail."""

    def counts(self) -> dict[str, int]:
        """Since it was loaded: requests, calls (prompts), failed ones, prompt_tokens and completion_tokens."""
        return self._counts

    async def _begin(self, request: dict[str, Any]) -> OracleRequest:
        typed = parse_request(request, OracleRequest)
        self._counts["requests"] += 1
        if self._options.latency:
            await asyncio.sleep(self._options.latency)
        return typed

    def _chat(self, request: OracleRequest, messages: object) -> tuple[str, dict[str, str], dict[str, int]]:
        checked = check_messages(messages)
        return self._answer(request, _text(checked[-1]), self._tokens.count_chat(checked))

    def _answer(self, request: OracleRequest, prompt: str, tokens: int) -> tuple[str, dict[str, str], dict[str, int]]:
        """Text, why it ended, and usage. RequestError if there is no answer."""
        self._counts["calls"] += 1
        try:
            text, end, answered = self._limited(request, prompt, tokens)
        except RequestError:
            self._counts["failed"] += 1
            raise
        self._counts["prompt_tokens"] += tokens
        self._counts["completion_tokens"] += answered
        return text, end, usage(tokens, answered)

    def _limited(self, request: OracleRequest, prompt: str, tokens: int) -> tuple[str, dict[str, str], int]:
        asked = request.max_completion_tokens or request.max_tokens
        room = self._options.max_model_len - tokens
        if room < (asked or 1):
            raise RequestError(
                f"the oracle's context is {self._options.max_model_len} tokens; the prompt has {tokens}"
                + (f" and max_tokens asks for {asked} more" if asked else " and leaves no room for an answer"),
                param="max_tokens" if asked and room > 0 else "messages",
                code=CONTEXT_LENGTH_EXCEEDED,
            )
        if self._fails_below and crc32(prompt.encode()) < self._fails_below:
            raise RequestError("the oracle fails here, as failure_rate asks", code="oracle_failure")
        text = self._find(prompt)
        end = {"finish_reason": "stop"}
        if ends := [(at, stop) for stop in request.stops if (at := text.find(stop)) >= 0]:
            at, end["stop_reason"] = min(ends)
            text = text[:at]
        count, limit = self._tokens.count(text), asked or room
        if count <= limit:
            return text, end, count
        return self._tokens.cut(text, limit), {"finish_reason": "length"}, limit

    def _find(self, prompt: str) -> str:
        key = prompt
        if self._key is not None:
            found = self._key.search(prompt)
            key = (found[1] if self._key.groups else found[0]) if found else prompt
        text = self._look_up(key)
        if text is None:
            text = self._options.default
        if text is None:
            shown = key if len(key) <= 80 else f"{key[:80]}..."
            raise RequestError(f"the oracle has no answer to {shown!r}", code="no_answer")
        return text


def _prompts(request: Request) -> list[str]:
    prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    if not prompts:
        raise RequestError("prompt is missing", param="prompt")
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise RequestError("the oracle takes prompts as text", param="prompt")
    return prompts  # type: ignore[return-value]


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
