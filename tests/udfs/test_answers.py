"""A model's choice to the answer of its row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sqlllm.udfs.answers import answer, checked, error_of, failure, without_thoughts
from sqlllm.udfs.requests import Conversation, RequestError, parse


def asked(**fields: str) -> Conversation:
    conversation = parse(json.dumps({"instruction": "hi", **fields}))
    assert conversation is not None
    return conversation


def told(message: dict[str, Any], conversation: Conversation | None = None, reason: str = "stop") -> dict[str, Any]:
    """The answer to a message of the model, or the error."""
    conversation = conversation or asked()
    choice = checked(conversation, without_thoughts({"message": message, "finish_reason": reason}))
    text = failure(error_of(choice)) if "error" in choice else answer(conversation, choice, milliseconds=1)
    return dict(json.loads(text))


def test_an_answer_carries_the_conversation_on() -> None:
    choice = {
        "message": {"content": "hello"},
        "finish_reason": "stop",
        "request_id": "r",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    fields = json.loads(answer(asked(system_msg="be kind"), choice, milliseconds=1.2))
    assert fields["output"] == "hello"
    assert fields["input"] == "hi"
    assert fields["history"][-1] == {"role": "assistant", "content": "hello"}
    assert [turn["role"] for turn in fields["history"]] == ["system", "user", "assistant"]
    assert fields["metadata"] == {
        "request_id": "r",
        "input_tokens_count": 3,
        "generated_tokens_count": 2,
        "finish_reason": "stop",
        "time_cost": 1,
    }
    assert not fields.keys() & {"thoughts", "raw"}


def test_a_failure_has_kind_message_and_attempts() -> None:
    assert json.loads(failure(RequestError("timeout", "late", 3))) == {
        "error": {"kind": "timeout", "message": "late", "attempts": 3}
    }


def test_what_is_spoken_or_drawn_has_no_history() -> None:
    choice = {"message": {"content": "UklGRg=="}, "media_type": "audio/wav"}
    fields = json.loads(answer(asked(), checked(asked(), without_thoughts(choice)), milliseconds=1))
    assert (fields["output"], fields["metadata"]["media_type"]) == ("UklGRg==", "audio/wav")
    assert "history" not in fields


@pytest.mark.parametrize(
    "message",
    [
        {"content": "<think>hm</think>\nParis"},
        {"content": "Paris", "reasoning_content": "hm"},
        {"content": "Paris", "reasoning": "hm"},
    ],
)
def test_thoughts_stand_beside_the_answer(message: dict[str, Any]) -> None:
    fields = told(message)
    assert (fields["output"], fields["thoughts"]) == ("Paris", "hm")
    assert fields["history"][-1]["content"] == "Paris"
    assert fields.get("raw", "<think>").startswith("<think>")


def test_an_order_of_texts_is_not_a_text() -> None:
    ranked = [{"index": 0, "score": 0.5}]
    conversation = asked(rerank='["a"]')
    choice = checked(conversation, without_thoughts({"message": {"content": ranked}}))
    assert json.loads(answer(conversation, choice, milliseconds=1))["output"] == [{**ranked[0], "text": "a"}]


def test_thoughts_within_and_apart_are_joined() -> None:
    assert told({"content": "<think>b</think>c", "reasoning_content": "a"})["thoughts"] == "a\n\nb"


@pytest.mark.parametrize(
    ("message", "reason", "kind", "words"),
    [
        ({"content": "<think>hm"}, "length", "no_answer", "set a larger max_tokens"),
        ({"content": None, "reasoning_content": "hm"}, "stop", "no_answer", "thoughts and no answer"),
        ({"content": None, "refusal": "I will not"}, "stop", "refusal", "I will not"),
        ({"content": None}, "content_filter", "content_filter", "a filter"),
        ({"content": None}, "stop", "no_answer", "an empty answer"),
    ],
)
def test_no_answer_is_an_error_of_its_kind(message: dict[str, Any], reason: str, kind: str, words: str) -> None:
    error = told(message, reason=reason)["error"]
    assert error["kind"] == kind
    assert words in error["message"]


def test_an_empty_text_is_an_answer() -> None:
    assert told({"content": ""})["output"] == ""


def test_a_typed_answer_is_its_value_with_the_text_beside_it() -> None:
    text = '<think>{"price": 1}</think>Sure: {"name": "Bo", "price": "2.5"}'
    fields = told({"content": text}, asked(returns="struct<name string, price double>"))
    assert json.loads(fields["output"]) == {"name": "Bo", "price": 2.5}
    assert fields["raw"] == text
    assert fields["history"][-1]["content"].startswith("Sure")


def test_a_typed_answer_that_cannot_be_read_is_an_error_with_the_text_beside_it() -> None:
    fields = told({"content": "five"}, asked(returns="int"))
    assert fields["error"]["kind"] == "unreadable_answer"
    assert fields["error"]["message"] == "the answer is not an int: five"
    assert fields["raw"] == "five"
    cut = told({"content": '{"name": "B'}, asked(returns="struct<name string>"), reason="length")
    assert "max_tokens cut it off" in cut["error"]["message"]


def test_a_null_of_the_model_is_not_an_error() -> None:
    fields = told({"content": '{"label": null}'}, asked(labels='["a"]'))
    assert fields["output"] is None
    assert "error" not in fields
