"""A training function on Ray Train: its processes, its failures, its record.

    with noted(run):
        launch(train, {"spec": spec}, run, resources)

Ray is already running. `train` gets the configuration and in it also `run`, `gpu` and `threads`.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from sqlllm.errors import PackageError, SQLLLMError, TrainingError
from sqlllm.jobs import cluster
from sqlllm.jobs.runs import RunRecord

if TYPE_CHECKING:
    from ray.train import TrainingFailedError

Train = Callable[[dict[str, Any]], None]


class Resources(BaseModel):
    """What a run may use: as many equal workers, each with its share of rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_workers: int = Field(1, ge=1, description="processes that train together, one GPU each if `use_gpu`")
    use_gpu: bool = Field(False, description="train on GPUs")
    cpus_per_worker: float = Field(1, gt=0, description="Ray's logical CPUs that each worker reserves")


def launch(
    train: Train,
    config: dict[str, Any],
    run: RunRecord,
    resources: Resources,
    *,
    last_checkpoint: Callable[[], Path | None] = lambda: None,
) -> None:
    """Run `train(config)` in every worker, and return when all have ended.

    When a worker dies, all start again, and `train` goes on from the run's last checkpoint; a run that dies twice
    after the same one has failed. TrainingError says what a run died of. Ctrl-C ends the workers.
    """
    while True:
        before = last_checkpoint()
        try:
            return _fit(train, config, run, resources)
        except _WorkerDied as death:
            if last_checkpoint() == before:
                raise TrainingError(death.message, cure=death.cure) from None


def _check_room(resources: Resources) -> None:
    """Refuse what the models leave no room for: an embedded Ray gets no more nodes, so it would wait for ever."""
    import ray

    if not cluster.is_embedded():
        return
    wanted = {
        "CPU": resources.num_workers * resources.cpus_per_worker,
        "GPU": resources.num_workers * resources.use_gpu,
    }
    deadline = time.monotonic() + _ROOM_SECONDS
    while True:
        there = ray.available_resources()  # type: ignore[no-untyped-call]
        lacking = next((kind for kind, count in wanted.items() if count > there.get(kind, 0)), None)
        if lacking is None:
            return
        if time.monotonic() > deadline:
            raise TrainingError(
                f"training needs {wanted[lacking]:g} {lacking}s and {there.get(lacking, 0):g} are free",
                cure="Undeploy a model, or raise ray.num_cpus." if lacking == "CPU" else "Undeploy a model.",
            )
        time.sleep(0.1)  # what an ended model held is given back a moment later


_ROOM_SECONDS = 10.0
_PATIENCE = 10  # times that a cluster is asked for room, each for the minute that Ray Train waits


class _WorkerDied(TrainingError):
    """A process ended without a word: it was killed, it crashed, or its node is gone."""


def _fit(train: Train, config: dict[str, Any], run: RunRecord, resources: Resources) -> None:
    try:
        from ray.exceptions import RayError
        from ray.train import TrainingFailedError
        from ray.train.v2.api.config import (
            FailureConfig,
            RunConfig,
            ScalingConfig,
        )  # ray.train shows type checkers its old ones

        from .trainer import Trainer
    except ImportError as error:
        raise PackageError.from_import_error(error, package="ray", extra="train") from None

    _check_room(resources)
    trainer = Trainer(
        _where_the_folder_is(train),
        # Ray sets OMP_NUM_THREADS in its workers: the caller's own value would be lost.
        train_loop_config={
            **config,
            "run": run,
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "gpu": resources.use_gpu,
        },
        scaling_config=ScalingConfig(
            num_workers=resources.num_workers,
            use_gpu=resources.use_gpu,
            resources_per_worker={"CPU": resources.cpus_per_worker} | ({"GPU": 1} if resources.use_gpu else {}),
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=str(run.folder / "work"),
            failure_config=FailureConfig(controller_failure_limit=_PATIENCE - 1),
            # Threads that wait asleep: on a busy machine the usual busy-waiting makes training ten times slower.
            worker_runtime_env={"env_vars": {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}},
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise _reason(error) from None
    except RayError as error:
        raise TrainingError(f"Ray failed: {_first_line(error)}", cure="Run `sqlllm doctor`.") from None


def _where_the_folder_is(train: Train) -> Train:
    """`train`, with an error of its own on a node that does not see the run's folder."""

    def run(config: dict[str, Any]) -> None:
        folder = config["run"].folder
        if not folder.is_dir():
            raise TrainingError(
                f"the Ray node {platform.node()} does not see the run's folder {folder}",
                cure="Mount one folder at one path on all machines, and set SQLLLM_HOME to a folder in it.",
            )
        train(config)

    return run


def _reason(error: TrainingFailedError) -> TrainingError:
    """What the run died of, in one line; a TrainingError of a worker is that error itself."""
    failures = [*getattr(error, "worker_failures", {}).values()] or [getattr(error, "controller_failure", error)]
    # When one worker ends, its peers lose their connection: the one that says most is the cause.
    cause = min(map(_root, failures), key=lambda one: (not isinstance(one, SQLLLMError), not _is_rays(one)))
    if isinstance(cause, SQLLLMError):
        return TrainingError(cause.message, cure=cause.cure)
    line = _first_line(cause)
    if type(cause).__name__ == "WorkerGroupStartupTimeoutError":
        return TrainingError("the cluster has no room for the run's workers", cure=_MORE_NODES)
    if re.search(r"out of memory|allocate memory|low on memory", str(cause), re.IGNORECASE):
        return TrainingError(f"out of memory: {line}", cure=_SMALLER)
    if re.search(_DISK_FULL, str(cause), re.IGNORECASE):
        return TrainingError(f"the disk is full: {line}", cure=_MORE_DISK)
    if _is_rays(cause):
        return _WorkerDied(f"a training process ended unexpectedly: {line}", cure=_SMALLER)
    return TrainingError(f"{type(cause).__name__}: {line}")


def _root(error: Exception) -> Exception:
    inner = getattr(error, "cause", None) or getattr(error, "health_check_failure", None)
    return _root(inner) if isinstance(inner, Exception) else error


def _is_rays(error: Exception) -> bool:
    return type(error).__module__.startswith("ray.")


_DISK_FULL = r"no space left|storagefull|disk quota|PytorchStreamWriter failed|inline_container.*unexpected pos"
"""In the words of Python, safetensors and torch."""
_SMALLER = (
    "If memory ran out, halve per_device_train_batch_size and double gradient_accumulation_steps, "
    'shorten max_length, or set gradient_checkpointing to true. action="resume" takes all but max_length; '
    'onOom="halve" halves by itself.'
)
_MORE_NODES = "Start a node, or ask for less with `!byzerllm setup`; then resume the run."
_MORE_DISK = "Make room in the run's folder, or choose another localPathPrefix; then resume the run."


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
