"""A model and its adapter: room for the tokens that the adapter added, what its answers end with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load(adapter: Path, base: Path, *, dtype: torch.dtype | str = "auto") -> Any:
    """The adapter beside its base, as PEFT has it: `merge_and_unload` makes one model of them.

    Raises: ModelError if it is of another model.
    """
    from transformers import AutoModelForCausalLM

    return beside(AutoModelForCausalLM.from_pretrained(base, dtype=dtype), adapter)


def beside(model: PreTrainedModel, adapter: Path) -> Any:
    """The adapter beside a loaded model, which gets rows for added tokens. ModelError if it is of another model."""
    from peft import PeftModel

    try:
        if (rows := vocabulary(adapter)) and rows != model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(rows, mean_resizing=False)
        return PeftModel.from_pretrained(model, adapter)
    except (RuntimeError, ValueError) as error:  # of another model: sizes or names differ
        line = str(error).strip().splitlines()[-1].strip()
        raise ModelError(
            f"the adapter {adapter} does not fit the model: {line}", cure="Name the model that it was trained on."
        ) from None


def merged(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """The model with the adapter's weights added to its own, which stops where the adapter learned to.

    Raises: ModelError if the adapter is of another model.
    """
    from transformers import GenerationConfig

    try:
        found: PreTrainedModel = beside(model, adapter).merge_and_unload()
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"the adapter {adapter} cannot be merged: {error}") from None
    if (adapter / "generation_config.json").is_file():
        found.generation_config = GenerationConfig.from_pretrained(adapter)
    return found


def vocabulary(adapter: Path) -> int:
    """How many tokens the adapter's own embeddings have; 0 if it has none."""
    from safetensors import safe_open

    path = adapter / "adapter_model.safetensors"
    if not path.is_file():
        return 0
    with safe_open(path, "np") as file:
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            if "lora_" not in name and name.endswith((".embed_tokens.weight", ".lm_head.weight", ".wte.weight")):
                return int(file.get_slice(name).get_shape()[0])
    return 0
