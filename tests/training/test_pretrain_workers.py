"""Pretraining in workers of Ray: several learn what one learns, and what dies starts again."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import OptionError
from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training import Progress, Resources, pretrain
from sqlllm.jobs.training.pretrain_spec import PretrainSpec
from sqlllm.jobs.training.progress import read_metrics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rare,
    pytest.mark.usefixtures("ray_cluster"),
    # Ray Train makes a Ray Data context, which sets its own deprecated fields.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

TEXTS = [f"{a} plus {b} is {a + b}. " * (1 + (a + b) % 4) for a in range(8) for b in range(8)]
SMALL = {"sfft.int.max_length": 64, "sfft.int.logging_steps": 5, "sfft.int.save_steps": 20}


def config(micro: int, **zero: Any) -> str:
    return json.dumps(
        {
            "train_micro_batch_size_per_gpu": micro,
            # An epsilon above most gradients: else Adam makes a whole step of what is only rounding.
            "optimizer": {"type": "AdamW", "params": {"lr": 3e-3, "betas": [0.9, 0.95], "eps": 1e-3}},
            "zero_optimization": zero,
        }
    )


def prepare(home: Path, base: Path, parts: list[list[str]], **options: Any) -> tuple[PretrainSpec, RunRecord]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    given = {"localModelDir": base, **SMALL, **{key.replace("__", "."): value for key, value in options.items()}}
    spec = PretrainSpec.from_options({key: str(value) for key, value in given.items()})
    run = pretrain.new_run(spec, home)
    run.data.mkdir()
    for number, texts in enumerate(parts):
        pq.write_table(pa.table({"text": texts}), run.data / f"part-{number}.parquet")
    return spec, run


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, base: Path) -> tuple[RunRecord, list[Progress]]:
    """The unbroken run of one worker, and the progress it reported."""
    seen: list[Progress] = []
    options = {"deepspeedConfig": config(4, stage=2), "sfft__int__max_steps": 150}
    spec, run = prepare(tmp_path_factory.mktemp("one"), base, [TEXTS[0::2], TEXTS[1::2]], **options)
    return pretrain.pretrain(spec, run, on_progress=seen.append), seen


def weights(run: RunRecord) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM

    return dict(AutoModelForCausalLM.from_pretrained(str(run.model)).state_dict())


def test_the_record(one: tuple[RunRecord, list[Progress]]) -> None:
    run, seen = one
    assert (run.kind, run.state, run.rows, run.examples) == ("sfft", "succeeded", 64, 64)
    assert (run.steps, run.total_steps) == (150, 150)
    assert run.model == run.folder / "finetune_model" / "final"
    assert RunRecord.read(run.folder) == run
    assert [progress.step for progress in seen] == list(range(5, 151, 5))
    assert (run.loss, run.tokens) == (seen[-1].loss, seen[-1].tokens)
    assert seen[-1].loss < 0.5 * seen[0].loss
    assert not (run.folder / "work").exists()


def test_two_workers_learn_what_one_learns(one: tuple[RunRecord, list[Progress]], base: Path, tmp_path: Path) -> None:
    import torch

    options = {"deepspeedConfig": config(2, stage=3, offload_optimizer={"device": "cpu"}), "sfft__int__max_steps": 150}
    spec, run = prepare(tmp_path, base, [TEXTS[0::2], TEXTS[1::2]], **options)
    run = pretrain.pretrain(spec, run, resources=Resources(num_workers=2))
    lines, _ = read_metrics(run.metrics)
    for mine, its in zip(lines, one[1], strict=False):
        assert (mine.step, mine.tokens) == (its.step, its.tokens)
        assert mine.loss == pytest.approx(its.loss, rel=1e-3)
    assert len(lines) == len(one[1])
    # A sum of two halves rounds otherwise than the whole.
    from transformers import AutoModelForCausalLM

    start = AutoModelForCausalLM.from_pretrained(base).state_dict()
    alone, together = weights(one[0]), weights(run)
    assert alone.keys() == together.keys()
    apart, gone = (
        torch.cat([(left[name] - right[name]).flatten() for name in alone]).norm()
        for left, right in ((together, alone), (alone, start))
    )
    assert apart < 0.01 * gone


def test_a_killed_worker_starts_again_and_ends_with_the_same_weights(
    one: tuple[RunRecord, list[Progress]], base: Path, tmp_path: Path
) -> None:
    import psutil
    import torch

    options = {"deepspeedConfig": config(4, stage=2), "sfft__int__max_steps": 150}
    spec, run = prepare(tmp_path, base, [TEXTS[0::2], TEXTS[1::2]], **options)
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if killed or progress.step < 30:
            return
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "RayTrainWorker" in process.name():
                    process.kill()
                    killed.append(process.pid)

    run = pretrain.pretrain(spec, run, on_progress=kill)
    assert killed
    assert run.state == "succeeded"
    expected = weights(one[0])
    assert all(torch.equal(weight, expected[name]) for name, weight in weights(run).items())
    mine, its = (read_metrics(record.metrics)[0] for record in (run, one[0]))
    assert [(line.step, line.loss) for line in mine] == [(line.step, line.loss) for line in its]


def test_each_worker_reads_its_partition(base: Path, tmp_path: Path) -> None:
    """Of very different sizes: the steps are those of the larger one, and none waits for the other for ever."""
    options = {"deepspeedConfig": config(2, stage=1), "keepPartitionNum": "true"}
    spec, run = prepare(tmp_path, base, [TEXTS[:60], TEXTS[60:]], **options)
    run = pretrain.pretrain(spec, run, resources=Resources(num_workers=2))
    assert (run.state, run.epochs, run.examples) == ("succeeded", 1.0, 64)
    assert run.steps > 5


def test_columns_that_hold_no_text(base: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    spec, run = prepare(tmp_path, base, [])
    pq.write_table(pa.table({"body": TEXTS}), run.data / "part.parquet")
    with pytest.raises(OptionError, match="has the columns body, and no text") as caught:
        pretrain.pretrain(spec, run)
    assert "select body as text" in caught.value.cure
    assert RunRecord.read(run.folder).state == "failed"
