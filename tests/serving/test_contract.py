"""What every engine must do alike, through the gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from sqlllm import wire
from sqlllm.jobs.serving import Serving

from .conftest import CONTEXT, Reference, prompts, user

pytestmark = pytest.mark.slow


_NO_PROTOCOL = "Anthropic's protocol has none"
# What an engine does not do, and why. A test of it must fail.
GAPS = {
    "seed": {"oracle": "its answers are fixed", "claude": _NO_PROTOCOL},
    "penalty": {"oracle": "its answers are fixed", "claude": _NO_PROTOCOL},
    "completions": {"claude": _NO_PROTOCOL},
    "ranges": {"claude": "Anthropic's errors name no field"},
    "logprobs": {"oracle": "it has none", "claude": _NO_PROTOCOL},
    "schema": {"oracle": "its answers are fixed"},
    "several": {"oracle": "its answers are fixed", "claude": _NO_PROTOCOL},
    "tools": {"oracle": "its answers are fixed", "claude": "the server behind it reads no calls"},
}


@pytest.fixture
def needs(request: pytest.FixtureRequest, model: str) -> Callable[[str], None]:
    """What a test is about, where not all engines have it."""

    def about(what: str) -> None:
        if reason := GAPS[what].get(model.removeprefix("tiny_")):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    return about


def chat(http: httpx.Client, model: str, text: str, **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": user(text), "temperature": 0, **more}
    reply = http.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def batch(http: httpx.Client, model: str, conversations: list[Any], **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": conversations, "temperature": 0, **more}
    reply = http.post("/v1/chat/completions/batch", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def events(http: httpx.Client, route: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    reply = http.post(route, json={**body, "stream": True})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("text", prompts()[:8])
def test_one_greedy_text_on_every_route(http: httpx.Client, model: str, reference: Reference, text: str) -> None:
    expected = reference.chat(text, 40)
    answer = chat(http, model, text, max_tokens=40)
    assert answer["choices"][0]["message"]["content"] == expected.text
    assert answer["choices"][0]["finish_reason"] == expected.finish_reason
    assert answer["usage"]["prompt_tokens"] == expected.prompt_tokens
    assert answer["usage"]["completion_tokens"] == expected.completion_tokens

    choice = batch(http, model, [user(text)], max_tokens=40)["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": expected.text}

    body = {"model": model, "messages": user(text), "temperature": 0, "max_tokens": 40}
    pieces = [event["choices"][0] for event in events(http, "/v1/chat/completions", body)]
    assert "".join(piece["delta"].get("content") or "" for piece in pieces) == expected.text
    assert [piece["finish_reason"] for piece in pieces if piece["finish_reason"]] == [expected.finish_reason]


@pytest.mark.parametrize("text", prompts()[:4])
def test_completions(
    http: httpx.Client, model: str, reference: Reference, text: str, needs: Callable[[str], None]
) -> None:
    needs("completions")
    expected = reference.completion(text, 40)
    body = {"model": model, "prompt": text, "temperature": 0, "max_tokens": 40}
    answer = http.post("/v1/completions", json=body).json()
    assert answer["choices"][0]["text"] == expected.text
    assert answer["choices"][0]["finish_reason"] == expected.finish_reason
    pieces = [event["choices"][0] for event in events(http, "/v1/completions", body)]
    assert "".join(piece["text"] for piece in pieces) == expected.text

    several = http.post("/v1/completions", json={**body, "prompt": [text, "hello"]}).json()
    assert [choice["text"] for choice in several["choices"]] == [expected.text, reference.completion("hello", 40).text]


def test_batch_answers_in_order_and_a_bad_conversation_alone(
    http: httpx.Client, model: str, reference: Reference
) -> None:
    bad: dict[int, tuple[Any, str | None]] = {
        0: ([], None),
        3: (user("x " * 2 * CONTEXT), "context_length_exceeded"),
        4: ([{"role": "nobody", "content": "hello"}], None),
        7: ("not a conversation", None),
        11: ([{"role": "user"}], None),
        12: ([{"role": "user", "content": None}], None),
        15: ([None], None),
    }
    # A provider's empty answer is an error of its own kind: tests/serving/test_bad_answers.py.
    good = (text for text in prompts() if reference.chat(text, 24).text)
    texts = {index: next(good) for index in range(24) if index not in bad}
    conversations = [bad[index][0] if index in bad else user(texts[index]) for index in range(24)]

    answer = batch(http, model, conversations, max_tokens=24)

    assert [choice["index"] for choice in answer["choices"]] == list(range(24))
    for index, choice in enumerate(answer["choices"]):
        if index in bad:
            assert choice["message"] is None
            assert choice["finish_reason"] == "error"
            assert choice["error"]["code"] == bad[index][1]
            assert choice["error"]["message"]
        else:
            expected = reference.chat(texts[index], 24)
            assert choice["message"]["content"] == expected.text
            assert choice["usage"]["prompt_tokens"] == expected.prompt_tokens
            assert choice["usage"]["completion_tokens"] == expected.completion_tokens
    counted = [choice["usage"]["completion_tokens"] for choice in answer["choices"] if "usage" in choice]
    assert answer["usage"]["completion_tokens"] == sum(counted)


def test_without_max_tokens_the_answer_goes_on_to_its_end(
    http: httpx.Client, model: str, reference: Reference, needs: Callable[[str], None]
) -> None:
    needs("completions")
    text = max(prompts(), key=lambda prompt: reference.chat(prompt).completion_tokens)
    expected = reference.chat(text)
    assert expected.completion_tokens > 100, "the test needs a long answer"
    answer = chat(http, model, text)
    assert answer["usage"]["completion_tokens"] == expected.completion_tokens
    assert answer["choices"][0]["finish_reason"] == expected.finish_reason
    completed = http.post("/v1/completions", json={"model": model, "prompt": text, "temperature": 0}).json()
    assert completed["usage"]["completion_tokens"] == reference.completion(text).completion_tokens


def test_stop_strings_end_the_answer_before_them(http: httpx.Client, model: str, reference: Reference) -> None:
    text = "say 1"
    whole = reference.chat(text, 40).text
    stop = whole[12:16]  # crosses tokens
    expected = whole[: whole.index(stop)]
    answer = chat(http, model, text, max_tokens=40, stop=stop)
    assert answer["choices"][0]["message"]["content"] == expected
    assert answer["choices"][0]["finish_reason"] == "stop"
    body = {"model": model, "messages": user(text), "temperature": 0, "max_tokens": 40, "stop": ["never", stop]}
    pieces = [event["choices"][0]["delta"] for event in events(http, "/v1/chat/completions", body)]
    assert "".join(piece.get("content") or "" for piece in pieces) == expected


def test_a_seed_fixes_a_sampled_answer(http: httpx.Client, model: str, needs: Callable[[str], None]) -> None:
    needs("seed")

    def sampled(seed: int) -> str:
        body = {"model": model, "messages": [user("hello")], "temperature": 1.5, "seed": seed, "max_tokens": 30}
        # A kept answer would show nothing of the engine.
        reply = http.post(wire.BATCH, json=body, headers={wire.QUERY_HEADER: '{"id": "1", "store": "off"}'})
        (choice,) = reply.json()["choices"]
        if "error" in choice:  # what is drawn may be empty, which is a provider's error
            assert choice["error"]["code"] == "no_answer"
            return ""
        return choice["message"]["content"]

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(4)}) > 1


def test_top_k_one_is_greedy(http: httpx.Client, model: str, reference: Reference) -> None:
    answer = chat(http, model, "hello", temperature=2.0, top_k=1, max_tokens=30)
    assert answer["choices"][0]["message"]["content"] == reference.chat("hello", 30).text


def test_a_frequency_penalty_makes_repeats_rarer(http: httpx.Client, model: str, needs: Callable[[str], None]) -> None:
    needs("penalty")

    def distinct(penalty: float) -> int:
        choices = batch(http, model, [user(text) for text in prompts()[:8]], max_tokens=60, frequency_penalty=penalty)[
            "choices"
        ]
        return sum(len(set(choice["message"]["content"])) for choice in choices)

    assert distinct(2.0) > distinct(-1.0)


def test_log_probabilities(http: httpx.Client, model: str, reference: Reference, needs: Callable[[str], None]) -> None:
    needs("logprobs")
    asked = {"max_tokens": 12, "logprobs": True, "top_logprobs": 3}
    choice = chat(http, model, "hello", **asked)["choices"][0]
    found = choice["logprobs"]["content"]
    texts = [token["token"] for token in found]
    said = texts[: len(texts) - (choice["finish_reason"] == "stop")]  # without the end token
    assert "".join(said) == choice["message"]["content"]
    assert [token["logprob"] for token in found] == pytest.approx(reference.logprobs("hello", len(found)), abs=1e-3)
    for token in found:
        assert len(token["top_logprobs"]) == 3
        assert token["top_logprobs"][0]["logprob"] == token["logprob"]

    body = {"model": model, "messages": user("hello"), "temperature": 0, **asked}
    pieces = [event["choices"][0] for event in events(http, "/v1/chat/completions", body) if event["choices"]]
    streamed = [token for piece in pieces for token in (piece.get("logprobs") or {}).get("content") or []]
    assert [token["token"] for token in streamed][: len(said)] == said


def test_an_answer_is_held_to_a_schema(http: httpx.Client, model: str, needs: Callable[[str], None]) -> None:
    needs("schema")
    # No object: between its parts a random model may write blanks without an end.
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"enum": ["good", "bad", 7]}}}
    for text in prompts()[:4]:
        answer = chat(http, model, text, response_format=form, max_tokens=40)
        assert json.loads(answer["choices"][0]["message"]["content"]) in ("good", "bad", 7)


NOTHING: dict[str, Any] = {
    "n": 1, "logprobs": None, "top_logprobs": None, "tools": None, "tool_choice": None, "stop": None, "user": "me",
    "response_format": {"type": "text"}, "logit_bias": {}, "parallel_tool_calls": None, "seed": None,
}  # fmt: skip


def test_fields_that_ask_for_nothing(http: httpx.Client, model: str, reference: Reference) -> None:
    expected = reference.chat("hello", 20).text
    for more in (NOTHING, {"tools": []}, {"logprobs": False, "tools": [], "tool_choice": "auto"}):
        answer = chat(http, model, "hello", max_tokens=20, **more)
        assert answer["choices"][0]["message"]["content"] == expected
    request = {"model": model, "messages": user("hello"), "tools": [], "tool_choice": "required"}
    assert http.post("/v1/chat/completions", json=request).status_code == 400


def test_content_in_parts_is_the_plain_text(http: httpx.Client, model: str, reference: Reference) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    body = {"model": model, "messages": parts, "temperature": 0, "max_tokens": 20}
    answer = http.post("/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["message"]["content"] == reference.chat("hello", 20).text
    assert answer["usage"]["prompt_tokens"] == reference.chat("hello", 20).prompt_tokens


def test_which_stop_string_it_was(http: httpx.Client, model: str, reference: Reference) -> None:
    stop = reference.chat("say 2", 40).text[6:9]
    body = {"model": model, "messages": user("say 2"), "temperature": 0, "max_tokens": 40}
    body |= {"stop_sequences": ["never", stop]}
    told = http.post("/v1/messages", json=body).json()
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", stop)
    streamed = http.post("/v1/messages", json={**body, "stream": True}).text
    (end,) = [
        json.loads(line[6:]) for line in streamed.splitlines() if line.startswith('data: {"type":"message_delta"')
    ]
    assert end["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": stop}


def test_several_answers_to_one_prompt(
    http: httpx.Client, model: str, reference: Reference, needs: Callable[[str], None]
) -> None:
    needs("several")
    answer = chat(http, model, "hello", max_tokens=8, n=2)
    expected = reference.chat("hello", 8)
    assert [choice["message"]["content"] for choice in answer["choices"]] == [expected.text] * 2
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["completion_tokens"] == 2 * expected.completion_tokens
    assert answer["usage"]["prompt_tokens"] == expected.prompt_tokens
    drawn = chat(http, model, "hello", max_tokens=20, n=3, temperature=1.5, seed=1)["choices"]
    assert len({choice["message"]["content"] for choice in drawn}) > 1


CITY = {"enum": ["Rome"]}  # no object: see above
TOOLS = [{"type": "function", "function": {"name": name, "description": "?", "parameters": CITY}} for name in "fg"]


@pytest.mark.parametrize(
    ("choice", "names"), [("required", "fg"), ({"type": "function", "function": {"name": "g"}}, "g")]
)
def test_a_call_of_a_tool_is_forced(
    http: httpx.Client, model: str, needs: Callable[[str], None], choice: Any, names: str
) -> None:
    needs("tools")
    asked = {"max_tokens": 100, "tools": TOOLS, "tool_choice": choice}
    found = chat(http, model, "hello", **asked)["choices"][0]
    if choice == "required" and found["finish_reason"] == "length":
        assert model == "tiny_vllm"  # which lets a random model call again and again
        return
    (call,) = found["message"]["tool_calls"]
    assert call["function"]["name"] in names
    assert json.loads(call["function"]["arguments"]) == "Rome"

    body = {"model": model, "messages": user("hello"), "temperature": 0, **asked}
    deltas = [event["choices"][0]["delta"] for event in events(http, "/v1/chat/completions", body) if event["choices"]]
    pieces = [piece for delta in deltas for piece in delta.get("tool_calls") or []]
    assert json.loads("".join(piece["function"].get("arguments") or "" for piece in pieces)) == "Rome"

    cut = chat(http, model, "hello", **{**asked, "max_tokens": 3})["choices"][0]
    assert cut["finish_reason"] == "length"


def test_tools_that_need_not_be_called(http: httpx.Client, model: str, needs: Callable[[str], None]) -> None:
    needs("tools")
    for choice in ("auto", "none"):
        found = chat(http, model, "hello", max_tokens=8, tools=TOOLS, tool_choice=choice)["choices"][0]
        assert found["message"]["content"]
        assert not found["message"].get("tool_calls")
    unknown = {"type": "function", "function": {"name": "h"}}
    request = {"model": model, "messages": user("hello"), "tools": TOOLS, "tool_choice": unknown}
    assert http.post("/v1/chat/completions", json=request).status_code == 400
    broken = {**request, "tools": [{"type": "function"}], "tool_choice": "auto"}
    assert http.post("/v1/chat/completions", json=broken).status_code == 400


def test_many_single_requests_at_once(serving: Serving, model: str, reference: Reference) -> None:
    async def ask_all() -> list[str]:
        async with httpx.AsyncClient(base_url=serving.endpoint, timeout=120) as client:

            async def ask(text: str) -> str:
                body = {"model": model, "messages": user(text), "temperature": 0, "max_tokens": 16}
                reply = await client.post("/v1/chat/completions", json=body)
                return reply.json()["choices"][0]["message"]["content"]

            return await asyncio.gather(*(ask(text) for text in prompts() * 2))

    assert asyncio.run(ask_all()) == [reference.chat(text, 16).text for text in prompts() * 2]


def test_official_openai_client(serving: Serving, model: str, reference: Reference) -> None:
    expected = reference.chat("hello", 30).text
    with openai.OpenAI(base_url=f"{serving.endpoint}/v1", api_key="none") as client:
        messages: Any = user("hello")
        plain = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=30)
        assert plain.choices[0].message.content == expected
        with client.chat.completions.create(
            model=model,
            messages=messages,
            temperature=0,
            max_completion_tokens=30,
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == expected
        assert chunks[-1].usage == plain.usage
        assert model in {card.id for card in client.models.list()}
        with pytest.raises(openai.NotFoundError, match="is not deployed"):
            client.chat.completions.create(model="absent", messages=messages)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, 400, "messages"),
        ({"tempature": 0}, 400, "tempature"),
        ({"temperature": -1}, 400, "temperature"),
        ({"temperature": "warm"}, 400, "temperature"),
        ({"top_p": 2}, 400, "top_p"),
        ({"model": "absent"}, 404, "model"),
        ({"model": None}, 400, "model"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_request_is_refused(
    http: httpx.Client,
    model: str,
    needs: Callable[[str], None],
    body: dict[str, Any],
    status: int,
    param: str,
    stream: bool,
) -> None:
    if param in ("temperature", "top_p"):
        needs("ranges")
    request = {"model": model, "messages": user("hello"), "stream": stream, **body}
    reply = http.post("/v1/chat/completions", json=request)
    assert reply.status_code == status
    assert reply.json()["error"]["param"] == param
    assert reply.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
def test_an_over_long_prompt_is_refused(http: httpx.Client, model: str, stream: bool) -> None:
    long = {"messages": user("x " * 2 * CONTEXT)}, {"messages": user("hello"), "max_tokens": CONTEXT}
    for more in long:
        reply = http.post("/v1/chat/completions", json={"model": model, "stream": stream, **more})
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'"text"'])
def test_a_body_that_is_not_an_object_is_refused(http: httpx.Client, serving: Serving, body: bytes) -> None:
    reply = http.post("/v1/chat/completions", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_health_and_models(http: httpx.Client, model: str) -> None:
    assert http.get("/health").json() == {"status": "ok"}
    cards = {card["id"]: card for card in http.get("/v1/models").json()["data"]}
    assert cards[model]["object"] == "model"
