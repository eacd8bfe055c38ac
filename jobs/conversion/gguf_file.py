"""A model as a GGUF file for llama.cpp: Llama, Mistral, Qwen 2 and 3, Gemma 1 to 3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError, PackageError

from . import gguf_layout, gguf_tokens

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def write(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, to: Path, *, dtype: str = "auto", quantization: str = ""
) -> None:
    """Write the file `to`. `quantization` takes the matrices; vectors and, without it, `dtype` say their numbers.

    Raises: ModelError for a model or a tokenizer that llama.cpp would read otherwise; PackageError without gguf.
    """
    try:
        from gguf import GGMLQuantizationType, GGUFWriter
    except ImportError as error:
        raise PackageError.from_import_error(error, package="gguf", extra="train") from None
    config = model.config
    architecture = gguf_layout.ARCHITECTURES.get(config.model_type)
    if architecture is None:
        raise ModelError(
            f"a model of the type {config.model_type} cannot be written as GGUF",
            cure=f"Types that can: {', '.join(gguf_layout.ARCHITECTURES)}.",
        )
    names = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
    stored = quantization.upper() or names[dtype if dtype != "auto" else str(model.dtype).removeprefix("torch.")]
    writer = GGUFWriter(str(to), architecture)
    gguf_layout.describe(writer, config)
    gguf_tokens.write(writer, tokenizer, model)
    for name, weight in _tensors(model, architecture):
        _add(writer, name, weight, GGMLQuantizationType[stored])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(model: PreTrainedModel, architecture: str) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights under llama.cpp's names, laid out as it reads them."""
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    config = model.config
    known = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture and isinstance(key, MODEL_ARCH))
    names = get_tensor_name_map(known, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelError(f"the weight {name} has no place in a GGUF file of {config.model_type}")
        part = name.split(".")[-2]
        if architecture == "llama" and part in heads:
            weight = permute(weight, heads[part])
        elif architecture.startswith("gemma") and name.endswith("norm.weight"):
            weight = weight.float() + 1  # Transformers adds it as it computes
        yield found, weight
    if (factors := gguf_layout.rope_factors(config)) is not None:
        yield "rope_freqs.weight", factors


def permute(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows from Transformers' order of rotary halves to llama.cpp's pairs."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _add(writer: Any, name: str, weight: torch.Tensor, stored: Any) -> None:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

    values = weight.detach().float().contiguous().numpy()
    # llama.cpp wants vectors whole, and a row that does not fill its blocks cannot be packed.
    if values.ndim == 1 or (stored in _packed() and values.shape[-1] % GGML_QUANT_SIZES[stored][0]):
        stored = GGMLQuantizationType.F32 if values.ndim == 1 else GGMLQuantizationType.F16
    if stored in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        writer.add_tensor(name, values if stored == GGMLQuantizationType.F32 else values.astype("float16"))
    else:
        writer.add_tensor(name, quants.quantize(values, stored), raw_dtype=stored)


def _packed() -> set[Any]:
    from gguf import GGMLQuantizationType

    return set(GGMLQuantizationType) - {
        GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16,
    }  # fmt: skip
