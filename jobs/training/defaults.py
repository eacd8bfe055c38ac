"""What a run takes that its statement does not say, and which settings go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sqlllm.errors import OptionError, suggest

from . import keys

Method = Literal["lora", "full", "scratch"]

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


def needs_a_model(setting: keys.Setting) -> OptionError:
    return OptionError(
        f"{setting.option}: an adapter needs a model to adapt",
        cure="Name its folder in localModelDir, and leave use_peft true.",
        key=setting.option,
    )


def check(
    method: Method, own: Mapping[str, keys.Setting], held_out: bool, settings: Mapping[str, keys.Setting]
) -> None:
    """Refuse what would be without effect."""
    if "load_in_4bit" in own and own["load_in_4bit"].value and method != "lora":
        raise needs_a_model(own["load_in_4bit"])
    if "fsdp_config" in settings:
        _check_fsdp(settings["fsdp_config"], {**own, **settings})
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


def _check_fsdp(setting: keys.Setting, settings: Mapping[str, keys.Setting]) -> None:
    if not isinstance(setting.value, dict):
        raise OptionError(
            f"{setting.option} is not a JSON object", cure="Write `sft.dict.fsdp_config`='{}'.", key=setting.option
        )
    for key in setting.value.keys() - _FSDP:
        raise OptionError(
            f"{setting.option}: unknown key {key}", cure=suggest(key, sorted(_FSDP), what="keys"), key=setting.option
        )
    for other in ("deepspeed", "load_in_4bit"):
        if other in settings and settings[other].value:
            raise OptionError(
                f"{setting.option}: FSDP does not go with {other}", cure="Delete one of the two.", key=setting.option
            )


_FSDP = frozenset({
    "activation_checkpointing", "auto_wrap_policy", "cpu_offload", "cpu_ram_efficient_loading", "min_num_params",
    "reshard_after_forward", "transformer_layer_cls_to_wrap",
})  # fmt: skip
"""What FSDP 2 has of fsdp_config; the state dict's type is ours, as `final` is written from it."""

_OF_EVALUATION = frozenset({
    "bf16_full_eval", "eval_accumulation_steps", "eval_delay", "eval_packing", "eval_steps", "eval_strategy",
    "fp16_full_eval", "greater_is_better", "load_best_model_at_end", "metric_for_best_model",
    "per_device_eval_batch_size",
})  # fmt: skip


def settle(
    kind: keys.Kind, method: Method, settings: Mapping[str, keys.Setting], held_out: bool
) -> dict[str, dict[str, Any] | Method]:
    """The settings by owner over the method's defaults; one that the method has no use for is an error."""
    trainer = keys.TRAINERS[kind]
    fields: dict[str, dict[str, Any]] = {trainer: {}, "LoraConfig": {}, "LlamaConfig": {}}
    for name, value in (DEFAULTS if kind == "sft" else DPO_DEFAULTS)[method].items():
        fields[keys.owners(kind)[name][0]][name] = value
    for setting in settings.values():
        if setting.owner == "LoraConfig" and method != "lora":
            raise needs_a_model(setting)
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
    for what in ("eval", "save"):
        one, steps = given.get(f"{what}_strategy"), given.get(f"{what}_steps")
        training[f"{what}_strategy"] = one.value if one else "steps" if strategy == "best" else strategy
        if steps and training[f"{what}_strategy"] != "steps":
            name = f"{what}_strategy" if one else next(iter({"eval_strategy", "save_strategy"} & given.keys()))
            raise OptionError(
                f"{steps.option}: {what}_steps says nothing where {name} is {training[f'{what}_strategy']}",
                cure=f"Delete it, or {name}.",
                key=steps.option,
            )
    steps = next((given[name].value for name in ("eval_steps", "save_steps") if name in given), training["save_steps"])
    for name in ("eval_steps", "save_steps"):
        if name not in given:
            training[name] = steps
    evaluates, saves = training["eval_strategy"], training["save_strategy"]
    keeps_best = evaluates != "no" and saves in (evaluates, "best")
    best = given.get("load_best_model_at_end")
    if best and best.value and not keeps_best:
        raise OptionError(
            f"{best.option}: the best checkpoint is known only where eval_strategy and save_strategy are the same",
            cure="Give both the same value, steps or epoch, or delete load_best_model_at_end.",
            key=best.option,
        )
    training.setdefault("load_best_model_at_end", keeps_best)
    training.setdefault("metric_for_best_model", "eval_loss")
    training.setdefault("per_device_eval_batch_size", training["per_device_train_batch_size"])
