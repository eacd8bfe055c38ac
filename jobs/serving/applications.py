"""Ray Serve's applications: one per model, and the gateway. Light to import; Ray must run when a function is called."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError

if TYPE_CHECKING:
    from ray.serve.schema import ApplicationStatusOverview, LoggingConfig

GATEWAY = "sqlllm-gateway"
# Other applications on a cluster are not ours.
MODEL_PREFIX = "sqlllm-model-"
# Before the engine's own reason in the traceback that Serve passes on when a server does not start.
REASON = "cannot load the model: "

_POLL_SECONDS = 0.1


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


def statuses() -> dict[str, ApplicationStatusOverview]:
    """Every application's status, by name."""
    from ray import serve

    return serve.status().applications


def wait_until_running(application: str, deadline: float, on_workers: Callable[[int], None] = lambda _: None) -> None:
    """Wait until all its workers are ready; `on_workers` gets the number of those that are.

    Raises: ModelError with the reason if it fails, or if it is not running by `deadline` (time.monotonic).
    """
    from ray.serve.schema import ApplicationStatus

    while True:
        status = statuses()[application]
        on_workers(sum(d.replica_states.get("RUNNING", 0) for d in status.deployments.values()))  # type: ignore[call-overload]
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


def delete(application: str, *, wait: bool) -> None:
    """Remove an application; does nothing if it is not there."""
    from ray import serve

    if application in statuses():
        serve.delete(application, _blocking=wait)


def _reason(messages: list[str]) -> str:
    """The engine's own words, if they are there; else the last line, which names the exception."""
    for message in messages:
        _, found, reason = message.rpartition(REASON)
        if found:
            return reason.strip()
    lines = [line for message in messages for line in message.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "Ray Serve gives no reason"
