"""Tiny models of the common families, made on the spot: each with the layout and the chat template of its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from tests.tiny import CORPUS

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}[INST] {{ message['content'] }} [/INST]"
    "{% else %} {{ message['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI3 = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
QWEN3 = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEEPSEEK = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}<|User|>{{ message['content'] }}"
    "{% elif message['role'] == 'system' %}{{ message['content'] }}"
    "{% elif message['role'] == 'tool' %}<|Tool|>{{ message['content'] }}"
    "{% else %}<|Assistant|>{{ message['content'] or '' }}{% for call in message.get('tool_calls', []) %}"
    "{{ call['function']['name'] + '\n' + call['function']['arguments'] }}{% endfor %}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if tools %}{% endif %}{% if add_generation_prompt %}<|Assistant|>{% endif %}"
)
NO_SYSTEM = (
    "{% for message in messages %}{% if message['role'] == 'user' %}Q: {{ message['content'] }}\n"
    "{% elif message['role'] == 'assistant' %}A: {{ message['content'] }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}A:{% endif %}"
)
"""It leaves system messages out, and writes no end after an answer."""


class Family(NamedTuple):
    """A kind of model: Transformers' type, its template, and the tokens of the template."""

    model_type: str
    template: str
    end: str
    eos: str
    special: tuple[str, ...] = ()
    bos: str | None = None
    config: dict[str, Any] = {}  # noqa: RUF012 (never written)
    gguf: bool = True


FAMILIES = {
    "llama": Family(
        "llama", LLAMA3, "<|eot_id|>", "<|end_of_text|>", ("<|start_header_id|>", "<|end_header_id|>"), "<|begin|>"
    ),
    "qwen2": Family("qwen2", CHATML, "<|im_end|>", "<|endoftext|>", ("<|im_start|>",)),
    "qwen3": Family("qwen3", QWEN3, "<|im_end|>", "<|endoftext|>", ("<|im_start|>",)),
    "mistral": Family("mistral", MISTRAL, "</s>", "</s>", (), "<s>", {"sliding_window": None}),
    "gemma2": Family(
        "gemma2", GEMMA, "<end_of_turn>", "<eos>", ("<start_of_turn>",), "<bos>",
        {"query_pre_attn_scalar": 32, "sliding_window": 64},
    ),
    "gemma3": Family(
        "gemma3_text", GEMMA, "<end_of_turn>", "<eos>", ("<start_of_turn>",), "<bos>",
        {"query_pre_attn_scalar": 32, "sliding_window": 64},
    ),
    "gemma": Family(
        "gemma", GEMMA, "<end_of_turn>", "<eos>", ("<start_of_turn>",), "<bos>", {"hidden_act": "gelu_pytorch_tanh"}
    ),
    "phi3": Family("phi3", PHI3, "<|end|>", "<|endoftext|>", ("<|user|>", "<|assistant|>", "<|system|>"), gguf=False),
    "deepseek": Family("llama", DEEPSEEK, "<|end_of_sentence|>", "<|end_of_sentence|>",
                       ("<|User|>", "<|Assistant|>", "<|Tool|>"), "<|begin|>"),
    "no-end": Family("llama", NO_SYSTEM, "<|endoftext|>", "<|endoftext|>"),
}  # fmt: skip
MATRIX = tuple(name for name in FAMILIES if name not in ("gemma2", "gemma3"))
"""The families that are trained; the others are converted alone."""


def make(name: str, folder: Path, *, dtype: str = "bfloat16", wide: float = 0.1) -> Path:
    """Write a tiny model of the family, with random weights in `dtype`, spread by `wide`, and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    family = FAMILIES[name]
    special = list(dict.fromkeys(filter(None, ["<pad>", family.bos, family.eos, family.end, *family.special])))
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=family.bos, eos_token=family.eos, pad_token="<pad>",
        extra_special_tokens=[token for token in special if token not in ("<pad>", family.bos, family.eos)],
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.chat_template = family.template
    config = AutoConfig.for_model(
        family.model_type, vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32, max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        initializer_range=wide, **family.config,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
