"""!byzerllm setup: what the next deployments and runs may use, in every spelling that Byzer-LLM had."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, suggest

if TYPE_CHECKING:
    from ..session import Session

PROFILES = ("single", "sft", "sfft", "data", "retrieval", "retrieval/data")
"""`!byzerllm setup NAME`: each begins afresh; `data` and `retrieval` take no GPU."""

_BALANCES: dict[str | None, str] = {"lru": "least_busy"}  # Byzer-LLM's name
_SPELLINGS = {
    "gpus": ("num_gpus", "gpusPerWorker", "gpus_per_worker"),
    "cpus": ("num_cpus", "cpusPerWorker", "cpus_per_worker"),
    "workers": ("maxConcurrency", "num_workers", "numWorkers"),
    "concurrency": ("workerMaxConcurrency", "worker_concurrency", "workerConcurrency"),
    "backend": ("infer_backend", "inferBackend"),
    "load_balance": ("load_balance", "loadBalance"),
}
KEYS = {spelling: key for key, spellings in _SPELLINGS.items() for spelling in spellings}

# Of Byzer's bridge between the JVM, Python and Ray, and of its worker pool: there is none here.
_BRIDGE = ("rayAddress", "pythonExec", "dataMode", "runIn", "schema", "standalone", "owner")
_POOL = ("masterMaxConcurrency", "timeout")
PLACEMENT = "resource."  # and the name of one of Ray's custom resources


@dataclass(frozen=True)
class Resources:
    """What `setup` asked for; None where it did not."""

    gpus: float | None = None
    cpus: float | None = None
    workers: int = 1
    concurrency: int | None = None
    backend: str | None = None
    load_balance: str | None = None
    custom: dict[str, float] = field(default_factory=dict)


def apply(session: Session, argument: str) -> None:
    """One argument of `!byzerllm setup`: a profile or `key=value`."""
    key, equals, value = (part.strip() for part in argument.partition("="))
    if not equals:
        if key not in PROFILES:
            raise OptionError(
                f"unknown setup {key}", cure=suggest(key, PROFILES, what="setups") + ' Or write "key=value".'
            )
        session.setup.clear()
        if key.startswith(("data", "retrieval")):
            session.setup["gpus"] = "0"
        return
    if key in (*_BRIDGE, *_POOL):
        session.observer.warned(f"setup {key} has no effect here: there is no bridge and no worker pool to configure")
        return
    if not is_key(key):
        raise OptionError(f"unknown setup key {key}", cure=suggest(key, sorted([*KEYS, PLACEMENT]), what="keys"))
    given = {KEYS.get(key, key): value}
    _read(given)  # a wrong value is an error here, where it stands, and has no effect
    session.setup |= given


def requested(session: Session, options: Mapping[str, str] | None = None) -> Resources:
    """What was set up, whatever there is; those of a statement's `options` that have the same keys win."""
    given = {KEYS.get(key, key): value for key, value in (options or {}).items() if is_key(key)}
    return _read(session.setup | given)


def is_key(key: str) -> bool:
    """Whether an option is one of the setup's."""
    return key in KEYS or key.startswith(PLACEMENT)


def resources(session: Session, options: Mapping[str, str] | None = None) -> Resources:
    """What was requested, for a deployment or a run. Without a GPU in the cluster, GPUs become 0, with a warning."""
    import ray

    session.start_ray()
    wanted = requested(session, options)
    if wanted.gpus and "GPU" not in ray.cluster_resources():  # type: ignore[no-untyped-call]
        session.observer.warned(f"there is no GPU here, so the setup num_gpus={wanted.gpus:g} means the CPU")
        return dataclasses.replace(wanted, gpus=0.0)
    return wanted


def _read(setup: dict[str, str]) -> Resources:
    return Resources(
        gpus=_number(setup, "gpus"),
        cpus=_number(setup, "cpus"),
        workers=int(_number(setup, "workers") or 1),
        concurrency=int(_number(setup, "concurrency") or 0) or None,
        backend=setup.get("backend"),
        load_balance=_BALANCES.get(way := setup.get("load_balance"), way),
        custom={
            key.removeprefix(PLACEMENT): amount
            for key in setup
            if key.startswith(PLACEMENT) and (amount := _number(setup, key)) is not None
        },
    )


def _number(setup: dict[str, str], key: str) -> float | None:
    text = setup.get(key)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < math.inf or (key in {"workers", "concurrency"} and number != int(number)):
        name = _SPELLINGS.get(key, (key,))[0]
        raise OptionError(f"setup {name}: {text!r} is not a valid {'count' if key == 'workers' else 'amount'}")
    return number
