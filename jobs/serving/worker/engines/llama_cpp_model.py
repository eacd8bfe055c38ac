"""A model in llama.cpp's own server: requests go to it over HTTP, where it batches those that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson

from sqlllm.lines import alines

from ...protocol import (
    CONTEXT_LENGTH_EXCEEDED,
    SSE_DONE,
    UNSUPPORTED,
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
from . import llama_cpp_request as wire
from .llama_cpp_request import LlamaRequest
from .requests import parse_fields, parse_request
from .tool_calls import Tools, tools
from .vectors import EmbeddingRequest, vectors

_PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
_OF_CHAT = frozenset({"messages", "tools", "parallel_tool_calls", "top_logprobs"})  # which a completion has not
_TEMPLATE = 1024  # more tokens than a chat template adds


class LlamaCppModel:
    """A running server of llama.cpp behind OpenAI's routes."""

    def __init__(self, name: str, server: Any, key: str, embeds: bool, has_template: bool) -> None:
        self._name = name
        self._server = server  # ends with its last reference
        self.routes = frozenset({"embeddings"} if embeds else {"chat", "chat_batch", "completions"})
        shared: dict[str, Any] = {
            "base_url": server.listening_address,
            "headers": {"authorization": f"Bearer {key}"},
            "timeout": httpx.Timeout(None, connect=10),
            "trust_env": False,
        }
        with httpx.Client(**shared) as client:
            told = client.get("/props").raise_for_status().json()
        self._context: int = told["default_generation_settings"]["n_ctx"]  # of one request
        self._has_template = has_template
        self._takes_tools = told["chat_template_caps"]["supports_tools"]
        # Two for each slot: one is answered, one waits at its door. The server closes what is idle for 5 s.
        limits = httpx.Limits(max_connections=2 * told["total_slots"], keepalive_expiry=2)
        self._client = httpx.AsyncClient(**shared, limits=limits)
        self._aside = httpx.AsyncClient(**shared, limits=httpx.Limits(max_connections=2, keepalive_expiry=2))

    async def chat(self, request: dict[str, Any]) -> bytes:
        """Answer one conversation."""
        typed = parse_request(request, LlamaRequest)
        answers = await asyncio.gather(*(self._chat(typed, typed.messages, one) for one in range(typed.n or 1)))
        choices = [{**choice, "index": index} for index, (choice, _) in enumerate(answers)]
        counts = usage(answers[0][1]["prompt_tokens"], sum(one["completion_tokens"] for _, one in answers))
        return orjson.dumps(response("chat.completion", new_id("chatcmpl"), self._name, choices, usage=counts))

    async def chat_batch(self, request: dict[str, Any]) -> bytes:
        """Answer all conversations, as many at a time as there are slots; a bad one is a choice with `error`."""
        batch = conversations(request)
        typed = parse_request(request, LlamaRequest)

        async def answer(index: int, messages: Any) -> dict[str, Any]:
            try:
                choice, counts = await self._chat(typed, messages)
            except RequestError as error:
                if error.status >= 500:  # not this conversation's fault
                    raise
                return failed_choice(index, error)
            return {**choice, "index": index, "usage": counts}

        return batch_response(self._name, await asyncio.gather(*map(answer, range(len(batch)), batch)))

    async def completions(self, request: dict[str, Any]) -> bytes:
        """Continue one prompt or several."""
        typed = parse_request(request, LlamaRequest)
        several = typed.n or 1
        asked = [(prompt, number) for prompt in wire.prompts(typed) for number in range(several)]
        answers = await asyncio.gather(*(self._complete(typed, *one) for one in asked))
        choices = [{**choice, "index": index} for index, (choice, _) in enumerate(answers)]
        read = sum(one["prompt_tokens"] for _, one in answers[::several])
        counts = usage(read, sum(one["completion_tokens"] for _, one in answers))
        return orjson.dumps(response("text_completion", new_id("cmpl"), self._name, choices, usage=counts))

    async def stream(self, route: str, request: dict[str, Any]) -> AsyncIterator[bytes]:
        """Server-sent events, one per token; the server ends an answer whose stream is closed."""
        typed = parse_request(request, LlamaRequest)
        if typed.n not in (None, 1):
            raise RequestError("a stream gives one answer; n must be 1", param="n")
        given = tools(typed.tools, typed.tool_choice) if route == "chat" else None
        if route == "chat" and (typed.held is not None or (given is not None and given.forced)):
            async for piece in self._whole(typed):
                yield piece
            return
        if route == "chat":
            body = await self._chat_body(typed, typed.messages, given=given)
            kind, id = "chat.completion.chunk", new_id("chatcmpl")  # noqa: A001 (OpenAI's name)
        else:
            prompts = wire.prompts(typed)
            if len(prompts) != 1:
                raise RequestError("a stream answers one prompt; send the prompts one by one", param="prompt")
            body = await self._plain_body(typed, prompts[0])
            kind, id = "text_completion", new_id("cmpl")  # noqa: A001
        counts = usage(0, 0)
        async for event in self._events(_PATHS[route], body):
            counts = wire.counted(event) or counts
            best = typed.best if route == "chat" else typed.best_plain
            if choices := [wire.choice(choice, event, best, route) for choice in event.get("choices") or []]:
                yield sse(response(kind, id, self._name, choices))
        if (typed.stream_options or {}).get("include_usage"):
            yield sse(response(kind, id, self._name, [], usage=counts))
        yield SSE_DONE

    async def embeddings(self, request: dict[str, Any]) -> bytes:
        """A vector for each input."""
        typed = parse_fields(request, EmbeddingRequest)
        inputs = typed.inputs
        if typed.truncate_prompt_tokens is not None:
            rows_of_ids = [await self._ids(one) if isinstance(one, str) else one for one in inputs]
            inputs = [ids[: self._context] for ids in rows_of_ids]
        answer = await self._post("/v1/embeddings", {"input": inputs})
        rows = [one["embedding"] for one in answer["data"]]
        typed.check_size(len(rows[0]))
        return vectors(self._name, typed, rows, answer["usage"]["prompt_tokens"])

    async def tokenize(self, request: dict[str, Any]) -> bytes:
        """The tokens of `prompt` or of `messages`, in vLLM's shape."""
        if isinstance(prompt := request.get("prompt"), str):
            tokens = await self._ids(prompt, special=request.get("add_special_tokens", True))
        else:
            tokens = await self._chat_ids({"messages": check_messages(request.get("messages"))})
        return orjson.dumps({"count": len(tokens), "tokens": tokens})

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation, chat template included."""
        return [len(ids) for ids in await asyncio.gather(*(self._chat_ids({"messages": one}) for one in batch))]

    async def check_health(self) -> None:
        """Raise if the server does not answer."""
        (await self._aside.get("/health", timeout=30)).raise_for_status()

    async def close(self) -> None:
        """Close the connections and end the server."""
        await self._client.aclose()
        await self._aside.aclose()
        del self._server

    async def _chat(
        self, typed: LlamaRequest, messages: object, number: int = 0
    ) -> tuple[dict[str, Any], dict[str, int]]:
        """The choice that answers a conversation, and its usage."""
        given = tools(typed.tools, typed.tool_choice)
        if typed.held is not None or (given is not None and given.forced):
            return await self._held(typed, messages, given, number)
        try:
            answer = await self._post(_PATHS["chat"], await self._chat_body(typed, messages, number, given))
        except RequestError as error:
            if error.status != 500 or given is None:
                raise
            return await self._held(typed, messages, given, number)  # a call that it cannot read is text
        counts = wire.counted(answer)
        if not counts or not counts["prompt_tokens"]:
            raise RequestError("the chat template makes no text of the messages", param="messages")
        return wire.choice(answer["choices"][0], answer, typed.best, "chat"), counts

    async def _held(
        self, typed: LlamaRequest, messages: object, given: Tools | None, number: int
    ) -> tuple[dict[str, Any], dict[str, int]]:
        """The same, for an answer that must call a tool or is held to a form: a continuation of the template's text.

        llama.cpp's own parser forces no call, and fails on one that `max_tokens` cuts.
        """
        body = await self._chat_body(typed, messages, number, given)
        prompt = await self._chat_ids(body)
        form = wire.form((given.held if given else None) or typed.held)
        asked = {name: value for name, value in body.items() if name not in _OF_CHAT}
        scores = {} if typed.best is None else {"logprobs": max(1, typed.best)}
        self._check_room(len(prompt), typed.asked, "messages")
        answer = await self._post(_PATHS["completions"], {**asked, **form, **scores, "prompt": prompt})
        found = wire.choice(answer["choices"][0], answer, typed.best, "chat")
        text = found.pop("text")
        found["message"] = {"role": "assistant", "content": text}
        if given is not None:
            found["message"], found["finish_reason"] = given.read(text, found["finish_reason"])
        return found, wire.counted(answer) or usage(0, 0)

    async def _whole(self, typed: LlamaRequest) -> AsyncIterator[bytes]:
        """An answer that is read before it is shown, as events."""
        choice, counts = await self._chat(typed, typed.messages)
        id, message = new_id("chatcmpl"), choice["message"]  # noqa: A001 (OpenAI's name)
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
        begin: dict[str, Any] = {"finish_reason": None} | _some(choice, "logprobs")
        for piece, more in ((message, begin), ({}, _some(choice, "finish_reason", "stop_reason"))):
            yield sse(response("chat.completion.chunk", id, self._name, [{"index": 0, "delta": piece, **more}]))
        if (typed.stream_options or {}).get("include_usage"):
            yield sse(response("chat.completion.chunk", id, self._name, [], usage=counts))
        yield SSE_DONE

    async def _complete(
        self, typed: LlamaRequest, prompt: Any, number: int = 0
    ) -> tuple[dict[str, Any], dict[str, int]]:
        answer = await self._post(_PATHS["completions"], await self._plain_body(typed, prompt, number))
        choice = wire.choice(answer["choices"][0], answer, typed.best_plain, "completions")
        return choice, wire.counted(answer) or usage(0, 0)

    async def _chat_body(
        self, typed: LlamaRequest, messages: object, number: int = 0, given: Tools | None = None
    ) -> dict[str, Any]:
        body = {**wire.body(typed, number), "messages": check_messages(messages)}
        if not self._has_template:
            raise RequestError("the model's file has no chat template; backend.chat_template gives one")
        if given is not None:
            if not self._takes_tools:
                raise RequestError("the model's chat template has no place for tools", param="tools", code=UNSUPPORTED)
            body["tools"] = given.given
            if typed.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = typed.parallel_tool_calls
        if (best := typed.best) is not None:
            body |= {"logprobs": True, "top_logprobs": max(1, best)}  # with 0 it gives none
        # The server would cut an answer that finds no room; whether one does is worth counting only near the end.
        if typed.asked and typed.asked + len(orjson.dumps(body)) + _TEMPLATE > self._context:
            self._check_room(len(await self._chat_ids(body)), typed.asked, "messages")
        return body

    async def _plain_body(self, typed: LlamaRequest, prompt: Any, number: int = 0) -> dict[str, Any]:
        body = {**wire.body(typed, number), "prompt": prompt, **wire.form(typed.held)}
        if (best := typed.best_plain) is not None:
            body["logprobs"] = max(1, best)
        if not isinstance(prompt, str):
            self._check_room(len(prompt), typed.asked, "prompt")
        elif not prompt or (typed.asked and typed.asked + len(prompt.encode()) + 2 > self._context):
            self._check_room(len(await self._ids(prompt)), typed.asked, "prompt")
        return body

    def _check_room(self, tokens: int, asked: int | None, param: str) -> None:
        room = self._context - tokens
        if tokens and room >= (asked or 1):
            return
        raise RequestError(
            f"the model's context is {self._context} tokens (backend.n_ctx); the prompt has {tokens}"
            + (f" and max_tokens asks for {asked} more" if asked else " and leaves no room for an answer"),
            param="max_tokens" if asked and room > 0 else param,
            code=CONTEXT_LENGTH_EXCEEDED,
        )

    async def _chat_ids(self, body: dict[str, Any]) -> list[int]:
        return await self._ids((await self._post("/apply-template", body))["prompt"])

    async def _ids(self, text: str, special: bool = True) -> list[int]:
        body = {"content": text, "add_special": special, "parse_special": True}
        ids: list[int] = (await self._post("/tokenize", body))["tokens"]
        return ids

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            reply = await self._client.post(path, content=orjson.dumps(body))
        except httpx.TransportError as error:
            raise _stopped(error) from error
        if reply.status_code != 200:
            raise self._refusal(reply)
        answer: dict[str, Any] = orjson.loads(reply.content)
        return answer

    async def _events(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        try:
            async with self._client.stream("POST", path, content=orjson.dumps(body)) as reply:
                if reply.status_code != 200:
                    await reply.aread()
                    raise self._refusal(reply)
                async for line in alines(reply.aiter_bytes()):
                    name, _, data = line.partition(": ")
                    if name == "error":
                        raise RequestError(orjson.loads(data)["message"], status=500)
                    if name == "data" and data != "[DONE]":
                        event: dict[str, Any] = orjson.loads(data)
                        if error := event.get("error"):
                            raise RequestError(error["message"], status=500)
                        yield event
        except httpx.TransportError as error:
            raise _stopped(error) from error

    def _refusal(self, reply: httpx.Response) -> RequestError:
        """llama.cpp's error as ours."""
        error = orjson.loads(reply.content)["error"]
        words, kind = error["message"], error.get("type")
        if kind == "exceed_context_size_error" or "too large to process" in words:
            tokens = error.get("n_prompt_tokens")
            said = f"the prompt has {tokens} and leaves no room for an answer" if tokens else words
            words = f"the model's context is {self._context} tokens (backend.n_ctx); {said}"
            return RequestError(words, param="messages", code=CONTEXT_LENGTH_EXCEEDED)
        if "not supported" in words:
            return RequestError(words, code=UNSUPPORTED)
        return RequestError(words, status=reply.status_code)


def _some(choice: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: choice[name] for name in names if name in choice}


def _stopped(error: httpx.TransportError) -> RequestError:
    return RequestError(f"llama.cpp has stopped: {error or type(error).__name__}", status=503)
