"""The `sfft.<type>.<key>` options of pretraining: what each means, its other spellings, its value if not given."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sqlllm.errors import OptionError, suggest

from .keys import TYPES, owners, read


class Training(BaseModel):
    """The `sfft.<type>.<key>` options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_length: int = Field(ge=2, description="tokens that are read together")
    epochs: int = Field(ge=1, description="how often all texts are read; Byzer's `epoches` is the same")
    steps_per_epoch: int | None = Field(None, ge=1, description="end an epoch after this many steps")
    max_steps: int | None = Field(None, ge=1, description="end the run after this many steps, whatever `epochs` is")
    per_device_train_batch_size: int = Field(ge=1, description="blocks at once, in each worker")
    gradient_accumulation_steps: int = Field(ge=1, description="batches in one step")
    learning_rate: float = Field(gt=0, description="size of a step; lower it if the loss jumps or becomes `nan`")
    warmup_steps: float = Field(ge=0, description="steps until the full learning rate; below 1 a share of all steps")
    weight_decay: float = Field(ge=0, description="pull of the weights towards zero")
    max_grad_norm: float = Field(ge=0, description="longest gradient")
    gradient_checkpointing: bool = Field(description="less memory for a fifth more time")
    logging_steps: int = Field(ge=1, description="steps between two lines of metrics")
    save_steps: int = Field(ge=0, description="steps between two checkpoints; 0 keeps those at the end of epochs alone")
    save_total_limit: int | None = Field(
        None, ge=1, description="keep the checkpoints of this many epochs; default: all"
    )
    seed: int = Field(ge=0, description="the same seed, table, workers and machine give the same model")
    tokenizer_path: Path | None = Field(
        None, description="another tokenizer: its folder, or a SentencePiece `tokenizer.model`"
    )
    setup_nccl_socket_ifname_by_ip: bool = Field(
        description="GPUs of several machines talk over the network interface that has the machine's own address"
    )


ALIASES = {
    "epoches": "epochs", "num_train_epochs": "epochs", "max_seq_length": "max_length",
    "gradient_clipping": "max_grad_norm", "micro_batch_size": "per_device_train_batch_size",
}  # fmt: skip
"""Byzer's, Transformers' and DeepSpeed's other spellings."""

_COMMON = {
    "epochs": 1, "steps_per_epoch": None, "max_steps": None, "gradient_accumulation_steps": 1, "warmup_steps": 0.05,
    "weight_decay": 0.1, "max_grad_norm": 1.0, "gradient_checkpointing": False, "logging_steps": 5, "save_steps": 500,
    "save_total_limit": None, "seed": 42, "tokenizer_path": None, "setup_nccl_socket_ifname_by_ip": False,
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "model": {**_COMMON, "max_length": 4096, "per_device_train_batch_size": 1, "learning_rate": 2e-5},
    "scratch": {**_COMMON, "max_length": 512, "per_device_train_batch_size": 16, "learning_rate": 1.5e-3},
}
"""For a run that starts from a model, and for one from scratch."""

LLAMA: dict[str, Any] = {
    "vocab_size": 1024, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 8,
    "head_dim": 32, "tie_word_embeddings": True, "initializer_range": 0.06,
}  # fmt: skip
"""A new model, as small as in fine-tuning."""


def parse(option: str, text: str) -> tuple[str, Any]:
    """Key and value of one `sfft.<type>.<key>`; OptionError names it."""
    _, kind, name = [*option.split(".", 2), "", ""][:3]
    if kind not in TYPES or not name:
        raise OptionError(
            f"{option} is not of the form sfft.<type>.<key>", cure=suggest(kind, TYPES, what="types"), key=option
        )
    return canonical(name), typed(option, name, read(option, kind, text))


def canonical(name: str) -> str:
    """Our spelling of a key."""
    return ALIASES.get(name, name)


def typed(option: str, name: str, value: Any) -> Any:
    """`value` if the key takes such a one."""
    types = KEY_TYPES.get(canonical(name))
    if types is None:
        known = [*KEY_TYPES, *ALIASES]
        raise OptionError(f"{option}: unknown key {name}", cure=suggest(name, known, what="keys"), key=option)
    kind = type(value).__name__
    if kind == "int" and "int" not in types and "float" in types:
        return float(value)
    if kind not in types:
        raise OptionError(
            f"{option}: {name} takes {' or '.join(types)}, not {kind} {value!r}",
            cure=f"Write `sfft.{types[0]}.{name}`.",
            key=option,
        )
    return value


def _kinds(annotation: Any) -> tuple[str, ...]:
    """The kinds of value that a field takes, as options spell them."""
    kinds = [kind for kind in (typing.get_args(annotation) or (annotation,)) if kind is not type(None)]
    return tuple("str" if kind is Path else kind.__name__ for kind in kinds)


KEY_TYPES = {name: _kinds(field.annotation) for name, field in Training.model_fields.items()} | {
    name: types for name, (owner, types) in owners().items() if owner == "LlamaConfig"
}
