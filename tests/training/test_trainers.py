"""Trainers in this process: what is held out, what is kept, packing, preferences, four bits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import OptionError, TrainingError
from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training import FinetuneSpec, checkpoints, dpo, finetune, worker
from sqlllm.jobs.training.evaluate import measure
from sqlllm.jobs.training.formats import check, detect

from .conftest import SUMS, MakeRun, Rows

pytestmark = pytest.mark.slow

FAST = {"sft__int__gradient_accumulation_steps": 1, "sft__int__per_device_train_batch_size": 16}
PAIRS: Rows = [{"prompt": f"{a} plus 1", "chosen": str(a + 1), "rejected": "I do not know"} for a in range(16)]


def trained(
    spec: FinetuneSpec, run: RunRecord, base: Path, *callbacks: Any
) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
    """Train and save as a worker does: the run's models, its metrics and its figures."""
    build = dpo.build_trainer if spec.kind == "dpo" else worker.build_trainer
    trainer = build(spec, run, base)
    for callback in callbacks:
        trainer.add_callback(callback)
    trainer.train()
    worker.save(trainer, spec, run, seconds=1.0)
    folder = run.folder / "finetune_model"
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return folder, lines, json.loads((folder / "train_results.json").read_text())


def forget(after: int) -> Any:
    """A callback that takes back, from step `after` + 1 on, all that the adapter has learned."""
    from transformers import TrainerCallback

    class Forget(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step > after:
                for name, weight in kwargs["model"].named_parameters():
                    if "lora_B" in name:
                        weight.data.zero_()

    return Forget()


def test_held_out_rows_are_measured_and_the_best_model_is_kept(base: Path, make_run: MakeRun) -> None:
    options = {
        "sft__float__val_size": 0.25, "sft__int__eval_steps": 4, "sft__int__max_steps": 24,
        "sft__float__learning_rate": 0.01, "sft__str__lr_scheduler_type": "constant",
    }  # fmt: skip
    spec, run = make_run(SUMS, localModelDir=base, **FAST, **options)
    folder, lines, figures = trained(spec, run, base, forget(after=12))
    measured = {line["step"]: line["eval_loss"] for line in lines if line["eval_loss"] is not None}
    assert sorted(measured) == [4, 8, 12, 16, 20, 24]
    best = min(measured, key=lambda step: measured[step])
    assert best <= 12
    assert measured[16] == pytest.approx(measured[24]), "nothing of the adapter is left"
    assert (figures["best_step"], figures["eval_loss"], figures["steps"]) == (best, measured[best], 24)
    # What is kept has that loss, on the same rows.
    _, held_out = worker.examples(spec, run, worker.load_tokenizer(base))
    assert held_out is not None
    assert len(held_out) == 16
    told = {tuple(ids) for ids in held_out["input_ids"]}
    tokenizer = worker.load_tokenizer(base)
    examples = [example for row in SUMS for example in detect(list(row)).examples(row, 1)]
    apart = [example for example in examples if tuple(worker.tokens.render(tokenizer, example)[0]) in told]
    perplexity = measure(folder / "final", apart, generate=False, max_tokens=1, batch_size=16).perplexity
    assert math.log(perplexity) == pytest.approx(measured[best], rel=1e-3)


def test_it_stops_when_nothing_is_gained(base: Path, make_run: MakeRun) -> None:
    options = {
        "sft__int__val_size": 8, "sft__int__eval_steps": 1, "sft__int__max_steps": 50,
        "sft__float__learning_rate": 1e-9, "sft__int__early_stopping_patience": 2,
        "sft__float__early_stopping_threshold": 0.1,
    }  # fmt: skip
    _, lines, figures = trained(*make_run(SUMS, localModelDir=base, **FAST, **options), base)
    assert (figures["steps"], figures["total_steps"]) == (3, 50)
    assert len(lines) == 3


def test_all_answers_of_a_dialogue_stay_on_one_side(base: Path, make_run: MakeRun) -> None:
    rows = [
        {"conversation": [{"human": f"{side} {number}", "assistant": "yes"} for side in "ab"]} for number in range(10)
    ]
    spec, run = make_run(rows, localModelDir=base, sft__float__val_size=0.3)
    tokenizer = worker.load_tokenizer(base)
    learned, held_out = worker.examples(spec, run, tokenizer)
    assert held_out is not None
    assert (len(learned), len(held_out)) == (14, 6)
    sides = [
        {tokenizer.decode(ids).split("<|end|>")[0][-1] for ids in part["input_ids"]} for part in (learned, held_out)
    ]
    assert not sides[0] & sides[1]


def test_a_table_to_measure_on(base: Path, make_run: MakeRun) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    options = {"evalTable": "t", "sft__int__max_steps": 2, "sft__int__eval_steps": 1}
    spec, run = make_run(SUMS, localModelDir=base, **FAST, **options)
    run.eval_data.mkdir()
    pq.write_table(pa.Table.from_pylist(SUMS[:5]), run.eval_data / "part.parquet")
    learned, held_out = worker.examples(spec, run, worker.load_tokenizer(base))
    assert held_out is not None
    assert (len(learned), len(held_out)) == (64, 5)
    _, lines, _ = trained(spec, run, base)
    assert [line["eval_loss"] is not None for line in lines] == [True, True]


def test_no_row_is_left_to_learn_from(base: Path, make_run: MakeRun) -> None:
    spec, run = make_run(SUMS, localModelDir=base, sft__int__val_size=64)
    with pytest.raises(TrainingError, match="val_size holds out 64 of 64 rows"):
        worker.build_trainer(spec, run, base)


def test_packed_and_unpacked_give_the_same_loss(base: Path, make_run: MakeRun) -> None:
    """Rows of a block do not see each other; every answer token counts once."""
    rows = [{"instruction": "say " + "one " * number, "output": "two " * (number % 5 + 1)} for number in range(1, 33)]
    losses = []
    for packing in ("false", "true"):
        spec, run = make_run(
            rows, localModelDir=base, sft__bool__packing=packing, sft__int__max_steps=1, sft__int__max_length=256,
            sft__int__per_device_train_batch_size=32, sft__int__gradient_accumulation_steps=1,
            sft__float__lora_dropout=0,
        )  # fmt: skip
        trainer = worker.build_trainer(spec, run, base)
        blocks = len(trainer.train_dataset)  # type: ignore[arg-type]
        assert blocks == 32 if packing == "false" else blocks < 8
        trainer.train()
        losses.append(json.loads(run.metrics.read_text())["loss"])
    # Rows that saw each other would move it by a twentieth.
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_tokens_are_kept_for_equal_rows_and_an_equal_tokenizer(base: Path, make_run: MakeRun) -> None:
    tokenizer = worker.load_tokenizer(base)

    def folders(rows: Rows) -> list[str]:
        spec, run = make_run(rows, localModelDir=base)
        worker.examples(spec, run, tokenizer)
        return sorted(path.name for path in (run.folder.parent / ".cache" / "tokens").iterdir())

    first = folders(SUMS)
    assert folders(SUMS) == first
    assert len(folders(SUMS[:-1])) == 2
    tokenizer.chat_template += " "
    assert len(folders(SUMS)) == 3
    for number in range(10):
        last = folders(SUMS[number:])
    assert len(last) == 8


def test_the_better_answers_gain(base: Path, make_run: MakeRun) -> None:
    options = {
        "pretrainedModelType": "dpo/auto", "dpo__int__max_steps": 12, "dpo__float__learning_rate": 1e-3,
        "dpo__int__gradient_accumulation_steps": 1, "dpo__float__val_size": 0.25, "dpo__int__logging_steps": 1,
    }  # fmt: skip
    spec, run = make_run(PAIRS, localModelDir=base, **options)
    assert run.kind == "dpo"
    assert check(run.data, dpo.FORMATS).examples == 16
    folder, lines, figures = trained(spec, run, base)
    assert abs(lines[0]["reward_margin"]) < 0.1
    assert lines[-1]["reward_margin"] > lines[0]["reward_margin"] + 0.5
    assert figures["eval_loss"] < math.log(2), "the loss of not knowing"
    assert (folder / "final" / "config.json").exists()
    assert (folder / "adapter" / "adapter_config.json").exists()
    assert checkpoints.last(folder) is not None


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same"),
        ({"prompt": "q", "chosen": "", "rejected": "a"}, "completion is empty"),
        ({"prompt": None, "chosen": "b", "rejected": "a"}, "prompt is null"),
    ],
)
def test_a_wrong_pair(row: dict[str, Any], error: str) -> None:
    with pytest.raises(TrainingError, match=error):
        dpo.FORMATS[0].examples(row, 3)


def test_a_table_without_pairs(make_run: MakeRun) -> None:
    _, run = make_run(SUMS)
    with pytest.raises(OptionError, match="instruction, output, which are not a training format") as caught:
        check(run.data, dpo.FORMATS)
    assert "preferences: prompt, chosen, rejected" in caught.value.cure


def test_fsdp_is_for_several_workers_and_its_options_reach_the_trainer(base: Path, make_run: MakeRun) -> None:
    from trl import SFTConfig

    config = {"reshard_after_forward": False, "cpu_offload": True, "transformer_layer_cls_to_wrap": "LlamaDecoderLayer"}
    spec, run = make_run(SUMS, localModelDir=base, sft__dict__fsdp_config=json.dumps(config))
    args = SFTConfig(**worker.arguments(spec, run, worker.load_model(spec, base, gpu=False), gpu=True))
    assert args.fsdp
    assert args.fsdp_plugin_args == args.fsdp_plugin_args | {
        "fsdp_version": 2, "reshard_after_forward": False, "cpu_offload": True,
        "transformer_cls_names_to_wrap": "LlamaDecoderLayer",
    }  # fmt: skip
    with pytest.raises(OptionError, match="FSDP shares weights out over workers, and this run has one") as caught:
        finetune(spec, run)
    assert "num_workers=2" in caught.value.cure


def test_four_bits(base: Path, make_run: MakeRun) -> None:
    """The loss falls, the adapter is merged into the weights in full, and an evaluation before harms no gradient."""
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    options = {
        "sft__bool__load_in_4bit": "true", "sft__int__max_steps": 30, "sft__float__learning_rate": 0.02,
        "sft__float__val_size": 0.25, "sft__int__eval_steps": 5,
    }  # fmt: skip
    spec, run = make_run(SUMS, localModelDir=base, **FAST, **options)
    layers = [layer for layer in worker.load_model(spec, base, gpu=False).modules()
              if isinstance(layer, bitsandbytes.nn.Linear4bit)]  # fmt: skip
    assert layers
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    folder, lines, _ = trained(spec, run, base)
    assert lines[-1]["loss"] < lines[0]["loss"] / 2
    config = json.loads((folder / "final" / "config.json").read_text())
    assert "quantization_config" not in config
    examples = [example for row in SUMS for example in detect(list(row)).examples(row, 1)]
    measured = measure(folder / "final", examples, generate=False, max_tokens=1, batch_size=16).perplexity
    assert math.log(measured) < lines[0]["loss"]
