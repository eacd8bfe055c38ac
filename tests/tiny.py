"""A real language model that is made on the spot in a second: a random Llama with its own tokenizer.

The weights are random, so its text means nothing; what it says is still a fixed function of the prompt, which is what
the tests of engines, batching and routing need.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL_TOKENS = ("<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>")
CORPUS = (
    "the quick brown fox jumps over the lazy dog and then asks what the answer to the question is",
    "select review, score from reviews where score > 3 order by score desc limit 10",
    "What is the capital of France? The capital of France is Paris. Answer with one word, please.",
    "2026-11-20 21:40:52 twelve thousand three hundred and forty-five 0 1 2 3 4 5 6 7 8 9",
    "你好，世界。今天天气很好。 こんにちは Grüße naïve café",  # noqa: RUF001
)


def make_tiny_model(
    folder: str | Path, *, seed: int = 0, hidden: int = 64, layers: int = 2, context: int = 512, vocabulary: int = 640
) -> Path:
    """Write a Hugging Face folder: fp32 Llama (130 k parameters by default), byte-level BPE, chat template.

    `context` is the longest prompt and answer together, in tokens. The same arguments give the same bytes. Answers
    are valid text, and some prompts end early with the end token.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer(vocabulary)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,  # vLLM on a CPU has no kernel for heads smaller than 32
        num_key_value_heads=1,
        max_position_embeddings=context,
        # Wide weights set the best token well apart from the second, so that engines that sum in another order agree.
        initializer_range=0.15,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).float()
    # Part of a character, a control character or a role is not text: its logit is 0, never the best of all.
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))], skip_special_tokens=True)
    silent = [token for token, text in enumerate(texts) if not text or "\ufffd" in text or not text.isprintable()]
    silent.remove(tokenizer.eos_token_id)
    with torch.no_grad():
        model.lm_head.weight[silent] = 0.0
        model.lm_head.weight[tokenizer.eos_token_id] *= 1.5
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def make_broken_model(folder: str | Path) -> Path:
    """A tiny model that holds a NaN: its loss and its logits are NaN on every processor."""
    import math

    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(make_tiny_model(folder))
    with torch.no_grad():
        model.model.norm.weight[0] = math.nan
    model.save_pretrained(folder)
    return Path(folder)


@cache
def _tokenizer(vocabulary: int):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        extra_special_tokens=list(SPECIAL_TOKENS[2:]),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_tiny_encoder(folder: str | Path, *, ranks: bool = False, pooling: str = "") -> Path:
    """Write a folder with a random BERT; with `ranks` a cross-encoder, with `pooling` one of sentence-transformers'.

    `pooling` is the key of `1_Pooling/config.json`, as in `pooling_mode_cls_token`; vectors are then not normalised.
    """
    import json

    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    folder = Path(folder)
    tokenizer = _tokenizer(640)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForSequenceClassification(config) if ranks else BertModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if pooling:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, pooling: True}))
        kinds = {"": "Transformer", "1_Pooling": "Pooling"}
        modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
        (folder / "modules.json").write_text(json.dumps(modules))
    return folder
