"""A model as a GGUF file for llama.cpp: Llama, Mistral and Qwen2, with a byte-level BPE tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError, PackageError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2"}
"""Transformers' model types, and llama.cpp's names for them."""

_LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
_OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}

_PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [{"type": "ByteLevel", "use_regex": True}],
    "smollm": [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "use_regex": True}],
    "llama-bpe": [
        {
            "type": "Split",
            "pattern": {
                "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+"
            },
        },
        {"type": "ByteLevel", "use_regex": False},
    ],
    "qwen2": [
        {
            "type": "Split",
            "pattern": {
                "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+"
            },
        },
        {"type": "ByteLevel", "use_regex": False},
    ],
}
"""How texts are cut before BPE, by llama.cpp's names; it knows no others that are written here."""


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
    architecture = _ARCHITECTURES.get(config.model_type)
    if architecture is None:
        raise ModelError(
            f"a model of the type {config.model_type} cannot be written as GGUF",
            cure=f"Types that can: {', '.join(_ARCHITECTURES)}.",
        )
    names = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
    stored = quantization.upper() or names[dtype if dtype != "auto" else str(model.dtype).removeprefix("torch.")]
    writer = GGUFWriter(str(to), architecture)
    _describe(writer, model)
    _tokens(writer, tokenizer, config.vocab_size)
    for name, weight in _tensors(model):
        _add(writer, name, weight, GGMLQuantizationType[stored])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, model: PreTrainedModel) -> None:
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise ModelError(
            f"the model's positions are scaled by {rope['rope_type']}, which is not written as GGUF",
            cure="Models with plain rotary positions can be.",
        )
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        raise ModelError("a model with a sliding window is not written as GGUF", cure="Use the Hugging Face folder.")
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
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


def _tokens(writer: Any, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    from gguf import TokenType

    described = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else {"model": {}}
    cut = _name_of_cut(described)
    # llama.cpp does not compose accents as NFC does; texts have them composed but for rare ones.
    changed = (described.get("normalizer") or {"type": "NFC"})["type"] != "NFC"
    if described["model"].get("type") != "BPE" or cut is None or changed:
        raise ModelError(
            "the tokenizer cannot be written as GGUF: llama.cpp would cut texts otherwise",
            cure=f"Byte-level BPE tokenizers that cut like one of these can be: {', '.join(_PRE_TOKENIZERS)}.",
        )
    vocabulary = {number: token for token, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, types = [], []
    for number in range(size):  # a model may have room for more tokens than there are
        tokens.append(vocabulary.get(number, f"[PAD{number}]"))
        special = number in added and added[number].special
        types.append(
            TokenType.UNUSED if number not in vocabulary
            else TokenType.CONTROL if special
            else TokenType.USER_DEFINED if number in added
            else TokenType.NORMAL
        )  # fmt: skip
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = described["model"]["merges"]
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in merges])
    for number, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if number is not None:
            add(number)
    begins = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    writer.add_add_bos_token(begins)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _name_of_cut(described: dict[str, Any]) -> str | None:
    """llama.cpp's name for how the tokenizer cuts texts before BPE; None if it has none."""
    whole = described.get("pre_tokenizer") or {}
    parts = whole.get("pretokenizers", [whole])
    if any(part.get("add_prefix_space") for part in parts):
        return None
    for name, expected in _PRE_TOKENIZERS.items():
        if len(parts) == len(expected) and all(
            part.get(key) == value
            for part, wanted in zip(parts, expected, strict=True)
            for key, value in wanted.items()
        ):
            return name
    return None


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights under llama.cpp's names, laid out as it reads them."""
    config = model.config
    permuted: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
    if _ARCHITECTURES[config.model_type] == "llama":
        permuted = {
            "self_attn.q_proj": lambda weight: permute(weight, config.num_attention_heads),
            "self_attn.k_proj": lambda weight: permute(weight, config.num_key_value_heads),
        }
    for name, weight in model.state_dict().items():
        stem, _, part = name.rpartition(".")
        if stem == "lm_head" and config.tie_word_embeddings:
            continue
        if stem in _OUTSIDE:
            yield f"{_OUTSIDE[stem]}.{part}", weight
            continue
        layer, _, inner = stem.removeprefix("model.layers.").partition(".")
        if inner not in _LAYER:
            raise ModelError(f"the weight {name} has no place in a GGUF file of {config.model_type}")
        yield f"blk.{layer}.{_LAYER[inner]}.{part}", permuted[inner](weight) if inner in permuted else weight


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
