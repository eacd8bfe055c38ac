"""Ray Serve's applications: one per model, and the gateway. Light to import; Ray must run when a function is called."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError

from .spec import ModelSpec

if TYPE_CHECKING:
    from ray.serve.schema import ApplicationStatusOverview, LoggingConfig

GATEWAY = "sqlllm-gateway"
# Other applications on a cluster are not ours.
MODEL_PREFIX = "sqlllm-model-"
DEPLOYMENT = "model"  # of a model's application
_KILLED = "ActorDiedError"  # in what Serve says of a process that ended without a word
# Before the engine's own reason in the traceback that Serve passes on when a server does not start.
REASON = "cannot load the model: "

_POLL_SECONDS = 0.1
_KEY = "key"  # in Ray's key-value store, under the gateway's name
_SPECS = "sqlllm-specs"  # namespace in Ray's key-value store
_DIGESTS = "sqlllm-digests"
BEFORE = "-before"


def quiet() -> LoggingConfig:
    """Serve's own logs: warnings only, no line per request."""
    from ray.serve.schema import LoggingConfig

    return LoggingConfig(log_level="WARNING", enable_access_log=False)


def run(cls: type, *arguments: Any, application: str, route_prefix: str | None, **options: Any) -> None:
    """Deploy `cls(*arguments)`; does not wait for it."""
    from ray import serve

    deployment: Any = serve.deployment(cls, **options)
    target = serve.RunTarget(deployment.bind(*arguments), application, route_prefix, quiet())
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def answer(call: Callable[[], Any]) -> Any:
    """What a handle's call gives, in a thread: Serve refuses to wait where an event loop runs, as in a notebook."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


def statuses() -> dict[str, ApplicationStatusOverview]:
    """Every application's status, by name."""
    from ray import serve

    return serve.status().applications


def workers(status: ApplicationStatusOverview) -> int:
    """How many workers of an application are ready."""
    return sum(d.replica_states.get("RUNNING", 0) for d in status.deployments.values())  # type: ignore[call-overload]


def broken(status: ApplicationStatusOverview) -> str:
    """Why an application has no worker and gets none, in the engine's words; empty if it has, or may have one."""
    if workers(status):
        return ""
    found = (deployment.message.rpartition(REASON) for deployment in status.deployments.values())
    return next((words.strip() for _, mark, words in found if mark), "")


def remember(spec: ModelSpec, digest: str, when: str = "") -> None:
    """Keep what a model is deployed with where every process of the cluster finds it, and nobody is shown it.

    `digest` is the fingerprint of its files; empty if only the cluster's nodes see them. `when` is `BEFORE` for what it
    was deployed with before.
    """
    from ray.experimental import internal_kv as kv

    kv._internal_kv_put(spec.name, json.dumps(spec.whole()), namespace=_SPECS + when)
    kv._internal_kv_put(spec.name, digest, namespace=_DIGESTS + when)


def forget(name: str, when: str = "") -> None:
    """Of a model that is removed."""
    from ray.experimental import internal_kv as kv

    kv._internal_kv_del(name, namespace=_SPECS + when)
    kv._internal_kv_del(name, namespace=_DIGESTS + when)


def recall(name: str, when: str = "") -> ModelSpec | None:
    """What a model is deployed with; asks, and so wakes, none of its workers."""
    from ray.experimental import internal_kv as kv

    kept: bytes | None = kv._internal_kv_get(name, namespace=_SPECS + when)
    return None if kept is None else ModelSpec(**json.loads(kept))


def recall_digest(name: str, when: str = "") -> str:
    """The fingerprint that a model is deployed with; empty if none is known."""
    from ray.experimental import internal_kv as kv

    kept: bytes | None = kv._internal_kv_get(name, namespace=_DIGESTS + when)
    return (kept or b"").decode()


def key(*, make: bool) -> str | None:
    """The key that sessions of this cluster send to its gateway where the settings name none; `make`: one if need be.

    Whoever is let into the cluster finds it.
    """
    from ray.experimental import internal_kv as kv

    if make:  # the first of two sessions that start at once wins
        kv._internal_kv_put(_KEY, secrets.token_hex(32), overwrite=False, namespace=GATEWAY)
    kept: bytes | None = kv._internal_kv_get(_KEY, namespace=GATEWAY)
    return None if kept is None else kept.decode()


def wait_until_running(application: str, deadline: float, on_workers: Callable[[int], None] = lambda _: None) -> None:
    """Wait until all its workers are ready; `on_workers` gets the number of those that are.

    Raises: ModelError with the reason if it fails, or if it is not running by `deadline` (time.monotonic).
    """
    from ray.serve.schema import ApplicationStatus

    while True:
        status = statuses()[application]
        on_workers(workers(status))
        if status.status == ApplicationStatus.RUNNING:
            return
        if status.status not in (ApplicationStatus.NOT_STARTED, ApplicationStatus.DEPLOYING):
            raise ModelError(_reason([*(d.message for d in status.deployments.values()), status.message]))
        if time.monotonic() > deadline:
            raise ModelError(
                "it takes longer than serving.load_timeout allows",
                cure="Set serving.load_timeout higher, or free CPUs or GPUs: another model may hold them.",
            )
        time.sleep(_POLL_SECONDS)


def wake(application: str, deadline: float) -> None:
    """Wait until an application without workers has one; does nothing if there is one.

    Raises: ModelError with the reason if it fails, or if there is none by `deadline` (time.monotonic).
    """
    from ray import serve
    from ray.serve.exceptions import RayServeException

    if workers(statuses()[application]):
        return
    handle: Any = serve.get_app_handle(application)
    try:
        answer(lambda: handle.load.remote().result(timeout_s=max(1.0, deadline - time.monotonic())))
    except (RayServeException, TimeoutError):
        wait_until_running(application, deadline)


def delete(application: str, *, wait: bool) -> None:
    """Remove an application; does nothing if it is not there. `wait`: until it is gone."""
    from ray import serve

    if application not in statuses():
        return
    serve.delete(application, _blocking=False)
    while wait and application in statuses():  # Serve itself would look once a second
        time.sleep(_POLL_SECONDS)


def _reason(messages: list[str]) -> str:
    """The engine's own words, if they are there; else the last line, which names the exception."""
    for message in messages:
        _, found, reason = message.rpartition(REASON)
        if found:
            return reason.strip()
        if _KILLED in message:
            return "its worker was killed as it loaded: there may be too little memory"
    lines = [line for message in messages for line in message.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "Ray Serve gives no reason"
