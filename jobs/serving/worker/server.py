"""The Serve deployment of one model, whatever its engine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from sqlllm.errors import SQLLLMError

from ..applications import REASON
from ..protocol import JSON, UNSUPPORTED, RequestError, parse_body
from ..spec import ModelSpec
from .engines import ROUTES, Counts, Generates, Media, Model, Tokenizes, get_engine, routes
from .engines.tokens import PlainTokens, tokenize
from .fingerprint import fingerprint
from .meta import meta
from .tasks import TASKS, meant


class LoadError(Exception):
    """What a server that does not start says to Serve."""


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """What one worker does now."""

    worker: str
    pid: int
    requests: int  # calls taken since it started; a batch is one
    under_way: int
    last: float  # when it took the last one, seconds since 1970; 0: none yet


class ModelServer:
    """Answers the gateway's calls: bodies in, status and bodies out."""

    model: Model

    async def __init__(self, spec: dict[str, Any], gpus: float, threads: str | None) -> None:  # type: ignore[misc]
        # Serve awaits it. `threads` is the user's OMP_NUM_THREADS; Ray sets its own, 1 for each CPU that it counts.
        self._spec = ModelSpec(**spec)
        self._requests = self._under_way = 0
        self._last = 0.0
        if not gpus:
            share = (os.cpu_count() or 1) // self._spec.replicas
            os.environ["OMP_NUM_THREADS"] = threads or str(max(1, int(self._spec.cpus_per_worker), share))
            # Threads that wait for work sleep: spinning, they take half of the CPU from Spark and the gateway.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        engine = get_engine(self._spec.engine)
        reading = asyncio.create_task(asyncio.to_thread(fingerprint, self._spec))
        try:
            self.model = await engine.load(self._spec, engine.parse(self._spec.options), gpus)
            self._fingerprint = await reading
            self._routes = routes(self.model)
        except SQLLLMError as error:
            raise LoadError(REASON + str(error)) from None
        except MemoryError:
            raise LoadError(f"{REASON}it does not fit into the memory that its worker may use") from None

    async def call(self, route: str, body: bytes) -> tuple[int, bytes, str]:
        """Answer one of `ROUTES` or `TASKS`: HTTP status, JSON, and the model's fingerprint."""
        status, answer, _ = await self.ask(route, body)
        return status, answer, self._fingerprint

    async def ask(self, route: str, body: bytes) -> tuple[int, bytes, str]:
        """Answer one of `ROUTES` or `TASKS`: HTTP status, body and media type."""
        route = meant(route, self._routes)
        with self._counted():
            try:
                if route == "tokenize":
                    answer = await self._tokenize(parse_body(body))
                elif task := TASKS.get(route):
                    self._check(task.route)
                    answer = await task.run(self.model, parse_body(body))
                else:
                    self._check(route)
                    answer = await getattr(self.model, route)(parse_body(body))
            except RequestError as error:
                return error.status, error.to_json(), JSON
        return (200, answer.content, answer.media_type) if isinstance(answer, Media) else (200, answer, JSON)

    async def stream(self, route: str, body: bytes) -> AsyncIterator[tuple[int, bytes]]:
        """Answer as server-sent events; a refusal is the only item, with its status."""
        with self._counted():
            try:
                self._check(route)
                async for events in cast("Generates", self.model).stream(route, parse_body(body)):
                    yield 200, events
            except RequestError as error:
                yield error.status, error.to_json()

    async def load(self) -> WorkerLoad:
        """What this worker does now."""
        from ray import serve

        worker = serve.get_replica_context().replica_id.unique_id
        return WorkerLoad(worker, os.getpid(), self._requests, self._under_way, self._last)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._requests += 1
        self._under_way += 1
        self._last = time.time()
        try:
            yield
        finally:
            self._under_way -= 1

    def _check(self, route: str) -> None:
        """Refuse what the model cannot do."""
        if route not in self._routes:
            can = ", ".join(dict.fromkeys(ROUTES[one] for one in self._routes))
            raise RequestError(
                f"model {self._spec.name} on engine {self._spec.engine} cannot {ROUTES[route]}; it can {can}",
                param="model",
                code=UNSUPPORTED,
            )

    async def identity(self) -> tuple[str, dict[str, Any]]:
        """What the model's answers follow from, as a digest; the spec, as it is shown, its routes and its `meta`."""
        return self._fingerprint, {"spec": self._spec.shown(), "routes": self._routes, "meta": meta(self._spec)}

    async def _tokenize(self, request: dict[str, Any]) -> bytes:
        """By the model itself, if it does; else by the tokenizer in its folder."""
        if isinstance(self.model, Tokenizes):
            return await self.model.tokenize(request)
        return await asyncio.to_thread(tokenize, self._spec.model_path, request)

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation; a token is four bytes for a model that does not count."""
        if isinstance(self.model, Generates):
            return await self.model.count_tokens(batch)
        return [PlainTokens().count_chat(messages) for messages in batch]

    async def counts(self) -> dict[str, int]:
        """What the model has counted; empty if it does not count."""
        return self.model.counts() if isinstance(self.model, Counts) else {}

    async def check_health(self) -> None:
        """Serve replaces a server for which this raises."""
        await self.model.check_health()
