"""The Serve deployment of one model, whatever its engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from sqlllm.errors import SQLLLMError

from .applications import REASON
from .engines import Counts, Model, get_engine
from .fingerprint import fingerprint
from .protocol import RequestError, parse_body
from .spec import ModelSpec


class LoadError(Exception):
    """What a server that does not start says to Serve."""


class ModelServer:
    """Answers the gateway's calls: bodies in, status and bodies out."""

    model: Model

    async def __init__(self, spec: dict[str, Any], gpus: float, threads: str | None) -> None:  # type: ignore[misc]
        # Serve awaits it. `threads` is the user's OMP_NUM_THREADS; Ray sets its own, 1 for each CPU that it counts.
        self._spec = ModelSpec(**spec)
        if not gpus:
            share = (os.cpu_count() or 1) // self._spec.replicas
            os.environ["OMP_NUM_THREADS"] = threads or str(max(1, int(self._spec.cpus_per_worker), share))
        engine = get_engine(self._spec.engine)
        reading = asyncio.create_task(asyncio.to_thread(fingerprint, self._spec))
        try:
            self.model = await engine.load(self._spec, engine.parse(self._spec.options), gpus)
            self._fingerprint = await reading
        except SQLLLMError as error:
            raise LoadError(REASON + str(error)) from None

    async def call(self, route: str, body: bytes) -> tuple[int, bytes, str]:
        """Answer `chat`, `chat_batch` or `completions`: HTTP status, JSON, and the model's fingerprint."""
        try:
            return 200, await getattr(self.model, route)(parse_body(body)), self._fingerprint
        except RequestError as error:
            return error.status, error.to_json(), self._fingerprint

    async def stream(self, route: str, body: bytes) -> AsyncIterator[tuple[int, bytes]]:
        """Answer as server-sent events; a refusal is the only item, with its status."""
        try:
            async for events in self.model.stream(route, parse_body(body)):
                yield 200, events
        except RequestError as error:
            yield error.status, error.to_json()

    async def describe(self) -> dict[str, Any]:
        """The spec that this server was deployed with."""
        return self._spec.model_dump()

    async def identity(self) -> tuple[str, dict[str, Any]]:
        """What the model's answers follow from, as a digest, and the spec that it was deployed with, as it is shown."""
        return self._fingerprint, self._spec.shown()

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation."""
        return await self.model.count_tokens(batch)

    async def counts(self) -> dict[str, int]:
        """What the model has counted; empty if it does not count."""
        return self.model.counts() if isinstance(self.model, Counts) else {}

    async def check_health(self) -> None:
        """Serve replaces a server for which this raises."""
        await self.model.check_health()
