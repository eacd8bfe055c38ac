"""What `run table as LLM` with `sft/*` or `dpo/*` may say: every option once, checked before anything starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sqlllm.errors import OptionError, suggest
from sqlllm.jobs.runs import RunName

from . import keys, template
from .defaults import Method, check, needs_a_model, settle
from .scratch import check_shape

MODEL_TYPES = ("auto", "baichuan", "chatglm2", "falcon", "llama", "llama2", "qwen", "zephyr")
"""The seeds' `sft/<x>`; the model's own config.json says what it is, so all mean the same."""


class FinetuneSpec(BaseModel):
    """One fine-tuning statement. Build it with `from_options`, which speaks SQL's spellings in its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: keys.Kind = Field("sft", description="sft learns answers, dpo learns which of two answers is better")
    name: RunName = Field(
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
    chat_template: str = Field(
        "",
        alias="chatTemplate",
        description="Jinja chat template to learn with and to serve with: its text, or a file",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", alias="dtype",
        description="numbers of the result: float32, bfloat16 or float16; default those of the base",
    )  # fmt: skip
    on_oom: Literal["", "halve"] = Field(
        "", alias="onOom",
        description="`halve` goes on with half the batch and twice the accumulation when memory runs out",
    )  # fmt: skip
    eos_token: str = Field("", description="token that ends an answer; follows from the chat template")
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
    def from_options(cls, options: Mapping[str, str], *, look: bool = True) -> Self:
        """Read the options of one statement; a wrong one is an OptionError that names its key.

        Without `look` the folders may still be missing: only what the options alone show is checked.
        """
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
                check_fixed(option, text)
            elif option in _PLAIN:
                plain[option] = flag(option, text) if option in _FLAGS else text.strip()
            elif option != "config":
                known = [*_PLAIN, *_FIXED, "config", f"{kind}.<type>.<key>"]
                raise OptionError(f"unknown option {option}", cure=suggest(option, known, what="options"), key=option)
        for option in ("localPathPrefix", "localModelDir"):
            plain[option] = Path(plain[option]).expanduser().absolute() if plain.get(option) else None
        method = _method(kind, plain["localModelDir"], settings.pop("use_peft", None))
        given = {key: value for key, value in plain.items() if value != ""}
        own = {name: settings.pop(name) for name in keys.OWN if name in settings}
        if given.get("evalTable") and "val_size" in own:
            raise OptionError(
                f"{own['val_size'].option}: evalTable names the rows that are held out already",
                cure="Delete one of the two.",
                key=own["val_size"].option,
            )
        held_out = bool(given.get("evalTable")) or "val_size" in own
        check(method, own, held_out, settings)
        for option in ("eos_token", "chat_template_path"):
            _check_answer(option, own, given, scratch=method == "scratch", look=look)
        if given.get("dtype", "auto") not in _DTYPES:
            cure = suggest(given["dtype"], _DTYPES, what="dtypes")
            raise OptionError(f"unknown dtype {given['dtype']}", cure=cure, key="dtype")
        if given.get("onOom", "halve") != "halve":
            raise OptionError(f"unknown onOom {given['onOom']}", cure='Write onOom="halve".', key="onOom")
        settled = settle(kind, method, settings, held_out)
        if look and plain["localModelDir"]:
            check_model(plain["localModelDir"])
        return cls(
            kind=kind,
            keeps_checkpoints="save_total_limit" in settings,
            **given,
            **{name: setting.value for name, setting in own.items()},
            **settled,
            options=dict(options),
        )

    @model_validator(mode="after")
    def _shape(self) -> Self:
        if self.llama:
            check_shape(self.llama, "sft")
        return self


_PLAIN = {
    field.alias or name: name for name, field in FinetuneSpec.model_fields.items() if field.alias or name == "name"
}
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_FLAGS = ("skipCopyPretrainedModel", "keepPartitionNum")
_FIXED: dict[str, tuple[tuple[str, ...], str]] = {
    "action": (("finetune",), 'Only action="finetune" trains.'),
    "detached": (("true", "false"), "Write true, for a run in the background, or false."),
    "model": (("command", ""), "A model in a table is not supported: name its folder in localModelDir."),
    "modelTable": (("command", ""), "A model in a table is not supported: name its folder in localModelDir."),
    "model_type": (("casual_lm", "causal_lm", ""), 'Only causal language models are trained: write "causal_lm".'),
    "data_dir": (("",), "Load the folder as a table and name it in inputTable."),
}
"""Options with one meaning here: the values that are accepted, and what to write instead of any other."""


def _check_answer(name: str, own: dict[str, keys.Setting], given: dict[str, Any], *, scratch: bool, look: bool) -> None:
    """Settle how answers are written: a template's text takes the place of its file."""
    options = [own[name].option] if name in own else []
    options += ["chatTemplate"] if name == "chat_template_path" and "chatTemplate" in given else []
    if not options:
        return
    if len(options) > 1:
        raise OptionError(f"{options[0]} and {options[1]} say the same", cure="Delete one of the two.", key=options[0])
    if scratch:
        raise OptionError(
            f"{options[0]}: a model that is trained from scratch has its own chat template and end token",
            cure="Delete it, or name a model in localModelDir.",
            key=options[0],
        )
    if name == "chat_template_path":
        text = own.pop(name).value if name in own else given["chatTemplate"]
        given["chatTemplate"] = template.read(options[0], text, look=look)


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


def check_fixed(option: str, text: str) -> None:
    """OptionError if an option with one meaning has another value."""
    values, cure = _FIXED[option]
    if text.strip().lower() not in values:
        raise OptionError(f"{option}={text!r} is not supported", cure=cure, key=option)


def _kind(text: str) -> keys.Kind:
    known = [*(f"sft/{name}" for name in MODEL_TYPES), "dpo/auto"]
    if (text := text.strip()) not in known:
        raise OptionError(
            f"unknown pretrainedModelType {text}", cure=suggest(text, [*known, "sfft/auto"], what="types"),
            key="pretrainedModelType",
        )  # fmt: skip
    return "dpo" if text.startswith("dpo") else "sft"


def flag(option: str, text: str) -> bool:
    """Whether the text says true; nothing is false."""
    values = {"true": True, "false": False, "": False}
    if text.strip().lower() not in values:
        raise OptionError(f"{option}: {text!r} is neither true nor false", key=option)
    return values[text.strip().lower()]


def check_model(base: Path) -> None:
    """OptionError if the folder holds no model."""
    if not (base / "config.json").is_file():
        raise OptionError(
            f"localModelDir {base} is not a Hugging Face model folder: it has no config.json",
            cure="Name a model's folder, or leave localModelDir out to train from scratch.",
            key="localModelDir",
        )


def _method(kind: keys.Kind, base: Path | None, use_peft: keys.Setting | None) -> Method:
    if base is None:
        if kind == "dpo":
            raise OptionError(
                "dpo needs localModelDir: it corrects a model that can answer already",
                cure="Name the folder of a fine-tuned model.",
                key="pretrainedModelType",
            )
        if use_peft and use_peft.value:
            raise needs_a_model(use_peft)
        return "scratch"
    return "full" if use_peft and not use_peft.value else "lora"
