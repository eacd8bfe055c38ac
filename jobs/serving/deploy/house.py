"""Models that need no accelerator, and a gateway, in a thread of this process: ready in a moment, without Ray."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlllm.errors import ModelError, SetupError, SQLLLMError

from ..gateway.models import Model, Models
from ..protocol import RequestError
from ..spec import ModelSpec
from ..worker.fingerprint import fingerprint
from ..worker.worker import Worker, WorkerLoad
from . import ports
from .revisions import Revision

if TYPE_CHECKING:
    import uvicorn

    from sqlllm.settings import Settings

T = TypeVar("T")

_LOOPBACK = "127.0.0.1"
_QUEUED = 4  # times what a model has under way may wait for it, as on Ray Serve
_IDLE_SECONDS = 600  # that a connection stays open between two requests
_LIGHT = frozenset({"remote", "oracle"})  # engines that wait more than they work


def takes(spec: ModelSpec) -> bool:
    """Whether a model can live here: one worker that waits more than it works, and runs no code of the user's."""
    alone = spec.replicas == 1 and spec.autoscale is None and not spec.resources and not spec.gpus_per_worker
    return spec.engine in _LIGHT and alone and "function" not in spec.engine_options


@dataclass
class _Tenant:
    """One model that is loaded."""

    spec: ModelSpec
    worker: Worker
    queue: _Queue
    model: Model


class _Queue:
    """A worker with as many requests under way as its model takes; more wait, and too many are refused."""

    def __init__(self, worker: Worker, spec: ModelSpec) -> None:
        self._worker, self._name = worker, spec.name
        self._places, self._most = asyncio.Semaphore(spec.concurrency), _QUEUED * spec.concurrency
        self._waiting = 0

    async def ask(self, route: str, body: bytes) -> tuple[int, bytes, str, str]:
        async with self._place():
            try:
                return await self._worker.ask(route, body)
            except Exception as error:  # as on Ray Serve: else it looks like a gateway that is down
                message = f"model {self._name} failed: {error!r}"
                raise RequestError(message, status=500, kind="server_error") from error

    async def stream(self, route: str, body: bytes) -> AsyncIterator[tuple[int, bytes]]:
        async with self._place():
            async for item in self._worker.stream(route, body):
                yield item

    def hand_over(self, worker: Worker) -> None:
        """Have what waits answered by the worker that takes this one's place."""
        self._worker = worker

    async def identity(self) -> tuple[str, dict[str, Any]]:
        return await self._worker.identity()

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        return await self._worker.count_tokens(batch)

    def for_turn(self, _: dict[str, Any]) -> _Queue:
        return self

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._waiting >= self._most:
            raise RequestError(f"the queue of model {self._name} is full; send the request again later", status=429)
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()


class _Tenants(Models):
    """The models of the house, and those on Ray Serve behind its gateway."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, _Tenant] = {}
        self.on_serve: Models | None = None  # those that need Ray, once there are any

    def spec(self, name: str) -> ModelSpec | None:
        if name in self.known:
            return self.known[name].spec
        return self.on_serve.spec(name) if self.on_serve else None

    async def deployed(self, before: dict[str, Model]) -> dict[str, Model]:
        here = {name: tenant.model for name, tenant in self.known.items()}
        if self.on_serve is None:
            return here
        own = {id(tenant.model) for tenant in self.known.values()}
        there = {name: model for name, model in before.items() if id(model) not in own}
        return await self.on_serve.deployed(there) | here


class House:
    """The thread, its gateway, and the models in it. All of it ends with the process, or with `close`."""

    def __init__(self, settings: Settings) -> None:
        """Start it. Raises: SetupError if the port is in use, or its files cannot be written."""
        host, port = settings.serving.host or _LOOPBACK, settings.serving.port
        self._socket = ports.listening(host, port)
        self.url = f"http://{ports.reachable_here(host)}:{self._socket.getsockname()[1]}"
        self._tenants = _Tenants()
        self._ready = threading.Event()
        self._failed: Exception | None = None  # why it did not start
        self._loop: asyncio.AbstractEventLoop
        self._server: uvicorn.Server
        self._thread = threading.Thread(target=self._run, args=(settings,), name="sqlllm-gateway", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            self._socket.close()
            if isinstance(self._failed, SQLLLMError):
                raise self._failed
            where = settings.home.expanduser().absolute()
            raise SetupError(
                f"the gateway does not start: {self._failed}", cure=f"Is the home {where} a folder that may be written?"
            ) from self._failed

    def join_serve(self) -> None:
        """Have the gateway call the models of this process's Ray Serve, too."""
        from ..gateway.on_serve import ServeModels

        self._tenants.on_serve = ServeModels()

    def __contains__(self, name: str) -> bool:
        return name in self._tenants.known

    @property
    def specs(self) -> list[ModelSpec]:
        """What each model was deployed with, by name."""
        return [tenant.spec for _, tenant in sorted(self._tenants.known.items())]

    def revision(self, name: str) -> Revision:
        """What a model is deployed with."""
        tenant = self._tenants.known[name]
        return Revision(tenant.spec, tenant.model.fingerprint)

    def deploy(self, spec: ModelSpec, timeout: float) -> float:
        """Load a model, or leave one alone that is the same with the same files; gives the seconds that it took.

        Raises: ModelError with the engine's own reason if it does not load.
        """
        started = time.monotonic()
        try:
            is_new = self._call(self._load(spec), timeout)
        except TimeoutError:
            raise ModelError(
                f"model {spec.name} did not load within {timeout:.0f} s", cure="Set serving.load_timeout higher."
            ) from None
        return round(time.monotonic() - started, 1) if is_new else 0.0

    def remove(self, name: str) -> None:
        """Remove a model; what it has under way ends first."""
        self._call(self._remove(name), 60)

    def workers(self, name: str) -> list[WorkerLoad]:
        """What a model's only worker does."""
        return [self._tenants.known[name].worker.load(f"{name}#here")]

    def counts(self, name: str) -> dict[str, int]:
        """What a model has counted."""
        return self._call(self._tenants.known[name].worker.counts(), 30)

    def count_tokens(self, name: str, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation."""
        return self._call(self._tenants.known[name].worker.count_tokens(batch), 120)

    def close(self) -> None:
        """End the gateway and the models."""
        with suppress(TimeoutError):
            for spec in self.specs:
                self.remove(spec.name)
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def _call(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        """What a coroutine gives in the house's loop."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    async def _load(self, spec: ModelSpec) -> bool:
        known = self._tenants.known.get(spec.name)
        if known and known.spec == spec and known.model.fingerprint == await asyncio.to_thread(fingerprint, spec):
            return False
        worker = await Worker.started(spec, 0)
        queue = _Queue(worker, spec)
        model = Model(spec.name, queue, int(time.time()), workers=1, aliases=spec.aliases)
        self._tenants.known[spec.name] = _Tenant(spec, worker, queue, model)
        await self._tenants.identify(model)
        await self._tenants.refresh(older_than=0)
        if known:
            known.queue.hand_over(worker)
            await _close(known.worker)
        return True

    async def _remove(self, name: str) -> None:
        tenant = self._tenants.known.pop(name)
        await self._tenants.refresh(older_than=0)
        await _close(tenant.worker)

    def _run(self, settings: Settings) -> None:
        import uvicorn

        from ..gateway.app import Gateway, application

        async def serve() -> None:
            gateway = Gateway(
                settings.home.expanduser().absolute() / "serving",
                settings.store,
                settings.quota,
                settings.serving,
                self._tenants,
                settings.llm.price_table,
                settings.indexes,
            )
            config = uvicorn.Config(
                application(gateway),
                log_config=None,  # uvicorn's own closes the handlers of this process's log
                log_level="error",
                access_log=False,
                lifespan="off",
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=5,
            )
            self._loop, self._server = asyncio.get_running_loop(), uvicorn.Server(config)
            self._ready.set()
            await self._server.serve(sockets=[self._socket])
            await gateway.close()

        try:
            asyncio.run(serve())
        except Exception as error:
            if self._ready.is_set():
                raise
            self._failed = error
            self._ready.set()


async def _close(worker: Worker) -> None:
    """Wait for what a worker has under way, a while, and close its model's connections."""
    deadline = time.monotonic() + 30
    while worker.load("").under_way and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    if close := getattr(worker.model, "close", None):
        await close()
