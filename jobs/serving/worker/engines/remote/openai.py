"""Providers that speak OpenAI's protocol. Requests pass as they come: what a provider does not know, it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

import orjson

from .... import outcome
from ....protocol import check_input
from ....spec import ModelSpec
from .. import Media, sounds
from .http import Api, Refused
from .model import ChatModel
from .options import Options

_SAMPLING = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"})
_SOUNDS = {"mp3": "audio/mpeg", "wav": "audio/wav", "opus": "audio/ogg", "flac": "audio/flac", "aac": "audio/aac"}
_AZURE_VERSION = "2024-10-21"


class OpenAIModel(ChatModel):
    """A model behind OpenAI's routes."""

    @classmethod
    def load(cls, spec: ModelSpec, options: Options) -> Self:
        """The model; nothing is asked yet."""
        key, params, base = options.api_key, {}, options.base_url
        headers = {"authorization": f"Bearer {key}"} if key else {}
        if options.provider == "azure_openai":
            headers = headers if options.api_type == "azure_ad" else {"api-key": key}
            params["api-version"] = options.api_version or _AZURE_VERSION
            base = f"{base}/openai/deployments/{options.model}"
        elif options.api_secret:  # SparkDesk's
            headers = {"authorization": f"Bearer {key}:{options.api_secret}"}
        if options.group_id:  # MiniMax's
            params["GroupId"] = options.group_id
        if options.organization:
            headers["openai-organization"] = options.organization
        api = Api(options, headers, params=params, at_once=spec.concurrency, workers=spec.replicas)
        return cls(spec.name, options, api, base)

    def __init__(self, name: str, options: Options, api: Api, base: str) -> None:
        super().__init__(name, options, api)
        self._base = base
        self._reasons = options.is_reasoning or options.spoken.reasons

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The provider's response."""
        return await self._api.post(self._base + self._options.spoken.chat_path, self._body(request), _response)

    async def chunks(self, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The provider's chunks."""
        async for chunk in self._chunks(self._options.spoken.chat_path, self._body(request)):
            yield chunk

    async def completions(self, request: dict[str, Any]) -> bytes:
        """The provider's continuation, if it makes any."""
        answer = await self._api.post(f"{self._base}/completions", self._body(request), _response)
        self._count(answer)
        return orjson.dumps({**answer, "model": self._name})

    async def embeddings(self, request: dict[str, Any]) -> bytes:
        """The provider's vectors."""
        check_input(request.get("input"))
        return await self._pass("/embeddings", request, "data")

    async def rerank(self, request: dict[str, Any]) -> bytes:
        """The provider's ranking, if it makes any."""
        return await self._pass("/rerank", request, "results")

    async def images(self, request: dict[str, Any]) -> bytes:
        """The provider's images."""
        return await self._pass("/images/generations", request, "data")

    async def speech(self, request: dict[str, Any]) -> Media:
        """The provider's sound."""
        body = {**request, "model": self._options.model}
        content = await self._api.post(f"{self._base}/audio/speech", body, bytes)
        return Media(content, _SOUNDS.get(request.get("response_format") or "mp3", "application/octet-stream"))

    async def transcriptions(self, request: dict[str, Any]) -> Media:
        """What the provider hears."""
        fields = {name: str(value) for name, value in request.items() if name not in ("file", "model")}
        form = {"data": {**fields, "model": self._options.model}}
        sound = ("sound.wav", sounds.content(request["file"], "file"))
        content = await self._api.post(f"{self._base}/audio/transcriptions", None, bytes, **form, files={"file": sound})
        return Media(content, "application/json" if content[:1] == b"{" else "text/plain")

    async def _pass(self, path: str, request: dict[str, Any], key: str) -> bytes:
        """A request and its answer as they are, but for the model's name; the answer has a list under `key`."""

        def read(content: bytes) -> dict[str, Any]:
            answer: dict[str, Any] = orjson.loads(content)
            if isinstance(error := answer.get("error"), dict):
                raise Refused(error.get("message") or "it gives no reason")
            list(answer[key])
            return answer

        self._counts["requests"] += 1
        answer = await self._api.post(self._base + path, {**request, "model": self._options.model}, read)
        self._count(answer)
        return orjson.dumps({**answer, "model": self._name} if "model" in answer else answer)

    def _events(self, route: str, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        return self.chunks(request) if route == "chat" else self._chunks("/completions", self._body(request))

    def _body(self, request: dict[str, Any]) -> dict[str, Any]:
        body = {**request, "model": self._options.model}
        asked = body.get("max_completion_tokens") or body.get("max_tokens") or self._options.max_output_tokens
        if self._reasons:
            body = {key: value for key, value in body.items() if key not in {*_SAMPLING, "max_tokens"}}
        if asked and body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
            body["max_completion_tokens" if self._reasons else "max_tokens"] = asked
        return body

    async def _chunks(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        ended = False
        async with self._api.stream(self._base + path, body) as lines:
            async for line in lines:
                if not line.startswith("data:"):
                    continue
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                try:
                    chunk = orjson.loads(data)
                    choices = chunk.get("choices") or []
                    ended = ended or any(choice.get("finish_reason") for choice in choices)
                except (ValueError, AttributeError):
                    raise self._api.broke_off(f"an event is not a chunk: {data!r}") from None
                if error := chunk.get("error"):
                    raise self._api.failed(error.get("message", str(error)) if isinstance(error, dict) else str(error))
                yield chunk
        if not ended:
            raise self._api.broke_off("there is no last event")


def _response(content: bytes) -> dict[str, Any]:
    """A response with at least one choice; ValueError if it is none."""
    answer = orjson.loads(content)
    told = answer.pop("base_resp", None) or {}  # MiniMax's errors have status 200
    if told.get("status_code"):
        raise Refused(told.get("status_msg"))
    if isinstance(error := answer.get("error"), dict):
        raise Refused(error.get("message") or "it gives no reason")
    for choice in answer["choices"]:
        if "text" not in choice and not isinstance(choice.get("message"), dict):
            if not outcome.is_filtered(choice):
                raise ValueError("no message")
            choice["message"] = {"role": "assistant", "content": None}
    answer["choices"][0]  # there is one
    result: dict[str, Any] = answer
    return result
