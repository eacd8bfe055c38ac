"""The Serve deployment of one model, whatever its engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, cast

from sqlllm.errors import SQLLLMError

from .applications import REASON
from .engines import ROUTES, Counts, Generates, Media, Model, get_engine, routes
from .fingerprint import fingerprint
from .protocol import JSON, UNSUPPORTED, RequestError, parse_body
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
            self._routes = routes(self.model)
        except SQLLLMError as error:
            raise LoadError(REASON + str(error)) from None

    async def call(self, route: str, body: bytes) -> tuple[int, bytes, str]:
        """Answer one of `ROUTES`: HTTP status, JSON, and the model's fingerprint."""
        status, answer, _ = await self.ask(route, body)
        return status, answer, self._fingerprint

    async def ask(self, route: str, body: bytes) -> tuple[int, bytes, str]:
        """Answer one of `ROUTES`: HTTP status, body and media type."""
        try:
            self._check(route)
            answer = await getattr(self.model, route)(parse_body(body))
        except RequestError as error:
            return error.status, error.to_json(), JSON
        return (200, answer.content, answer.media_type) if isinstance(answer, Media) else (200, answer, JSON)

    async def stream(self, route: str, body: bytes) -> AsyncIterator[tuple[int, bytes]]:
        """Answer as server-sent events; a refusal is the only item, with its status."""
        try:
            self._check(route)
            async for events in cast("Generates", self.model).stream(route, parse_body(body)):
                yield 200, events
        except RequestError as error:
            yield error.status, error.to_json()

    def _check(self, route: str) -> None:
        """Refuse what the model cannot do."""
        if route not in self._routes:
            can = ", ".join(dict.fromkeys(ROUTES[one] for one in self._routes))
            raise RequestError(
                f"model {self._spec.name} on engine {self._spec.engine} cannot {ROUTES[route]}; it can {can}",
                param="model",
                code=UNSUPPORTED,
            )

    async def describe(self) -> dict[str, Any]:
        """The spec that this server was deployed with."""
        return self._spec.model_dump()

    async def identity(self) -> tuple[str, dict[str, Any]]:
        """What the model's answers follow from, as a digest; the spec, as it is shown, and its routes."""
        return self._fingerprint, {"spec": self._spec.shown(), "routes": self._routes}

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation."""
        return await cast("Generates", self.model).count_tokens(batch)

    async def counts(self) -> dict[str, int]:
        """What the model has counted; empty if it does not count."""
        return self.model.counts() if isinstance(self.model, Counts) else {}

    async def check_health(self) -> None:
        """Serve replaces a server for which this raises."""
        await self.model.check_health()
