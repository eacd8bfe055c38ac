"""What `action="convert"` and `action="merge"` may say: every option once, checked before anything starts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from sqlllm.errors import OptionError, suggest
from sqlllm.jobs.runs import RunName

Source = Literal["deepspeed", "lora", "hf"]
SOURCES: dict[str, Source] = {"deepspeed": "deepspeed", "lora": "lora", "hf": "hf", "custom": "hf"}
"""By the first part of pretrainedModelType; what follows the slash says nothing that the model does not."""

DTYPES = ("auto", "float32", "bfloat16", "float16")
FORMATS = ("hf", "gguf")
HF_QUANTIZATIONS = ("nf4", "fp4", "int8")
GGUF_QUANTIZATIONS = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
SPELLINGS = {"4": "nf4", "8": "int8", "true": "nf4", "false": "", "none": ""}  # Byzer's spellings
GGUF_SPELLINGS = {"4": "q4_0", "8": "q8_0", "false": "", "none": ""}
_CALIBRATED = ("awq", "gptq")

ALIASES = {
    "model_name_or_path": "modelNameOrPath", "model_dir": "modelNameOrPath", "localModelDir": "modelNameOrPath",
    "checkpoint_dir": "checkpointDir", "adapter_name_or_path": "adapterNameOrPath", "save_path": "savePath",
    "max_shard_size": "maxShardSize", "quatization": "quantization",
}  # fmt: skip
"""The other spellings that published scripts have."""


class ConvertSpec(BaseModel):
    """One conversion. Build it with `from_options`, which speaks SQL's spellings in its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: RunName = Field(
        default_factory=lambda: f"convert-{datetime.now():%Y%m%d-%H-%M-%S}",
        description="name of the run; default `convert-` and the time",
    )
    source: Source = Field(description="deepspeed, lora or hf")
    model: Path | None = Field(
        None, alias="modelNameOrPath", description="Hugging Face folder of the model that the training started from"
    )
    checkpoint: Path | None = Field(
        None, alias="checkpointDir", description="folder of DeepSpeed's checkpoints; in Byzer's manual an adapter's too"
    )  # fmt: skip
    tag: str = Field("", description="the checkpoint in checkpointDir; default the newest")
    adapter: Path | None = Field(None, alias="adapterNameOrPath", description="folder of the LoRA adapter")
    save_path: Path = Field(alias="savePath", description="folder to write, or `.gguf` file; it must not exist yet")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="numbers to store: float32, bfloat16 or float16; default those that the model computes with"
    )
    max_shard_size: str = Field("5GB", alias="maxShardSize", description="largest file of weights")
    format: Literal["hf", "gguf"] = Field("hf", description="`hf`, a Hugging Face folder, or `gguf` for llama.cpp")
    quantization: str = Field(
        "", description="fewer bits: `nf4`, `fp4` or `int8` in a folder; `q8_0` to `q4_0` in a GGUF file"
    )
    local_path_prefix: Path | None = Field(
        None, alias="localPathPrefix", description="folder of the run's record; default `runs` in the settings' home"
    )
    output_table: str = Field("", alias="outputTable", description="name for the row that the statement gives")
    options: dict[str, str] = Field(default_factory=dict, repr=False, description="the statement's options as written")

    @property
    def kind(self) -> str:
        return "merge" if self.source == "lora" else "convert"

    @classmethod
    def from_options(cls, options: Mapping[str, str], *, look: bool = True) -> Self:
        """Read the options of one statement; a wrong one is an OptionError that names its key.

        Without `look` the folders may still be missing: only what the options alone show is checked.
        """
        try:
            return cls._read(options, look)
        except OptionError as error:  # by the name that the statement has for it
            error.key = next((key for key, name in ALIASES.items() if name == error.key and key in options), error.key)
            raise

    @classmethod
    def _read(cls, options: Mapping[str, str], look: bool) -> Self:
        given = {ALIASES.get(key, key): text.strip() for key, text in options.items()}
        known = [*_PLAIN, *ALIASES, "action", "pretrainedModelType", "detached"]
        for key in options:
            if key not in known:
                raise OptionError(f"unknown option {key}", cure=suggest(key, known, what="options"), key=key)
        source = _source(given)
        values = {key: given[key] for key in _PLAIN if given.get(key)}
        if not values.get("savePath"):
            raise OptionError(f"{given.get('action', 'convert')} needs savePath", cure='Write: savePath="..."')
        for key in ("dtype", "format"):
            _choice(values, key, {"dtype": DTYPES, "format": FORMATS}[key])
        if not values.get(needed := _NEEDED[source]):
            raise OptionError(f"{given.get('action', 'convert')} needs {needed}", cure=f'Write: {needed}="..."')
        quantization = _quantization(values)
        paths = {key: Path(values.pop(key)).expanduser().absolute() for key in _PATHS if key in values}
        spec = cls(**{**values, **paths, "source": source, "quantization": quantization, "options": dict(options)})
        if look:
            spec._check()
        return spec

    def _check(self) -> None:
        """Check what needs no look into the model's weights."""
        if self.source == "lora":
            if not (self.adapter and (self.adapter / "adapter_config.json").is_file()):
                raise OptionError(
                    f"{self.adapter} holds no adapter: it has no adapter_config.json",
                    cure="After sft the adapter is in finetune_model/adapter; `final` is merged already.",
                    key="adapterNameOrPath",
                )
            _needs_model(self.model or _base_of(self.adapter), "modelNameOrPath")
        elif self.source == "deepspeed":
            if not (self.checkpoint and self.checkpoint.is_dir()):
                raise OptionError(f"checkpointDir {self.checkpoint} is not a folder", key="checkpointDir")
            _ = self.checkpoint_folder  # or it says what is wrong
            if self.model:
                _needs_model(self.model, "modelNameOrPath")
        else:
            _needs_model(self.model, "modelNameOrPath")
        if self.save_path.exists():
            raise OptionError(
                f"savePath {self.save_path} exists already",
                cure="Nothing is overwritten: name another, or remove it.",
                key="savePath",
            )

    @property
    def checkpoint_folder(self) -> Path:
        """The checkpoint that `tag` names; the newest without one."""
        assert self.checkpoint is not None
        latest = self.checkpoint / "latest"
        tag = self.tag or (latest.read_text().strip() if latest.is_file() else "")
        if tag and (self.checkpoint / tag).is_dir():
            return self.checkpoint / tag
        there = sorted(path.name for path in self.checkpoint.iterdir() if path.is_dir())
        message = f"there is no checkpoint {tag} in {self.checkpoint}"
        raise OptionError(
            message if tag else f"{self.checkpoint} names no newest checkpoint",
            cure=suggest(tag, there, what="tags") if there else "checkpointDir is the folder of the checkpoints.",
            key="tag" if self.tag else "checkpointDir",
        )

    @property
    def base(self) -> Path | None:
        """The model's own folder: for an adapter without one, the one that its configuration names."""
        return self.model or (_base_of(self.adapter) if self.adapter else None)


_PLAIN = {
    field.alias or name: name
    for name, field in ConvertSpec.model_fields.items()
    if name not in ("source", "options")
}  # fmt: skip
_NEEDED = {"deepspeed": "checkpointDir", "lora": "adapterNameOrPath", "hf": "modelNameOrPath"}
_PATHS = ("modelNameOrPath", "checkpointDir", "adapterNameOrPath", "savePath", "localPathPrefix")


def _source(given: dict[str, str]) -> Source:
    """What is converted. In Byzer's manual an adapter is merged by `convert` with the type `deepspeed/...`."""
    merging = given.get("action", "").lower() == "merge"
    written = given.get("pretrainedModelType") or ("lora/auto" if merging else "deepspeed/auto")
    kind = written.partition("/")[0]
    if kind not in SOURCES or (merging and kind != "lora"):
        known = ["lora/auto"] if merging else [f"{kind}/auto" for kind in SOURCES]
        raise OptionError(
            f"unknown pretrainedModelType {written}", cure=suggest(written, known, what="types"),
            key="pretrainedModelType",
        )  # fmt: skip
    checkpoint = given.get("checkpointDir")
    if kind == "deepspeed" and checkpoint and (Path(checkpoint).expanduser() / "adapter_config.json").is_file():
        given["adapterNameOrPath"] = checkpoint
        return "lora"
    return SOURCES[kind]


def _base_of(adapter: Path) -> Path | None:
    named = json.loads((adapter / "adapter_config.json").read_text()).get("base_model_name_or_path")
    return Path(named) if named else None


def _needs_model(model: Path | None, key: str) -> None:
    if model is None or not (model / "config.json").is_file():
        raise OptionError(
            f"{model or key} is not a Hugging Face model folder: it has no config.json",
            cure=f"Name the model's folder in {key}.",
            key=key,
        )


def _choice(values: Mapping[str, str], key: str, known: tuple[str, ...]) -> None:
    if key in values and values[key] not in known:
        raise OptionError(f"unknown {key} {values[key]}", cure=suggest(values[key], known, what=f"{key}s"), key=key)


def _quantization(values: Mapping[str, str]) -> str:
    text = values.get("quantization", "").lower()
    gguf = values.get("format") == "gguf"
    name = (GGUF_SPELLINGS if gguf else SPELLINGS).get(text, text)
    known = GGUF_QUANTIZATIONS if gguf else HF_QUANTIZATIONS
    if not name or name in known:
        return name
    if name in _CALIBRATED:
        raise OptionError(
            f"quantization {text} is not supported: it needs calibration texts and kernels that run on GPUs alone",
            cure=f"Write one of {', '.join(known)}, or deploy a folder that is {text} already.",
            key="quantization",
        )
    if re.fullmatch(r"q\d_k(_[sml])?", name):
        raise OptionError(
            f"quantization {text} is not supported: only llama.cpp's own tool writes it",
            cure=f"Write one of {', '.join(known)}.",
            key="quantization",
        )
    raise OptionError(
        f"unknown quantization {text}", cure=suggest(text, known, what="quantizations"), key="quantization"
    )
