"""Requests that go through a model of transformers together, and one of them that it cannot take; no weights."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.worker.engines.transformers_chat import TransformersModel

VOCABULARY = 50


class Weights:
    """Says `x` for ever, and knows the tokens of its vocabulary only."""

    device = "cpu"
    generation_config = SimpleNamespace(eos_token_id=0)
    config = SimpleNamespace(dtype=None)
    sizes = SimpleNamespace(num_attention_heads=1, num_hidden_layers=1, hidden_size=1)

    def __init__(self) -> None:
        self.config.get_text_config = lambda: self.sizes
        self.batches: list[int] = []

    def generate(self, input_ids: Any, stopping_criteria: Any, **_: Any) -> None:
        import torch

        self.batches.append(len(input_ids))
        done = torch.zeros(len(input_ids), dtype=torch.bool)
        while not done.all():
            if (input_ids >= VOCABULARY).any():
                raise IndexError("index out of range in self")
            input_ids = torch.cat([input_ids, torch.full((len(input_ids), 1), 7)], dim=1)
            done = stopping_criteria[0](input_ids, None)


class Tokenizer:
    """A token for each character."""

    pad_token_id = eos_token_id = 0
    chat_template = ""

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) - ord("a") + 1 for character in text]}

    def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> list[int]:
        return self(messages[-1]["content"])["input_ids"]

    def decode(self, tokens: list[int], **_: Any) -> str:
        return "x" * len(tokens)


def load() -> tuple[TransformersModel, Weights]:
    from sqlllm.jobs.serving.worker.engines.generation import Batcher

    weights, tokenizer = Weights(), Tokenizer()
    batcher = Batcher(weights, tokenizer, max_batch_size=8, kv_cache_memory_bytes=2**20)
    return TransformersModel("m", tokenizer, batcher, VOCABULARY, 32, {}), weights


@pytest.mark.parametrize("token", [VOCABULARY, -1, 10**30])
def test_an_unknown_token_is_refused(token: int) -> None:
    model, weights = load()
    for prompt in ([1, token], [[1], [2, token]]):
        with pytest.raises(RequestError, match="the model's vocabulary is 0 to 49") as caught:
            asyncio.run(model.completions({"model": "m", "prompt": prompt}))
        assert caught.value.param == "prompt"
    assert weights.batches == []
    answer = asyncio.run(model.completions({"model": "m", "prompt": [1, VOCABULARY - 1], "max_tokens": 2}))
    assert orjson.loads(answer)["choices"][0]["text"] == "xx"


def test_a_prompt_that_the_model_cannot_take_fails_alone() -> None:
    model, weights = load()
    batch = [[{"role": "user", "content": text}] for text in ("ab", "ü", "abc")]  # no token that it knows
    answer = orjson.loads(
        asyncio.run(model.chat_batch({"model": "m", "messages": batch, "max_tokens": 3, "temperature": 0}))
    )
    good, bad, other = answer["choices"]
    assert [choice["message"]["content"] for choice in (good, other)] == ["xxx", "xxx"]
    assert [choice["usage"]["prompt_tokens"] for choice in (good, other)] == [2, 3]
    assert bad["error"]["message"] == "the model failed: IndexError: index out of range in self"
    assert weights.batches == [3, 1, 1, 1]
    with pytest.raises(RequestError, match="the model failed") as caught:
        asyncio.run(model.chat({"model": "m", "messages": batch[1], "max_tokens": 3}))
    assert caught.value.status == 500
