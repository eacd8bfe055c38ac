"""A run that goes on under other settings, and what makes another run of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import OptionError, TrainingError
from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training import FinetuneSpec, finetune, resumed, sft

from .conftest import SUMS, MakeRun

BATCH, STEPS = "sft.int.per_device_train_batch_size", "sft.int.gradient_accumulation_steps"
SPEC = FinetuneSpec.from_options({"name": "mine", BATCH: "8", STEPS: "2"})


def test_half_the_batch_and_twice_the_accumulation() -> None:
    spec = resumed.changed(SPEC, {BATCH: "4", STEPS: "4", "sft.float.learning_rate": "0.5"})
    expected = {
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "learning_rate": 0.5,
    }  # fmt: skip
    assert spec.training == SPEC.training | expected
    assert resumed.changed(SPEC, {}) is SPEC


@pytest.mark.parametrize(
    ("options", "message", "cure"),
    [
        ({BATCH: "4"}, f"{BATCH}: a step of run mine learns from 16 rows of each worker, not 8", "at 16"),
        ({STEPS: "1"}, f"{STEPS}: a step of run mine learns from 16 rows of each worker, not 8", "at 16"),
        ({"sft.int.max_length": "64"}, "sft.int.max_length cannot change when a run is resumed", "another name"),
        ({"name2": "x"}, "name2 cannot change when a run is resumed", "another name"),
        ({"dpo.float.learning_rate": "1"}, "dpo.float.learning_rate cannot change when a run is resumed", ""),
        ({"sft.float.learning_rate": "0"}, "sft.float.learning_rate: learning_rate must be above 0, not 0.0", ""),
    ],
)
def test_what_would_make_another_run_of_it(options: dict[str, str], message: str, cure: str) -> None:
    with pytest.raises(OptionError) as caught:
        resumed.changed(SPEC, options)
    assert caught.value.message == message
    assert cure in caught.value.cure
    assert caught.value.key in options


@pytest.mark.parametrize(
    ("batch", "accumulation", "expected"), [(8, 2, (4, 4)), (6, 1, (3, 2)), (3, 4, (1, 12)), (5, 1, (1, 5))]
)
def test_halves(batch: int, accumulation: int, expected: tuple[int, int]) -> None:
    spec = resumed.halved(FinetuneSpec.from_options({BATCH: str(batch), STEPS: str(accumulation)}))
    assert spec is not None
    assert (spec.training[resumed.BATCH], spec.training[resumed.ACCUMULATION]) == expected
    assert resumed.halved(FinetuneSpec.from_options({BATCH: "1"})) is None


@pytest.mark.parametrize(("asked", "batches"), [("halve", [4, 2, 1]), ("", [4])])
def test_out_of_memory_takes_its_own_cure_if_asked(
    asked: str, batches: list[int], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def launch(_: Any, config: dict[str, Any], *__: Any, **___: Any) -> None:
        tried.append(config["spec"].training[resumed.BATCH])
        raise TrainingError("out of memory: CUDA out of memory", cure="Halve it.")

    monkeypatch.setattr(sft, "launch", launch)
    options = {"onOom": asked} if asked else {}
    spec, run = make_run(SUMS, sft__int__per_device_train_batch_size=4, **options)
    with pytest.raises(TrainingError, match="out of memory"):
        finetune(spec, run)
    assert tried == batches
    assert RunRecord.read(run.folder).state == "failed"


def test_on_oom_halves_or_is_refused() -> None:
    with pytest.raises(OptionError, match="unknown onOom quarter"):
        FinetuneSpec.from_options({"onOom": "quarter"})


@pytest.mark.slow
def test_a_resumed_run_takes_its_own_batch_and_learning_rate(base: Path, make_run: MakeRun) -> None:
    """The same rows in each step, read in smaller batches: the unbroken run's loss up to rounding."""
    from .test_resume import LORA, logged, train

    plain = LORA | {"sft__float__lora_dropout": 0.0}
    whole = make_run(SUMS, localModelDir=base, **plain)
    train(*whole, base)
    spec, run = make_run(SUMS, localModelDir=base, **plain)
    with pytest.raises(KeyboardInterrupt):
        train(spec, run, base, stop=6)
    smaller = resumed.halved(spec)
    assert smaller is not None
    train(smaller, run, base)
    steps, losses = zip(*[line[:2] for line in logged(run)], strict=True)
    assert steps == tuple(range(1, 13))
    assert losses == pytest.approx([line[1] for line in logged(whole[1])], rel=1e-2)

    spec, run = make_run(SUMS, localModelDir=base, **plain)
    with pytest.raises(KeyboardInterrupt):
        train(spec, run, base, stop=6)
    train(resumed.changed(spec, {"sft.float.learning_rate": "0.001"}), run, base)
    from sqlllm.jobs.training.progress import read_metrics

    before, after = (read_metrics(one.metrics)[0] for one in (whole[1], run))
    assert [line.learning_rate for line in after[:4]] == [line.learning_rate for line in before[:4]]
    assert [line.learning_rate for line in after[5:]] == pytest.approx(
        [line.learning_rate / 10 for line in before[5:]]
    )  # fmt: skip
