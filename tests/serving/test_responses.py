"""OpenAI's Responses API at the gateway, through its official client, with a provider's model behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from sqlllm import wire
from sqlllm.jobs.serving import Serving
from sqlllm.jobs.serving.gateway import responses
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.settings import Settings

from . import provider as fake
from .provider import Provider, fails, says
from .test_bad_answers import TOLD, chosen
from .test_house import post, remote

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def behind() -> Iterator[Provider]:
    with fake.serve() as started:
        yield started


@pytest.fixture(scope="module")
def serving(behind: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    started = Serving(Settings(home=tmp_path_factory.mktemp("home")))
    started.deploy(remote(behind))
    yield started
    started.close()


@pytest.fixture
def client(serving: Serving, behind: Provider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{serving.endpoint}/v1", api_key="none", max_retries=0) as made:
        yield made
    behind.next.clear()
    behind.asked.clear()


def test_text_in_text_out(client: openai.OpenAI, behind: Provider) -> None:
    told = client.responses.create(model="m", input="hello", instructions="Be brief.", max_output_tokens=50)
    assert (told.output_text, told.status) == (says("hello"), "completed")
    assert told.usage is not None
    assert (told.usage.input_tokens, told.usage.total_tokens) == (10, 10 + told.usage.output_tokens)
    asked = behind.asked[-1].body
    assert asked["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    assert asked["max_tokens"] == 50


def test_a_stream_is_the_same_response(client: openai.OpenAI) -> None:
    with client.responses.stream(model="m", input="say it") as stream:
        events = list(stream)
        whole = stream.get_final_response()
    assert whole.output_text == says("say it")
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == says("say it")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert whole.usage is not None
    assert whole.usage.input_tokens == 10


def test_a_tool_is_called_and_its_result_is_sent_back(client: openai.OpenAI, behind: Provider) -> None:
    called = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    behind.say(chosen({"role": "assistant", "content": None, "tool_calls": [called]}, "tool_calls"))
    tools: Any = [WEATHER]
    told = client.responses.create(model="m", input="How is it?", tools=tools, tool_choice="required")
    (call,) = told.output
    assert call.type == "function_call"
    assert (call.name, call.arguments, call.call_id) == ("weather", "{}", "call_1")
    assert behind.asked[-1].body["tools"][0]["function"]["name"] == "weather"
    result: Any = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    again: Any = [{"role": "user", "content": "How is it?"}, call, result]
    assert client.responses.create(model="m", input=again, tools=tools).output_text == says("sunny")
    sent = behind.asked[-1].body["messages"]
    assert [one["role"] for one in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "call_1"


def test_a_streamed_call(client: openai.OpenAI, behind: Provider) -> None:
    def reply(handler: Any, asked: fake.Asked) -> None:
        pieces: list[dict[str, Any]] = [
            {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": ""}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]},
        ]
        chunks = [{"choices": [{"index": 0, "delta": piece, "finish_reason": None}]} for piece in pieces]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        handler.close_connection = True
        for chunk in chunks:
            handler.wfile.write(b"data: " + json.dumps({"id": "1", "model": "m", **chunk}).encode() + b"\n\n")
        handler.wfile.write(b"data: [DONE]\n\n")

    behind.say(reply)
    tools: Any = [WEATHER]
    with client.responses.stream(model="m", input="And now?", tools=tools) as stream:
        whole = stream.get_final_response()
    (call,) = whole.output
    assert call.type == "function_call"
    assert (call.name, call.arguments, call.status) == ("weather", '{"city": "Rome"}', "completed")


@pytest.mark.parametrize(
    ("message", "reason", "status", "why"),
    [("Half an ans", "length", "incomplete", "max_output_tokens"), ("Whole.", "stop", "completed", None)],
)
def test_an_answer_that_is_cut_is_incomplete(
    client: openai.OpenAI, behind: Provider, message: str, reason: str, status: str, why: str | None
) -> None:
    behind.say(chosen({"role": "assistant", "content": message}, reason))
    told = client.responses.create(model="m", input=f"cut {reason}")
    assert (told.status, told.output_text) == (status, message)
    assert (told.incomplete_details.reason if told.incomplete_details else None) == why


def test_thoughts_are_an_item_of_their_own(client: openai.OpenAI, behind: Provider) -> None:
    behind.say(chosen({"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}))
    told = client.responses.create(model="m", input="think")
    assert [item.type for item in told.output] == ["reasoning", "message"]
    assert told.output_text == "Yes."


def test_kept_answers_serve_it_as_well(serving: Serving, behind: Provider) -> None:
    asked = len(behind.asked)
    body: dict[str, Any] = {"messages": None, "input": "once"}
    first, second = (post(serving, "/v1/responses", **body) for _ in range(2))
    assert wire.CACHE_HEADER not in first.headers
    assert second.headers[wire.CACHE_HEADER] == "cached"
    assert second.json()["output"][0]["content"] == first.json()["output"][0]["content"]
    chat = post(serving, messages=[{"role": "user", "content": "once"}])
    assert chat.headers[wire.CACHE_HEADER] == "cached"
    assert len(behind.asked) == asked + 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({}, "input"),
        ({"input": [{"type": "web_search_call"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input"),
        ({"input": [{"type": "message", "role": "user"}]}, "content"),
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "x", "background": True}, "background"),
        ({"input": "x", "reasoning": {"effort": "high"}}, "reasoning"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools"),
        ({"input": "x", "tempature": 1}, "tempature"),
        ({"input": "x", "text": {"verbosity": "low"}}, "text"),
        ({"input": "x", "top_logprobs": 3}, "top_logprobs"),
    ],
)
def test_what_has_no_counterpart_is_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        responses.chat_request({"model": "m", **body})
    assert (caught.value.status, caught.value.param) == (400, param)


def test_defaults_that_clients_write_out_are_taken() -> None:
    defaults = {"store": True, "truncation": "auto", "include": [], "metadata": {}, "reasoning": None, "user": "me"}
    chat = responses.chat_request({"model": "m", "input": "x", **defaults})
    assert chat == {"model": "m", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_openai_s(client: openai.OpenAI, behind: Provider, stream: bool) -> None:
    behind.say(fails(400, {"error": {"message": "no such thing", "param": "input"}}))
    with pytest.raises(openai.BadRequestError, match="no such thing"):
        client.responses.create(model="m", input=f"wrong {stream}", stream=stream)
    with pytest.raises(openai.NotFoundError, match="is not deployed"):
        client.responses.create(model="absent", input="x", stream=stream)


def test_tokens_are_reported() -> None:
    answer = {"model": "m", "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": TOLD}
    told = responses.response({}, answer)["usage"]
    assert (told["input_tokens"], told["output_tokens"], told["total_tokens"]) == (10, 4, 14)
