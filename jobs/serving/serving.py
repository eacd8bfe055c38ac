"""Deploy models on Ray Serve behind one gateway."""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from sqlllm.errors import ModelError, SetupError

from .. import cluster
from .engines import get_engine
from .spec import Deployment, ModelSpec

if TYPE_CHECKING:
    from ray.serve.schema import LoggingConfig

    from sqlllm.settings import Settings

_POLL_SECONDS = 0.1


class Serving:
    """The gateway and the models behind it; starts Ray if need be. Also a context manager.

    On a cluster joined by address the gateway and the models outlive this process, and other sessions see them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._endpoint = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        """The gateway's URL, without `/v1`; empty before `start`."""
        return self._endpoint

    def start(self) -> None:
        """Start the gateway, or find the cluster's; does nothing when it is up.

        Raises: SetupError if the port is in use.
        """
        if self._endpoint:
            return
        cluster.start(self._settings.ray)
        from ray import serve
        from ray.serve.context import _get_global_client

        from .gateway import APPLICATION, Gateway

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        client = _get_global_client(raise_if_no_controller_running=False)
        if client is None:
            host = self._settings.serving.host
            with _reserve(host, self._settings.serving.port) as reserved:
                port = reserved.getsockname()[1]
                serve.start(
                    proxy_location="HeadOnly",
                    http_options={"host": host, "port": port},
                    logging_config=_quiet(),
                )
        else:
            host, port = client.http_config.host, client.http_config.port
        if APPLICATION not in serve.status().applications:
            key = self._settings.serving.api_key
            gateway = serve.deployment(
                Gateway, name="gateway", ray_actor_options={"num_cpus": 0}, max_ongoing_requests=10_000
            )
            serve.run(
                gateway.bind(key.get_secret_value() if key else None),
                name=APPLICATION,
                route_prefix="/",
                logging_config=_quiet(),
            )
        self._endpoint = f"http://{_reachable(host)}:{port}"

    def deploy(self, spec: ModelSpec, on_progress: Callable[[str], None] | None = None) -> Deployment:
        """Deploy a model and wait until it answers; equal specs are deployed once, another spec replaces the old.

        Raises: OptionError for a wrong option, ModelError with the engine's own reason if the model does not load.
        """
        engine = get_engine(spec.engine)
        options = engine.parse(spec.engine_options)
        if not cluster.address(self._settings.ray):  # else the folder lies where only the cluster's nodes see it
            _check_folder(spec)
        self.start()
        started = time.monotonic()
        if self._deployed(spec.name) == spec:
            return self._deployment(spec, "RUNNING", 0.0)
        import ray
        from ray import serve

        from .server import ModelServer

        gpus = spec.gpus_per_worker
        if gpus is None:
            gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
        resources = engine.resources(spec, options, gpus)
        _check_capacity(spec, resources)
        model = serve.deployment(
            ModelServer,
            name="model",
            num_replicas=spec.replicas,
            max_ongoing_requests=spec.concurrency,
            max_queued_requests=4 * spec.concurrency,
            max_constructor_retry_count=1,
            graceful_shutdown_timeout_s=10,
            **resources,
        ).bind(spec.model_dump(), gpus)
        target = serve.RunTarget(model, name=_application(spec.name), route_prefix=None, logging_config=_quiet())
        answers = False
        try:
            serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
            self._wait(spec, started, on_progress or (lambda _: None))
            answers = True
        finally:
            if not answers:  # it failed, or the user stopped it
                self.undeploy(spec.name)
        return self._deployment(spec, "RUNNING", time.monotonic() - started)

    def undeploy(self, name: str) -> None:
        """Remove a model; does nothing if it is not there."""
        from ray import serve

        if _application(name) in serve.status().applications:
            serve.delete(_application(name))

    def models(self) -> list[Deployment]:
        """Every deployed model, by name."""
        from ray import serve

        from .gateway import MODEL_PREFIX

        self.start()
        found = []
        for application, status in serve.status().applications.items():
            name = application.removeprefix(MODEL_PREFIX)
            spec = self._deployed(name) if application != name else None
            if spec is not None:
                found.append(self._deployment(spec, status.status.value, 0.0))
        return sorted(found, key=lambda deployment: deployment.name)

    def close(self) -> None:
        """Remove the gateway and all models, unless they live on a cluster that was joined."""
        if self._endpoint and not cluster.address(self._settings.ray):
            from ray import serve

            for application in serve.status().applications:
                serve.delete(application, _blocking=False)
        self._endpoint = ""

    def _deployed(self, name: str) -> ModelSpec | None:
        """The spec of a running model."""
        from ray import serve
        from ray.serve.schema import ApplicationStatus

        status = serve.status().applications.get(_application(name))
        if status is None or status.status != ApplicationStatus.RUNNING:
            return None
        return ModelSpec(**serve.get_app_handle(_application(name)).describe.remote().result())

    def _deployment(self, spec: ModelSpec, state: str, seconds: float) -> Deployment:
        return Deployment(
            spec.name, spec.engine, state, self.endpoint, spec.model_path, spec.replicas, round(seconds, 1)
        )

    def _wait(self, spec: ModelSpec, started: float, on_progress: Callable[[str], None]) -> None:
        """Until the model answers a one-token request through the gateway."""
        from ray import serve
        from ray.serve.schema import ApplicationStatus, ReplicaState

        deadline = started + self._settings.serving.load_timeout
        shown = ""
        while True:
            status = serve.status().applications[_application(spec.name)]
            workers = sum(d.replica_states.get(ReplicaState.RUNNING, 0) for d in status.deployments.values())
            line = (
                f"{spec.name}: loading {spec.model_path} with {spec.engine}, {workers} of {spec.replicas} workers ready"
            )
            if line != shown:
                on_progress(line)
                shown = line
            if status.status == ApplicationStatus.RUNNING:
                break
            if status.status not in (ApplicationStatus.NOT_STARTED, ApplicationStatus.DEPLOYING):
                details = [status.message, *(d.message for d in status.deployments.values())]
                raise ModelError(f"model {spec.name} did not load: {_reason(details)}")
            if time.monotonic() > deadline:
                raise ModelError(
                    f"model {spec.name} did not load within {self._settings.serving.load_timeout:g} s",
                    cure="Set serving.load_timeout higher, or free CPUs or GPUs: another model may hold them.",
                )
            time.sleep(_POLL_SECONDS)
        on_progress(f"{spec.name}: waiting for the first answer")
        key = self._settings.serving.api_key
        reply = httpx.post(
            f"{self.endpoint}/v1/completions",
            json={"model": spec.name, "prompt": "1", "max_tokens": 1},
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            timeout=max(10.0, deadline - time.monotonic()),
        )
        if reply.status_code != 200:
            raise ModelError(f"model {spec.name} loaded but does not answer: {reply.text[:300]}")


def _quiet() -> LoggingConfig:
    """Serve's own logs: warnings only, no line per request."""
    from ray.serve.schema import LoggingConfig

    return LoggingConfig(log_level="WARNING", enable_access_log=False)


def _application(name: str) -> str:
    from .gateway import MODEL_PREFIX

    return MODEL_PREFIX + name


def _check_folder(spec: ModelSpec) -> None:
    folder = Path(spec.model_path)
    if folder.is_dir() and ((folder / "config.json").is_file() or (folder / "adapter_config.json").is_file()):
        return
    wrong = "has no config.json" if folder.is_dir() else "does not exist"
    raise ModelError(
        f"the model folder {folder} {wrong}",
        cure="localModelDir is a folder in Hugging Face's layout: config.json, weights and tokenizer.",
    )


def _check_capacity(spec: ModelSpec, resources: dict[str, Any]) -> None:
    """Refuse what can never be placed, rather than wait for it."""
    import ray

    actor = resources["ray_actor_options"]
    one = resources.get("placement_group_bundles") or [{"CPU": actor["num_cpus"], "GPU": actor.get("num_gpus", 0)}]
    total = ray.cluster_resources()
    for kind in ("CPU", "GPU"):
        wanted = spec.replicas * sum(bundle.get(kind, 0) for bundle in one)
        if wanted > total.get(kind, 0):
            raise ModelError(
                f"model {spec.name} needs {wanted:g} {kind}s and the cluster has {total.get(kind, 0):g}",
                cure="Ask for fewer workers or fewer CPUs or GPUs per worker, or set ray.num_cpus.",
            )


def _reason(details: list[str]) -> str:
    """The engine's own words, out of the traceback that Serve passes on."""
    from .server import REASON

    for detail in details:
        _, found, reason = detail.rpartition(REASON)
        if found:
            return reason.strip()
    lines = [line for detail in details for line in detail.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "Ray Serve gives no reason"


def _reserve(host: str, port: int) -> socket.socket:
    """Hold a port until the gateway has it. Port 0 takes a free one."""
    try:
        if port:
            # Serve binds with SO_REUSEPORT, so it would share the port of another Serve without an error.
            with socket.create_server((host, port)):
                pass
        return _bind(host, port)
    except OSError as error:
        what = "in use" if error.errno == errno.EADDRINUSE else f"not available: {error.strerror}"
        raise SetupError(
            f"port {port} of {host} is {what}",
            cure="Set serving.port to another port (SQLLLM_SERVING__PORT=8001), or to 0 for any free one.",
        ) from None


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen: it keeps others away and lets Serve's proxy in."""
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    return held


def _reachable(host: str) -> str:
    """The address that clients use for `host`."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 (a comparison)
        import ray

        host = ray.util.get_node_ip_address()
    return f"[{host}]" if ":" in host else host
