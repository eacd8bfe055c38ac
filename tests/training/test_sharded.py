"""DeepSpeed and FSDP by option, two workers: the weights of plain training. In processes that DeepSpeed may change."""

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
    "sft__int__gradient_accumulation_steps": 2, "sft__int__save_steps": 2,
}  # fmt: skip
ZERO = {
    "zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True},
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
}
ZERO_3 = {"sft__dict__deepspeed": json.dumps(ZERO)}
FSDP = {"sft__dict__fsdp_config": "{}"}
LORA = {"sft__bool__use_peft": "true", "sft__float__lora_dropout": 0.0}


def work(spec: FinetuneSpec, run: RunRecord, base: Path, stop: int | None = None, *, first: bool = True) -> None:
    """What each worker does; at step `stop` it ends as a killed one does, and goes on from its checkpoint."""
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
    worker.save(trainer, spec, run, worker.learn(trainer, checkpoint), first=first)


def main(home: str, base: str, options: str) -> None:
    """One of several workers."""
    import torch.distributed as dist

    dist.init_process_group("gloo")
    given = {**json.loads(options), "sft__int__per_device_train_batch_size": BATCH // dist.get_world_size()}
    stop = given.pop("stop", None)
    shared: list[Any] = [prepared(Path(home), Path(base), given) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(shared)
    if stop:
        with pytest.raises(KeyboardInterrupt):
            work(*shared[0], Path(base), stop)
        assert checkpoints.last(shared[0][1].folder / "finetune_model")
    work(*shared[0], Path(base), first=dist.get_rank() == 0)
    dist.barrier()
    dist.destroy_process_group()


def prepared(home: Path, base: Path, options: dict[str, Any]) -> tuple[FinetuneSpec, RunRecord]:
    return prepare(home, SUMS, name="run", localModelDir=base, **{**OPTIONS, **options})


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [ZERO_3, {**FSDP, "stop": 3}, {**FSDP, **LORA}],
    ids=["zero-3", "fsdp, stopped and resumed", "fsdp with lora"],
)
def test_two_workers_that_share_the_weights_learn_what_one_learns(
    options: dict[str, Any], base: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    in_two_processes(tmp_path, base, options)
    sharded = tmp_path / "runs" / "run" / "finetune_model" / "final"
    spec, run = prepared(tmp_path / "plain", base, LORA if "sft__bool__use_peft" in options else {})
    work(spec, run, base)
    plain = run.folder / "finetune_model" / "final"
    found, expected = (load_file(folder / "model.safetensors") for folder in (sharded, plain))
    assert found.keys() == expected.keys()
    assert max((found[name].float() - expected[name]).abs().max() for name in expected) < 1e-5
    assert (sharded / "config.json").read_text() == (plain / "config.json").read_text()


def in_two_processes(home: Path, base: Path, options: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.test_sharded", str(home), str(base), json.dumps(options)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate()[1] for process in processes]
    assert not any(process.returncode for process in processes), "\n".join(said)


if __name__ == "__main__":
    main(*sys.argv[1:])
