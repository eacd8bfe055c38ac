"""Going on with a run under other settings: a smaller batch after memory ran out, another learning rate.

What one step of the optimizer learns from stays the same, or the run's steps would count other rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlllm.errors import OptionError, suggest

from . import keys
from .spec import FinetuneSpec

BATCH, ACCUMULATION = "per_device_train_batch_size", "gradient_accumulation_steps"
KEYS = (BATCH, ACCUMULATION, "learning_rate", "gradient_checkpointing", "per_device_eval_batch_size")
"""What a resumed run may change; the rest is in its checkpoint, or would make another run of it."""


def changed(spec: FinetuneSpec, options: Mapping[str, str]) -> FinetuneSpec:
    """The specification with a resumption's options; OptionError for one that would make another run of it."""
    given = {setting.name: setting for setting in (_read(spec, *option) for option in options.items()) if setting}
    if not given:
        return spec
    training = spec.training | {name: setting.value for name, setting in given.items()}
    before, after = (one[BATCH] * one[ACCUMULATION] for one in (spec.training, training))
    if before != after:
        setting = given.get(BATCH) or given[ACCUMULATION]
        raise OptionError(
            f"{setting.option}: a step of run {spec.name} learns from {before} rows of each worker, not {after}",
            cure=f"Keep {BATCH} times {ACCUMULATION} at {before}.",
            key=setting.option,
        )
    return spec.model_copy(update={"training": training})


def _read(spec: FinetuneSpec, option: str, text: str) -> keys.Setting | None:
    setting = keys.parse(spec.kind, option, text) if option.startswith(f"{spec.kind}.") else None
    if setting is None or setting.name not in KEYS:
        known = [f"{spec.kind}.<type>.{key}" for key in KEYS]
        raise OptionError(
            f"{option} cannot change when a run is resumed",
            cure=f"{suggest(option, known, what='options')} For more, run the statement again under another name.",
            key=option,
        )
    return setting


def halved(spec: FinetuneSpec) -> FinetuneSpec | None:
    """The specification with half the batch and twice the accumulation; None if a batch is one row already."""
    batch, whole = spec.training[BATCH], spec.training[BATCH] * spec.training[ACCUMULATION]
    smaller = next((size for size in range(batch // 2, 0, -1) if whole % size == 0), None)
    if smaller is None:
        return None
    change: dict[str, Any] = {BATCH: smaller, ACCUMULATION: whole // smaller}
    if "per_device_eval_batch_size" in spec.training:
        change["per_device_eval_batch_size"] = min(spec.training["per_device_eval_batch_size"], smaller)
    return spec.model_copy(update={"training": spec.training | change})
