"""Anthropic's protocol: its own client at our gateway, and the adapter for its API; with metrics of both."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.jobs.serving.gateway import messages
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.worker.engines.remote import messages as provider

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bonn"}'}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CHAT = {
    "model": "m",
    "max_tokens": 9,
    "temperature": 0,
    "stop": ["x"],
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "see"}, PICTURE]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "user", "content": "so?"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "weather", "description": "", "parameters": {"type": "object"}}}
    ],
    "tool_choice": "required",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}},
    },
}


def test_a_request_there_and_back_is_the_same() -> None:
    there = provider.messages_request(CHAT, 1)
    assert there["system"] == "be brief"
    assert [turn["role"] for turn in there["messages"]] == ["user", "assistant", "user"]
    assert there["messages"][2]["content"][0]["type"] == "tool_result"
    assert messages.chat_request({**there, "model": "m"}) == CHAT


def test_an_answer_there_and_back_is_the_same() -> None:
    answer = {
        "id": "chatcmpl-1",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "I look", "tool_calls": [CALL]},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }
    back = provider.chat_answer(messages.message(answer))
    assert back["choices"] == answer["choices"]
    assert back["usage"] == answer["usage"]


@pytest.mark.parametrize("arguments", ['{"city": "Bo', "", '{"city": "Bonn"}'])
def test_a_call_of_a_tool_that_is_cut_off_has_no_arguments(arguments: str) -> None:
    cut = {**CALL, "function": {"name": "weather", "arguments": arguments}}
    choice = {"index": 0, "message": {"content": None, "tool_calls": [CALL, cut]}, "finish_reason": "length"}
    told = messages.message({"model": "m", "choices": [choice]})
    whole = {"city": "Bonn"}
    assert [call["input"] for call in told["content"]] == [whole, whole if arguments.endswith("}") else {}]
    assert told["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("arguments", ['{"city": "Bo', "Bonn", "[1]"])
def test_a_tool_call_that_is_not_a_json_object_is_refused(arguments: str) -> None:
    wrong = {**CALL, "function": {"name": "weather", "arguments": arguments}}
    choice = {"index": 0, "message": {"content": None, "tool_calls": [wrong]}, "finish_reason": "tool_calls"}
    with pytest.raises(RequestError, match="calls weather with what is not a JSON object") as caught:
        messages.message({"model": "m", "choices": [choice]})
    assert arguments in caught.value.message


def test_a_stream_there_and_back_is_the_same() -> None:
    deltas: list[dict[str, Any]] = [
        {"content": "I "},
        {"content": "look"},
        {"tool_calls": [{"index": 0, **CALL, "function": {"name": "weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Bonn"}'}}]},
    ]
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}})

    async def items(values: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        for value in values:
            yield value

    async def back() -> list[dict[str, Any]]:
        told = [json.loads(event.partition(b"data: ")[2]) async for event in messages.events("m", items(chunks))]
        assert told[-1] == {"type": "message_stop"}
        return [chunk async for chunk in provider.chunks(items(told), with_usage=True)]

    found = asyncio.run(back())
    assert found[-1]["usage"] == chunks[-1]["usage"]
    assert found[-2]["choices"][0]["finish_reason"] == "tool_calls"
    texts = [chunk["choices"][0]["delta"].get("content") or "" for chunk in found[:-1]]
    assert "".join(texts) == "I look"
    calls = [call for chunk in found[:-1] for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("c1", "weather")
    assert "".join(call["function"]["arguments"] for call in calls) == '{"city":"Bonn"}'


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"thinking": {"type": "enabled"}}, "thinking"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_token": 3}, "max_token"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "text"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "tool_use_id"),
        ({"messages": [{"role": "user", "content": None}]}, None),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": "a.png"}]}]}, None),
        ({"thinking": "enabled"}, None),
        ({"tools": [{"name": "f", "input_schema": {}}], "tool_choice": "auto"}, None),
    ],
)
def test_what_has_no_counterpart_is_refused(wrong: dict[str, Any], param: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        messages.chat_request({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], **wrong})
    assert caught.value.param == param


@pytest.mark.parametrize("wrong", [{"logprobs": True}, {"n": 2}, {"response_format": {"type": "json_object"}}])
def test_what_anthropic_lacks_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        provider.messages_request({"model": "m", "messages": [{"role": "user", "content": "x"}], **wrong}, 1)
    assert caught.value.param == next(iter(wrong))


@pytest.fixture(scope="module")
def said(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The oracle `said`, and `claude`: the adapter for Anthropic's API, which asks `said` at our own gateway."""
    table: Path = tmp_path_factory.mktemp("said") / "answers.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("prompt", "answer"), ("hello", "good day to you all"), ("bye", "so long")])
    serving.deploy(ModelSpec(name="said", engine="oracle", model_path=str(table)))
    options = {"provider": "claude", "base_url": serving.endpoint, "api_key": "sk-none-none", "model": "said"}
    serving.deploy(ModelSpec(name="claude", engine="remote", model_path="saas/claude/said", engine_options=options))
    yield "said"
    serving.undeploy("claude")
    serving.undeploy("said")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["said", "claude"])
def test_the_anthropic_client_as_it_is(serving: Serving, said: str, model: str) -> None:
    asked: Any = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
    with anthropic.Anthropic(base_url=serving.endpoint, api_key="none", max_retries=0) as client:
        answer = client.messages.create(**asked)
        assert answer.content[0].to_dict() == {"type": "text", "text": "good day to you all"}
        assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 2, 5)
        with client.messages.stream(**asked) as stream:
            assert "".join(stream.text_stream) == "good day to you all"
            final = stream.get_final_message()
        assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 5)
        assert client.messages.create(**{**asked, "max_tokens": 1}).stop_reason == "max_tokens"
        del asked["max_tokens"]
        assert client.messages.count_tokens(**asked).input_tokens == 2
        with pytest.raises(anthropic.NotFoundError, match="model absent is not deployed"):
            client.messages.create(max_tokens=1, **{**asked, "model": "absent"})


@pytest.mark.slow
def test_the_adapter_says_what_the_model_says(serving: Serving, said: str) -> None:
    with openai.OpenAI(base_url=f"{serving.endpoint}/v1", api_key="none", max_retries=0) as client:
        asked: Any = {"messages": [{"role": "user", "content": "hello"}], "stop": " you"}
        one, other = (client.chat.completions.create(model=name, **asked) for name in ("said", "claude"))
        assert one.choices[0].to_dict() == other.choices[0].to_dict()
        assert one.usage == other.usage
        stream = client.chat.completions.create(model="claude", stream=True, **asked)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "good day to"
        with pytest.raises(openai.BadRequestError, match="Anthropic has no logprobs"):
            client.chat.completions.create(model="claude", logprobs=True, **asked)
    batch = {"model": "claude", "messages": [asked["messages"], [{"role": "user", "content": "unknown"}]]}
    reply = httpx.post(f"{serving.endpoint}/v1/chat/completions/batch", json=batch, timeout=60).json()
    assert reply["choices"][0]["message"]["content"] == "good day to you all"
    assert "claude answers 400" in reply["choices"][1]["error"]["message"]


@pytest.mark.slow
def test_metrics_version_and_tokens(serving: Serving, said: str, tiny_model: Path) -> None:
    def value(name: str, **labels: str) -> float:
        wanted = ",".join(f'{key}="{label}"' for key, label in sorted(labels.items()))
        page = httpx.get(f"{serving.endpoint}/metrics")
        assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
        found = re.search(rf"^{name}{{{wanted}}} (\S+)$", page.text, re.M)
        return float(found[1]) if found else 0.0

    before = value("sqlllm_tokens_total", model="said", kind="answer")
    ask = {"model": "said", "messages": [{"role": "user", "content": "bye"}], "temperature": 0}
    batch = {**ask, "messages": [ask["messages"]], "max_tokens": 9}  # another request than the single ones
    url = f"{serving.endpoint}/v1/chat/completions"
    httpx.post(url, json=ask, timeout=60)
    httpx.post(url, json={**ask, "stream": True, "stream_options": {"include_usage": True}}, timeout=60)
    # The stream is the kept answer of the first request.
    assert value("sqlllm_tokens_total", model="said", kind="answer") == before + 2
    assert value("sqlllm_first_token_seconds_count", model="said") >= 1
    for _ in range(2):
        httpx.post(f"{url}/batch", json=batch, timeout=60)
    assert value("sqlllm_batch_prompts_total", model="said", source="model") >= 1
    assert value("sqlllm_batch_prompts_total", model="said", source="cached") >= 1
    assert value("sqlllm_requests_total", model="said", route="chat", status="200") >= 2
    assert value("sqlllm_requests_running", model="said", route="chat") == 0
    httpx.post(url, json={**ask, "nonsense": 1}, timeout=60)
    assert value("sqlllm_requests_total", model="said", route="chat", status="400") >= 1
    assert re.fullmatch(r"\d+\.\d+.*", httpx.get(f"{serving.endpoint}/version").json()["version"])
    refused = httpx.post(f"{serving.endpoint}/tokenize", json={"model": "said", "prompt": "x"}, timeout=60)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_by_model")
