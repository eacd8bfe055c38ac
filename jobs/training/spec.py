"""What `run table as LLM` with `sft/*` may say: every option once, checked before anything starts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sqlllm.errors import OptionError, suggest

from . import keys
from .scratch import check_shape

Method = Literal["lora", "full", "scratch"]

MODEL_TYPES = ("auto", "baichuan", "chatglm2", "falcon", "llama", "llama2", "qwen", "zephyr")
"""The seeds' `sft/<x>`; the model's own config.json says what it is, so all mean the same."""

_COMMON = {
    "lr_scheduler_type": "cosine", "warmup_steps": 0.05, "max_grad_norm": 1.0, "weight_decay": 0.0,
    "max_length": 1024, "logging_steps": 5, "save_strategy": "no", "gradient_checkpointing": False, "seed": 42,
}  # fmt: skip
DEFAULTS: dict[Method, dict[str, Any]] = {
    "lora": {
        **_COMMON, "num_train_epochs": 3.0, "learning_rate": 2e-4, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4, "r": 16, "lora_alpha": 32, "lora_dropout": 0.05,
        "target_modules": "all-linear",
    },
    "full": {
        **_COMMON, "num_train_epochs": 3.0, "learning_rate": 2e-5, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4,
    },
    "scratch": {
        **_COMMON, "num_train_epochs": 10.0, "learning_rate": 1.5e-3, "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 1, "adam_beta2": 0.98, "weight_decay": 0.1, "max_length": 512,
        "vocab_size": 1024, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2,
        "num_attention_heads": 8, "head_dim": 32, "tie_word_embeddings": True, "initializer_range": 0.06,
    },
}  # fmt: skip
"""What each way of training takes unless the statement says otherwise.

From scratch they were found on examples/data/orders.csv: Llama's own initializer_range, 0.02, is meant for wide models;
with a width of 128 it halves what a thousand steps learn. A head_dim of 32 is the smallest that vLLM knows on a CPU.
"""


class FinetuneSpec(BaseModel):
    """One fine-tuning statement. Build it with `from_options`, which speaks SQL's spellings in its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = Field(
        default_factory=lambda: f"sft-{datetime.now():%Y%m%d-%H-%M-%S}",
        description="name of the run and its folder; default `sft-` and the time",
    )
    local_path_prefix: Path | None = Field(
        None, alias="localPathPrefix", description="folder of the runs; default `runs` in the settings' home"
    )
    local_model_dir: Path | None = Field(
        None,
        alias="localModelDir",
        description="Hugging Face folder to start from; empty trains a small Llama from scratch",
    )
    pretrained_model_type: str = Field(
        "sft/auto", alias="pretrainedModelType", description="`sft/auto`; Byzer's `sft/llama2` and so on mean the same"
    )
    input_table: str = Field(
        "", alias="inputTable", description="table to learn from; default the table of `run ... as LLM`"
    )
    output_table: str = Field("", alias="outputTable", description="name for the row that the statement gives")
    skip_copy_pretrained_model: bool = Field(
        False, alias="skipCopyPretrainedModel",
        description="after LoRA, leave the adapter alone in `final` instead of the merged model",
    )  # fmt: skip
    keep_partition_num: bool = Field(
        False, alias="keepPartitionNum", description="write the table with its own partitions; the training is the same"
    )
    method: Method = Field("scratch", description="lora, full or scratch; follows from localModelDir and use_peft")
    training: dict[str, Any] = Field(default_factory=dict, description="fields of TRL's SFTConfig")
    lora: dict[str, Any] = Field(default_factory=dict, description="fields of PEFT's LoraConfig")
    llama: dict[str, Any] = Field(default_factory=dict, description="fields of Transformers' LlamaConfig")
    options: dict[str, str] = Field(default_factory=dict, repr=False, description="the statement's options as written")

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Read the options of one statement; a wrong one is an OptionError that names its key."""
        plain: dict[str, Any] = {}
        settings: dict[str, keys.Setting] = {}
        if config := options.get("config", "").strip():
            settings |= _from_config(config)
        for option, text in options.items():
            if option.startswith("sft."):
                if setting := keys.parse(option, text):
                    settings[setting.name] = setting
            elif option in _FIXED:
                _check_fixed(option, text)
            elif option in _PLAIN:
                plain[option] = _bool(option, text) if option in _FLAGS else text.strip()
            elif option != "config":
                known = [*_PLAIN, *_FIXED, "config", "sft.<type>.<key>"]
                raise OptionError(f"unknown option {option}", cure=suggest(option, known, what="options"), key=option)
        _check_type(plain.get("pretrainedModelType") or "sft/auto")
        for option in ("localPathPrefix", "localModelDir"):
            plain[option] = Path(plain[option]).expanduser().absolute() if plain.get(option) else None
        method = _method(plain["localModelDir"], settings.pop("use_peft", None))
        given = {key: value for key, value in plain.items() if value != ""}
        return cls(**given, **_sorted(method, settings), options=dict(options))

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise OptionError(
                f"name {name!r} is no folder name", cure="Use letters, digits, `-`, `_` and `.`.", key="name"
            )
        return name

    @model_validator(mode="after")
    def _shape(self) -> Self:
        if self.llama:
            check_shape(self.llama, "sft")
        return self


_PLAIN = {
    field.alias or name: name for name, field in FinetuneSpec.model_fields.items() if field.alias or name == "name"
}
_FLAGS = ("skipCopyPretrainedModel", "keepPartitionNum")
_FIXED: dict[str, tuple[tuple[str, ...], str]] = {
    "action": (("finetune",), 'Only action="finetune" trains.'),
    "detached": (
        ("false",),
        'Runs in the background are not supported yet: write detached="false"; the statement ends when training does.',
    ),
    "model": (("command", ""), "A model in a table is not supported: name its folder in localModelDir."),
    "modelTable": (("command", ""), "A model in a table is not supported: name its folder in localModelDir."),
    "model_type": (("casual_lm", "causal_lm", ""), 'Only causal language models are trained: write "causal_lm".'),
    "data_dir": (("",), "Load the folder as a table and name it in inputTable."),
}
"""Options with one meaning here: the values that are accepted, and what to write instead of any other."""


def _from_config(text: str) -> dict[str, keys.Setting]:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise OptionError(
            f"config is not JSON: {error}", cure="Write config='{\"key\": value}'.", key="config"
        ) from None
    if not isinstance(config, dict):
        raise OptionError("config is not a JSON object", cure="Write config='{\"key\": value}'.", key="config")
    found = (keys.typed("config", name, value) for name, value in config.items())
    return {setting.name: setting for setting in found if setting}


def _check_fixed(option: str, text: str) -> None:
    values, cure = _FIXED[option]
    if text.strip().lower() not in values:
        raise OptionError(f"{option}={text!r} is not supported", cure=cure, key=option)


def _check_type(text: str) -> None:
    kind, _, model = text.partition("/")
    if kind == "sfft":
        raise OptionError(
            "pretraining (sfft) is not supported yet",
            cure='Write pretrainedModelType="sft/auto"; without localModelDir it trains from scratch.',
            key="pretrainedModelType",
        )
    if kind != "sft" or model not in MODEL_TYPES:
        known = [f"sft/{name}" for name in MODEL_TYPES]
        raise OptionError(
            f"unknown pretrainedModelType {text}", cure=suggest(text, known, what="types"), key="pretrainedModelType"
        )


def _bool(option: str, text: str) -> bool:
    values = {"true": True, "false": False, "": False}
    if text.strip().lower() not in values:
        raise OptionError(f"{option}: {text!r} is neither true nor false", key=option)
    return values[text.strip().lower()]


def _method(base: Path | None, use_peft: keys.Setting | None) -> Method:
    if base is None:
        if use_peft and use_peft.value:
            raise _needs_a_model(use_peft)
        return "scratch"
    if not (base / "config.json").is_file():
        raise OptionError(
            f"localModelDir {base} is not a Hugging Face model folder: it has no config.json",
            cure="Name a model's folder, or leave localModelDir out to train from scratch.",
            key="localModelDir",
        )
    return "full" if use_peft and not use_peft.value else "lora"


def _needs_a_model(setting: keys.Setting) -> OptionError:
    return OptionError(
        f"{setting.option}: an adapter needs a model to adapt",
        cure="Name its folder in localModelDir, and leave use_peft true.",
        key=setting.option,
    )


def _sorted(method: Method, settings: Mapping[str, keys.Setting]) -> dict[str, Any]:
    """The settings by owner over the method's defaults; one that the method has no use for is an error."""
    fields: dict[str, dict[str, Any]] = {"SFTConfig": {}, "LoraConfig": {}, "LlamaConfig": {}}
    for name, value in DEFAULTS[method].items():
        fields[keys.owners()[name][0]][name] = value
    for setting in settings.values():
        if setting.owner == "LoraConfig" and method != "lora":
            raise _needs_a_model(setting)
        if setting.owner == "LlamaConfig" and method != "scratch":
            raise OptionError(
                f"{setting.option}: {setting.name} describes a new model, but localModelDir names one",
                cure=f"Delete {setting.name}, or leave localModelDir out to train from scratch.",
                key=setting.option,
            )
        fields[setting.owner][setting.name] = setting.value
    training, lora, llama = fields.values()
    return {"method": method, "training": training, "lora": lora, "llama": llama}
