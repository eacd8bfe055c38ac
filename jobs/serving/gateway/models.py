"""The models that the gateway can call, whatever holds them, and which of them a caller may use."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from ..protocol import RequestError
from ..spec import ModelSpec
from .access import Caller

_REFRESH_SECONDS = 2.0


class Worker(Protocol):
    """What answers for a model. Each call may raise RequestError: 429 for a full queue, 503 for none there."""

    async def ask(self, route: str, body: bytes) -> tuple[int, bytes, str, str]:
        """HTTP status, body, media type, and the fingerprint of the model that answered."""

    def stream(self, route: str, body: bytes) -> AsyncIterator[tuple[int, bytes]]:
        """Server-sent events, each with status 200; a refusal is the only item, with its status."""

    async def identity(self) -> tuple[str, dict[str, Any]]:
        """The model's fingerprint; its spec as it is shown, its routes and its `meta`."""

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation."""

    def for_turn(self, request: dict[str, Any]) -> Worker:
        """The one for a request, where its prompt matters."""


@dataclass
class Model:
    """A model that can be called."""

    name: str
    worker: Worker
    created: int  # seconds since 1970
    fingerprint: str = ""  # what its workers said last; empty if that may have changed
    price: tuple[float, float] | None = None  # of a million tokens of prompts and of answers, as it was deployed
    workers: int = 0  # that are ready
    balance: str = ""  # which worker gets a request
    aliases: tuple[str, ...] = ()  # other names of it
    broken: str = ""  # why it has no worker and gets none


class Models(ABC):
    """The deployed models by each of their names, as they were found last."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._refreshed = 0.0
        self._refreshing = asyncio.Lock()

    @abstractmethod
    async def deployed(self, before: dict[str, Model]) -> dict[str, Model]:
        """The models that are there now, by name; `before` are those that were there."""

    @abstractmethod
    def spec(self, name: str) -> ModelSpec | None:
        """What a model was deployed with; wakes none of its workers."""

    async def all(self, caller: Caller) -> list[tuple[str, Model]]:
        """Those that the caller may use, by name, as they are now."""
        await self.refresh(older_than=0)
        return [(name, model) for name, model in sorted(self._models.items()) if caller.may(name)]

    async def identify(self, model: Model) -> dict[str, Any]:
        """Learn the model's fingerprint and price from its workers; gives what they are."""
        model.fingerprint, found = await model.worker.identity()
        options = found["spec"]["engine_options"]
        if "input_price" in options or "output_price" in options:
            model.price = float(options.get("input_price", 0)), float(options.get("output_price", 0))
        return found

    async def find(self, name: Any, caller: Caller) -> Model:
        """The model that a request names; RequestError if the caller may not use it, or it is not deployed."""
        if not isinstance(name, str) or not name:
            raise RequestError("model is missing: send the name of a deployed model", param="model")
        caller.check(name)
        if name not in self._models:
            await self.refresh(older_than=0.2)
        elif time.monotonic() - self._refreshed > _REFRESH_SECONDS and not self._refreshing.locked():
            self._background = asyncio.create_task(self.refresh(older_than=_REFRESH_SECONDS))
        if name not in self._models:
            deployed = ", ".join(sorted(filter(caller.may, self._models))) or "none"
            raise RequestError(f"model {name} is not deployed; deployed: {deployed}", status=404, param="model")
        model = self._models[name]
        if model.broken:  # else the request would wait for ever
            raise RequestError(f"model {name} is not available: {model.broken}", status=503)
        return model

    async def refresh(self, older_than: float) -> None:
        """Look for the deployed models, unless that was done less than `older_than` seconds ago."""
        async with self._refreshing:
            if time.monotonic() - self._refreshed < older_than:
                return
            # By their own names: an alias may be another's name by now.
            found = await self.deployed({model.name: model for model in self._models.values()})
            self._models = {alias: model for model in found.values() for alias in model.aliases} | found
            self._refreshed = time.monotonic()
