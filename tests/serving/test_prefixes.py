"""Which worker a prompt goes to by its beginning."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import httpx
import pytest

from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.jobs.serving.deploy.placement import routing
from sqlllm.jobs.serving.gateway.prefixes import Prefixes, keys_of

from .conftest import Reference, user

SYSTEM = {"role": "system", "content": "Answer in one word. " * 20}


def chat(*texts: str) -> dict[str, Any]:
    return {"messages": [SYSTEM, *({"role": "user", "content": text} for text in texts)]}


def test_the_keys_of_a_turn_go_on_from_those_of_the_last() -> None:
    first, next_, other = keys_of(chat("Hello")), keys_of(chat("Hello", "And?")), keys_of(chat("Bye"))
    assert next_[: len(first)] == first
    assert len(next_) > len(first)
    assert first[:-1] == other[:-1]
    assert first[-1] != other[-1]
    assert keys_of({"prompt": "once upon a time"}) == keys_of({"prompt": "once upon a time", "max_tokens": 3})
    assert len(keys_of({"prompt": "x" * 100_000})) == 64
    assert keys_of({"input": ["a text to embed"]}) == []


def test_a_prompt_goes_where_most_of_it_is_known_unless_there_is_more_to_do() -> None:
    prefixes, idle = Prefixes[str](), {"a": 0, "b": 0, "c": 0}
    prefixes.saw("a", keys_of(chat("Hello")))
    prefixes.saw("b", keys_of({"prompt": "something else"}))
    assert prefixes.ranked(keys_of(chat("Hello", "And?")), idle)[0] == "a"
    assert prefixes.ranked(keys_of(chat("Bye")), idle)[0] == "a"  # it knows what the system said
    assert prefixes.ranked(keys_of(chat("Bye")), {"a": 2, "b": 1, "c": 0})[0] != "a"
    assert prefixes.ranked(keys_of(chat("Bye")), {"a": 5, "b": 4, "c": 5})[0] == "a"
    assert prefixes.ranked(keys_of({"prompt": "new"}), {"a": 1, "b": 0, "c": 1})[0] == "b"
    assert {prefixes.ranked(keys_of({"prompt": "new"}), idle)[0] for _ in range(99)} == set(idle)
    prefixes.keep(["b", "c"])
    prefixes.keep(idle)
    assert {prefixes.ranked(keys_of(chat("Hello")), idle)[0] for _ in range(99)} == set(idle)


def test_what_was_seen_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlllm.jobs.serving.gateway.prefixes._REMEMBERED", 10)
    prefixes = Prefixes[str]()
    long, short = keys_of({"prompt": "x" * 640}), keys_of({"prompt": "y"})
    prefixes.saw("a", long)
    prefixes.saw("a", short)
    assert prefixes._known("a", short) == 1
    assert prefixes._known("a", long) == 9  # its end went first


@pytest.mark.parametrize(
    ("engine", "more", "router"),
    [
        ("vllm", {"replicas": 2}, "PrefixRouter"),
        ("vllm", {"autoscale": {"max_workers": 3}}, "PrefixRouter"),
        ("vllm", {}, ""),
        ("vllm", {"replicas": 2, "load_balance": "least_busy"}, ""),
        ("transformers", {"replicas": 2}, ""),
        ("transformers", {"replicas": 2, "load_balance": "prefix"}, "PrefixRouter"),
        ("oracle", {"replicas": 2, "load_balance": "round_robin"}, "RoundRobinRouter"),
    ],
)
def test_the_router_of_a_deployment(engine: str, more: dict[str, Any], router: str) -> None:
    found = routing(ModelSpec(name="m", engine=engine, model_path="/m", **more))
    assert bool(found) == bool(router)
    if found:
        assert found["request_router_config"].request_router_class.endswith(router)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vllm"], indirect=True)
def test_prompts_of_one_beginning_meet_in_one_worker_s_cache(
    serving: Serving, http: httpx.Client, model: str, reference: Reference
) -> None:
    foxes, reviews = "the quick brown fox jumps over the lazy dog " * 30, "select review, score from reviews " * 40
    asked = []

    def ask(text: str) -> None:
        asked.append(expected := reference.chat(text, 8))
        body = {"model": model, "messages": user(text), "temperature": 0, "max_tokens": 8}
        assert http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"] == expected.text

    def requests() -> Counter[str]:
        return Counter({load.worker: load.requests for load in serving.workers(model)})

    at_first, counted = requests(), serving.counts(model)
    body = {"model": model, "messages": user(f"{foxes} 0"), "temperature": 0, "max_tokens": 150, "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        ask(f"{reviews} 0")  # its worker is the other one, which has nothing to do
        assert b"[DONE]" in b"".join(pieces)
    asked.append(reference.chat(f"{foxes} 0", 150))
    begun = requests()
    for number in range(1, 5):
        ask(f"{foxes} {number}")
    between = requests()
    for number in range(1, 5):
        ask(f"{reviews} {number}")
    first, second = between - begun, requests() - between
    assert sorted((begun - at_first).values()) == [1, 1]
    assert [*first.values(), *second.values()] == [4, 4]
    assert first.keys() != second.keys()

    def counts() -> Counter[str]:
        return Counter(serving.counts(model)) - Counter(counted)

    deadline = time.monotonic() + 30  # vLLM counts a moment after it has answered
    tokens = sum(one.completion_tokens for one in asked)
    while counts()["completion_tokens"] < tokens and time.monotonic() < deadline:
        continue
    found = counts()
    assert found["completion_tokens"] == tokens
    assert found["prompt_tokens"] == sum(one.prompt_tokens for one in asked)
    assert found["prefix_tokens_cached"] == 8 * 256  # two blocks of 128 tokens, of all but the first two prompts
