"""A DeepSpeed checkpoint as a Hugging Face model."""

from __future__ import annotations

import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_FILES = ("*_optim_states.pt", "mp_rank_00_model_states.pt")


def load(checkpoint: Path, base: Path | None = None) -> PreTrainedModel:
    """The model in a checkpoint's folder, with its 32-bit weights.

    `base` is the Hugging Face folder that says what model it is; a checkpoint that was written here says it itself.
    A checkpoint is a pickle, which can run code: load none that you do not trust.

    Raises: ModelError if the folder holds no checkpoint, or one of another model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    weights = _weights(checkpoint)
    base = home(checkpoint, base)
    config = AutoConfig.from_pretrained(base)
    with torch.device("meta"):  # no memory for weights that are replaced at once
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    expected = model.state_dict()
    missing = [name for name in expected if name not in weights]
    other = [name for name, weight in weights.items() if name not in expected or expected[name].shape != weight.shape]
    if missing or other:
        name = (missing or other)[0]
        raise ModelError(
            f"the checkpoint {checkpoint} is not of the model in {base}: {name} differs",
            cure="Name the model that the training started from.",
        )
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    return model


def home(checkpoint: Path, base: Path | None = None) -> Path:
    """The folder that says what model the checkpoint is of, and has its tokenizer."""
    if (checkpoint / "config.json").exists():
        return checkpoint
    if base is None:
        raise ModelError(
            f"the checkpoint {checkpoint} does not say what model it is of",
            cure="Name the model that the training started from in modelNameOrPath.",
        )
    return base


def dtype(home: Path) -> torch.dtype:
    """The numbers that the model computes with."""
    import torch
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(home).dtype or torch.float32


def _weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    import torch

    optimizer, module = (sorted(checkpoint.glob(pattern)) for pattern in _FILES)
    if not optimizer and not module:
        raise ModelError(
            f"{checkpoint} is not a DeepSpeed checkpoint: it has no *_model_states.pt",
            cure="checkpointDir is the folder of the checkpoints, tag the name of one in it.",
        )
    try:
        if not optimizer:  # without ZeRO the model is there as it is
            found = torch.load(module[0], map_location="cpu", weights_only=False)["module"]
            return {name: weight.float() for name, weight in found.items()}
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # it prints what it does
            found = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint.parent), tag=checkpoint.name)
            return dict(found)
    except (OSError, ValueError, KeyError, RuntimeError, EOFError) as error:
        raise ModelError(f"the checkpoint {checkpoint} cannot be read: {error}") from None
