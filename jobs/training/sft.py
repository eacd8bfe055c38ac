"""Supervised fine-tuning of one table, from its first check to the model folder, on a Ray that is already running.

    spec = FinetuneSpec.from_options(options)
    run = new_run(spec, settings.home)              # its folder; the session writes the table to run.data
    run = finetune(spec, run, on_progress=print)
    run.model                                       # a Hugging Face folder

The work is in `worker.train`; here is what surrounds it: the record, the processes, the progress, the failure.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from sqlllm.errors import PackageError, SQLLLMError, TrainingError
from sqlllm.jobs.runs import RunRecord

from . import formats
from .progress import Progress, following
from .spec import FinetuneSpec

if TYPE_CHECKING:
    from ray.train import TrainingFailedError


class Resources(BaseModel):
    """What a run may use: as many equal workers, each with its share of rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_workers: int = Field(1, ge=1, description="processes that train together, one GPU each if `use_gpu`")
    use_gpu: bool = Field(False, description="train on GPUs")
    cpus_per_worker: float = Field(1, gt=0, description="Ray's logical CPUs that each worker reserves")


def new_run(spec: FinetuneSpec, home: Path) -> RunRecord:
    """Take a fresh folder for the run: `localPathPrefix`, or `runs` in `home`, and the run's name."""
    return RunRecord.create(
        spec.local_path_prefix or home / "runs",
        spec.name,
        kind="sft",
        base=str(spec.local_model_dir or ""),
        seed=spec.training["seed"],
        options=spec.options,
    )


def finetune(
    spec: FinetuneSpec,
    run: RunRecord,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    resources: Resources | None = None,
) -> RunRecord:
    """Train on the Parquet files in `run.data` and return the record of the finished run.

    Blocks until the end; `on_progress` is called meanwhile, from another thread. TrainingError tells why there is no
    model; the record then says failed. Ctrl-C ends the workers, records cancelled and goes on as KeyboardInterrupt.
    """
    try:
        table = formats.check(run.data)
        run = run.update(state="running", rows=table.rows, examples=table.examples)
        with following(run.metrics, on_progress):
            _fit(spec, run, resources or Resources())
        summary = json.loads((run.folder / "finetune_model" / "train_results.json").read_text())
        return run.finish("succeeded", model=run.folder / "finetune_model" / "final", **summary)
    except KeyboardInterrupt:
        run.finish("cancelled", reason="stopped by the user")
        raise
    except Exception as error:
        run.finish(
            "failed",
            reason=error.message if isinstance(error, SQLLLMError) else f"{type(error).__name__}: {_first_line(error)}",
        )
        raise
    finally:
        shutil.rmtree(run.folder / "work", ignore_errors=True)


def _fit(spec: FinetuneSpec, run: RunRecord, resources: Resources) -> None:
    try:
        from ray.exceptions import RayError
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError as error:
        raise PackageError.from_import_error(error, package="ray", extra="train") from None

    from .worker import train

    # Ray Train's patch of `print` makes the hashing in `datasets` flood the log, and its slow poll adds two seconds.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    work = run.folder / "work"
    trainer = TorchTrainer(
        train,
        # Ray sets OMP_NUM_THREADS in its workers: the caller's own value would be lost.
        train_loop_config={
            "spec": spec,
            "run": run,
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "gpu": resources.use_gpu,
        },
        torch_config=TorchConfig(backend="nccl" if resources.use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=resources.num_workers,
            use_gpu=resources.use_gpu,
            resources_per_worker={"CPU": resources.cpus_per_worker} | ({"GPU": 1} if resources.use_gpu else {}),
        ),
        run_config=RunConfig(  # type: ignore[call-arg]  # Ray shows its old RunConfig to type checkers
            name="ray",
            storage_path=str(work),
            # Threads that wait asleep: on a busy machine the usual busy-waiting makes training ten times slower.
            worker_runtime_env={"env_vars": {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}},
        ),
    )
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit()
    except SystemExit:
        # Ray Train's own Ctrl-C handler ends the workers and then asks for the end of the process.
        raise KeyboardInterrupt from None
    except TrainingFailedError as error:
        raise _reason(error) from None
    except RayError as error:
        raise TrainingError(f"Ray failed: {_first_line(error)}", cure="Run `sqlllm doctor`.") from None
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)


def _reason(error: TrainingFailedError) -> TrainingError:
    """What the run died of, in one line; a TrainingError of a worker is that error itself."""
    failures = [*getattr(error, "worker_failures", {}).values()] or [getattr(error, "controller_failure", error)]
    # When one worker ends, its peers lose their connection: the one that says most is the cause.
    cause = min(map(_root, failures), key=lambda one: (not isinstance(one, SQLLLMError), not _is_rays(one)))
    if isinstance(cause, SQLLLMError):
        return TrainingError(cause.message, cure=cause.cure)
    line = _first_line(cause)
    if re.search(r"out of memory|allocate memory|low on memory", str(cause), re.IGNORECASE):
        return TrainingError(f"out of memory: {line}", cure=_SMALLER)
    if _is_rays(cause):
        return TrainingError(f"a training process ended unexpectedly: {line}", cure=_SMALLER)
    return TrainingError(f"{type(cause).__name__}: {line}")


def _root(error: Exception) -> Exception:
    inner = getattr(error, "cause", None) or getattr(error, "health_check_failure", None)
    return _root(inner) if isinstance(inner, Exception) else error


def _is_rays(error: Exception) -> bool:
    return type(error).__module__.startswith("ray.")


_SMALLER = (
    "If memory ran out, halve per_device_train_batch_size and double gradient_accumulation_steps, "
    "shorten max_length, or set gradient_checkpointing to true."
)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
