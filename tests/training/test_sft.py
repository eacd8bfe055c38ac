"""Whole runs, on a few steps of a tiny model."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from sqlllm.errors import TrainingError
from sqlllm.jobs.runs import RunRecord, why
from sqlllm.jobs.training import Progress, Resources, finetune, worker
from tests.tiny import make_broken_model

from .conftest import SUMS, MakeRun, prepare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("ray_cluster"),
    # Ray Train makes a Ray Data context, which sets its own deprecated fields.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

TINY = {
    "sft__int__hidden_size": 32, "sft__int__intermediate_size": 64, "sft__int__vocab_size": 300,
    "sft__int__per_device_train_batch_size": 16, "sft__int__max_steps": 12, "sft__int__logging_steps": 5,
    "sft__float__learning_rate": 0.01,
    "sft__float__adam_epsilon": 0.001,  # above most gradients: else Adam makes a whole step of what is only rounding
}  # fmt: skip


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, list[Progress]]:
    """A finished run from scratch, and the progress it reported."""
    seen: list[Progress] = []
    run = finetune(*prepare(tmp_path_factory.mktemp("sums"), SUMS, name="sums", **TINY), on_progress=seen.append)
    return run, seen


def test_from_scratch(sums: tuple[RunRecord, list[Progress]]) -> None:
    run, seen = sums
    assert run.state == "succeeded"
    assert (run.rows, run.examples, run.steps, run.total_steps, run.epochs) == (64, 64, 12, 12, 3.0)
    assert run.model == run.folder / "finetune_model" / "final"
    assert RunRecord.read(run.folder) == run
    assert (run.truncated, run.dropped) == (0, 0)
    assert [progress.step for progress in seen] == [2, 4, 5, 6, 8, 10, 12]  # every fifth, and those of checkpoints
    assert seen[-1].loss < seen[0].loss
    assert (run.loss, run.tokens) == (seen[-1].loss, seen[-1].tokens)
    assert seen[-1].eta == 0.0
    assert {path.name for path in run.folder.iterdir()} == {
        "finetune_data", "finetune_model", "metrics.jsonl", "run.json",
    }  # fmt: skip
    generates(run.model)


def generates(folder: Path) -> None:
    """The folder is a model that transformers takes as it is."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    question = [{"role": "user", "content": "1 plus 1"}]
    inputs = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert answer.shape[1] > inputs["input_ids"].shape[1]
    assert tokenizer.eos_token_id == model.generation_config.eos_token_id == model.config.eos_token_id


def test_lora_is_merged_and_its_adapter_kept(base: Path, make_run: MakeRun) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    spec, run = make_run(
        SUMS, localModelDir=base, sft__int__max_steps=3, sft__int__lora_rank=4, sft__float__learning_rate=0.05
    )
    trainer = worker.build_trainer(spec, run, base)
    trainer.train()
    worker.save(trainer, spec, run, seconds=1.0)
    model = run.folder / "finetune_model" / "final"
    assert json.loads((model.parent / "adapter" / "adapter_config.json").read_text())["r"] == 4
    generates(model)

    tokens = torch.arange(10, 40).unsqueeze(0)
    start = AutoModelForCausalLM.from_pretrained(base)
    before = start(tokens).logits
    adapted = PeftModel.from_pretrained(start, model.parent / "adapter")(tokens).logits
    merged = AutoModelForCausalLM.from_pretrained(model)(tokens).logits
    learned = (merged - before).abs().max()
    assert learned > 0.1
    assert (merged - adapted).abs().max() < 1e-3 * learned


def test_the_adapter_alone(base: Path, make_run: MakeRun) -> None:
    spec, run = make_run(SUMS, localModelDir=base, sft__int__max_steps=1, skipCopyPretrainedModel="true")
    trainer = worker.build_trainer(spec, run, base)
    trainer.train()
    worker.save(trainer, spec, run.update(examples=len(SUMS)), seconds=1.0)
    model = run.folder / "finetune_model" / "final"
    assert (model / "adapter_config.json").exists()
    assert not (model / "config.json").exists()


@pytest.mark.parametrize("fsdp", [False, pytest.param(True, marks=pytest.mark.rare)])
def test_two_workers_learn_what_one_learns(
    fsdp: bool, sums: tuple[RunRecord, list[Progress]], make_run: MakeRun
) -> None:
    from safetensors.torch import load_file

    one, _ = sums
    options: dict[str, object] = {**TINY, "sft__int__per_device_train_batch_size": 8}
    if fsdp:
        options |= {"sft__dict__fsdp_config": "{}", "sft__int__save_total_limit": 1}
    two = finetune(*make_run(SUMS, **options), resources=Resources(num_workers=2))
    assert (two.folder / "finetune_model" / "checkpoint-12" / "pytorch_model_fsdp.bin").exists() == fsdp
    # The same rows in each step, as the seed orders them, half of them in each worker.
    assert (two.epochs, two.tokens) == (one.epochs, one.tokens)
    assert two.loss == pytest.approx(one.loss, rel=1e-3)
    assert one.model is not None
    assert two.model is not None
    learned, again = (load_file(model / "model.safetensors") for model in (one.model, two.model))
    assert learned.keys() == again.keys()
    assert max((learned[name] - again[name]).abs().max() for name in learned) < 1e-4


def test_a_wrong_row_stops_the_run_before_it_starts(make_run: MakeRun) -> None:
    spec, run = make_run([*SUMS, {"instruction": "1 plus 1", "output": None}])
    with pytest.raises(TrainingError) as caught:
        finetune(spec, run)
    assert caught.value.message == "row 65 of the training table: output is null"
    record = RunRecord.read(run.folder)
    assert (record.state, record.model, record.reason) == ("failed", None, why(caught.value))
    assert "\n" not in record.reason
    assert not record.metrics.exists()


def test_what_trl_refuses_is_reported_in_its_words(base: Path, make_run: MakeRun) -> None:
    spec, run = make_run(SUMS, localModelDir=base, sft__str__optim="adamw_of_tomorrow")
    with pytest.raises(ValueError, match="adamw_of_tomorrow"):  # which `launch` reports as it is
        worker.build_trainer(spec, run, base)


def test_a_loss_that_is_not_a_number(tmp_path: Path, make_run: MakeRun) -> None:
    broken = make_broken_model(tmp_path / "broken")
    spec, run = make_run(SUMS, localModelDir=broken)
    trainer = worker.build_trainer(spec, run, broken)
    with pytest.raises(TrainingError, match="the loss became ") as caught:
        trainer.train()
    assert "learning_rate" in caught.value.cure


def test_questions_that_leave_no_room_for_an_answer(base: Path, make_run: MakeRun) -> None:
    rows = [{"instruction": "word " * 50, "output": "1"}] * 4
    spec, run = make_run(rows, localModelDir=base, sft__int__max_length=8)
    with pytest.raises(TrainingError, match="every question alone fills the 8 tokens of max_length"):
        worker.build_trainer(spec, run, base)


def test_a_killed_worker(make_run: MakeRun) -> None:
    import psutil

    def kill(progress: Progress) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "RayTrainWorker" in " ".join(process.cmdline()):
                    process.kill()

    spec, run = make_run(SUMS, **{**TINY, "sft__int__max_steps": 10_000})
    with pytest.raises(TrainingError, match="a training process ended unexpectedly"):
        finetune(spec, run, on_progress=kill)
    assert RunRecord.read(run.folder).state == "failed"


def test_long_answers_are_counted(base: Path, make_run: MakeRun) -> None:
    rows = [*SUMS[:6], {"instruction": "1 plus 1", "output": "2 " * 50}, {"instruction": "word " * 50, "output": "1"}]
    spec, run = make_run(rows, localModelDir=base, sft__int__max_length=32, sft__int__max_steps=1)
    trainer = worker.build_trainer(spec, run, base)
    trainer.train()
    worker.save(trainer, spec, run.update(examples=len(rows)), seconds=1.0)
    figures = json.loads((run.folder / "finetune_model" / "train_results.json").read_text())
    assert (figures["truncated"], figures["dropped"]) == (1, 1)
