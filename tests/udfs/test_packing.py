"""Many rows in one prompt: their answers, and what happens when they do not come back as such."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from sqlllm.udfs import packing

USED = {"prompt_tokens": 40, "prompt_tokens_details": {"cached_tokens": 8}}  # as providers say it
PARAMS = orjson.dumps({"temperature": 0, "max_tokens": 10})


class Model:
    """Answers each text in upper case, and arrays of texts as `array` says."""

    def __init__(self, array: Callable[[list[str]], str]) -> None:
        self.array = array
        self.sizes: list[int] = []
        self.limits: list[int] = []
        self.prompts: list[str] = []

    async def ask(self, conversations: list[list[dict[str, Any]]], params: bytes) -> list[dict[str, Any]]:
        self.limits.append(orjson.loads(params)["max_tokens"])
        return [self._choice(messages[-1]["content"]) for messages in conversations]

    def _choice(self, text: str) -> dict[str, Any]:
        self.prompts.append(text)
        found = re.search(r"^\[.*\]$", text, re.MULTILINE)
        texts = json.loads(found[0]) if found else None
        self.sizes.append(len(texts) if texts else 1)
        content = text.upper() if texts is None else self.array(texts)
        if "bad" in text and texts is None:
            return {"error": {"code": "no", "message": text}}
        return {"message": {"role": "assistant", "content": content}, "usage": USED}


def right(texts: list[str]) -> str:
    return f"Here you are: {json.dumps([text.upper() for text in texts])}"


def said(model: Model, texts: list[str], rows: int = 4, params: bytes = PARAMS, system: str = "") -> list[str]:
    head = [{"role": "system", "content": system}] if system else []
    conversations = [[*head, {"role": "user", "content": text}] for text in texts]
    choices = asyncio.run(packing.choices(model.ask, conversations, params, rows))
    return [choice["message"]["content"] if "message" in choice else choice["error"]["code"] for choice in choices]


TEXTS = [f"text {number}" for number in range(10)]
UPPER = [text.upper() for text in TEXTS]


def test_rows_share_prompts_and_keep_their_order() -> None:
    model = Model(right)
    assert said(model, TEXTS) == UPPER
    assert model.sizes == [4, 4, 2]
    assert model.limits == [4 * 18, 2 * 18], "as many tokens as the rows may have, and the array's"


def test_what_all_begin_with_stands_once() -> None:
    model = Model(right)
    assert said(model, [f"Judge this review.\nReview: {text}" for text in TEXTS[:4]]) == [
        f"REVIEW: {text}" for text in UPPER[:4]
    ]
    assert model.prompts[0].count("Judge this review.") == 1


@pytest.mark.parametrize(
    "array",
    [
        lambda texts: json.dumps([text.upper() for text in texts][:-1]) if len(texts) > 2 else right(texts),
        lambda texts: "I would rather not." if len(texts) > 2 else right(texts),
        lambda texts: json.dumps([1] * len(texts)) if len(texts) > 2 else right(texts),
        lambda texts: right(texts)[:-3] if len(texts) > 2 else right(texts),
    ],
    ids=["one too few", "no array", "no texts", "cut off"],
)
def test_an_answer_that_does_not_match_its_rows_is_asked_again_in_halves(array: Callable[[list[str]], str]) -> None:
    model = Model(array)
    assert said(model, TEXTS[:8], rows=8) == UPPER[:8]
    assert model.sizes == [8, 4, 4, 2, 2, 2, 2]


def test_a_model_that_cannot_is_asked_row_by_row() -> None:
    model = Model(lambda texts: "no")
    assert said(model, [*TEXTS[:3], "bad one"]) == [*UPPER[:3], "no"]
    assert model.limits[-1] == 10
    assert model.sizes == [4, 2, 2, 1, 1, 1, 1]


def test_what_means_one_answer_goes_alone() -> None:
    model = Model(right)
    assert said(model, TEXTS, params=orjson.dumps({"max_tokens": 3, "stop": ["."]})) == UPPER
    assert set(model.sizes) == {1}


def test_other_conversations_do_not_mix() -> None:
    model = Model(right)
    asyncio.run(
        packing.choices(
            model.ask,
            [[{"role": "system", "content": str(n % 2)}, {"role": "user", "content": str(n)}] for n in range(6)],
            PARAMS,
            8,
        )
    )
    assert model.sizes == [3, 3]
