"""One worker: a model that is loaded, whatever its engine, and its answers as bodies. It runs in any process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, cast

from ..asked import asked
from ..protocol import JSON, UNSUPPORTED, RequestError, parse_body
from ..spec import ModelSpec
from .engines import ROUTES, Counts, Generates, Media, Model, Tokenizes, get_engine, routes
from .engines.tokens import PlainTokens, tokenize
from .fingerprint import fingerprint
from .meta import meta
from .tasks import TASKS, meant


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """What one worker does now."""

    worker: str
    pid: int
    requests: int  # calls taken since it started; a batch is one
    under_way: int
    last: float  # when it took the last one, seconds since 1970; 0: none yet


class Worker:
    """Answers the gateway's calls: bodies in, status and bodies out."""

    def __init__(self, spec: ModelSpec, model: Model, digest: str) -> None:
        self.model = model
        self._spec, self._fingerprint, self._routes = spec, digest, routes(model)
        self._requests = self._under_way = 0
        self._last = 0.0

    @classmethod
    async def started(cls, spec: ModelSpec, gpus: float) -> Self:
        """The worker once its model is loaded; ModelError with the engine's own reason if it does not load."""
        engine = get_engine(spec.engine)
        reading = asyncio.create_task(asyncio.to_thread(fingerprint, spec))
        try:
            model = await engine.load(spec, engine.parse(spec.options), gpus)
        except BaseException:
            reading.cancel()
            raise
        return cls(spec, model, await reading)

    def load(self, name: str) -> WorkerLoad:
        """What this worker, which is called `name`, does now."""
        return WorkerLoad(name, os.getpid(), self._requests, self._under_way, self._last)

    async def ask(self, route: str, body: bytes) -> tuple[int, bytes, str, str]:
        """Answer one of `ROUTES` or `TASKS`: HTTP status, body, media type, and the model's fingerprint."""
        route = meant(route, self._routes)
        with self._counted():
            try:
                if route == "tokenize":
                    answer = await self._tokenize(parse_body(body))
                elif task := TASKS.get(route):
                    self._check(task.route)
                    answer = await task.run(self.model, asked(parse_body(body)))
                else:
                    self._check(route)
                    answer = await getattr(self.model, route)(asked(parse_body(body)))
            except RequestError as error:
                return error.status, error.to_json(), JSON, self._fingerprint
        if isinstance(answer, Media):
            return 200, answer.content, answer.media_type, self._fingerprint
        return 200, answer, JSON, self._fingerprint

    async def stream(self, route: str, body: bytes) -> AsyncIterator[tuple[int, bytes]]:
        """Answer as server-sent events; a refusal is the only item, with its status."""
        with self._counted():
            try:
                self._check(route)
                async for events in cast("Generates", self.model).stream(route, asked(parse_body(body))):
                    yield 200, events
            except RequestError as error:
                yield error.status, error.to_json()

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

    async def has_changed(self) -> bool:
        """Whether its files are not those any more that it was loaded from."""
        return await asyncio.to_thread(fingerprint, self._spec) != self._fingerprint

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
