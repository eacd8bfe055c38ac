"""Chat over the wire: replies, streams, errors, timeouts, what is tried again."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlllm.client import LLM, Usage
from sqlllm.client.retries import retry_after
from sqlllm.client.thoughts import Thoughts, split
from sqlllm.errors import AnswerError, OptionError, ProviderError
from tests.client.server import Server, drips, hangs_up, sends, silent, usage, whole

KEY = "k-SECRET-1234"


def test_an_answer_has_text_usage_finish_thoughts_and_the_conversation(server: Server, llm: LLM) -> None:
    server.say(
        sends(200, whole({"content": "Hello", "reasoning_content": "They greet."}, usage={**usage(), "cost": 0.5}))
    )
    reply = llm.chat("Hi", temperature=0)
    assert (reply.text, reply.value, str(reply)) == ("Hello", "Hello", "Hello")
    assert (reply.thoughts, reply.finish_reason, reply.cost) == ("They greet.", "stop", 0.5)
    assert reply.usage == Usage(10, 5, calls=1)
    assert reply.messages == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert server.bodies == [{"model": "m", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}]
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


def test_cost_is_by_the_price_where_the_provider_names_none(server: Server) -> None:
    assert LLM("m", server.url, price=(1.0, 2.0)).chat("Hi").cost == pytest.approx(20e-6)
    assert LLM("m", server.url).chat("Hi").cost is None
    assert "authorization" not in server.asked[0].headers


def test_the_asynchronous_twin_answers_alike_in_one_loop_after_another(server: Server, llm: LLM) -> None:
    async def ask() -> list[str]:
        answers = await asyncio.gather(llm.achat("a"), llm.achat("b"))
        pieces = [str(delta) async for delta in llm.astream("c")]
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left
        return [*(one.text for one in answers), "".join(pieces)]

    assert asyncio.run(ask()) == asyncio.run(ask()) == ["ok", "ok", "ok"]


def test_a_synchronous_call_works_where_a_loop_runs(server: Server, llm: LLM) -> None:
    async def cell() -> str:
        return llm.chat("hi").text

    assert asyncio.run(cell()) == "ok"


def test_threads_and_a_forked_child_share_a_client(server: Server, llm: LLM) -> None:
    answers: list[str] = []
    threads = [Thread(target=lambda: answers.append(llm.chat("x").text)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["ok"] * 8
    code = (
        "import os, sys, sqlllm\n"
        "llm = sqlllm.LLM('m', sys.argv[1]); llm.chat('x')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    os._exit(0 if llm.chat('y').text == 'ok' else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "assert llm.chat('z').text == 'ok'"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, server.url], check=True, timeout=60)


# Streams


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["", "<think>a < b</think>", "\n<think>a</thin k></think>\n\n", "<think></think><think>b</think>"]),
    st.sampled_from(["answer", "<b>x</b>", " two  words ", "<", "a <think>no</think>"]),
    st.lists(st.integers(0, 60)),
)
def test_thoughts_are_kept_apart_wherever_the_text_is_cut(before: str, answer: str, cuts: list[int]) -> None:
    whole_text = before + answer
    places = sorted({min(cut, len(whole_text)) for cut in cuts} | {0, len(whole_text)})
    reader = Thoughts()
    parts = [reader.feed(whole_text[a:b]) for a, b in itertools.pairwise(places)] + [reader.close()]
    said = "".join(part[0] for part in parts)
    assert said == (answer.lstrip() if before else answer)
    assert "think>" not in "".join(part[1] for part in parts)


def test_an_unclosed_thought_is_not_an_answer() -> None:
    assert split("<think>still at it") == ("", "still at it")


def test_thoughts_in_the_text_of_a_reply(server: Server, llm: LLM) -> None:
    server.say('<think>{"name": "?"}</think>{"name": "Anna"}', '<think>{"name": "?"}</think>{"name": "Anna"}')
    for reply in (llm.chat("Hi"), llm.stream("Hi").reply):
        assert (reply.text, reply.thoughts) == ('{"name": "Anna"}', '{"name": "?"}')


# Empty answers


@pytest.mark.parametrize(
    ("message", "finish", "kind", "said"),
    [
        ({"content": None, "refusal": "I cannot help with that"}, "stop", "refused", "I cannot help"),
        ({"content": ""}, "content_filter", "filtered", "filter"),
    ],
)
def test_a_refusal_is_an_error_in_the_providers_words(
    server: Server, llm: LLM, message: dict[str, Any], finish: str, kind: str, said: str
) -> None:
    server.say(sends(200, whole(message, finish)))
    with pytest.raises(AnswerError, match=said) as caught:
        llm.chat("Hi")
    assert caught.value.kind == kind
    assert caught.value.reply.usage == Usage(10, 5, calls=1)
    assert pickle.loads(pickle.dumps(caught.value)).reply == caught.value.reply


def test_content_in_parts_is_text(server: Server, llm: LLM) -> None:
    server.say(sends(200, whole({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})))
    assert llm.chat("Hi").text == "ab"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, {"error": {"message": "max_tokens is too large", "code": "too_large"}}, "max_tokens is too large"),
        (400, {"error": "plain words"}, "plain words"),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required"),
        (
            403,
            b"<html><head><style>b{}</style></head><body><h1>Forbidden</h1> by proxy</body></html>",
            "Forbidden by proxy",
        ),
        (200, b"<html>maintenance</html>", "maintenance"),
        (200, {"choices": []}, "no choices"),
        (200, {"error": {"message": "quota is gone"}}, "quota is gone"),
        (302, b"", "HTTP 302"),
        (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}, "Incorrect API key provided: ****"),
    ],
)
def test_an_error_has_the_providers_words_and_is_not_tried_again(
    server: Server, llm: LLM, status: int, body: Any, said: str
) -> None:
    server.say(sends(status, body), sends(status, body))
    for ask in (lambda: llm.chat("Hi"), lambda: llm.stream("Hi").reply):
        with pytest.raises(ProviderError) as caught:
            ask()
        assert said in str(caught.value)
        assert KEY not in str(caught.value)
        assert caught.value.status == status
        assert type(pickle.loads(pickle.dumps(caught.value))) is ProviderError
    assert len(server.asked) == 2


# Time, and what is tried again


def test_the_timeout_is_for_all_attempts_together(server: Server) -> None:
    server.say(silent(30))
    with pytest.raises(ProviderError, match="no answer in time"):
        LLM("m", server.url, timeout=0.4, retries=2).chat("Hi")
    assert len(server.asked) == 1


def test_a_body_without_an_end_is_given_up(server: Server) -> None:
    llm = LLM("m", server.url, timeout=0.3, retries=0)
    server.say(drips, drips)
    for ask in (lambda: llm.chat("Hi"), lambda: asyncio.run(llm.achat("Hi"))):
        with pytest.raises(ProviderError, match="in time"):
            ask()


def test_what_may_pass_is_tried_again(server: Server, llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlllm.client.requests.back_off", lambda attempt: 0.001)
    server.say(sends(503), hangs_up, "answer")
    assert llm.chat("Hi").text == "answer"
    server.say(*[sends(500, {"error": {"message": "boom"}})] * 3)
    with pytest.raises(ProviderError, match="boom"):
        llm.chat("Hi")
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        (format_datetime(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=30), usegmt=True), 30.0),
        (format_datetime(datetime(2025, 1, 1, tzinfo=UTC), usegmt=True), None),
        ("abc", None),
        ("-5", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date_to_come(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, datetime(2026, 1, 1, tzinfo=UTC).timestamp()) == seconds


def test_a_wait_beyond_the_timeout_is_raised_at_once_with_its_seconds(server: Server, llm: LLM) -> None:
    server.say(sends(429, {"error": {"message": "slow down"}}, retry_after="7200"), sends(429, b"", retry_after="0.01"))
    with pytest.raises(ProviderError, match="slow down") as caught:
        llm.chat("Hi")
    assert (caught.value.retry_after, len(server.asked)) == (7200.0, 1)
    assert llm.chat("Hi").text == "ok"


def test_vectors_ranks_tokens(server: Server, llm: LLM) -> None:
    vectors = {"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]}
    server.say(sends(200, vectors), sends(200, {"data": [{"index": 0, "embedding": [3.0]}]}))
    assert llm.embed(["a", "b"]) == [[1.0], [2.0]]
    assert llm.embed("c") == [3.0]
    with pytest.raises(OptionError, match="text 1 to embed"):
        llm.embed(["a", " "])
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
    server.say(sends(200, {"results": results}))
    ranked = llm.rerank("q", ["no", "yes"])
    assert [(one.index, one.text) for one in ranked] == [(1, "yes"), (0, "no")]
    server.say(sends(200, {"count": 2, "tokens": [5, 6]}))
    assert llm.tokenize("a b") == [5, 6]
    assert server.asked[-1].path == "/tokenize"
    server.say(sends(200, {"data": [{"id": "b"}, {"id": "a"}]}), sends(200, {"id": "org/m", "meta": {}}))
    assert llm.models() == ["a", "b"]
    assert llm.with_("org/m").meta()["id"] == "org/m"
    assert server.asked[-1].path == "/v1/models/org/m"


def test_the_timeout_of_a_call_wins_over_the_models(server: Server, llm: LLM) -> None:
    server.say(silent(1))
    with pytest.raises(ProviderError, match=r"0\.2 s"):
        llm.chat("Hi", timeout=0.2)
    assert "timeout" not in server.bodies[0]


@pytest.mark.parametrize("value", [object(), {1, 2}, "\ud800"])
def test_a_request_that_is_not_json_is_refused_before_it_is_sent(llm: LLM, server: Server, value: Any) -> None:
    with pytest.raises(OptionError, match="not JSON"):
        llm.chat("Hi", seed=value)
    assert not server.asked


@pytest.mark.parametrize(("slip", "meant"), [("timout", "timeout"), ("max_round", "max_rounds"), ("return", "returns")])
def test_a_slip_in_an_option_is_an_error_and_fields_of_the_request_go_through(
    server: Server, llm: LLM, slip: str, meant: str
) -> None:
    with pytest.raises(OptionError, match=f"unknown option {slip}") as caught:
        llm.chat("Hi", **{slip: 5})
    assert meant in caught.value.cure
    with pytest.raises(OptionError):
        LLM("m", server.url, **{slip: 5})
    llm.chat("Hi", top_k=3, tool_choice="auto", thinking={"type": "disabled"})
    assert server.bodies[0]["top_k"] == 3


@pytest.mark.parametrize(
    ("body", "ask"),
    [
        ({"choices": ["x"]}, lambda llm: llm.chat("Hi")),
        ({"choices": [{"message": ["x"]}]}, lambda llm: llm.chat("Hi")),
        ([1], lambda llm: llm.chat("Hi")),
        ({"data": [{"embedding": None}]}, lambda llm: llm.embed("Hi")),
        ({"data": ["x"]}, lambda llm: llm.embed("Hi")),
        ({"results": [{"index": 7, "relevance_score": 1}]}, lambda llm: llm.rerank("q", ["a"])),
        ({"results": {}}, lambda llm: llm.rerank("q", ["a"])),
        ({"data": [{}]}, lambda llm: llm.draw("a cat")),
        ({"data": [{}]}, lambda llm: llm.models()),
    ],
)
def test_a_response_of_another_shape_is_the_providers_error(server: Server, llm: LLM, body: Any, ask: Any) -> None:
    server.say(sends(200, body))
    with pytest.raises(ProviderError) as caught:
        ask(llm)
    assert caught.value.cure or "vectors" in caught.value.message


def test_a_cancelled_call_leaves_the_loop_usable(server: Server, llm: LLM) -> None:
    over = Event()

    def waits(handler: Any, asked: Any) -> None:
        over.wait(30)

    async def run() -> str:
        server.say(waits)
        task = asyncio.create_task(llm.achat("Hi"))
        while not server.asked:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return (await llm.achat("Hi")).text

    assert asyncio.run(run()) == "ok"
    over.set()
