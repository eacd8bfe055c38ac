"""Models behind Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

import orjson

from ....spec import ModelSpec
from . import messages
from .http import Api
from .model import ChatModel
from .options import Options

_VERSION = "2023-06-01"
_MAX_TOKENS = 4096  # of an answer where neither request nor option says: the API needs a number


class AnthropicModel(ChatModel):
    """A model that answers `/v1/messages`."""

    @classmethod
    def load(cls, spec: ModelSpec, options: Options) -> Self:
        """The model; nothing is asked yet."""
        headers = {"x-api-key": options.api_key, "anthropic-version": _VERSION}
        api = Api(options, headers, at_once=spec.concurrency, workers=spec.replicas)
        return cls(spec.name, options, api)

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The provider's message, as a response."""
        return await self._api.post(
            self._url, self._body({**request, "stream": False}), lambda body: messages.chat_answer(orjson.loads(body))
        )

    async def chunks(self, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The provider's events, as chunks."""
        with_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        async with self._api.stream(self._url, self._body({**request, "stream": True})) as lines:
            async for chunk in messages.chunks(self._events_of(lines), with_usage):
                yield chunk

    @property
    def _url(self) -> str:
        return self._options.base_url.removesuffix("/v1") + "/v1/messages"

    def _body(self, request: dict[str, Any]) -> dict[str, Any]:
        body = messages.messages_request(request, self._options.max_output_tokens or _MAX_TOKENS)
        return {**body, "model": self._options.model}

    async def _events_of(self, lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
        async for line in lines:
            if not line.startswith("data:"):
                continue
            data = line.removeprefix("data:").strip()
            try:
                event = orjson.loads(data)
                kind = event["type"]
            except (ValueError, KeyError, TypeError):
                raise self._api.broke_off(f"an event is none: {data!r}") from None
            if kind == "error":
                raise self._api.failed(str(event["error"].get("message", event["error"])))
            if kind == "message_stop":
                return
            yield event
        raise self._api.broke_off("there is no last event")
