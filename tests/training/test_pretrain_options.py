from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import OptionError
from sqlllm.jobs.training import pretrain_deepspeed as deepspeed
from sqlllm.jobs.training.pretrain_deepspeed import Batch
from sqlllm.jobs.training.pretrain_keys import DEFAULTS, KEY_TYPES, LLAMA, Training
from sqlllm.jobs.training.pretrain_spec import _PLAIN, PretrainSpec
from sqlllm.jobs.training.spec import FinetuneSpec

PAGE = (Path(__file__).parents[2] / "docs" / "training" / "pretraining.md").read_text()
TABLES = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
CASES = [json.loads(line) for line in (Path(__file__).with_name("pretrain_options.jsonl")).read_text().splitlines()]
SEED = (Path(__file__).parents[1] / "dialect" / "scripts" / "byzer_pretrain.sql").read_text()
MANUAL = SEED.partition("ds_config='''")[2].partition("'''")[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["error"])
def test_a_wrong_option(case: dict[str, Any], tiny_model: Path) -> None:
    options = {key: text.replace("MODEL", str(tiny_model)) for key, text in case["options"].items()}
    with pytest.raises(OptionError) as caught:
        PretrainSpec.from_options(options)
    assert caught.value.message == case["error"]
    assert case.get("cure", "") in caught.value.cure
    assert caught.value.key == case.get("key", caught.value.key)
    assert caught.value.key in options


def test_the_manuals_statement(tiny_model: Path) -> None:
    spec = PretrainSpec.from_options(
        {
            "localPathPrefix": "/home/byzerllm/models/sfft/jobs",
            "pretrainedModelType": "sfft/llama2",
            "localModelDir": str(tiny_model),
            "detached": "true",
            "keepPartitionNum": "true",
            "deepspeedConfig": MANUAL,
            "inputTable": "finalTrainData",
            "outputTable": "llama2_cn",
            "model": "command",
            "sfft.int.max_length": "128",
            "sfft.bool.setup_nccl_socket_ifname_by_ip": "true",
        }
    )
    assert spec.deepspeed == json.loads(MANUAL)
    assert (spec.training.max_length, spec.keep_partition_num) == (128, True)
    again = PretrainSpec.model_validate(spec.model_dump(mode="json"), by_name=True, by_alias=False)
    assert again == spec  # as a detached run reads it


def test_defaults_hold_unless_the_statement_says_otherwise(tiny_model: Path) -> None:
    scratch, model = PretrainSpec.from_options({}), PretrainSpec.from_options({"localModelDir": str(tiny_model)})
    assert scratch.training.model_dump(exclude_none=True).items() <= DEFAULTS["scratch"].items()
    assert model.training.model_dump(exclude_none=True).items() <= {**DEFAULTS["model"], "max_length": 512}.items()
    assert (scratch.llama, model.llama) == (LLAMA, {})
    assert FinetuneSpec.from_options({}).llama == LLAMA  # the same small model
    config = json.dumps({"num_train_epochs": 7, "learning_rate": 1, "hidden_size": 64})
    changed = PretrainSpec.from_options({"config": config, "sfft.int.epoches": "9"})
    assert (changed.training.epochs, changed.training.learning_rate, changed.llama["hidden_size"]) == (9, 1.0, 64)
    assert changed.deepspeed["optimizer"]["params"]["lr"] == 1.0


def test_a_file_in_the_place_of_a_model_is_reported_when_the_statement_runs(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    for wrong in (tmp_path, tmp_path / "config.json"):
        PretrainSpec.from_options({"localModelDir": str(wrong)}, look=False)
    with pytest.raises(OptionError, match="is not a Hugging Face model folder"):
        PretrainSpec.from_options({"localModelDir": str(tmp_path / "config.json")})


def test_auto_means_the_key() -> None:
    config = {
        "train_micro_batch_size_per_gpu": "auto",
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "weight_decay": 0.5}},
        "zero_optimization": {"stage": 3, "reduce_bucket_size": "auto"},
    }
    spec = PretrainSpec.from_options(
        {"deepspeedConfig": json.dumps(config), "sfft.float.learning_rate": "0.25", "sfft.float.weight_decay": "0.5"}
    )
    filled = deepspeed.complete(
        spec.deepspeed, deepspeed.batch(spec.deepspeed, 2), steps=10, bf16=False, compiler=False, folder=Path("/runs/x")
    )
    assert filled["optimizer"]["params"] == {"lr": 0.25, "weight_decay": 0.5, "torch_adam": True}
    assert filled["zero_optimization"] == {"stage": 3}
    assert (filled["train_micro_batch_size_per_gpu"], filled["gradient_accumulation_steps"]) == (16, 1)


def test_the_built_in_configuration() -> None:
    spec = PretrainSpec.from_options({"sfft.float.warmup_steps": "0.1"})
    batch = deepspeed.batch(spec.deepspeed, 1)
    filled = deepspeed.complete(spec.deepspeed, batch, steps=200, bf16=True, compiler=True, folder=Path("/runs/x"))
    assert filled["scheduler"]["params"] == {"total_num_steps": 200, "warmup_num_steps": 20, "warmup_type": "linear"}
    assert filled["bf16"] == {"enabled": True}
    assert "torch_adam" not in filled["optimizer"]["params"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, Batch(1, 1)),
        ({"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 2}, Batch(4, 2)),
        ({"train_batch_size": 32}, Batch(16, 1)),
        ({"train_batch_size": 32, "gradient_accumulation_steps": 4}, Batch(4, 4)),
        ({"train_batch_size": 32, "train_micro_batch_size_per_gpu": 4}, Batch(4, 4)),
        ({"train_batch_size": "auto", "train_micro_batch_size_per_gpu": 4}, Batch(4, 1)),
    ],
)
def test_batches_are_shared_out_as_deepspeed_does(config: dict[str, Any], expected: Batch) -> None:
    assert deepspeed.batch(config, workers=2) == expected


@pytest.mark.parametrize(
    "config",
    [{"train_batch_size": 1}, {"train_batch_size": 9}, {"train_batch_size": 8, "train_micro_batch_size_per_gpu": 3}],
)
def test_batches_that_cannot_be_shared_out(config: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="is not train_micro_batch_size_per_gpu x"):
        deepspeed.batch(config, workers=2)


@pytest.mark.slow
def test_every_known_key_is_one_of_deepspeeds() -> None:
    text = _source()
    assert [key for key in deepspeed._KNOWN if key not in text] == []


def _source() -> str:
    """DeepSpeed's own text: a key that it does not hold is one that it does not know."""
    root = Path(str(importlib.util.find_spec("deepspeed").origin)).parent
    files = [
        *root.glob("runtime/*.py"),
        *root.glob("runtime/*/*.py"),
        *root.glob("*/config.py"),
        *root.glob("utils/*.py"),
    ]
    return "".join(path.read_text() for path in files)


def test_the_page_describes_every_option_in_its_own_words() -> None:
    described = {cells[0].strip("`"): cells[1] for cells in TABLES if len(cells) == 2}
    for option, field in _PLAIN.items():
        assert described[option] == PretrainSpec.model_fields[field].description
    built_in = PAGE.partition("```json\n")[2].partition("```")[0]
    assert json.loads(built_in) == deepspeed.BUILT_IN


def test_the_page_lists_every_key_with_its_defaults() -> None:
    told = [cells for cells in TABLES if cells[0].startswith("`sfft.")]
    assert [cells[0] for cells in told] == [f"`sfft.{KEY_TYPES[name][0]}.{name}`" for name in Training.model_fields]
    for cells, (name, field) in zip(told, Training.model_fields.items(), strict=True):
        assert cells[1:] == [shown(DEFAULTS["model"][name]), shown(DEFAULTS["scratch"][name]), field.description]


def shown(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
