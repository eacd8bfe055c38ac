"""How long a model function waits for a gateway, and what it says of errors that every row would get; no Spark."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sqlllm.errors import ModelError

from .gateway import Gateway
from .test_model import answers, ask, endpoint, outputs, rows

FULL = (429, b'{"error": {"message": "the queue of model m is full", "code": "queue_full"}}', {"Retry-After": "0"})
SLOWLY = (429, b'{"error": {"message": "no more calls for 1 s", "code": "rate_limited"}}', {"Retry-After": "0"})


@pytest.mark.parametrize("refusal", [FULL, (429, b"{}", {})])
def test_a_queue_that_stays_full_is_given_up(gateway: Gateway, refusal: tuple[int, bytes, dict[str, str]]) -> None:
    gateway.script.extend([refusal] * 50)
    with pytest.raises(ModelError, match="model m took no request for") as caught:
        answers(replace(endpoint(gateway), retry_seconds=0.5), rows([[ask("a")]]))
    assert "llm.retry_seconds" in caught.value.cure
    assert len(gateway.script) > 30


def test_a_limit_of_the_statement_is_waited_for(gateway: Gateway) -> None:
    gateway.script.extend([SLOWLY] * 6)
    (batch,) = answers(replace(endpoint(gateway), retry_seconds=0), rows([[ask("a")]]))
    assert outputs(batch) == ["A"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("provider_refused", "saas.api_key"),
        ("insufficient_quota", "no quota left"),
        ("model_not_found", "Is it deployed?"),
        ("model_not_allowed", "serving.users"),
        ("invalid_api_key", "serving.api_key"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_the_cure_of_a_fatal_error_speaks_of_its_cause(gateway: Gateway, code: str, words: str, whole: bool) -> None:
    error = {"message": "it says why", "type": "permission_error", "code": code}
    choices = [
        {"index": 0, "message": {"role": "assistant", "content": "A"}, "finish_reason": "stop"},
        {"index": 1, "message": None, "finish_reason": "error", "error": error},
    ]
    told = (403, {"error": error}) if whole else (200, {"id": "r", "choices": choices})
    for fallback in ("", "patient"):
        gateway.script.append((told[0], json.dumps(told[1]).encode(), {}))
        where = replace(endpoint(gateway), fallback=fallback)
        if fallback:  # it gets the rows without an answer, and those alone
            (batch,) = answers(where, rows([[ask("a")], [ask("b")]]))
            assert outputs(batch) == ["A", "B"]
            assert len(gateway.requests[-1]["messages"]) == (2 if whole else 1)
            continue
        with pytest.raises(ModelError, match="it says why") as caught:
            answers(where, rows([[ask("a")], [ask("b")]]))
        assert words in caught.value.cure
