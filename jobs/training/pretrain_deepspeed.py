"""DeepSpeed's JSON: the built-in one, a statement's own as it is, and what this machine adds to it.

`"auto"` in it means the statement's `sfft.` key, as in Transformers; DeepSpeed's default if no key says it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlllm.errors import OptionError, suggest

Config = dict[str, Any]

BUILT_IN: Config = {
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "optimizer": {
        "type": "AdamW",
        "params": {"lr": "auto", "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": "auto"},
    },
    "scheduler": {
        "type": "WarmupCosineLR",
        "params": {"total_num_steps": "auto", "warmup_num_steps": "auto", "warmup_type": "linear"},
    },
    "zero_optimization": {"stage": 2},
    "bf16": {"enabled": "auto"},
}
"""For a statement without `deepspeedConfig`."""

KEYS = {
    "train_micro_batch_size_per_gpu": "per_device_train_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "gradient_clipping": "max_grad_norm",
    "optimizer.params.lr": "learning_rate",
    "optimizer.params.weight_decay": "weight_decay",
    "scheduler.params.warmup_max_lr": "learning_rate",
    "scheduler.params.warmup_num_steps": "warmup_steps",
}
"""Where each `sfft.` key goes."""

_KNOWN = (
    "activation_checkpointing", "aio", "bf16", "bfloat16", "checkpoint", "comms_logger", "communication_data_type",
    "compile", "csv_monitor", "data_types", "dataloader_drop_last", "disable_allgather", "disable_python_gc",
    "dump_state", "flops_profiler", "fp16", "gradient_accumulation_steps", "gradient_allreduce_op",
    "gradient_clipping", "gradient_predivide_factor", "graph_harvesting", "log_level", "memory_breakdown",
    "optimizer", "prescale_gradients", "scheduler", "sparse_gradients", "steps_per_print", "tensorboard", "timers",
    "torch_autocast", "train_batch_size", "train_micro_batch_size_per_gpu", "use_data_before_expert_parallelism",
    "vocabulary_size", "wall_clock_breakdown", "zero_allow_untested_optimizer", "zero_force_ds_cpu_optimizer",
    "zero_optimization",
)  # fmt: skip
_REFUSED = {
    "amp": "Write bf16 or fp16.",
    "autotuning": "Batch sizes are the statement's own.",
    "comet": "Nothing is sent to a tracking service.",
    "compression_training": "Quantise the finished model.",
    "curriculum_learning": "The table's rows are read in a seeded random order.",
    "data_efficiency": "The table's rows are read in a seeded random order.",
    "elasticity": "The number of workers is that of `!byzerllm setup`.",
    "hybrid_engine": "A model answers after it is deployed.",
    "load_universal_checkpoint": "A run goes on with as many workers as it began with.",
    "pipeline": "Models are shared out by ZeRO.",
    "tensor_parallel": "Models are shared out by ZeRO.",
    "wandb": "Nothing is sent to a tracking service.",
}


_BATCHES = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "train_batch_size")


class Batch(NamedTuple):
    """How many blocks go through the model at once: in one worker, and how often before a step."""

    micro: int
    accumulation: int


def read(text: str) -> Config:
    """`deepspeedConfig` as it is written; OptionError if it is not a JSON object, or has a key DeepSpeed does not know.

    DeepSpeed itself checks the sections, when the run starts, and passes over unknown keys beside them.
    """
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise _wrong(f"is not JSON: {error}", cure="Write deepspeedConfig='{\"zero_optimization\": {...}}'.") from None
    if not isinstance(config, dict):
        raise _wrong("is not a JSON object", cure="Write deepspeedConfig='{\"zero_optimization\": {...}}'.")
    for key in config:
        if key in _REFUSED:
            raise _wrong(f"{key} is not supported", cure=_REFUSED[key])
        if key not in _KNOWN:
            raise _wrong(f"unknown key {key}", cure=suggest(key, _KNOWN, what="keys"))
    for section in ("optimizer", "scheduler", "zero_optimization", "bf16", "fp16", "tensorboard"):
        if not isinstance(config.get(section, {}), dict):
            raise _wrong(f"{section} is not a JSON object")
    for key in _BATCHES:
        size = config.get(key, 1)
        if size != "auto" and (not isinstance(size, int) or size < 1):
            raise _wrong(f"{key} is a number from 1, not {size!r}")
    stage = config.get("zero_optimization", {}).get("stage", 0)
    if stage not in (0, 1, 2, 3):
        raise _wrong(f"zero_optimization.stage is 0, 1, 2 or 3, not {stage!r}")
    if "optimizer" not in config:
        raise _wrong("has no optimizer", cure='Add "optimizer": {"type": "AdamW", "params": {"lr": 1e-5}}.')
    return config


def fill(config: Config, keys: Mapping[str, Any], given: Mapping[str, str]) -> Config:
    """`config` with each `"auto"` that a key owns replaced; a key `given` beside another value is an OptionError.

    `given` names the option of every key that the statement itself sets.
    """
    config = copy.deepcopy(config)
    for path, key in KEYS.items():
        section, name = _section(config, path)
        if section is not None and section.get(name) == "auto":
            section[name] = keys[key]
    for key, option in given.items():
        paths = [path for path, owner in KEYS.items() if owner == key]
        if paths and not any(_value(config, path) == keys[key] for path in paths):
            raise OptionError(
                f"{option}: deepspeedConfig decides this",
                cure=f'Write "{paths[0]}" in deepspeedConfig, or "auto" there to keep the option.',
                key=option,
            )
    return config


def batch(config: Config, workers: int) -> Batch:
    """Blocks per worker and micro-batch, and micro-batches per step, by DeepSpeed's own rule."""
    micro, accumulation, whole = (None if (size := config.get(key)) == "auto" else size for key in _BATCHES)
    if whole is None:
        found = Batch(micro or 1, accumulation or 1)
    elif micro:
        found = Batch(micro, accumulation or whole // (micro * workers))
    else:
        found = Batch(whole // ((accumulation or 1) * workers), accumulation or 1)
    if min(found) < 1 or (whole is not None and found.micro * found.accumulation * workers != whole):
        raise _wrong(
            f"train_batch_size {whole} is not train_micro_batch_size_per_gpu x gradient_accumulation_steps"
            f" x {workers} workers",
            cure="Leave train_batch_size out.",
        )
    return found


def complete(config: Config, batch: Batch, *, steps: int, bf16: bool, compiler: bool, folder: Path) -> Config:
    """What `deepspeed.initialize` takes for a run of `steps` steps: no `"auto"` left, and what can run here.

    Without a `compiler` the optimizer is PyTorch's own, which computes the same as the one DeepSpeed would compile.
    """
    config = copy.deepcopy(config)
    config.pop("train_batch_size", None)
    config |= {"train_micro_batch_size_per_gpu": batch.micro, "gradient_accumulation_steps": batch.accumulation}
    schedule = config.get("scheduler", {}).get("params", {})
    if schedule.get("total_num_steps") == "auto":
        schedule["total_num_steps"] = steps
    warmup = schedule.get("warmup_num_steps")
    if isinstance(warmup, float):  # below 1, a share of all steps
        schedule["warmup_num_steps"] = max(1, round(warmup * steps) if warmup < 1 else round(warmup))
    if config.get("bf16", {}).get("enabled") == "auto":
        config["bf16"]["enabled"] = bf16
    if config.get("tensorboard", {}).get("enabled"):
        config["tensorboard"] = {"output_path": str(folder / "tensorboard_dir"), "job_name": folder.name} | config[
            "tensorboard"
        ]
    if not compiler:
        config["zero_force_ds_cpu_optimizer"] = False
        if config["optimizer"].get("type", "").lower() in ("adam", "adamw"):
            config["optimizer"].setdefault("params", {})["torch_adam"] = True
    return _without_auto(config)


def _without_auto(config: Config) -> Config:
    return {
        key: _without_auto(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if value != "auto"
    }


def _section(config: Config, path: str) -> tuple[Config | None, str]:
    *sections, name = path.split(".")
    found: Any = config
    for section in sections:
        found = found.get(section) if isinstance(found, dict) else None
    return (found if isinstance(found, dict) else None), name


def _value(config: Config, path: str) -> Any:
    section, name = _section(config, path)
    return None if section is None else section.get(name)


def _wrong(what: str, cure: str = "") -> OptionError:
    return OptionError(f"deepspeedConfig {what}" if what.startswith(("is ", "has ")) else f"deepspeedConfig: {what}",
                       cure=cure, key="deepspeedConfig")  # fmt: skip
