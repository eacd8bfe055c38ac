"""What a training leaves: the model folder, in the numbers of its base, with what its answers end with. For workers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def dtype(asked: str, base: Path | None) -> torch.dtype | None:
    """The numbers to store: those asked for, else those of the base; None leaves them as they are."""
    import torch

    name = asked
    if asked == "auto":
        config = json.loads((base / "config.json").read_text()) if base else {}
        told = {**config.get("text_config", {}), **config}
        name = told.get("dtype") or told.get("torch_dtype") or ""
    found = getattr(torch, str(name).removeprefix("torch."), None) if name else None
    return found if isinstance(found, torch.dtype) and found.is_floating_point else None


def write(model: PreTrainedModel, folder: Path, weights: dict[str, Any] | None, dtype: torch.dtype | None) -> None:
    """Save the model in `dtype`; `weights` are those that workers share out, gathered."""
    if dtype is None:
        model.save_pretrained(folder, state_dict=weights)
        return
    found = model.state_dict() if weights is None else weights
    kept = {name: weight.to(dtype) if weight.is_floating_point() else weight for name, weight in found.items()}
    for name in model.all_tied_weights_keys:
        kept.pop(name, None)
    model.save_pretrained(folder, state_dict=kept)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "dtype": str(dtype).removeprefix("torch.")}, indent=2) + "\n")


def write_adapter(model: Any, folder: Path, weights: dict[str, Any] | None) -> None:
    """Save what the adapter has learned; with added tokens their embeddings too, which PEFT says on its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting `save_embedding_layers`")
        model.save_pretrained(folder, state_dict=weights)


def complete(folder: Path, tokenizer: Any, stops: int | list[int]) -> None:
    """Write the tokenizer beside the weights, and in generation_config.json what the model stops at."""
    from transformers import GenerationConfig

    tokenizer.save_pretrained(folder)
    if (folder / "generation_config.json").exists():
        config = GenerationConfig.from_pretrained(folder)
    else:
        config = GenerationConfig(pad_token_id=tokenizer.pad_token_id)  # type: ignore[no-untyped-call]
    config.eos_token_id = stops
    config.save_pretrained(folder)


def beside(base: Path, adapter: Path) -> Any:
    """The adapter and its base, whole and unquantized, to be merged: 4 bits have no room for the difference."""
    import torch
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    from sqlllm.jobs.conversion import adapters

    unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]  # or ZeRO-3 would share this one out as well, among workers that have ended
    return adapters.load(adapter, base, dtype=torch.float32)
