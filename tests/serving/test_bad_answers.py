"""Answers of a provider that give nothing, and faults of one row of a batch: its neighbours are answered and kept."""

from __future__ import annotations

from typing import Any

import pytest

from sqlllm import wire
from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.protocol import RequestError

from . import provider as fake
from .provider import KEY, Provider, answer, ask, call, fails, garbage, says

TOLD = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def spec(provider: Provider, kind: str = "openai", **options: str) -> ModelSpec:
    given = {"provider": kind, "base_url": provider.url, "api_key": KEY, "model": "real", **options}
    return ModelSpec(name="m", engine="remote", model_path="saas/openai/m", engine_options=given)


def batch(*texts: str) -> dict[str, Any]:
    return {**ask(), "messages": [ask(text)["messages"] for text in texts]}


def chosen(message: dict[str, Any] | None, finish_reason: str = "stop") -> fake.Reply:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return fails(200, {"id": "1", "choices": [choice], "usage": TOLD})


def only(text: str, fault: fake.Reply) -> fake.Reply:
    """The fault for the row with this text, an answer for all others."""

    def reply(handler: Any, asked: fake.Asked) -> None:
        told = asked.body["messages"][-1]["content"]
        (fault if told == text else answer)(handler, asked)

    return reply


@pytest.mark.parametrize(
    ("message", "finish_reason", "code", "words"),
    [
        ({"content": None, "refusal": "I can't help with that."}, "stop", "refusal", "openai refuses: I can't help"),
        ({"content": "", "refusal": "No."}, "stop", "refusal", "refuses: No."),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, "stop", "refusal", "refuses: No."),
        ({"content": "Half an ans"}, "content_filter", "content_filter", "filter stopped the answer: Half an ans"),
        ({"content": None}, "content_filter", "content_filter", "filter stopped the answer"),
        (None, "content_filter", "content_filter", "filter stopped the answer"),
        (None, "content_filter: SAFETY", "content_filter", "filter stopped the answer"),
        ({"content": ""}, "sensitive", "content_filter", "filter stopped the answer"),
        ({"content": None, "reasoning_content": "Hmm."}, "stop", "no_answer", "thoughts and no answer"),
        ({"content": "", "reasoning": "Hmm."}, "length", "no_answer", "set a larger max_tokens"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}]}, "stop", "no_answer",
         "thoughts and no answer"),
        ({"content": ""}, "stop", "no_answer", "an empty answer"),
        ({"content": None}, "stop", "no_answer", "an empty answer"),
        ({"content": [], "tool_calls": []}, "stop", "no_answer", "an empty answer"),
    ],
)  # fmt: skip
def test_an_answer_without_text_is_an_error_of_its_kind(
    provider: Provider, message: dict[str, Any] | None, finish_reason: str, code: str, words: str
) -> None:
    provider.answers = only("odd", chosen(message, finish_reason))
    good, bad = call(spec(provider), "chat_batch", batch("hello", "odd"))["choices"]
    assert good["message"]["content"] == says("hello")
    assert bad["error"]["code"] == code
    assert words in bad["error"]["message"]
    assert bad["usage"] == TOLD  # it is paid for
    assert len(provider.asked) == 2  # and not asked again: it would be the same


@pytest.mark.parametrize(
    ("content", "text", "thoughts"),
    [
        ([{"type": "text", "text": "Yes"}, {"type": "text", "text": " indeed"}], "Yes indeed", None),
        ([{"type": "output_text", "text": "Yes"}], "Yes", None),
        (["Yes"], "Yes", None),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Yes"}], "Yes",
         "Hm"),
        ([{"type": "reasoning", "text": "Hm"}, {"type": "text", "text": "Yes"}], "Yes", "Hm"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("route", ["chat", "chat_batch"])
def test_content_in_parts_is_text(
    provider: Provider, route: str, content: list[Any], text: str, thoughts: str | None
) -> None:
    provider.answers = chosen({"role": "assistant", "content": content})
    asked = ask() if route == "chat" else batch("hello")
    (choice,) = call(spec(provider), route, asked)["choices"]
    assert (choice["message"]["content"], choice["message"].get("reasoning_content")) == (text, thoughts)


def test_tools_need_no_text(provider: Provider) -> None:
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    provider.answers = chosen({"role": "assistant", "content": None, "tool_calls": [called]}, "tool_calls")
    (choice,) = call(spec(provider), "chat_batch", batch("hello"))["choices"]
    assert choice["message"]["tool_calls"] == [called]


def test_a_refusal_of_claude_is_an_error(provider: Provider) -> None:
    told = {"input_tokens": 10, "output_tokens": 4}
    provider.answers = fails(200, {"id": "1", "content": [], "stop_reason": "refusal", "usage": told})
    (choice,) = call(spec(provider, "claude"), "chat_batch", batch("hello"))["choices"]
    assert (choice["error"]["code"], choice["usage"]) == ("refusal", TOLD)


@pytest.mark.parametrize("fault", [garbage, fails(200, {"choices": []}), fails(200, {"choices": None}), fails(200, [])])
def test_what_is_not_an_answer_is_asked_for_a_few_times_and_each_is_counted(
    provider: Provider, fault: fake.Reply
) -> None:
    provider.answers = only("odd", fault)
    good, bad = call(spec(provider), "chat_batch", batch("hello", "odd"))["choices"]
    assert good["message"]["content"] == says("hello")
    assert "calls" not in good
    assert (bad["error"]["code"], bad["error"]["attempts"], bad["calls"]) == ("bad_response", 3, 3)
    assert len(provider.asked) == 4


def test_an_answer_at_the_third_try_counts_three_calls(provider: Provider) -> None:
    provider.say(garbage, fails(200, {"choices": []}))
    (choice,) = call(spec(provider), "chat_batch", batch("hello"))["choices"]
    assert (choice["message"]["content"], choice["calls"]) == (says("hello"), 3)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (fails(401, {"error": {"message": "bad key"}}), wire.PROVIDER_REFUSED),
        (fails(402, {"error": {"message": "Insufficient Balance"}}), wire.INSUFFICIENT_QUOTA),
        (fails(429, {"error": {"message": "no", "code": "insufficient_quota"}}), wire.INSUFFICIENT_QUOTA),
        (fails(404, {"error": {"message": "no such model"}}), wire.MODEL_NOT_FOUND),
    ],
)
def test_neighbours_of_a_fatal_error_keep_their_answers(provider: Provider, fault: fake.Reply, code: str) -> None:
    texts = [f"say {number}" for number in range(22)]
    one_by_one = spec(provider).model_copy(update={"concurrency": 1})
    provider.answers = only("say 9", fault)
    choices = call(one_by_one, "chat_batch", batch(*texts))["choices"]
    assert [choice["index"] for choice in choices] == list(range(22))
    for text, choice in list(zip(texts, choices, strict=True))[:9]:
        assert choice["message"]["content"] == says(text)
    assert {choice["error"]["code"] for choice in choices if "error" in choice} == {code}
    asked = len(provider.asked)
    assert asked <= 11  # the next may be on its way
    unsent = [choice for choice in choices if choice.get("calls") == 0]
    assert len(unsent) == 22 - asked


def test_a_batch_of_which_nothing_is_answered_is_that_error(provider: Provider) -> None:
    provider.answers = fails(401, {"error": {"message": "bad key"}})
    with pytest.raises(RequestError, match="bad key") as caught:
        call(spec(provider), "chat_batch", batch("a", "b"))
    assert caught.value.code == wire.PROVIDER_REFUSED


@pytest.mark.parametrize("task", ["speak", "draw"])
def test_neighbours_of_other_tasks_keep_theirs(provider: Provider, task: str) -> None:
    def reply(handler: Any, asked: fake.Asked) -> None:
        if "odd" in (asked.body.get("input"), asked.body.get("prompt")):
            fake.send(handler, 401, {"error": {"message": "bad key"}})
        else:
            fake.send(handler, 200, b"RIFF" if task == "speak" else {"created": 1, "data": [{"b64_json": "AA"}]})

    from sqlllm.jobs.serving.worker.tasks import TASKS

    provider.answers = reply
    one_by_one = spec(provider).model_copy(update={"concurrency": 1})

    async def run() -> list[dict[str, Any]]:
        import orjson

        async with fake.loaded(one_by_one) as model:
            answered = await TASKS[f"{task}_batch"].run(model, {**batch("fine", "odd"), "task": task})
            return orjson.loads(answered)["choices"]  # type: ignore[no-any-return]

    import asyncio

    good, bad = asyncio.run(run())
    assert good["message"]["content"]
    assert bad["error"]["code"] == wire.PROVIDER_REFUSED
