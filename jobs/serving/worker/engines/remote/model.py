"""What remote models of all protocols have in common, and OpenAI's routes over one conversation at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from .... import outcome
from ....protocol import (
    SSE_DONE,
    RequestError,
    batch_response,
    check_messages,
    conversations,
    failed_choice,
    sse,
    usage,
)
from ... import rows
from ..tokens import PlainTokens
from .http import Api
from .options import Options


class RemoteModel:
    """A provider's model, which counts what it is asked."""

    def __init__(self, name: str, options: Options, api: Api) -> None:
        self._name, self._options, self._api = name, options, api
        self._counts = {"requests": 0, "failed": 0, "prompt_tokens": 0, "completion_tokens": 0}

    async def check_health(self) -> None:
        """There is nothing to check that would cost nothing."""

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    def counts(self) -> dict[str, int]:
        """Since it was loaded: requests, those sent again, failed ones, prompt_tokens and completion_tokens."""
        return {**self._counts, "retried": self._api.retried}

    def refusal(self, what: str) -> RequestError:
        """The error of a route or a field that the provider does not have."""
        return RequestError(f"{self._options.provider} has no {what}", status=400, code="unsupported", param=what)

    def check_fields(self, request: dict[str, Any], known: Sequence[str]) -> None:
        """Refuse a field that the provider does not have."""
        if unknown := next((name for name in request if name not in known and request[name] is not None), None):
            raise self.refusal(unknown)

    def form(self, request: dict[str, Any], known: Iterable[str], default: str) -> str:
        """The `response_format` that is asked for, if the provider has it."""
        form: str = request.get("response_format") or default
        if form not in known:
            has = f"{self._options.provider} has no response_format {form}; it has {', '.join(known)}"
            raise RequestError(has, param="response_format", code="unsupported")
        return form

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Count a request, and whether it fails."""
        self._counts["requests"] += 1
        try:
            yield
        except RequestError:
            self._counts["failed"] += 1
            raise


class ChatModel(RemoteModel):
    """A model that writes. An adapter answers one conversation, whole and as chunks, in OpenAI's shapes."""

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """OpenAI's response to one conversation."""
        raise NotImplementedError

    def chunks(self, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The same as OpenAI's chunks."""
        raise NotImplementedError

    async def chat(self, request: dict[str, Any]) -> bytes:
        """Answer one conversation."""
        check_messages(request.get("messages"))
        return orjson.dumps(await self._answer(request))

    async def chat_batch(self, request: dict[str, Any]) -> bytes:
        """Answer many, all at once as far as limits allow."""
        batch = conversations(request)

        async def answer(place: int, messages: Any) -> dict[str, Any]:
            return await self._choice(place, {**request, "messages": messages})

        return batch_response(self._name, await rows.choices(answer, batch))

    async def completions(self, request: dict[str, Any]) -> bytes:
        """Continue one prompt or several."""
        raise self.refusal("completions")

    async def stream(self, route: str, request: dict[str, Any]) -> AsyncIterator[bytes]:
        """Server-sent events, each as the provider sends it."""
        if route == "chat":
            check_messages(request.get("messages"))
        async for chunk in self._events(route, request):
            self._count(chunk)
            yield sse({**outcome.plain_choices(chunk), "model": self._name})
        yield SSE_DONE

    def _events(self, route: str, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        if route != "chat":
            raise self.refusal(route)
        return self.chunks(request)

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """About how many tokens each conversation has: a token is four bytes. The provider alone knows."""
        return [PlainTokens().count_chat(messages) for messages in batch]

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._asked():
            answer = await self.answer(request)
        self._count(answer)
        return {**outcome.plain_choices(answer), "model": self._name}

    async def _choice(self, index: int, request: dict[str, Any]) -> dict[str, Any]:
        check_messages(request["messages"])
        answer = await self._answer(request)
        choice = answer["choices"][0]
        message = {key: value for key, value in choice["message"].items() if value is not None or key == "content"}
        told = answer.get("usage")
        counts = (told.get("prompt_tokens") or 0, told.get("completion_tokens") or 0) if told else None
        counted = {"usage": usage(*counts)} if counts else {}
        if error := outcome.failure(choice, self._options.provider):
            self._counts["failed"] += 1
            return {**failed_choice(index, error), **counted}
        logprobs = {"logprobs": choice["logprobs"]} if choice.get("logprobs") else {}
        return {"index": index, "message": message, "finish_reason": choice.get("finish_reason"), **counted, **logprobs}

    def _count(self, answer: dict[str, Any]) -> None:
        usage = answer.get("usage")
        if usage:
            for key in ("prompt_tokens", "completion_tokens"):
                self._counts[key] += usage.get(key) or 0
            self._api.used((usage.get("prompt_tokens") or 0) + (usage.get("completion_tokens") or 0))
