"""The `sft.<type>.<key>` and `dpo.<type>.<key>` options: who owns each key, and which type it takes.

`keys.json` lists the fields of TRL's SFTConfig and DPOConfig, PEFT's LoraConfig and Transformers' LlamaConfig that a
script may set, because asking those packages takes nine seconds of imports; a test holds it against the installed
versions.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

from sqlllm.errors import OptionError, suggest

Kind = Literal["sft", "dpo"]
Owner = Literal["SFTConfig", "DPOConfig", "LoraConfig", "LlamaConfig", "FinetuneSpec"]

TRAINERS: dict[Kind, Owner] = {"sft": "SFTConfig", "dpo": "DPOConfig"}

ALIASES = {
    "max_seq_length": "max_length", "lora_rank": "r", "lora_r": "r",
    "val_set_size": "val_size", "test_size": "val_size",
    "chat_template": "chat_template_path",
}  # fmt: skip
"""Byzer's, PEFT's, Axolotl's and scikit-learn's other spellings."""

OWN: dict[str, tuple[str, ...]] = {
    "use_peft": ("bool",), "load_in_4bit": ("bool",), "val_size": ("int", "float"),
    "early_stopping_patience": ("int",), "early_stopping_threshold": ("float",), "eos_token": ("str",),
    "chat_template_path": ("str",),
}  # fmt: skip
"""Keys that no library's configuration holds: what they do is in `spec` and `worker`."""

TYPES = ("int", "float", "bool", "str", "list", "dict")

_WHY_REFUSED = {
    "the run's folder is chosen by localPathPrefix and name": ["output_dir", "run_name", "logging_dir"],
    "only the answers carry loss, in every format": [
        "assistant_only_loss", "completion_only_loss", "dataset_kwargs", "dataset_text_field", "label_names",
        "remove_unused_columns", "length_column_name", "truncation_mode",
    ],
    "the devices are chosen by `!byzerllm setup`": [
        "accelerator_config", "ddp_backend", "local_rank", "parallelism_config", "use_cpu",
    ],
    "held-out rows are chosen by evalTable or val_size, and what is measured on them is the loss": [
        "batch_eval_metrics", "do_eval", "do_predict", "eval_do_concat_batches", "eval_file", "eval_on_start",
        "eval_use_gather_object", "include_for_metrics", "prediction_loss_only",
    ],
    "a run goes on from its last whole checkpoint, exactly": [
        "enable_jit_checkpoint", "ignore_data_skip", "restore_callback_states_from_checkpoint",
        "resume_from_checkpoint", "save_only_model", "save_on_each_node",
    ],
    "4 bits are supported: write `sft.bool.load_in_4bit`": ["load_in_8bit"],
    "FSDP shares weights out where `sft.dict.fsdp_config` is written; `{}` is enough": ["fsdp"],
    "nothing is sent to a hub or a tracking service": [
        "hub_always_push", "hub_model_id", "hub_private_repo", "hub_revision", "hub_strategy", "hub_token", "project",
        "push_to_hub", "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id",
    ],
    "code that comes with a model is not run": ["trust_remote_code"],
    "training is set up by this statement alone": [
        "debug", "disable_tqdm", "do_train", "liger_kernel_config", "log_level",
        "log_level_replica", "log_on_each_node", "model_init_kwargs", "pad_token", "skip_memory_metrics",
        "use_liger_kernel",
    ],
    "the model that training starts from is the reference": [
        "precompute_ref_batch_size", "ref_model_mixup_alpha", "ref_model_sync_steps", "sync_ref_model",
    ],
    "only LoRA adapters of linear layers are supported": [
        "alora_invocation_tokens", "arrow_config", "auto_mapping", "base_model_name_or_path", "corda_config",
        "eva_config", "inference_mode", "kasa_config", "loftq_config", "lora_ga_config", "megatron_config",
        "megatron_core", "monteclora_config", "peft_type", "peft_version", "qalora_group_size", "revision",
        "runtime_config", "task_type", "use_bdlora", "use_qalora", "velora_config",
    ],
}  # fmt: skip
REFUSED = {key: reason for reason, keys in _WHY_REFUSED.items() for key in keys}

_POSITIVE = frozenset({
    "beta", "early_stopping_patience", "eval_steps", "gradient_accumulation_steps", "head_dim", "hidden_size",
    "intermediate_size", "learning_rate", "logging_steps", "lora_alpha", "max_length", "max_position_embeddings",
    "max_steps", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "num_train_epochs",
    "per_device_eval_batch_size", "per_device_train_batch_size", "r", "save_steps", "val_size",
})  # fmt: skip

_HARMLESS = {
    "task_type": ("", "CAUSAL_LM"), "disable_tqdm": (True, False), "remove_unused_columns": (True, False),
    "eval_file": ("",), "max_steps": (-1,),
}  # fmt: skip
"""Byzer's and Transformers' keys that change nothing here with these values: scripts that carry them run."""


class Setting(NamedTuple):
    """One key with its value: the class that owns it, its name there, and the option that gave it."""

    owner: Owner
    name: str
    value: Any
    option: str


@cache
def owners(kind: Kind = "sft") -> dict[str, tuple[Owner, tuple[str, ...]]]:
    """Each key's owner and the types it takes."""
    listed = json.loads((files(__package__) / "keys.json").read_text())
    known: dict[str, tuple[Owner, tuple[str, ...]]] = {name: ("FinetuneSpec", types) for name, types in OWN.items()}
    for owner in (TRAINERS[kind], "LoraConfig", "LlamaConfig"):
        known |= {name: (owner, tuple(types.split())) for name, types in listed[owner].items() if name not in OWN}
    return known


def parse(kind: Kind, option: str, text: str) -> Setting | None:
    """`sft.<type>.<key>` and its text as a setting; None for a key that changes nothing."""
    _, form, spelling = [*option.split(".", 2), "", ""][:3]
    if form not in TYPES or not spelling:
        raise OptionError(
            f"{option} is not of the form {kind}.<type>.<key>", cure=suggest(form, TYPES, what="types"), key=option
        )
    return typed(kind, option, spelling, read(option, form, text))


def typed(kind: Kind, option: str, spelling: str, value: Any) -> Setting | None:
    """Find the owner of `spelling` and check that it takes such a value."""
    known = owners(kind)
    name = ALIASES.get(spelling, spelling)
    if value in _HARMLESS.get(name, ()):
        return None
    if name in REFUSED:
        raise OptionError(f"{option}: {REFUSED[name]}", cure="Delete the option.", key=option)
    if name not in known:
        raise OptionError(
            f"{option}: unknown key {spelling}", cure=suggest(spelling, [*known, *ALIASES], what="keys"), key=option
        )
    owner, types = known[name]
    form = type(value).__name__
    if form == "int" and "int" not in types and "float" in types:
        value, form = float(value), "float"
    if form not in types:
        raise OptionError(
            f"{option}: {spelling} takes {' or '.join(types)}, not {form} {value!r}",
            cure=f"Write `{kind}.{types[0]}.{spelling}`.",
            key=option,
        )
    if name == "packing_strategy" and value == "wrapped":
        raise OptionError(
            f"{option}: wrapped cuts answers in two and lets rows see each other", cure="Write bfd.", key=option
        )
    if name in _POSITIVE and not value > 0:
        raise OptionError(f"{option}: {spelling} must be above 0, not {value!r}", key=option)
    return Setting(owner, name, value, option)


def read(option: str, kind: str, text: str) -> Any:
    """The value of an option's text, of the kind that its key names; OptionError if it is none."""
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.strip().lower()]
        if kind in ("list", "dict"):
            value = json.loads(text)
            if type(value).__name__ == kind:
                return value
            raise ValueError
        return {"int": int, "float": float, "str": str}[kind](text)
    except (ValueError, KeyError):
        forms = {"bool": "true or false", "list": 'JSON such as ["a", "b"]', "dict": 'JSON such as {"a": 1}'}
        raise OptionError(
            f"{option}: {text!r} is not a valid {kind}", cure=f"Write {forms.get(kind, f'one {kind}')}.", key=option
        ) from None
