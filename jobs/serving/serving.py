"""Deploy models on Ray Serve behind one gateway."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import httpx
from pydantic import SecretStr

from sqlllm.errors import ModelError, SetupError, suggest

from .. import cluster
from . import applications, logs, placement
from .applications import GATEWAY, MODEL_PREFIX
from .engines import get_engine
from .ports import reachable, reserved
from .spec import Deployment, ModelSpec

if TYPE_CHECKING:
    from ray.serve.schema import ApplicationStatusOverview

    from sqlllm.settings import Settings

    from .server import WorkerLoad


_LOOPBACK = "127.0.0.1"
_ROOM_SECONDS = 5.0
_DRAIN_SECONDS = 120.0  # that a worker which is replaced may take for the answers it has begun
# After which it first looks whether there are any; by then no router sends it more, and one that does tries another.
_DRAIN_LOOP_SECONDS = 0.5
_POLL_SECONDS = 0.05


class Serving:
    """The gateway and the models behind it; starts Ray if need be. Also a context manager.

    On a cluster that is joined by address, gateway and models outlive this process, and other sessions share them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._endpoint = ""
        self._deployed_here: set[str] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        """The gateway's URL, without `/v1`; empty before `start`."""
        return self._endpoint

    def start(self) -> None:
        """Start the gateway, or find the cluster's, and wait until it is up; does nothing when it is.

        Raises: SetupError if the port is in use.
        """
        self._start()
        applications.wait_until_running(GATEWAY, self._deadline())

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
        self._start()
        resources = _resources(spec)
        application = MODEL_PREFIX + spec.name
        previous = self._deployed(spec.name)
        if previous == spec and applications.statuses()[application].status == "RUNNING":
            return self._row(spec, applications.statuses()[application])
        placement.check_capacity(spec, resources)
        surge = not self._lacks_room(spec, resources, previous)
        answers = False
        self._deployed_here.add(spec.name)
        applications.remember(spec)
        try:
            self._run(spec, surge=surge)
            self._wait(spec, on_progress)
            answers = True
        finally:
            if not answers and previous is not None:  # it failed, or the user stopped it
                self._restore(previous)
            elif not answers:
                self.undeploy(spec.name)
        return self._row(spec, applications.statuses()[application], time.monotonic() - started)

    def find(self, name: str) -> Deployment:
        """The deployed model of that name; ModelError if there is none."""
        self._start()
        spec = self._deployed(name)
        if spec is None:
            known = [model.name for model in self.models()]
            cure = suggest(name, known, what="models") if known else 'None is deployed: leave out reconnect="true".'
            raise ModelError(f"there is no model {name} to reconnect to", cure=cure)
        return self._row(spec, applications.statuses()[MODEL_PREFIX + name])

    def undeploy(self, name: str) -> None:
        """Remove a model; does nothing if it is not there."""
        self._deployed_here.discard(name)
        applications.delete(MODEL_PREFIX + name, wait=True)
        applications.forget(name)

    def models(self) -> list[Deployment]:
        """Every deployed model, by name."""
        self._start()
        found = []
        for application, status in sorted(applications.statuses().items()):
            name = application.removeprefix(MODEL_PREFIX)
            if application != name and (spec := self._deployed(name)) is not None:
                found.append(self._row(spec, status))
        return found

    def workers(self, name: str) -> list[WorkerLoad]:
        """What each ready worker of a model does now; empty, and none is started, while it has none."""
        from ray import serve

        if not self._ready(name):
            return []
        handle: Any = serve.get_app_handle(MODEL_PREFIX + name)
        loads: list[WorkerLoad] = handle.broadcast("load").results(timeout_s=30)
        return sorted(loads, key=lambda load: load.worker)

    def count_tokens(self, name: str, batch: list[list[dict[str, Any]]]) -> list[int]:
        """Tokens of each conversation, as the model counts them; nothing is generated."""
        from ray import serve

        handle: Any = serve.get_app_handle(MODEL_PREFIX + name)
        found: list[int] = handle.count_tokens.remote(batch).result(timeout_s=120)
        return found

    def counts(self, name: str) -> dict[str, int]:
        """What the workers of a model have counted since they started; empty if its engine does not count."""
        from ray import serve

        if not self._ready(name):
            return {}

        handle: Any = serve.get_app_handle(MODEL_PREFIX + name)
        total: dict[str, int] = {}
        for counts in handle.broadcast("counts").results(timeout_s=30):
            for key, value in counts.items():
                total[key] = total.get(key, 0) + value
        return total

    def logs(self, name: str, last: int = 200) -> list[tuple[str, str]]:
        """Worker and line: the `last` lines of what each worker of a model wrote; empty if it is not there."""
        return logs.read(MODEL_PREFIX + name, last)

    def close(self) -> None:
        """Remove the models deployed here, unless they live on a cluster that was joined.

        The gateway lives as long as Ray: it and anything else that is left ends with `cluster.stop()`, at the latest
        with the process.
        """
        if not cluster.address(self._settings.ray):
            for name in self._deployed_here:
                applications.delete(MODEL_PREFIX + name, wait=False)
        self._deployed_here.clear()
        self._endpoint = ""

    def _start(self) -> None:
        """Start the gateway without waiting for it, so that a model can load at the same time."""
        if self._endpoint:
            return
        cluster.start(self._settings.ray)
        from ray import serve
        from ray.serve.context import _get_global_client

        from .gateway import Gateway

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        ours = self._settings.serving
        running: Any = _get_global_client(raise_if_no_controller_running=False)
        if running is None:
            host = ours.host or self._usual_host()
            with reserved(host, ours.port) as port:
                serve.start("HeadOnly", {"host": host, "port": port}, logging_config=applications.quiet())
        else:
            host, port = running.http_config.host, running.http_config.port
        is_new = GATEWAY not in applications.statuses()
        opened = is_new and not ours.host and host != _LOOPBACK  # to the network, and nobody asked for that
        if not ours.api_key and (key := applications.key(make=opened)):
            ours.api_key = SecretStr(key)
        if is_new:
            applications.run(
                Gateway,
                ours.api_key.get_secret_value() if ours.api_key else None,
                self._settings.home.expanduser().absolute() / "serving",
                self._settings.store,
                self._settings.quota,
                ours.users,
                application=GATEWAY,
                route_prefix="/",
                name="gateway",
                # Where the proxy is; what it keeps lies on that node's disk.
                ray_actor_options={"num_cpus": 0, "resources": {cluster.HEAD: 0.001}},
                max_ongoing_requests=10_000,
            )
        self._endpoint = f"http://{reachable(host)}:{port}"

    def _usual_host(self) -> str:
        """Loopback, unless Spark or other sessions call from other machines."""
        settings = self._settings
        elsewhere = cluster.is_shared(settings.ray) or not settings.spark.is_here
        return cluster.head()[1] if elsewhere else _LOOPBACK

    def _run(self, spec: ModelSpec, *, surge: bool) -> None:
        from .server import ModelServer

        applications.run(
            ModelServer,
            spec.model_dump(),
            _gpus(spec),
            os.environ.get("OMP_NUM_THREADS"),
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

    def _restore(self, spec: ModelSpec) -> None:
        """Have the model that was there answer again; workers of it that still run go on."""
        applications.remember(spec)
        self._run(spec, surge=True)

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
        return Deployment(spec.name, spec.engine, state, self._endpoint, spec.model_path, ready, round(seconds, 1))

    def _wait(self, spec: ModelSpec, on_progress: Callable[[str], None]) -> None:
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
            applications.wait_until_running(GATEWAY, deadline)
        except ModelError as error:
            raise ModelError(f"model {spec.name} did not load: {error.message}", cure=error.cure) from None
        on_progress(f"{spec.name}: waiting for the first answer")
        key = self._settings.serving.api_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        with httpx.Client(
            base_url=self._endpoint,
            headers=headers,
            timeout=max(10.0, deadline - time.monotonic()),
            trust_env=False,  # a proxy for the internet is none for the gateway
        ) as http:
            try:
                http.get("/health", timeout=30)
            except httpx.TransportError as error:
                raise SetupError(
                    f"the gateway at {self._endpoint} cannot be reached from here: {error}",
                    cure="Open that port, or set serving.host to an address of the head node that all machines reach.",
                ) from None
            # The gateway may go on calling the workers that were replaced, and take their answers for the new model's.
            while (reply := http.get(f"/v1/models/{spec.name}")).status_code in (200, 404, 503):
                if reply.status_code == 200 and reply.json()["spec"] == spec.shown():
                    break
                if time.monotonic() > deadline:
                    raise ModelError(f"model {spec.name} loaded, but the gateway does not find it")
                time.sleep(_POLL_SECONDS)
            generates = get_engine(spec.engine).generates
            if reply.status_code == 200 and generates and "completions" in reply.json()["routes"]:
                reply = http.post("/v1/completions", json={"model": spec.name, "prompt": "1", "max_tokens": 1})
        if reply.status_code != 200:
            raise ModelError(f"model {spec.name} loaded but does not answer: {_message(reply)}")


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


def _message(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {reply.status_code}: {reply.text[:200]}"
