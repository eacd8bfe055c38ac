"""Which worker a prompt goes to by its beginning."""

from __future__ import annotations

from typing import Any

import pytest

from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.placement import routing
from sqlllm.jobs.serving.prefixes import Prefixes, keys_of

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
    monkeypatch.setattr("sqlllm.jobs.serving.prefixes._REMEMBERED", 10)
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
