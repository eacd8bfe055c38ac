"""A DeepSpeed checkpoint as a Hugging Face model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_GLOBAL = re.compile(r"GLOBAL (\S+)")
_CLASSES = (
    ("deepspeed.runtime.zero.config", "ZeroStageEnum"),
    ("deepspeed.runtime.fp16.loss_scaler", "LossScaler"),
    ("deepspeed.runtime.fp16.loss_scaler", "DynamicLossScaler"),
    ("deepspeed.utils.tensor_fragment", "fragment_address"),
)
_FILES = ("*_optim_states.pt", "mp_rank_00_model_states.pt")


def load(checkpoint: Path, base: Path | None = None) -> PreTrainedModel:
    """The model in a checkpoint's folder, with its 32-bit weights.

    `base` is the Hugging Face folder that says what model it is; a checkpoint that was written here says it itself.
    A checkpoint is a pickle, which could run code: only tensors and DeepSpeed's own settings are read from it.

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
            with _no_code():
                found = torch.load(module[0], map_location="cpu", weights_only=True)["module"]
            return {name: weight.float() for name, weight in found.items()}
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        with _no_code(), Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # it prints what it does
            found = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint.parent), tag=checkpoint.name)
            return dict(found)
    except UnpicklingError as error:
        what = _GLOBAL.search(str(error))
        raise ModelError(
            f"the checkpoint {checkpoint} holds more than weights: {what[1] if what else 'objects of unknown classes'}",
            cure="Its code is not run. Convert it in a Python session of your own, and give the Hugging Face folder.",
        ) from None
    except (OSError, ValueError, KeyError, RuntimeError, EOFError) as error:
        raise ModelError(f"the checkpoint {checkpoint} cannot be read: {error}") from None


@contextmanager
def _no_code() -> Iterator[None]:
    """Have `torch.load` read tensors and DeepSpeed's settings alone, whoever calls it, however it is called."""
    from torch.serialization import safe_globals

    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        with safe_globals(_settings()):
            yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before


def _settings() -> list[Any]:
    """The classes that DeepSpeed writes beside weights: plain values, without code that runs as they are read."""
    found = []
    for module, name in _CLASSES:
        with suppress(ImportError, AttributeError):
            found.append(getattr(import_module(module), name))
    return found
