"""The models on Ray Serve: what Serve says of them, and its handles as workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus

from ..applications import DEPLOYMENT, MODEL_PREFIX, broken, recall, workers
from ..protocol import RequestError
from ..spec import ModelSpec
from .models import Model, Models
from .prefixes import keys_of

FAILURES = (RayServeException, RayActorError, RayTaskError)  # of a call to a model
T = TypeVar("T")


def unavailable(name: str, error: Exception) -> RequestError:
    """Why a call to a model has failed, for its client."""
    if isinstance(error, BackPressureError):
        return RequestError(f"the queue of model {name} is full; send the request again later", status=429)
    if isinstance(error, RayTaskError):
        if isinstance(error.cause, RequestError):
            return error.cause
        return RequestError(f"model {name} failed: {error.cause!r}", status=500, kind="server_error")
    return RequestError(f"model {name} is not available at the moment", status=503)


class ServeWorker:
    """The workers of one model, behind a handle."""

    def __init__(self, name: str, handle: Any, balance: str) -> None:
        self._name, self._handle, self._balance = name, handle, balance

    async def ask(self, route: str, body: bytes) -> tuple[int, bytes, str, str]:
        """As `Worker`."""
        return await self._called(self._handle.ask.remote(route, body))

    async def stream(self, route: str, body: bytes) -> AsyncIterator[tuple[int, bytes]]:
        """As `Worker`; an error after the first event is the last one."""
        begun = False
        try:
            async for item in self._handle.options(stream=True).stream.remote(route, body):
                begun = True
                yield item
        except FAILURES as error:
            failed = unavailable(self._name, error)
            if not begun:
                raise failed from error
            yield failed.status, failed.to_json()

    async def identity(self) -> tuple[str, dict[str, Any]]:
        """As `Worker`."""
        return await self._called(self._handle.identity.remote())

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        """As `Worker`."""
        return await self._called(self._handle.count_tokens.remote(batch))

    def for_turn(self, request: dict[str, Any]) -> ServeWorker:
        """A handle that gives the router the prompt, where that matters."""
        if self._balance != "prefix":
            return self
        handle = self._handle.options(session_id=".".join(keys_of(request)))
        return ServeWorker(self._name, handle, self._balance)

    async def _called(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except FAILURES as error:
            raise unavailable(self._name, error) from error
        except asyncio.CancelledError:
            call.cancel()  # type: ignore[attr-defined]  # a DeploymentResponse: it ends at the worker, too
            raise


class ServeModels(Models):
    """The models that Serve has."""

    def spec(self, name: str) -> ModelSpec | None:
        """As `Models`."""
        return recall(name)

    async def deployed(self, before: dict[str, Model]) -> dict[str, Model]:
        """As `Models`."""
        found = {}
        for application, status in (await asyncio.to_thread(serve.status)).applications.items():
            name = application.removeprefix(MODEL_PREFIX)
            known = before.get(name)
            # While a model is updated, or its workers are replaced, old workers answer, or it is worth waiting for.
            if application == name or status.status == ApplicationStatus.DELETING:
                continue
            created = int(status.last_deployed_time_s)
            if known is None or known.created != created:
                if DEPLOYMENT not in status.deployments:  # not yet
                    continue
                kept = recall(name)
                balance, aliases = (kept.balance, kept.aliases) if kept else ("", ())
                # A handle keeps for ever the router that it began with, and Serve's own functions keep the handle.
                same = known is not None and known.balance == balance
                worker = known.worker if known and same else self._worker(name, application, balance)
                known = Model(name, worker, created, balance=balance, aliases=aliases)
            known.workers, known.broken = workers(status), broken(status)
            found[name] = known
        return found

    @staticmethod
    def _worker(name: str, application: str, balance: str) -> ServeWorker:
        return ServeWorker(name, DeploymentHandle(DEPLOYMENT, application), balance)
