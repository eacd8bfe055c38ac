"""What `run table as LLM` with `sft/*` or `dpo/*` may say: every option once, checked before anything starts."""

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
    "max_length": 1024, "logging_steps": 5, "save_strategy": "steps", "save_steps": 0.1, "save_total_limit": 1,
    "gradient_checkpointing": False, "seed": 42,
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
_DPO = {"num_train_epochs": 1.0, "beta": 0.1}
DPO_DEFAULTS: dict[Method, dict[str, Any]] = {
    "lora": {**DEFAULTS["lora"], **_DPO, "learning_rate": 1e-5},
    "full": {**DEFAULTS["full"], **_DPO, "learning_rate": 1e-6},
}
"""A preference is a nudge: more than these rates and the model forgets what it could say."""


class FinetuneSpec(BaseModel):
    """One fine-tuning statement. Build it with `from_options`, which speaks SQL's spellings in its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: keys.Kind = Field("sft", description="sft learns answers, dpo learns which of two answers is better")
    name: str = Field(
        default_factory=lambda values: f"{values['kind']}-{datetime.now():%Y%m%d-%H-%M-%S}",
        description="name of the run and its folder; default `sft-` or `dpo-` and the time",
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
        "sft/auto",
        alias="pretrainedModelType",
        description="`sft/auto` or `dpo/auto`; Byzer's `sft/llama2` and so on mean `sft/auto`",
    )
    input_table: str = Field(
        "", alias="inputTable", description="table to learn from; default the table of `run ... as LLM`"
    )
    eval_table: str = Field(
        "", alias="evalTable", description="table of the same columns to measure on and not to learn from"
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
    load_in_4bit: bool = Field(False, description="keep the base model in 4 bits while its adapter learns: QLoRA")
    val_size: int | float | None = Field(None, description="rows held out to measure on: a number, or a share below 1")
    early_stopping_patience: int | None = Field(None, description="evaluations in a row without a gain that end it")
    early_stopping_threshold: float = Field(0.0, description="what counts as a gain")
    keeps_checkpoints: bool = Field(
        False, description="keep them after success too; follows from save_total_limit in the statement"
    )
    training: dict[str, Any] = Field(default_factory=dict, description="fields of TRL's SFTConfig or DPOConfig")
    lora: dict[str, Any] = Field(default_factory=dict, description="fields of PEFT's LoraConfig")
    llama: dict[str, Any] = Field(default_factory=dict, description="fields of Transformers' LlamaConfig")
    options: dict[str, str] = Field(default_factory=dict, repr=False, description="the statement's options as written")

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Read the options of one statement; a wrong one is an OptionError that names its key."""
        plain: dict[str, Any] = {}
        settings: dict[str, keys.Setting] = {}
        kind = _kind(options.get("pretrainedModelType") or "sft/auto")
        if config := options.get("config", "").strip():
            settings |= _from_config(kind, config)
        for option, text in options.items():
            if option.startswith(f"{kind}."):
                if setting := keys.parse(kind, option, text):
                    settings[setting.name] = setting
            elif option in _FIXED:
                _check_fixed(option, text)
            elif option in _PLAIN:
                plain[option] = _bool(option, text) if option in _FLAGS else text.strip()
            elif option != "config":
                known = [*_PLAIN, *_FIXED, "config", f"{kind}.<type>.<key>"]
                raise OptionError(f"unknown option {option}", cure=suggest(option, known, what="options"), key=option)
        for option in ("localPathPrefix", "localModelDir"):
            plain[option] = Path(plain[option]).expanduser().absolute() if plain.get(option) else None
        method = _method(kind, plain["localModelDir"], settings.pop("use_peft", None))
        given = {key: value for key, value in plain.items() if value != ""}
        own = {name: settings.pop(name) for name in keys.OWN if name in settings}
        held_out = bool(given.get("evalTable")) or "val_size" in own
        _check_own(method, own, held_out, settings)
        sorted_ = _sorted(kind, method, settings, held_out)
        return cls(
            kind=kind, keeps_checkpoints="save_total_limit" in settings, **given, **{name: setting.value for name, setting in own.items()}, **sorted_,
            options=dict(options),
        )  # fmt: skip

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


def _from_config(kind: keys.Kind, text: str) -> dict[str, keys.Setting]:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise OptionError(
            f"config is not JSON: {error}", cure="Write config='{\"key\": value}'.", key="config"
        ) from None
    if not isinstance(config, dict):
        raise OptionError("config is not a JSON object", cure="Write config='{\"key\": value}'.", key="config")
    found = (keys.typed(kind, "config", name, value) for name, value in config.items())
    return {setting.name: setting for setting in found if setting}


def _check_fixed(option: str, text: str) -> None:
    values, cure = _FIXED[option]
    if text.strip().lower() not in values:
        raise OptionError(f"{option}={text!r} is not supported", cure=cure, key=option)


def _kind(text: str) -> keys.Kind:
    known = [*(f"sft/{name}" for name in MODEL_TYPES), "dpo/auto"]
    if text.strip() not in known:
        raise OptionError(
            f"unknown pretrainedModelType {text}", cure=suggest(text, [*known, "sfft/auto"], what="types"),
            key="pretrainedModelType",
        )  # fmt: skip
    return "dpo" if text.startswith("dpo") else "sft"


def _bool(option: str, text: str) -> bool:
    values = {"true": True, "false": False, "": False}
    if text.strip().lower() not in values:
        raise OptionError(f"{option}: {text!r} is neither true nor false", key=option)
    return values[text.strip().lower()]


def _method(kind: keys.Kind, base: Path | None, use_peft: keys.Setting | None) -> Method:
    if base is None:
        if kind == "dpo":
            raise OptionError(
                "dpo needs localModelDir: it corrects a model that can answer already",
                cure="Name the folder of a fine-tuned model.",
                key="pretrainedModelType",
            )
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


def _check_own(
    method: Method, own: Mapping[str, keys.Setting], held_out: bool, settings: Mapping[str, keys.Setting]
) -> None:
    """Refuse what would be without effect."""
    if "load_in_4bit" in own and own["load_in_4bit"].value and method != "lora":
        raise _needs_a_model(own["load_in_4bit"])
    if "val_size" in own:
        setting = own["val_size"]
        if isinstance(setting.value, float) and setting.value >= 1:
            raise OptionError(
                f"{setting.option}: val_size is a share below 1, or a number of rows",
                cure='Write `sft.float.val_size`="0.1", or `sft.int.val_size`="100".',
                key=setting.option,
            )
    for name, setting in {**own, **settings}.items():
        if name.startswith("early_stopping") or name in _OF_EVALUATION:
            if not held_out:
                raise OptionError(
                    f"{setting.option}: nothing is held out to measure on",
                    cure='Name other rows in evalTable, or write `sft.float.val_size`="0.1".',
                    key=setting.option,
                )
            if name == "early_stopping_threshold" and "early_stopping_patience" not in own:
                raise OptionError(
                    f"{setting.option}: without early_stopping_patience nothing stops early", key=setting.option
                )


_OF_EVALUATION = frozenset({
    "bf16_full_eval", "eval_accumulation_steps", "eval_delay", "eval_packing", "eval_steps", "eval_strategy",
    "fp16_full_eval", "greater_is_better", "load_best_model_at_end", "metric_for_best_model",
    "per_device_eval_batch_size",
})  # fmt: skip


def _sorted(
    kind: keys.Kind, method: Method, settings: Mapping[str, keys.Setting], held_out: bool
) -> dict[str, dict[str, Any] | Method]:
    """The settings by owner over the method's defaults; one that the method has no use for is an error."""
    trainer = keys.TRAINERS[kind]
    fields: dict[str, dict[str, Any]] = {trainer: {}, "LoraConfig": {}, "LlamaConfig": {}}
    for name, value in (DEFAULTS if kind == "sft" else DPO_DEFAULTS)[method].items():
        fields[keys.owners(kind)[name][0]][name] = value
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
    if held_out:
        _evaluate(fields[trainer], settings)
    training, lora, llama = fields.values()
    return {"method": method, "training": training, "lora": lora, "llama": llama}


def _evaluate(training: dict[str, Any], given: Mapping[str, keys.Setting]) -> None:
    """Measure as often as checkpoints are written, and keep the best of them, unless the statement says otherwise."""
    strategy = next((given[name].value for name in ("eval_strategy", "save_strategy") if name in given), "steps")
    steps = next((given[name].value for name in ("eval_steps", "save_steps") if name in given), training["save_steps"])
    for name, value in (("eval_strategy", strategy), ("save_strategy", strategy)):
        if name not in given:
            training[name] = value
    for name in ("eval_steps", "save_steps"):
        if name not in given:
            training[name] = steps
    training.setdefault("load_best_model_at_end", strategy != "no")
    training.setdefault("metric_for_best_model", "eval_loss")
    training.setdefault("per_device_eval_batch_size", training["per_device_train_batch_size"])
