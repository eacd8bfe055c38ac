"""Where a model's workers run, how many there are, and which of them gets a request: a spec in Ray Serve's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlllm.errors import ModelError

from ..spec import ModelSpec

_LOOK_BACK = 12.0  # seconds that Serve's autoscaler averages over; it counts requests every ten
_ROUTERS = {
    "round_robin": "ray.serve.experimental.round_robin_router.RoundRobinRouter",
    "prefix": "sqlllm.jobs.serving.deploy.router.PrefixRouter",
}


def resources(spec: ModelSpec, wanted: dict[str, Any]) -> dict[str, Any]:
    """What an engine wants for one worker, with the custom resources of the spec."""
    if not spec.resources:
        return wanted
    placed = {**wanted, "ray_actor_options": {**wanted["ray_actor_options"], "resources": dict(spec.resources)}}
    if bundles := wanted.get("placement_group_bundles"):
        placed["placement_group_bundles"] = [{**bundles[0], **spec.resources}, *bundles[1:]]
    return placed


def scaling(spec: ModelSpec) -> dict[str, Any]:
    """How many workers there are."""
    scale = spec.autoscale
    if scale is None:
        return {"num_replicas": spec.replicas}
    config = {
        "min_replicas": scale.min_workers,
        "max_replicas": scale.max_workers,
        "initial_replicas": spec.least_workers,  # so that a model that does not load is found at once
        "target_ongoing_requests": min(scale.target_requests, spec.concurrency),
        "upscale_delay_s": scale.busy_seconds,
        "downscale_delay_s": scale.idle_seconds,
        "look_back_period_s": _LOOK_BACK,
    }
    return {"autoscaling_config": config}


def routing(spec: ModelSpec) -> dict[str, Any]:
    """Which worker gets a request. Of two at random the one with the shorter queue, Serve's own way, needs nothing."""
    if spec.balance not in _ROUTERS:
        return {}
    from ray.serve.config import RequestRouterConfig

    return {
        "request_router_config": RequestRouterConfig.model_validate({"request_router_class": _ROUTERS[spec.balance]})
    }


def check_capacity(spec: ModelSpec, wanted: dict[str, Any]) -> None:
    """Refuse what can never be placed, rather than wait for it."""
    import ray

    if found := lacking(spec, wanted, ray.cluster_resources()):  # type: ignore[no-untyped-call]
        kind, needed, there = found
        raise ModelError(
            f"model {spec.name} needs {needed:g} {kind}s and the cluster has {there:g}"
            if kind in ("CPU", "GPU")
            else f"model {spec.name} needs {needed:g} of the resource {kind} and the cluster has {there:g}",
            cure="Ask for fewer workers or for less per worker, or set ray.num_cpus."
            if kind in ("CPU", "GPU")
            else f"Start a node with: ray start --resources='{{\"{kind}\": {needed:g}}}'",
        )


def lacking(spec: ModelSpec, wanted: dict[str, Any], there: Mapping[str, float]) -> tuple[str, float, float] | None:
    """The first kind of resource that `there` has too little of: kind, wanted, there."""
    for kind, needed in needs(spec, wanted).items():
        if needed > there.get(kind, 0):
            return kind, needed, there.get(kind, 0)
    return None


def needs(spec: ModelSpec, wanted: dict[str, Any]) -> Counter[str]:
    """What the workers that a model starts with take, by kind of resource."""
    actor = wanted["ray_actor_options"]
    alone = {"CPU": actor["num_cpus"], "GPU": actor.get("num_gpus", 0), **spec.resources}
    total = Counter[str]()
    for bundle in wanted.get("placement_group_bundles") or [alone]:
        for kind, amount in bundle.items():
            total[kind] += spec.least_workers * amount
    return total
