from __future__ import annotations

import dataclasses
import json
import sys
from datetime import datetime
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from sqlllm.errors import OptionError
from sqlllm.jobs.job import KINDS, kind_of
from sqlllm.jobs.training import FinetuneSpec, keys
from sqlllm.jobs.training.defaults import DEFAULTS

CASES = [json.loads(line) for line in (Path(__file__).with_name("options.jsonl")).read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["error"])
def test_a_wrong_option(case: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as caught:
        FinetuneSpec.from_options(case["options"])
    assert caught.value.message == case["error"]
    assert case.get("cure", "") in caught.value.cure
    assert caught.value.key in case["options"]


def test_the_seeds_script_is_read(base: Path) -> None:
    spec = FinetuneSpec.from_options(
        {
            "localPathPrefix": "/home/byzerllm/models/sft/jobs",
            "pretrainedModelType": "sft/llama2",
            "localModelDir": str(base),
            "model": "command",
            "inputTable": "sft_data",
            "outputTable": "llama2_300",
            "detached": "true",
            "sft.int.max_seq_length": "512",
            "sft.int.num_train_epochs": "2",
            "sft.int.lora_rank": "64",
            "sft.float.lora_dropout": "0.1",
            "sft.int.warmup_steps": "10",
            "sft.bool.remove_unused_columns": "false",
            "sft.str.task_type": "",
        }
    )
    assert spec.method == "lora"
    assert spec.training["max_length"] == 512
    assert spec.training["num_train_epochs"] == 2.0
    assert spec.lora == {**spec.lora, "r": 64, "lora_dropout": 0.1, "lora_alpha": 32}
    assert (spec.input_table, spec.output_table) == ("sft_data", "llama2_300")


def test_every_key_of_byzers_sft_with_its_default(base: Path) -> None:
    written = {
        "int": {
            "num_train_epochs": 1, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 16,
            "max_seq_length": 1024, "logging_steps": 300, "save_steps": 500, "save_total_limit": 1,
            "warmup_steps": 3000, "lora_rank": 64, "lora_alpha": 16, "seed": 42, "dataloader_num_workers": 0,
        },
        "float": {"learning_rate": 2e-4, "weight_decay": 0, "max_grad_norm": 0.3, "lora_dropout": 0.05},
        "str": {
            "lr_scheduler_type": "cosine", "task_type": "", "optim": "paged_adamw_32bit", "report_to": "tensorboard",
            "save_strategy": "steps", "eval_file": "",
        },
        "bool": {
            "gradient_checkpointing": "false", "disable_tqdm": "false", "fp16": "true",
            "remove_unused_columns": "false",
        },
    }  # fmt: skip
    options = {f"sft.{kind}.{key}": str(value) for kind, keys_ in written.items() for key, value in keys_.items()}
    spec = FinetuneSpec.from_options({"localModelDir": str(base), **options})
    assert spec.lora == {**spec.lora, "r": 64, "lora_alpha": 16, "lora_dropout": 0.05}
    assert spec.training == spec.training | {
        "max_length": 1024, "gradient_accumulation_steps": 16, "warmup_steps": 3000.0, "optim": "paged_adamw_32bit",
        "fp16": True, "save_steps": 500.0, "report_to": "tensorboard",
    }  # fmt: skip
    assert spec.keeps_checkpoints


def test_a_specification_is_the_same_after_a_file(base: Path) -> None:
    options = {"localModelDir": str(base), "sft.float.val_size": "0.1", "sft.int.early_stopping_patience": "2"}
    spec = FinetuneSpec.from_options(options).model_copy(update={"options": {}})
    assert FinetuneSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.training["eval_steps"] == spec.training["save_steps"] == 0.1
    assert spec.training["load_best_model_at_end"] is True


@pytest.mark.parametrize(
    ("given", "evaluates", "saves", "keeps_best"),
    [
        ({}, "steps", "steps", True),
        ({"save_strategy": "epoch"}, "epoch", "epoch", True),
        ({"save_strategy": "best"}, "steps", "best", True),
        ({"save_strategy": "epoch", "eval_strategy": "steps"}, "steps", "epoch", False),
        ({"eval_strategy": "no"}, "no", "no", False),
    ],
)
def test_the_best_checkpoint_is_kept_where_it_is_known(
    base: Path, given: dict[str, str], evaluates: str, saves: str, keeps_best: bool
) -> None:
    options = {f"sft.str.{key}": value for key, value in given.items()}
    training = FinetuneSpec.from_options({"localModelDir": str(base), "sft.float.val_size": "0.1", **options}).training
    found = training["eval_strategy"], training["save_strategy"], training["load_best_model_at_end"]
    assert found == (evaluates, saves, keeps_best)


def test_the_method_follows_from_the_model(base: Path) -> None:
    assert FinetuneSpec.from_options({}).method == "scratch"
    assert FinetuneSpec.from_options({"localModelDir": str(base)}).method == "lora"
    assert FinetuneSpec.from_options({"localModelDir": str(base), "sft.bool.use_peft": "false"}).method == "full"


@pytest.mark.parametrize("method", ["lora", "full", "scratch"])
def test_defaults_hold_unless_the_statement_says_otherwise(base: Path, method: str) -> None:
    options = {"lora": {"localModelDir": str(base)}, "scratch": {}}.get(
        method, {"localModelDir": str(base), "sft.bool.use_peft": "false"}
    )
    spec = FinetuneSpec.from_options(options)
    assert spec.training | spec.lora | spec.llama == DEFAULTS[spec.method]
    changed = FinetuneSpec.from_options({**options, "sft.float.learning_rate": "0.5"})
    assert changed.training == {**spec.training, "learning_rate": 0.5}


def test_config_comes_before_the_keys() -> None:
    config = json.dumps({"max_steps": 7, "learning_rate": 0.5, "hidden_size": 64})
    spec = FinetuneSpec.from_options({"sft.int.max_steps": "9", "config": config})
    assert spec.training["max_steps"] == 9
    assert spec.training["learning_rate"] == 0.5
    assert spec.llama["hidden_size"] == 64


def test_a_key_of_a_new_model_beside_a_model(base: Path) -> None:
    with pytest.raises(OptionError, match="hidden_size describes a new model, but localModelDir names one") as caught:
        FinetuneSpec.from_options({"localModelDir": str(base), "sft.int.hidden_size": "64"})
    assert caught.value.key == "sft.int.hidden_size"


def test_typed_values() -> None:
    spec = FinetuneSpec.from_options(
        {
            "sft.bool.packing": "True",
            "sft.int.logging_steps": "3",
            "sft.str.optim": "adamw_torch",
            "sft.dict.lr_scheduler_kwargs": '{"num_cycles": 2}',
        }
    )
    taken = {name: spec.training[name] for name in ("packing", "logging_steps", "optim", "lr_scheduler_kwargs")}
    assert taken == {
        "packing": True,
        "logging_steps": 3.0,
        "optim": "adamw_torch",
        "lr_scheduler_kwargs": {"num_cycles": 2},
    }


def test_transformers_word_for_by_epochs_says_nothing() -> None:
    assert "max_steps" not in FinetuneSpec.from_options({"sft.int.max_steps": "-1"}).training


def test_blanks_around_the_type_say_nothing(base: Path) -> None:
    spec = FinetuneSpec.from_options({"pretrainedModelType": " dpo/auto ", "localModelDir": str(base)})
    assert (spec.kind, spec.pretrained_model_type) == ("dpo", "dpo/auto")
    assert kind_of({"pretrainedModelType": " sfft/auto"}) is KINDS["sfft"]


def test_a_name_is_made_from_the_time() -> None:
    name = FinetuneSpec.from_options({}).name
    assert abs(datetime.strptime(name, "sft-%Y%m%d-%H-%M-%S") - datetime.now()).total_seconds() < 60


@pytest.mark.slow
def test_every_field_of_the_owners_is_taken_or_refused() -> None:
    from peft import LoraConfig
    from trl import SFTConfig

    fields = {field.name for owner in (SFTConfig, LoraConfig) for field in dataclasses.fields(owner)}
    assert fields <= keys.owners().keys() | keys.REFUSED.keys()
    assert not keys.owners().keys() & keys.REFUSED.keys()


def test_importing_training_is_light() -> None:
    code = (
        "import sys, sqlllm.jobs.training, sqlllm.jobs.runs; "
        "sys.exit(bool({'torch', 'ray', 'transformers', 'pyarrow', 'trl'} & sys.modules.keys()))"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
