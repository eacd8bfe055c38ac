"""What `run table as LLM` with `sfft/*` may say: every option once, checked before anything starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sqlllm.errors import OptionError, suggest
from sqlllm.jobs.runs import RunName

from . import pretrain_deepspeed
from .pretrain_keys import DEFAULTS, LLAMA, Training, canonical, parse, typed
from .scratch import check_shape
from .spec import check_fixed, check_model, flag

MODEL_TYPES = ("auto", "baichuan", "llama", "llama2", "qwen", "zephyr")
"""The seeds' `sfft/<x>`; the model's own config.json says what it is, so all mean the same."""


class PretrainSpec(BaseModel):
    """One pretraining statement. Build it with `from_options`, which speaks SQL's spellings in its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: RunName = Field(
        default_factory=lambda: f"sfft-{datetime.now():%Y%m%d-%H-%M-%S}",
        description="name of the run and its folder; default `sfft-` and the time",
    )
    local_path_prefix: Path | None = Field(
        None, alias="localPathPrefix", description="folder of the runs; default `runs` in the settings' home"
    )
    local_model_dir: Path | None = Field(
        None,
        alias="localModelDir",
        description="Hugging Face folder to go on from; empty trains a new Llama and its tokenizer from scratch",
    )
    pretrained_model_type: str = Field(
        "sfft/auto",
        alias="pretrainedModelType",
        description="`sfft/auto`; Byzer's `sfft/llama2` and so on mean the same",
    )
    input_table: str = Field(
        "", alias="inputTable", description="table with a column `text`; default the table of `run ... as LLM`"
    )
    output_table: str = Field("", alias="outputTable", description="name for the row that the statement gives")
    local_data_dir: Path | None = Field(
        None, alias="localDataDir", description="folder of `.txt` files, one text in a line, instead of a table"
    )
    keep_partition_num: bool = Field(
        False, alias="keepPartitionNum",
        description="each worker reads whole partitions of the table: their number is a multiple of the workers'",
    )  # fmt: skip
    training: Training
    deepspeed: dict[str, Any] = Field(description="DeepSpeed's JSON, the options already in it")
    llama: dict[str, Any] = Field(default_factory=dict, description="fields of Transformers' LlamaConfig; from scratch")
    options: dict[str, str] = Field(default_factory=dict, repr=False, description="the statement's options as written")

    @property
    def seed(self) -> int:
        return self.training.seed

    @classmethod
    def from_options(cls, options: Mapping[str, str], *, look: bool = True) -> Self:
        """Read the options of one statement; a wrong one is an OptionError that names its key.

        Without `look` the folders may still be missing: only what the options alone show is checked.
        """
        plain: dict[str, Any] = {}
        given: dict[str, tuple[str, Any]] = {}  # each key's option and value
        if config := options.get("config", "").strip():
            given |= {
                canonical(name): ("config", typed("config", name, value)) for name, value in _json(config).items()
            }
        for option, text in options.items():
            if option.startswith("sfft."):
                name, value = parse(option, text)
                given[name] = option, value
            elif option in _SHARED:
                check_fixed(option, text)
            elif option in _PLAIN:
                plain[option] = flag(option, text) if option == "keepPartitionNum" else text.strip()
            elif option not in ("config", "deepspeedConfig"):
                known = [*_PLAIN, *_SHARED, "config", "deepspeedConfig", "sfft.<type>.<key>"]
                raise OptionError(f"unknown option {option}", cure=suggest(option, known, what="options"), key=option)
        _check_type(plain.get("pretrainedModelType") or "sfft/auto")
        for option in ("localPathPrefix", "localModelDir", "localDataDir"):
            plain[option] = _absolute(plain[option]) if plain.get(option) else None
        if plain["localDataDir"] and plain.get("inputTable"):
            raise OptionError(
                "inputTable and localDataDir both name the texts", cure="Leave one out.", key="localDataDir"
            )
        if look:
            _check_folders(plain["localModelDir"], plain["localDataDir"], given.get("tokenizer_path"))
        training, llama = _sorted(plain["localModelDir"], given)
        text = options.get("deepspeedConfig", "").strip()
        deepspeed = pretrain_deepspeed.fill(
            pretrain_deepspeed.read(text) if text else pretrain_deepspeed.BUILT_IN,
            training.model_dump(),
            {key: option for key, (option, _) in given.items()},
        )
        taken = {key: value for key, value in plain.items() if value != ""}
        return cls(**taken, training=training, deepspeed=deepspeed, llama=llama, options=dict(options))


_PLAIN = {
    field.alias or name: name for name, field in PretrainSpec.model_fields.items() if field.alias or name == "name"
}
_SHARED = ("action", "detached", "model", "modelTable")
"""Options with one meaning, the same as in fine-tuning."""


def _check_type(text: str) -> None:
    known = [f"sfft/{name}" for name in MODEL_TYPES]
    if text not in known:
        raise OptionError(
            f"unknown pretrainedModelType {text}", cure=suggest(text, known, what="types"), key="pretrainedModelType"
        )


def _check_folders(base: Path | None, data: Path | None, tokenizer: tuple[str, Any] | None) -> None:
    if base:
        check_model(base)
    if data and not data.is_dir():
        raise OptionError(f"localDataDir {data} is not a folder", key="localDataDir")
    if tokenizer:
        option, path = tokenizer[0], _absolute(tokenizer[1])
        if not path.exists():
            raise OptionError(f"{option}: there is no {path}", key=option)
        if path.is_file() and path.name != "tokenizer.model":
            raise OptionError(
                f"{option}: a SentencePiece file is called tokenizer.model, not {path.name}",
                cure="Name the tokenizer's folder, or its file tokenizer.model.",
                key=option,
            )


def _absolute(path: str | Path) -> Path:
    return Path(path).expanduser().absolute()


def _json(text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise OptionError(f"config is not JSON: {error}", cure=_CONFIG, key="config") from None
    if not isinstance(config, dict):
        raise OptionError("config is not a JSON object", cure=_CONFIG, key="config")
    return config


_CONFIG = "Write config='{\"key\": value}'."


def _sorted(base: Path | None, given: Mapping[str, tuple[str, Any]]) -> tuple[Training, dict[str, Any]]:
    """The keys by owner over their defaults; a key without use here is an error."""
    scratch = base is None
    defaults = dict(DEFAULTS["scratch" if scratch else "model"])
    longest = _positions(base) if base else None
    if longest:
        defaults["max_length"] = min(defaults["max_length"], longest)
    llama = dict(LLAMA) if scratch else {}
    for name, (option, value) in given.items():
        if name in Training.model_fields:
            defaults[name] = value
        elif scratch:
            llama[name] = value
        else:
            raise OptionError(
                f"{option}: {name} describes a new model, but localModelDir names one",
                cure=f"Delete {name}, or leave localModelDir out to train from scratch.",
                key=option,
            )
    if path := defaults["tokenizer_path"]:
        defaults["tokenizer_path"] = _absolute(path)
    try:
        training = Training(**defaults)
    except ValidationError as error:
        first = error.errors()[0]
        option, value = given[str(first["loc"][0])]
        raise OptionError(f"{option}: {first['msg'].lower()}, not {value!r}", key=option) from None
    if scratch:
        check_shape(llama, "sfft")
    if longest and training.max_length > longest:
        option = given["max_length"][0]
        raise OptionError(
            f"{option}: the model reads {longest} tokens, not {training.max_length}",
            cure=f'Write `sfft.int.max_length`="{longest}", or less.',
            key=option,
        )
    return training, llama


def _positions(base: Path) -> int | None:
    """How many tokens the model reads together; None if its configuration does not say, or cannot be read yet."""
    try:
        config = json.loads((base / "config.json").read_text())
    except (OSError, ValueError):  # what is wrong is reported when it is loaded
        return None
    found = config.get("max_position_embeddings", config.get("n_positions"))
    return found if isinstance(found, int) else None
