"""A new small model: a byte-level BPE tokenizer trained on the table, and a Llama with random weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlllm.errors import OptionError

ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
END, PAD = "<|end|>", "<|pad|>"
SMALLEST_VOCABULARY = 256 + len(ROLES) + 2
"""Every byte, the roles, the end and the padding."""

_COUNTS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "max_position_embeddings",
)  # fmt: skip

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

PLAIN_TEMPLATE = (
    "{% for message in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\nAssistant:' }}{% endif %}"
)
"""For a base model without a chat template: it needs no new tokens, so an adapter can learn it."""


def check_shape(shape: Mapping[str, Any], prefix: str) -> None:
    """OptionError, which names `<prefix>.int.<key>`, if no model can have this shape."""
    vocabulary, hidden, heads = shape["vocab_size"], shape["hidden_size"], shape["num_attention_heads"]
    if vocabulary < SMALLEST_VOCABULARY:
        raise OptionError(
            f"vocab_size {vocabulary} is too small: every byte and role needs a token",
            cure=f"Write at least {SMALLEST_VOCABULARY}.",
            key=f"{prefix}.int.vocab_size",
        )
    for key in _COUNTS:
        if shape.get(key, 1) < 1:
            raise OptionError(f"{key} must be above 0, not {shape[key]}", key=f"{prefix}.int.{key}")
    if hidden % heads:
        raise OptionError(
            f"hidden_size {hidden} must be a multiple of num_attention_heads {heads}", key=f"{prefix}.int.hidden_size"
        )
    if heads % shape.get("num_key_value_heads", heads):
        raise OptionError(
            f"num_attention_heads {heads} must be a multiple of num_key_value_heads",
            key=f"{prefix}.int.num_key_value_heads",
        )


def build(folder: Path, texts: Iterable[str], shape: Mapping[str, Any], *, context: int, seed: int) -> None:
    """Write a Hugging Face folder with a new model of `shape` (LlamaConfig's fields) that reads `context` tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer(texts, shape["vocab_size"])
    config = LlamaConfig(
        **{
            "num_key_value_heads": shape["num_attention_heads"],
            "max_position_embeddings": context,
            **shape,
            # The table may hold too few distinct words to fill the vocabulary asked for.
            "vocab_size": len(tokenizer),
        },
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)


def build_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """A fast tokenizer of at most `vocab_size` tokens: any text, digits one by one, roles and the end as tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD, *ROLES],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(ROLES),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
