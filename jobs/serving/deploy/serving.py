"""Deploy models on Ray Serve behind one gateway."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from sqlllm import gateways
from sqlllm.errors import ModelError, OptionError, suggest

from ... import cluster, local
from .. import applications
from ..applications import GATEWAY, MODEL_PREFIX
from ..spec import Deployment, ModelSpec
from ..worker.engines import get_engine
from ..worker.fingerprint import fingerprint
from . import front, logs, placement
from .first import first_answer
from .front import Front
from .house import House, takes
from .revisions import History, Revision

if TYPE_CHECKING:
    import httpx
    from ray.serve.schema import ApplicationStatusOverview

    from sqlllm.settings import Settings

    from ..worker.worker import WorkerLoad


_ROOM_SECONDS = 5.0
_DRAIN_SECONDS = 120.0  # that a worker which is replaced may take for the answers it has begun
# After which it first looks for answers under way; by then no router sends it more, and a late router tries another.
_DRAIN_LOOP_SECONDS = 0.5


class Serving:
    """The gateway and the models behind it; starts Ray if need be. Also a context manager.

    On a cluster that is joined by address, gateway and models outlive this process, and other sessions share them.
    """

    def __init__(self, settings: Settings, before_ray: Callable[[], None] = lambda: None) -> None:
        """`before_ray` is called before Ray is needed for the first time."""
        self._settings, self._before_ray = settings, before_ray
        self._front = Front()
        self._house: House | None = None  # models that need no Ray, and their gateway
        self._on_serve = False
        self._history = History()
        self._deployed_here: set[str] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        """The gateway's URL, without `/v1`; empty while there is none."""
        return self._front.url

    @property
    def certificate(self) -> str:
        """The gateway's, as PEM; empty without TLS."""
        return self._front.certificate

    def client(self, **options: Any) -> httpx.Client:
        """A client of the gateway, with its key; `options` are httpx's."""
        return self._front.client(self._settings.serving.api_key, **options)

    def start(self) -> bool:
        """Start the gateway, or find the cluster's, and wait until it is up; whether it was started here.

        Raises: SetupError if the port is in use, or the certificate is none.
        """
        self._start()
        if self._house is None:
            applications.wait_until_running(GATEWAY, self._deadline())
        return self._front.is_new

    def deploy(self, spec: ModelSpec, on_progress: Callable[[str], None] = lambda _: None) -> Deployment:
        """Deploy a model and wait until it answers; the same spec again does nothing, another one replaces the old.

        Requests are answered meanwhile: by the old workers where there is room for both, else they wait for the new
        ones. If the new one does not load, the old one stays.

        Raises: OptionError for a wrong option, ModelError with the engine's own reason if the model does not load.
        """
        engine = get_engine(spec.engine)
        spec = spec.with_secrets(self._settings.secrets)
        options = engine.parse(spec.options)
        if not cluster.address(self._settings.ray):  # else the folder lies where only the cluster's nodes see it
            engine.check(spec, options)
        started = time.monotonic()
        if self._is_light(spec):
            return self._deploy_here(spec)
        self._start()
        self._check_names(spec)
        resources = _resources(spec)
        application = MODEL_PREFIX + spec.name
        previous = self._deployed(spec.name)
        before, digest = applications.recall_digest(spec.name), self._digest(spec)
        is_there = previous == spec and applications.statuses()[application].status == "RUNNING"
        if is_there and not (before != digest if digest else self._has_changed(spec.name)):
            return self._row(spec, applications.statuses()[application])
        placement.check_capacity(spec, resources)
        here = house.revision(spec.name) if (house := self._home(spec.name)) else None
        surge = not self._lacks_room(spec, resources, previous)
        answers = False
        self._deployed_here.add(spec.name)
        applications.remember(spec, digest)
        try:
            self._run(spec, digest, surge=surge)
            self._wait(spec, digest, on_progress)
            answers = True
        finally:
            if not answers and previous is not None:  # it failed, or the user stopped it
                self._restore(previous, before)
            elif not answers:
                self._undeploy(spec.name)
            if not answers and here is not None and self._home(spec.name) is None:
                self._deploy_here(here.spec)
        if previous is not None:
            self._history.keep(Revision(previous, before), on_ray=True)
        elif here is not None:
            self._history.keep(here, on_ray=True)
        return self._row(spec, applications.statuses()[application], time.monotonic() - started)

    def rollback(self, name: str, on_progress: Callable[[str], None] = lambda _: None) -> Deployment:
        """Deploy the revision again that a model had before; the one that it has now is then the one before.

        Raises: ModelError if there is no such model, no revision before, or if its files are not there any more.
        """
        if name not in (known := [model.name for model in self.models()]):
            cure = suggest(name, known, what="models") if known else "None is deployed."
            raise ModelError(f"there is no model {name}", cure=cure)
        before = self._history.before(name, on_ray=self._on_ray)
        if before is None:
            raise ModelError(
                f"model {name} has no revision before this one",
                cure="A deployment under the same name, of other files or with other options, makes one.",
            )
        before.check()
        return self.deploy(before.spec, on_progress)

    def find(self, name: str) -> Deployment:
        """The deployed model of that name; ModelError if there is none."""
        if self._house and (here := next((spec for spec in self._house.specs if spec.name == name), None)):
            return self._row_here(here)
        spec = None
        if self._on_ray:
            self._start()
            spec = self._deployed(name)
        if spec is None:
            known = [model.name for model in self.models()]
            cure = suggest(name, known, what="models") if known else 'None is deployed: leave out reconnect="true".'
            raise ModelError(f"there is no model {name} to reconnect to", cure=cure)
        return self._row(spec, applications.statuses()[MODEL_PREFIX + name])

    def undeploy(self, name: str) -> None:
        """Remove a model; does nothing if it is not there."""
        self._history.forget(name, on_ray=self._on_serve)
        if house := self._home(name):
            house.remove(name)
        elif self._on_ray:
            self._undeploy(name)

    def _undeploy(self, name: str) -> None:
        self._deployed_here.discard(name)
        applications.delete(MODEL_PREFIX + name, wait=True)
        applications.forget(name)

    def models(self) -> list[Deployment]:
        """Every deployed model, by name."""
        here = [self._row_here(spec) for spec in self._house.specs] if self._house else []
        if not self._on_ray:
            return here
        self._start()
        return sorted([*here, *(self._row(spec, status) for spec, status in self._specs())], key=lambda row: row.name)

    def workers(self, name: str) -> list[WorkerLoad]:
        """What each ready worker of a model does now; empty, and none is started, while it has none."""
        if house := self._home(name):
            return house.workers(name)
        from ray import serve

        if not self._ready(name):
            return []
        handle: Any = serve.get_app_handle(MODEL_PREFIX + name)
        loads: list[WorkerLoad] = applications.answer(lambda: handle.broadcast("load").results(timeout_s=30))
        return sorted(loads, key=lambda load: load.worker)

    def count_tokens(self, name: str, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation, as the model counts them; nothing is generated."""
        if house := self._home(name):
            return house.count_tokens(name, batch)
        from ray import serve

        from ..gateway.on_serve import FAILURES, unavailable

        try:
            handle: Any = serve.get_app_handle(MODEL_PREFIX + name)
            found: list[int] = applications.answer(lambda: handle.count_tokens.remote(batch).result(timeout_s=120))
        except FAILURES as error:
            raise ModelError(f"model {name} does not count tokens: {unavailable(name, error).message}") from None
        except TimeoutError:
            raise ModelError(f"model {name} has not counted tokens within 120 s") from None
        return found

    def counts(self, name: str) -> dict[str, int]:
        """What the workers of a model have counted since they started; empty if its engine does not count."""
        if house := self._home(name):
            return house.counts(name)
        from ray import serve

        if not self._ready(name):
            return {}

        handle: Any = serve.get_app_handle(MODEL_PREFIX + name)
        total: dict[str, int] = {}
        for counts in applications.answer(lambda: handle.broadcast("counts").results(timeout_s=30)):
            for key, value in counts.items():
                total[key] = total.get(key, 0) + value
        return total

    def logs(self, name: str, last: int = 200) -> list[tuple[str, str]]:
        """Worker and line: the `last` lines of what each worker of a model wrote; empty if it is not there."""
        if self._home(name):
            return []  # it writes to this process's own
        return logs.read(MODEL_PREFIX + name, last)

    def close(self) -> None:
        """Remove the models deployed here, unless they live on a cluster that was joined.

        The gateway lives as long as Ray: it and anything else that is left ends with `cluster.stop()`, at the latest
        with the process.
        """
        if self._house:
            self._house.close()
            self._house = None
        if self._deployed_here and not cluster.address(self._settings.ray):
            for name in self._deployed_here:
                applications.delete(MODEL_PREFIX + name, wait=False)
        self._deployed_here.clear()
        gateways.closed(self.endpoint)
        self._front, self._on_serve = Front(), False

    def _start(self) -> None:
        """Have Ray Serve, and a gateway without waiting for it, so that a model can load at the same time.

        There is one gateway, which counts what statements and users use: the one in this process if it is there.
        """
        if self._on_serve:
            return
        self._before_ray()
        if self._house is not None:
            front.start_serve(self._settings)
            self._house.join_serve()
        else:
            own = self._settings.serving.api_key
            self._front = front.start(self._settings)
            self._announce(leave_key=own is None)
        self._on_serve = True

    def _announce(self, *, leave_key: bool) -> None:
        """Let Python clients find the gateway: those of this process, and all of this user if it is `sqlllm up`'s.

        A key of the user's own settings is not written to a file.
        """
        key = self._settings.serving.api_key
        found = gateways.Found(self.endpoint, key.get_secret_value() if key else "", self.certificate)
        gateways.opened(found)
        shared = local.find()
        if shared is not None and cluster.address(self._settings.ray) == shared.address:
            gateways.leave(replace(found, key=found.key if leave_key else "", pid=shared.pid))

    @property
    def _on_ray(self) -> bool:
        """Whether there may be models on Ray."""
        return bool(self._on_serve or cluster.address(self._settings.ray))

    def _home(self, name: str) -> House | None:
        """Where a model is one of this process."""
        return self._house if self._house is not None and name in self._house else None

    def _is_light(self, spec: ModelSpec) -> bool:
        """Whether a model is to be served in this process: it can be, and so is its gateway, or Ray is not in use."""
        if self._house is not None:
            return takes(spec)
        ours = self._settings.serving
        return not self._on_ray and self._settings.spark.is_here and not ours.ssl_certfile and takes(spec)

    def _deploy_here(self, spec: ModelSpec) -> Deployment:
        self._check_names(spec)
        if self._house is None:
            self._house = House(self._settings)
            self._front = Front(self._house.url)
            key = self._settings.serving.api_key
            gateways.opened(gateways.Found(self._house.url, key.get_secret_value() if key else ""))
        before = self._house.revision(spec.name) if spec.name in self._house else None
        seconds = self._house.deploy(spec, self._settings.serving.load_timeout)
        if self._on_serve and (there := self._deployed(spec.name)) is not None:  # it was another one, which needed Ray
            before = Revision(there, applications.recall_digest(spec.name))
            self._undeploy(spec.name)
        if before is not None and before != self._house.revision(spec.name):
            self._history.keep(before, on_ray=self._on_serve)
        return self._row_here(spec, seconds)

    def _row_here(self, spec: ModelSpec, seconds: float = 0.0) -> Deployment:
        revision = self._house.revision(spec.name).id if self._house else ""
        return Deployment(spec.name, spec.engine, "RUNNING", self.endpoint, spec.model_path, 1, seconds, revision)

    def _has_changed(self, name: str) -> bool:
        """Whether a model's files are not those any more that its workers have loaded; False while it has none."""
        from ray import serve

        if not self._ready(name):
            return False
        handle: Any = serve.get_app_handle(MODEL_PREFIX + name)
        return bool(applications.answer(lambda: handle.has_changed.remote().result(timeout_s=600)))

    def _digest(self, spec: ModelSpec) -> str:
        """The fingerprint that is deployed; empty where only the cluster's nodes see the files."""
        return "" if cluster.address(self._settings.ray) else fingerprint(spec)

    def _run(self, spec: ModelSpec, digest: str, *, surge: bool) -> None:
        from ..worker.server import ModelServer

        applications.run(
            ModelServer,
            spec.model_dump(),
            _gpus(spec),
            os.environ.get("OMP_NUM_THREADS"),
            digest,
            application=MODEL_PREFIX + spec.name,
            route_prefix=None,
            name=applications.DEPLOYMENT,
            max_ongoing_requests=spec.concurrency,
            max_queued_requests=4 * spec.concurrency,
            max_constructor_retry_count=1,
            max_surge_percent=100 if surge else 0,  # the new workers beside the old ones, or in their place
            graceful_shutdown_timeout_s=_DRAIN_SECONDS,
            graceful_shutdown_wait_loop_s=_DRAIN_LOOP_SECONDS,
            **placement.scaling(spec),
            **placement.routing(spec),
            **_resources(spec),
        )

    def _restore(self, spec: ModelSpec, digest: str) -> None:
        """Have the model that was there answer again; workers of it that still run go on."""
        applications.remember(spec, digest)
        self._run(spec, digest, surge=True)

    def _lacks_room(self, spec: ModelSpec, resources: dict[str, Any], previous: ModelSpec | None) -> bool:
        """Whether a model can only take the place of what it replaces.

        Refuses what the models that run here leave no room for at all: an embedded Ray gets no more nodes.
        """
        import ray

        held = placement.needs(previous, _resources(previous)) if previous else Counter[str]()
        deadline = time.monotonic() + _ROOM_SECONDS
        while placement.lacking(spec, resources, free := ray.available_resources()):  # type: ignore[no-untyped-call]
            lacking = placement.lacking(spec, resources, held + Counter(free))
            if not lacking or cluster.address(self._settings.ray):
                return True
            if time.monotonic() > deadline:
                kind, wanted, free = lacking
                names = ", ".join(model.name for model in self.models()) or "none"
                raise ModelError(
                    f"model {spec.name} needs {wanted:g} {kind}s and {free:g} are free; deployed: {names}",
                    cure=f"Undeploy one, or start with --set ray.num_cpus={4 * (os.cpu_count() or 1)}."
                    if kind == "CPU"
                    else "Undeploy one.",
                )
            time.sleep(0.1)  # what an ended model held is given back a moment later
        return False

    def _check_names(self, spec: ModelSpec) -> None:
        """OptionError for a name that another model has."""
        others = [
            *(self._house.specs if self._house else ()),
            *(spec for spec, _ in (self._specs() if self._on_ray else ())),
        ]
        for other in others:
            taken = {spec.name, *spec.aliases} & {other.name, *other.aliases}
            if taken and other.name != spec.name:
                cure = f"Choose another one, or undeploy {other.name}."
                raise OptionError(f"{min(taken)} is a name of the model {other.name}", cure=cure)

    def _specs(self) -> Iterator[tuple[ModelSpec, ApplicationStatusOverview]]:
        """What every model that is there was last deployed with, and how it is, by name."""
        for application, status in sorted(applications.statuses().items()):
            name = application.removeprefix(MODEL_PREFIX)
            if application != name and (spec := self._deployed(name)) is not None:
                yield spec, status

    def _deadline(self) -> float:
        return time.monotonic() + self._settings.serving.load_timeout

    def _deployed(self, name: str) -> ModelSpec | None:
        """What a model that is there, or is on its way, was last deployed with."""
        status = applications.statuses().get(MODEL_PREFIX + name)
        return applications.recall(name) if status is not None and status.status != "DELETING" else None

    def _ready(self, name: str) -> int:
        status = applications.statuses().get(MODEL_PREFIX + name)
        return applications.workers(status) if status else 0

    def _row(self, spec: ModelSpec, status: ApplicationStatusOverview, seconds: float = 0.0) -> Deployment:
        ready = applications.workers(status)
        state = "IDLE" if status.status == "RUNNING" and not ready else str(status.status.value)
        revision = Revision(spec, applications.recall_digest(spec.name)).id
        where = self.endpoint
        return Deployment(spec.name, spec.engine, state, where, spec.model_path, ready, round(seconds, 1), revision)

    def _wait(self, spec: ModelSpec, digest: str, on_progress: Callable[[str], None]) -> None:
        """Until the model answers through the gateway."""
        shown = -1

        def show(workers: int) -> None:
            nonlocal shown
            if workers != shown:
                on_progress(f"{spec.name}: loading with {spec.engine}, {workers} of {spec.least_workers} workers ready")
                shown = workers

        deadline = self._deadline()
        try:
            applications.wait_until_running(MODEL_PREFIX + spec.name, deadline, show)
            applications.wake(MODEL_PREFIX + spec.name, deadline)  # it takes the place of one that had no worker
            if self._house is None:
                applications.wait_until_running(GATEWAY, deadline)
        except ModelError as error:
            raise ModelError(f"model {spec.name} did not load: {error.message}", cure=error.cure) from None
        if house := self._home(spec.name):  # it was another one, which needed no Ray
            house.remove(spec.name)
        on_progress(f"{spec.name}: waiting for the first answer")
        with self.client(timeout=max(10.0, deadline - time.monotonic())) as http:
            first_answer(http, spec, digest, deadline)


def _gpus(spec: ModelSpec) -> float:
    """GPUs per worker."""
    import ray

    if spec.gpus_per_worker is not None:
        return spec.gpus_per_worker
    return 1.0 if ray.cluster_resources().get("GPU") else 0.0  # type: ignore[no-untyped-call]


def _resources(spec: ModelSpec) -> dict[str, Any]:
    """What Ray sets aside for one worker."""
    engine = get_engine(spec.engine)
    return placement.resources(spec, engine.resources(spec, engine.parse(spec.options), _gpus(spec)))
