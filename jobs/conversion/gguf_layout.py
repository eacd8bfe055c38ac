"""What a GGUF file says of a model's layout, by family."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

ARCHITECTURES = {
    "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma": "gemma", "gemma2": "gemma2",
    "gemma3_text": "gemma3",
}  # fmt: skip
"""Transformers' model types, and llama.cpp's names for them."""
_EVERY = {"gemma2": 2, "gemma3": 6}
"""Layers in a group: one of them sees the whole text, the others a window. llama.cpp assumes this number."""


def describe(writer: Any, config: PreTrainedConfig) -> None:
    """Add the sizes of the model. Raises: ModelError for a layout that llama.cpp would compute otherwise."""
    architecture = ARCHITECTURES[config.model_type]
    _check(config, architecture)
    heads, head = config.num_attention_heads, head_size(config)
    rope = _rope(config)
    writer.add_name(Path(config.name_or_path or "").name or config.model_type)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if architecture in _EVERY:
        writer.add_sliding_window(config.sliding_window)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if rope.get("rope_type") == "linear":
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def head_size(config: PreTrainedConfig) -> int:
    """Width of one attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def rope_factors(config: PreTrainedConfig) -> torch.Tensor | None:
    """By how much each rotary frequency is slowed down, as Llama 3.1 does; None if none is."""
    import torch

    rope = _rope(config)
    if rope.get("rope_type") != "llama3":
        return None
    size, context = head_size(config), rope["original_max_position_embeddings"]
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    waves = 2 * math.pi * rope["rope_theta"] ** (torch.arange(0, size, 2, dtype=torch.float64) / size)
    smooth = ((context / waves - low) / (high - low)).clamp(0, 1)
    factors: torch.Tensor = (1 / ((1 - smooth) / factor + smooth)).float()
    return factors


def _rope(config: PreTrainedConfig) -> dict[str, Any]:
    """The rotary positions; of layers that see the whole text, where there are two kinds."""
    rope = getattr(config, "rope_parameters", None) or {}
    return dict(rope.get("full_attention") or rope)


def _check(config: PreTrainedConfig, architecture: str) -> None:
    kind = _rope(config).get("rope_type", "default")
    scaled = {"llama": ("llama3", "linear"), "gemma3": ("linear",)}.get(architecture, ())
    if kind != "default" and kind not in scaled:
        raise ModelError(
            f"the model's positions are scaled by {kind}, which is not written as GGUF",
            cure="Models with plain rotary positions can be.",
        )
    if architecture not in _EVERY:
        if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
            raise ModelError(
                "a model with a sliding window is not written as GGUF", cure="Use the Hugging Face folder."
            )
        return
    every = _EVERY[architecture]
    expected = ["full_attention" if layer % every == 0 else "sliding_attention"
                for layer in range(1, config.num_hidden_layers + 1)]  # fmt: skip
    near = (getattr(config, "rope_parameters", None) or {}).get("sliding_attention") or {}
    unlike = {
        "layer_types": list(config.layer_types) != expected,
        "query_pre_attn_scalar": config.query_pre_attn_scalar != head_size(config),
        "rope_parameters": architecture == "gemma3" and float(near.get("rope_theta", 10000.0)) != 10000.0,
        "attn_logit_softcapping": architecture == "gemma3" and bool(config.attn_logit_softcapping),
        "final_logit_softcapping": architecture == "gemma3" and bool(config.final_logit_softcapping),
    }
    if name := next((name for name, wrong in unlike.items() if wrong), None):
        raise ModelError(
            f"{name} of the model is {getattr(config, name)}, which llama.cpp does not compute",
            cure="Use the Hugging Face folder.",
        )
