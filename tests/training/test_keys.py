"""The list of keys against the installed packages. Run this file to write the list again after an upgrade."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from sqlllm.jobs.training import keys

LISTED = Path(keys.__file__).with_name("keys.json")

LLAMA_KEYS = (
    "attention_bias", "attention_dropout", "head_dim", "hidden_act", "hidden_size", "initializer_range",
    "intermediate_size", "max_position_embeddings", "mlp_bias", "num_attention_heads", "num_hidden_layers",
    "num_key_value_heads", "rms_norm_eps", "tie_word_embeddings", "vocab_size",
)  # fmt: skip


def installed() -> dict[str, dict[str, str]]:
    """Every field of the owners that is not refused, with the types its annotation names."""
    from peft import LoraConfig
    from transformers import LlamaConfig
    from trl import DPOConfig, SFTConfig

    found: dict[str, dict[str, str]] = {}
    for owner in (SFTConfig, DPOConfig, LoraConfig, LlamaConfig):
        fields = {field.name: str(field.type) for field in dataclasses.fields(owner)}
        names = LLAMA_KEYS if owner is LlamaConfig else sorted(fields.keys() - keys.REFUSED.keys())
        found[owner.__name__] = {name: types(fields[name]) for name in names}
    return found


def types(annotation: str) -> str:
    # Enumerations of Transformers and literals are written as text.
    text = re.sub(r"Literal\[[^\]]*'[^\]]*\]|transformers\.[\w.]+|\b\w+Type\b", "str", annotation)
    text = re.sub(r"\b(list|dict|tuple)(\[(?:[^\[\]]|\[[^\[\]]*\])*\])", r"\1", text)
    return " ".join(kind for kind in keys.TYPES if re.search(rf"\b{kind}\b", text))


@pytest.mark.slow
def test_the_list_matches_the_installed_packages() -> None:
    assert json.loads(LISTED.read_text()) == installed(), f"run python {__file__}"


if __name__ == "__main__":
    LISTED.write_text(json.dumps(installed(), indent=1) + "\n")
