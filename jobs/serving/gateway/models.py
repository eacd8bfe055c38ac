"""The models that the gateway can call: what Serve says of them, and which worker gets a request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus

from ..applications import DEPLOYMENT, MODEL_PREFIX, recall, workers
from ..protocol import RequestError
from .access import Caller
from .prefixes import keys_of
from .usage import Query

FAILURES = (RayServeException, RayActorError, RayTaskError)  # of a call to a model
_REFRESH_SECONDS = 2.0


def unavailable(name: str, error: Exception) -> RequestError:
    """Why a call to a model has failed, for its client."""
    if isinstance(error, BackPressureError):
        return RequestError(f"the queue of model {name} is full; send the request again later", status=429)
    if isinstance(error, RayTaskError):
        if isinstance(error.cause, RequestError):
            return error.cause
        return RequestError(f"model {name} failed: {error.cause!r}", status=500, kind="server_error")
    return RequestError(f"model {name} is not available at the moment", status=503)


@dataclass
class Model:
    """A model that can be called."""

    name: str
    handle: Any
    created: int  # seconds since 1970
    fingerprint: str = ""  # what its workers said last; empty if that may have changed
    price: tuple[float, float] | None = None  # of its provider, where the statement gives none
    workers: int = 0  # that are ready
    balance: str = ""  # which worker gets a request
    aliases: tuple[str, ...] = ()  # other names of it

    def priced(self, query: Query) -> Query:
        """The query with the provider's price, where it names none for this model."""
        if not self.price or self.name in query.prices:
            return query
        return query.model_copy(update={"prices": {**query.prices, self.name: self.price}})

    def for_turn(self, request: dict[str, Any]) -> Any:
        """The handle for a request, which tells the router its prompt where that matters."""
        if self.balance != "prefix":
            return self.handle
        return self.handle.options(session_id=".".join(keys_of(request)))


class Models:
    """The deployed models by each of their names, as Serve said last."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._refreshed = 0.0
        self._refreshing = asyncio.Lock()

    async def all(self, caller: Caller) -> list[tuple[str, Model]]:
        """Those that the caller may use, by name, as Serve says now."""
        await self.refresh(older_than=0)
        return [(name, model) for name, model in sorted(self._models.items()) if caller.may(name)]

    async def identify(self, model: Model) -> dict[str, Any]:
        """Learn the model's fingerprint from its workers; gives what they are."""
        try:
            model.fingerprint, identity = await model.handle.identity.remote()
        except FAILURES as error:
            raise unavailable(model.name, error) from error
        found: dict[str, Any] = identity
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
        return self._models[name]

    async def refresh(self, older_than: float) -> None:
        """Ask Serve for the deployed models, unless it was asked less than `older_than` seconds ago."""
        async with self._refreshing:
            if time.monotonic() - self._refreshed < older_than:
                return
            applications = (await asyncio.to_thread(serve.status)).applications
            before = {model.name: model for model in self._models.values()}  # an alias may be another's name by now
            found = {}
            for application, status in applications.items():
                name = application.removeprefix(MODEL_PREFIX)
                known = before.get(name)
                # One that is updated, or whose workers are replaced, has old ones that answer, or is worth waiting for.
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
                    handle = known.handle if known and same else DeploymentHandle(DEPLOYMENT, application)
                    known = Model(name, handle, created, balance=balance, aliases=aliases)
                known.workers = workers(status)
                found[name] = known
            self._models = {alias: model for model in found.values() for alias in model.aliases} | found
            self._refreshed = time.monotonic()
