"""A tokenizer as GGUF holds it: byte-level BPE, or SentencePiece's BPE with bytes for what it does not know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

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


_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's


def write(writer: Any, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Add the tokenizer, what the model stops at, and the chat template.

    Raises: ModelError for a tokenizer that llama.cpp would read otherwise.
    """
    described = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else {"model": {}}
    pieces = described["model"].get("type") == "BPE" and described["model"].get("byte_fallback")
    prefix = _prefix(described) if pieces else None
    cut = None if pieces else _name_of_cut(described)
    # llama.cpp does not compose accents as NFC does; texts have them composed but for rare ones.
    composed = (described.get("normalizer") or {"type": "NFC"})["type"] == "NFC"
    byte_level = described["model"].get("type") == "BPE" and cut is not None and composed
    if prefix is None and not byte_level:
        raise ModelError(
            "the tokenizer cannot be written as GGUF: llama.cpp would cut texts otherwise",
            cure="SentencePiece's BPE with byte fallback can be, and byte-level BPE that cuts like one of these: "
            f"{', '.join(_PRE_TOKENIZERS)}.",
        )
    merges = [tuple(one.split(" ", 1) if isinstance(one, str) else one) for one in described["model"]["merges"]]
    tokens, types = _vocabulary(tokenizer, model.config.get_text_config().vocab_size, pieces=prefix is not None)
    writer.add_tokenizer_model("gpt2" if prefix is None else "llama")
    writer.add_tokenizer_pre(cut or "default")
    writer.add_token_list(tokens)
    if prefix is None:
        writer.add_token_merges([" ".join(one) for one in merges])
    else:
        writer.add_token_scores(_scores(tokens, merges, tokenizer.get_vocab()))
        writer.add_add_space_prefix(prefix)
    writer.add_token_types(types)
    _special(writer, tokenizer, model)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _special(writer: Any, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    told = model.generation_config.eos_token_id if model.generation_config else None
    ends = [*(told if isinstance(told, list) else [told]), tokenizer.eos_token_id]
    first, second, *_ = [*dict.fromkeys(end for end in ends if end is not None), None, None]
    for number, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (first, writer.add_eos_token_id),  # the end of an answer, before what ends a text
        (second, writer.add_eot_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if number is not None:
            add(number)
    writer.add_add_bos_token(tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id])


def _vocabulary(tokenizer: PreTrainedTokenizerBase, size: int, *, pieces: bool) -> tuple[list[str], list[Any]]:
    from gguf import TokenType

    vocabulary = {number: token for token, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, types = [], []
    for number in range(size):  # a model may have room for more tokens than there are
        token = vocabulary.get(number)
        tokens.append(f"[PAD{number}]" if token is None else token)
        types.append(
            TokenType.UNUSED if token is None
            else TokenType.UNKNOWN if pieces and number == tokenizer.unk_token_id
            else TokenType.CONTROL if number in added and added[number].special
            else TokenType.USER_DEFINED if number in added
            else TokenType.BYTE if pieces and len(token) == 6 and token.startswith("<0x")
            else TokenType.NORMAL
        )  # fmt: skip
    return tokens, types


def _scores(tokens: list[str], merges: list[tuple[str, ...]], vocabulary: dict[str, int]) -> list[float]:
    """SentencePiece's scores: the earlier a token is merged, the higher.

    Raises: ModelError if two tokens make a third but are not merged, which llama.cpp would do.
    """
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    known = set(merges)
    for token in ranks:
        for at in range(1, len(token)):
            pair = token[:at], token[at:]
            if (
                pair not in known
                and pair[0] in vocabulary
                and pair[1] in vocabulary
                and all(len(part) == 1 or part in ranks for part in pair)
            ):
                raise ModelError(
                    f"the tokenizer cannot be written as GGUF: llama.cpp would make {token!r} of {pair[0]!r} and"
                    f" {pair[1]!r}",
                    cure="Use the Hugging Face folder.",
                )
    return [-float(ranks.get(token, len(merges))) for token in tokens]


def _prefix(described: dict[str, Any]) -> bool | None:
    """Whether a text gets a space before it; None if the tokenizer treats texts in a way that llama.cpp does not."""
    normalizer = described.get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer] if normalizer else [])
    before = described.get("pre_tokenizer") or {}
    replaces = prefix = False
    for step in steps:
        if step["type"] == "Prepend" and step["prepend"] == _SPACE:
            prefix = True
        elif step["type"] == "Replace" and step["pattern"] == {"String": " "} and step["content"] == _SPACE:
            replaces = True
        else:
            return None
    if before.get("type") == "Metaspace" and before.get("replacement") == _SPACE and not before.get("split"):
        return prefix or before.get("prepend_scheme") in ("first", "always")
    if before and not (before["type"] == "Split" and before["pattern"] == {"String": " "}):  # there are none left
        return None
    return prefix if replaces else None


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
