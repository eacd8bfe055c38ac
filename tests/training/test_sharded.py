"""DeepSpeed by option: the same weights as without. Each in a process of its own, which DeepSpeed changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sqlllm.jobs.training import worker

from .conftest import SUMS, prepare

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
SHARDED = {
    "zero-2": {"sft__dict__deepspeed": json.dumps(ZERO)},
    "zero-3": {"sft__dict__deepspeed": json.dumps(ZERO).replace('"stage": 2', '"stage": 3')},
}


def train(home: str, base: str, options: str) -> None:
    import torch

    torch.distributed.init_process_group("gloo")
    spec, run = prepare(Path(home), SUMS, name="run", localModelDir=base, **OPTIONS, **json.loads(options))
    trainer = worker.build_trainer(spec, run, Path(base))
    assert trainer.is_deepspeed_enabled == ("deepspeed" in options)
    worker.save(trainer, spec, run, worker.learn(trainer, None))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("how", SHARDED)
def test_the_weights_are_those_of_plain_training(how: str, base: Path, tmp_path: Path, plain: Path) -> None:
    from safetensors.torch import load_file

    model = in_a_process(tmp_path, base, SHARDED[how])
    sharded, alone = (load_file(folder / "model.safetensors") for folder in (model, plain))
    assert sharded.keys() == alone.keys()
    assert max((sharded[name].float() - alone[name]).abs().max() for name in alone) < 1e-5


@pytest.fixture(scope="module")
def plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_a_process(tmp_path_factory.mktemp("plain"), base, {})


def in_a_process(home: Path, base: Path, options: dict[str, str]) -> Path:
    shown = subprocess.run(
        [sys.executable, "-m", "tests.training.test_sharded", str(home), str(base), json.dumps(options)],
        env={
            **os.environ,
            "RANK": "0",
            "LOCAL_RANK": "0",
            "WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "0",
        },
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    return home / "runs" / "run" / "finetune_model" / "final"


if __name__ == "__main__":
    train(*sys.argv[1:])
