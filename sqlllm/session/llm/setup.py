"""!byzerllm setup: what the next deployments and runs may use, in every spelling that Byzer-LLM had."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, suggest

if TYPE_CHECKING:
    from ..session import Session

PROFILES = ("single", "sft", "sfft", "data", "retrieval", "retrieval/data")
"""`!byzerllm setup NAME`: each begins afresh; `data` and `retrieval` take no GPU."""

_SPELLINGS = {
    "gpus": ("num_gpus", "gpusPerWorker", "gpus_per_worker"),
    "cpus": ("num_cpus", "cpusPerWorker", "cpus_per_worker"),
    "workers": ("maxConcurrency", "num_workers", "numWorkers"),
    "concurrency": ("workerMaxConcurrency", "worker_concurrency", "workerConcurrency"),
    "backend": ("infer_backend", "inferBackend"),
}
KEYS = {spelling: key for key, spellings in _SPELLINGS.items() for spelling in spellings}

# Of Byzer's bridge between the JVM, Python and Ray, and of its worker pool: there is none here.
_BRIDGE = ("rayAddress", "pythonExec", "dataMode", "runIn", "schema", "standalone", "owner")
_POOL = ("masterMaxConcurrency", "load_balance", "timeout")


@dataclass(frozen=True)
class Resources:
    """What `setup` asked for; None where it did not."""

    gpus: float | None = None
    cpus: float | None = None
    workers: int = 1
    concurrency: int | None = None
    backend: str | None = None


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
    if key not in KEYS:
        raise OptionError(f"unknown setup key {key}", cure=suggest(key, sorted(KEYS), what="keys"))
    session.setup[KEYS[key]] = value
    _read(session.setup)  # a wrong value is an error here, where it stands


def requested(session: Session) -> Resources:
    """What was set up, whatever there is."""
    return _read(session.setup)


def resources(session: Session) -> Resources:
    """What was set up, for a deployment or a run. Where there is no GPU, GPUs become none, and the user is told."""
    import ray

    session.start_ray()
    wanted = requested(session)
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
    )


def _number(setup: dict[str, str], key: str) -> float | None:
    text = setup.get(key)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1
    if number < 0 or (key in {"workers", "concurrency"} and number != int(number)):
        raise OptionError(f"setup {_SPELLINGS[key][0]}: {text!r} is no {'count' if key == 'workers' else 'amount'}")
    return number
