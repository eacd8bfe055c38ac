"""A run that was cut short goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training import FinetuneSpec, Progress, checkpoints, finetune, worker

from .conftest import SUMS, MakeRun

TINY = {
    "sft__int__hidden_size": 32, "sft__int__intermediate_size": 64, "sft__int__vocab_size": 300,
    "sft__int__per_device_train_batch_size": 16, "sft__int__max_steps": 150, "sft__int__save_steps": 50,
}  # fmt: skip
LORA = {
    "sft__int__max_steps": 12, "sft__int__save_steps": 4, "sft__float__lora_dropout": 0.3,
    "sft__float__learning_rate": 0.01, "sft__int__logging_steps": 1, "sft__float__val_size": 0.25,
}  # fmt: skip


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def equal(one: Path, other: Path) -> bool:
    import torch

    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def logged(run: RunRecord) -> list[tuple[int, float, int, float | None]]:
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [(line["step"], line["loss"], line["tokens"], line["eval_loss"]) for line in lines]


def train(spec: FinetuneSpec, run: RunRecord, base: Path, *, stop: int | None = None) -> None:
    """As a worker does it, in this process; at step `stop` it ends as a killed one does."""
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == stop:
                raise KeyboardInterrupt

    folder = run.folder / "finetune_model"
    checkpoint = checkpoints.last(folder)
    trainer = worker.build_trainer(spec, run, base, checkpoint=checkpoint)
    trainer.add_callback(Stop())
    worker.save(trainer, spec, run, worker.learn(trainer, checkpoint))


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.parametrize("stop", [3, 4, 9, 12])
def test_resumed_at_any_step_it_is_the_unbroken_run(
    stop: int, base: Path, make_run: MakeRun, unbroken: RunRecord
) -> None:
    spec, run = make_run(SUMS, localModelDir=base, **LORA)
    if stop < 12:
        with pytest.raises(KeyboardInterrupt):
            train(spec, run, base, stop=stop)
    train(spec, run, base)
    if stop == 12:  # killed while the model was saved
        train(spec, run, base)
    assert equal(run.folder / "finetune_model" / "adapter", unbroken.folder / "finetune_model" / "adapter")
    assert logged(run) == logged(unbroken)
    assert summary(run) == summary(unbroken)


@pytest.fixture(scope="module")
def unbroken(base: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    from .conftest import prepare

    spec, run = prepare(tmp_path_factory.mktemp("unbroken"), SUMS, localModelDir=base, **LORA)
    train(spec, run, base)
    return run


def summary(run: RunRecord) -> dict[str, Any]:
    figures = json.loads((run.folder / "finetune_model" / "train_results.json").read_text())
    del figures["train_seconds"]
    return figures


def test_a_checkpoint_counts_once_it_is_whole(tmp_path: Path) -> None:
    assert checkpoints.last(tmp_path) is None
    for step in (4, 20, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert checkpoints.last(tmp_path) is None
    for step in (4, 20):
        checkpoints.mark(tmp_path / f"checkpoint-{step}", checkpoints.Mark(step, 7, 1.5, finished=False))
    last = checkpoints.last(tmp_path)
    assert last == tmp_path / "checkpoint-20"
    assert checkpoints.read_mark(last) == (20, 7, 1.5, False)
    checkpoints.drop(tmp_path, whole=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-20", "checkpoint-4"]


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_a_killed_worker_goes_on_and_a_stopped_run_is_resumed(make_run: MakeRun) -> None:
    """kill -9, or Ctrl-C and `resume`: the same weights as without."""
    import psutil

    unbroken = finetune(*make_run(SUMS, name="unbroken", **TINY))
    assert unbroken.model is not None
    dead: list[int] = []

    def kill(progress: Progress) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if not dead and progress.step > 50 and "RayTrainWorker" in process.name():
                    process.kill()
                    dead.append(process.pid)

    killed = finetune(*make_run(SUMS, name="killed", **TINY), on_progress=kill)
    assert dead
    assert killed.model is not None
    assert (killed.state, killed.steps, killed.tokens) == ("succeeded", 150, unbroken.tokens)
    assert equal(killed.model, unbroken.model)
    assert logged(killed) == logged(unbroken)

    workers: list[psutil.Process] = []

    def interrupt(progress: Progress) -> None:
        if progress.step > 50 and not workers:
            family = psutil.Process().children(recursive=True)
            # By name: a child that has ended, of another test, has no command line any more.
            workers.extend(process for process in family if "RayTrainWorker" in process.name())
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    spec, run = make_run(SUMS, name="stopped", **TINY)
    with pytest.raises(KeyboardInterrupt):
        finetune(spec, run, on_progress=interrupt)
    assert RunRecord.read(run.folder).state == "cancelled"
    assert signal.getsignal(signal.SIGINT) is handler
    assert workers
    assert not psutil.wait_procs(workers, timeout=10)[1]
    (run.folder / "finetune_model" / "checkpoint-99").mkdir()  # half written
    resumed = finetune(spec, RunRecord.read(run.folder), resume=True)
    assert resumed.model is not None
    assert equal(resumed.model, unbroken.model)
    assert logged(resumed) == logged(unbroken)
    assert not list((run.folder / "finetune_model").glob("checkpoint-*"))
