"""DeepSpeed by option, two workers: the weights of plain training. In processes of their own, which it changes."""

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
from sqlllm.jobs.training import FinetuneSpec, worker

from .conftest import SUMS, prepare

BATCH = 4  # rows of a step, of all workers
OPTIONS = {
    "sft__int__max_steps": 6, "sft__bool__use_peft": "false", "sft__float__learning_rate": 0.001,
    "sft__int__gradient_accumulation_steps": 2,
}  # fmt: skip
ZERO = {
    "zero_optimization": {"stage": 2, "stage3_gather_16bit_weights_on_model_save": True},
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
}
ZERO_2 = {"sft__dict__deepspeed": json.dumps(ZERO)}
ZERO_3 = {"sft__dict__deepspeed": json.dumps(ZERO).replace('"stage": 2', '"stage": 3')}


def work(spec: FinetuneSpec, run: RunRecord, base: Path, *, first: bool = True) -> Path:
    """What each worker does; gives the model's folder."""
    trainer = worker.build_trainer(spec, run, base)
    assert trainer.is_deepspeed_enabled == ("deepspeed" in spec.training)
    worker.save(trainer, spec, run, worker.learn(trainer, None), first=first)
    return run.folder / "finetune_model" / "final"


def main(home: str, base: str, options: str) -> None:
    """One of two workers."""
    import torch.distributed as dist

    dist.init_process_group("gloo")
    first = dist.get_rank() == 0
    given = {**json.loads(options), "sft__int__per_device_train_batch_size": BATCH // 2}
    shared: list[Any] = [prepared(Path(home), Path(base), given) if first else None]
    dist.broadcast_object_list(shared)
    work(*shared[0], Path(base), first=first)
    dist.barrier()
    dist.destroy_process_group()


def prepared(home: Path, base: Path, options: dict[str, Any]) -> tuple[FinetuneSpec, RunRecord]:
    return prepare(home, SUMS, name="run", localModelDir=base, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work(*prepared(tmp_path_factory.mktemp("plain"), base, {}), base)


@pytest.mark.slow
@pytest.mark.parametrize("options", [ZERO_2, ZERO_3], ids=["zero-2", "zero-3"])
def test_two_workers_that_share_the_weights_learn_what_one_learns(
    options: dict[str, Any], base: Path, tmp_path: Path, plain: Path
) -> None:
    from safetensors.torch import load_file

    in_two_processes(tmp_path, base, options)
    sharded = tmp_path / "runs" / "run" / "finetune_model" / "final"
    found, expected = (load_file(folder / "model.safetensors") for folder in (sharded, plain))
    assert found.keys() == expected.keys()
    assert max((found[name].float() - expected[name]).abs().max() for name in expected) < 1e-5


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
