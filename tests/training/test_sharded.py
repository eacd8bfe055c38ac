"""DeepSpeed and FSDP by option, two workers: the weights of plain training. In processes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training import FinetuneSpec, checkpoints, worker

from .conftest import SUMS, prepare

BATCH = 4  # rows of a step, of all workers
OPTIONS = {
    "sft__int__max_steps": 6, "sft__bool__use_peft": "false", "sft__float__learning_rate": 0.001,
    "sft__int__gradient_accumulation_steps": 2,
    "sft__float__adam_epsilon": 0.01,  # above most gradients: else Adam makes a whole step of what is only rounding
}  # fmt: skip
ZERO = {
    "zero_optimization": {"stage": 2, "stage3_gather_16bit_weights_on_model_save": True},
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
}
LORA = {"sft__bool__use_peft": "true", "sft__float__lora_dropout": 0.0}
RUNS: dict[str, dict[str, Any]] = {
    "zero-2": {"sft__dict__deepspeed": json.dumps(ZERO)},
    "zero-3": {"sft__dict__deepspeed": json.dumps(ZERO).replace('"stage": 2', '"stage": 3')},
}
RUNS["zero-3-lora"] = RUNS["zero-3"] | LORA
RUNS["fsdp"] = {"sft__dict__fsdp_config": "{}", "sft__int__save_steps": 2, "stop": 3}
RUNS["fsdp-lora"] = {"sft__dict__fsdp_config": "{}"} | LORA


def work(spec: FinetuneSpec, run: RunRecord, base: Path, *, stop: int | None = None, first: bool = True) -> Path:
    """What each worker does; at step `stop` it ends as a killed one does. Gives the model's folder."""
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == stop:
                raise KeyboardInterrupt

    checkpoint = checkpoints.last(run.folder / "finetune_model")
    trainer = worker.build_trainer(spec, run, base, checkpoint=checkpoint)
    assert trainer.is_deepspeed_enabled == ("deepspeed" in spec.training)
    assert trainer.is_fsdp_enabled == ("fsdp_config" in spec.training)
    trainer.add_callback(Stop())
    seconds = worker.learn(trainer, checkpoint)
    if trainer.is_fsdp_enabled:
        weights: list[Any] = [*trainer.model.parameters()]
        assert sum(weight.to_local().numel() for weight in weights) < 0.6 * sum(weight.numel() for weight in weights)
    worker.save(trainer, spec, run, seconds, first=first)
    return run.folder / "finetune_model" / "final"


def main(home: str, base: str) -> None:
    """One of two workers, of one run after the other."""
    import gc

    import torch.distributed as dist
    from accelerate.state import AcceleratorState, GradientState

    def afresh() -> None:
        """As a new process finds it."""
        dist.barrier()
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        for name in os.environ.keys() - environment.keys():  # Accelerate's ACCELERATE_USE_DEEPSPEED and _FSDP
            del os.environ[name]
        gc.collect()  # and with the trainer DeepSpeed's configuration, which Transformers looks for while it lives

    environment = {**os.environ}
    dist.init_process_group("gloo")
    first = dist.get_rank() == 0
    for name, options in RUNS.items():
        given = {**options, "sft__int__per_device_train_batch_size": BATCH // 2}
        stop = given.pop("stop", None)
        shared: list[Any] = [prepared(Path(home), Path(base), name, given) if first else None]
        dist.broadcast_object_list(shared)
        if stop:
            with pytest.raises(KeyboardInterrupt):
                work(*shared[0], Path(base), stop=stop, first=first)
            afresh()
        work(*shared[0], Path(base), first=first)
        afresh()
    dist.destroy_process_group()


def prepared(home: Path, base: Path, name: str, options: dict[str, Any]) -> tuple[FinetuneSpec, RunRecord]:
    return prepare(home, SUMS, name=name, localModelDir=base, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def sharded(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs that two processes have done together."""
    home = tmp_path_factory.mktemp("sharded")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.test_sharded", str(home), str(base)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate()[1] for process in processes]
    assert not any(process.returncode for process in processes), "\n".join(said)
    return home / "runs"


@pytest.fixture(scope="module")
def plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """What one process learns with all weights, and with an adapter."""
    home = tmp_path_factory.mktemp("plain")
    return {
        lora: work(*prepared(home, base, f"plain-{lora}", LORA if lora else {}), base) for lora in (False, True)
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.parametrize("name", RUNS)
def test_two_workers_that_share_the_weights_learn_what_one_learns(
    name: str, sharded: Path, plain: dict[bool, Path]
) -> None:
    from safetensors.torch import load_file

    folders = sharded / name / "finetune_model" / "final", plain["lora" in name]
    found, expected = (load_file(folder / "model.safetensors") for folder in folders)
    assert found.keys() == expected.keys()
    # Two sums of half the rows round otherwise than one of all.
    assert max((found[name].float() - expected[name]).abs().max() for name in expected) < 1e-5


if __name__ == "__main__":
    main(*sys.argv[1:])
