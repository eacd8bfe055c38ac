"""Chat over the wire: replies, streams, errors, timeouts, what is tried again."""

from __future__ import annotations

import asyncio
import copy
import itertools
import logging
import os
import pickle
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlllm import gateways
from sqlllm.client import LLM, Usage
from sqlllm.client.asking import converse
from sqlllm.client.effects import Emit, Failure, Open, Read, Response
from sqlllm.client.endpoint import Key
from sqlllm.client.retries import retry_after
from sqlllm.client.sse import Events
from sqlllm.client.thoughts import Thoughts, split
from sqlllm.errors import AnswerError, ModelError, OptionError, ProviderError
from tests.client.server import (
    Server,
    delta,
    drips,
    events,
    hangs_up,
    sends,
    serve,
    silent,
    text,
    usage,
    whole,
)

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


def test_a_stream_gives_pieces_and_the_whole_reply_with_usage_once(server: Server, llm: LLM) -> None:
    server.say(text("Grüße 你好"))
    stream = llm.stream("Hi")
    assert "".join(map(str, stream)) == "Grüße 你好"
    assert (stream.reply.text, stream.reply.usage, stream.reply.finish_reason) == (
        "Grüße 你好",
        Usage(10, 5, calls=1),
        "stop",
    )
    assert server.bodies[0]["stream_options"] == {"include_usage": True}
    # One chunk earlier, and again at the end.
    server.say(
        events(
            [
                delta(content="a"),
                {**delta(finish="stop"), "usage": usage()},
                {"choices": [], "usage": usage()},
                "[DONE]",
            ]
        )
    )
    assert llm.stream("Hi").reply.usage == Usage(10, 5, calls=1)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_events_end_at_cr_lf_or_crlf_only_and_come_a_byte_at_a_time(server: Server, llm: LLM, end: bytes) -> None:
    said = "a\u2028b\u2029c\x85d\x0be 你😀"
    server.say(events([delta(content=said), delta(finish="stop"), "[DONE]"], end=end, size=1))
    assert llm.stream("Hi").reply.text == said


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(), max_size=6), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 400)))
def test_events_are_the_same_wherever_the_bytes_are_cut(datas: list[str], end: bytes, cuts: list[int]) -> None:
    datas = [data.replace("\r", "").replace("\n", "").encode("utf-8", "replace").decode() for data in datas]
    raw = b"".join(b": comment" + end + b"data: " + data.encode() + end + b"id: 1" + end + end for data in datas)
    places = sorted({min(cut, len(raw)) for cut in cuts} | {0, len(raw)})
    reader = Events()
    found = [data for a, b in itertools.pairwise(places) for data in reader.feed(raw[a:b])]
    assert [*found, *reader.close()] == [data.encode() for data in datas]


def test_a_stream_that_is_left_early_ends_its_request(server: Server, llm: LLM) -> None:
    left: list[bool] = []

    def endless(handler: Any, asked: Any) -> None:
        try:
            events((delta(content="x") for _ in range(10**6)), pause=0.002)(handler, asked)
        except OSError:
            left.append(True)

    server.say(endless, endless)
    with llm.stream("Hi") as stream:
        next(stream)
    with pytest.raises(ModelError, match="left before its end"):
        _ = stream.reply

    async def leave() -> None:
        async for _ in llm.astream("Hi"):
            break

    asyncio.run(leave())
    end = time.monotonic() + 10
    while len(left) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert left == [True, True]


def test_a_stream_that_breaks_off_is_incomplete_and_keeps_its_text(server: Server, llm: LLM) -> None:
    server.say(events([delta(content="Once upon")]))
    with pytest.raises(AnswerError, match="incomplete") as caught:
        _ = llm.stream("Hi").reply
    assert (caught.value.kind, caught.value.reply.text) == ("incomplete", "Once upon")
    server.say(events([delta(content="Once upon"), "[DONE]"]))
    reply = llm.stream("Hi").reply
    assert (reply.text, reply.finish_reason) == ("Once upon", None)


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([delta(content="a"), {"error": {"message": "overloaded"}}], "overloaded"),
        ([delta(content="a"), "{not json"], "is not JSON"),
    ],
)
def test_an_error_within_a_stream_is_raised(server: Server, llm: LLM, chunks: list[Any], said: str) -> None:
    server.say(events(chunks))
    with pytest.raises(AnswerError, match=said) as caught:
        _ = llm.stream("Hi").reply
    assert caught.value.reply.text == "a"


def test_a_provider_that_does_not_stream_is_read_whole(server: Server, llm: LLM) -> None:
    server.say(sends(200, whole({"content": "all at once"})))
    assert [str(delta) for delta in llm.stream("Hi")] == ["all at once"]


def test_stream_options_that_a_provider_refuses_are_left_out(server: Server, llm: LLM) -> None:
    server.say(sends(400, {"error": {"message": "unknown field stream_options"}}), text("a"), text("b"))
    assert llm.stream("Hi").reply.text == "a"
    assert llm.stream("Hi").reply.text == "b"
    assert ["stream_options" in body for body in server.bodies] == [True, False, False]


# Thoughts


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


def test_a_stream_outlives_the_timeout_while_it_ticks() -> None:
    ask = LLM("m", "http://h", timeout=30, idle=7)._ask("Hi")
    steps = converse(ask, stream=True)
    opened = next(steps)
    assert isinstance(opened, Open)
    assert (29 < opened.timeout <= 30, opened.idle) == (True, 7)
    effect = steps.send(Response(200, {"content-type": "text/event-stream"}))
    for _ in range(3):  # a read has no time but the idle limit, however many there are
        assert isinstance(effect, Read)
        emitted = steps.send(b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n')
        assert isinstance(emitted, Emit)
        effect = steps.send(None)
    with pytest.raises(AnswerError, match="nothing came for 7 s") as caught:
        steps.send(Failure("no answer in time", timed_out=True))
    assert caught.value.reply.text == "xxx"


def test_a_stream_that_goes_silent_is_given_up(server: Server) -> None:
    over = Event()

    def stops(handler: Any, asked: Any) -> None:
        events([delta(content="half")])(handler, asked)
        over.wait(30)

    server.say(stops, stops)
    llm = LLM("m", server.url, idle=1.5)

    async def read() -> None:
        async for _ in llm.astream("Hi"):
            pass

    for ask in (lambda: llm.stream("Hi").reply, lambda: asyncio.run(read())):
        with pytest.raises(AnswerError, match=r"nothing came for 1\.5 s") as caught:
            ask()
        assert caught.value.reply.text == "half"
    over.set()


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


def test_an_address_without_a_server_is_an_error() -> None:
    with pytest.raises(ProviderError, match="no connection"):
        LLM("m", "http://127.0.0.1:9", retries=0).chat("Hi")


# Keys, pickles, addresses


def test_the_key_is_nowhere(server: Server, llm: LLM, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.say(*[sends(503, {"error": {"message": f"bad {KEY}"}})] * 2)
    shown = [repr(llm), repr(llm.endpoint), str(vars(llm)), str(pickle.dumps(llm))]
    try:
        llm.with_(retries=0).chat("Hi")
    except ProviderError as error:
        told = traceback.TracebackException(
            type(error), error, error.__traceback__ and error.__traceback__.tb_next, capture_locals=True
        )
        shown += ["".join(told.format()), repr(error), str(error.to_dict())]
    with_headers = LLM("m", server.url, headers={"api-key": KEY})
    shown += [repr(with_headers), str(vars(with_headers)), str(pickle.dumps(with_headers)), caplog.text]
    assert KEY not in "".join(shown)
    with_headers.chat("Hi")
    assert server.asked[-1].headers["api-key"] == KEY


def test_a_pickled_client_finds_its_key_there_or_fails(
    server: Server, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = pickle.loads(pickle.dumps(llm))
    with pytest.raises(ModelError, match=r"did not travel") as caught:
        again.chat("Hi")
    assert gateways.KEY_VARIABLE in caught.value.cure
    monkeypatch.setenv(gateways.KEY_VARIABLE, "other")
    again.chat("Hi")
    assert server.asked[-1].headers["authorization"] == "Bearer other"
    assert copy.deepcopy(llm).chat("Hi").text == "ok"
    assert server.asked[-1].headers["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("MY_KEY", "third")
    named = pickle.loads(pickle.dumps(LLM("m", server.url, "env:MY_KEY")))
    named.chat("Hi")
    assert server.asked[-1].headers["authorization"] == "Bearer third"


def test_a_user_and_a_password_in_the_address_are_sent_and_not_shown(server: Server) -> None:
    llm = LLM("m", server.url.replace("//", "//ann:p%40ss@"))
    llm.chat("Hi")
    assert server.asked[0].headers["authorization"] == "Basic YW5uOnBAc3M="
    assert "ss" not in repr(llm)


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://x", "http://", "http://x:port", "http://x/v1?key=1"])
def test_a_wrong_address_is_refused(address: str) -> None:
    with pytest.raises(OptionError, match="not a valid address"):
        LLM("m", address)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://h:1", "http://h:1/v1/chat/completions"),
        ("http://h:1/", "http://h:1/v1/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("https://h/api/paas/v4", "https://h/api/paas/v4/chat/completions"),
    ],
)
def test_an_address_may_leave_out_v1(address: str, url: str) -> None:
    assert LLM("m", address).endpoint.url("chat/completions") == url


def test_a_gateway_is_found(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("SQLLLM_HOME", str(tmp_path))
    monkeypatch.delenv(gateways.ADDRESS_VARIABLE, raising=False)
    monkeypatch.setattr(gateways, "_here", {})  # sessions of other tests in this process have gateways
    llm = LLM("m")
    with pytest.raises(ModelError, match="no gateway") as caught:
        llm.chat("Hi")
    assert "sqlllm up" in caught.value.cure
    root = server.url.removesuffix("/v1")
    gateways.leave(gateways.Found(root, "of-up", pid=os.getpid()))
    assert gateways.record().stat().st_mode & 0o777 == 0o600
    llm.chat("Hi")
    gateways.opened(gateways.Found(root, "of-session"))
    llm.chat("Hi")
    gateways.closed(root)
    monkeypatch.setenv(gateways.ADDRESS_VARIABLE, server.url)
    monkeypatch.setenv(gateways.KEY_VARIABLE, "of-variable")
    llm.chat("Hi")
    monkeypatch.delenv(gateways.ADDRESS_VARIABLE)
    assert [one.headers["authorization"] for one in server.asked] == [
        f"Bearer {name}" for name in ("of-up", "of-session", "of-variable")
    ]
    ended = subprocess.Popen(["true"])
    ended.wait()
    gateways.leave(gateways.Found(root, pid=ended.pid))
    with pytest.raises(ModelError, match="no gateway"):
        llm.chat("Hi")


def test_a_key_compares_by_value_and_is_false_when_empty() -> None:
    assert (Key("a") == Key("a"), bool(Key())) == (True, False)


# Other routes


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


def test_two_servers_share_a_process() -> None:
    with serve() as one, serve() as two:
        assert LLM("m", one.url).chat("a").text == LLM("m", two.url).chat("b").text == "ok"


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


def test_a_key_from_a_file_loses_its_line_break_and_a_broken_one_is_refused(server: Server) -> None:
    LLM("m", server.url, "k-1234\n").chat("Hi")
    assert server.asked[0].headers["authorization"] == "Bearer k-1234"
    for broken in ("k-12\n34", "k-钥匙"):
        with pytest.raises(OptionError, match="not a valid key") as caught:
            LLM("m", server.url, broken)
        assert broken not in str(caught.value)


def test_a_page_where_a_stream_was_due_is_shown(server: Server, llm: LLM) -> None:
    server.say(sends(200, b"<html>maintenance</html>", content_type="text/html"))
    with pytest.raises(ProviderError, match="maintenance"):
        _ = llm.stream("Hi").reply


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


def test_odd_chunks_and_nulls_are_nothing(server: Server, llm: LLM) -> None:
    chunks = [
        {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
        {"choices": None},
        {"choices": [{"delta": {"content": None, "role": "assistant"}}]},
        {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}], "usage": None},
        "[DONE]",
        "after the end",
    ]
    server.say(
        events(chunks), sends(200, {"choices": [{"message": {"content": "b", "tool_calls": None}}], "usage": None})
    )
    assert llm.stream("Hi").reply.text == "a"
    assert llm.chat("Hi").text == "b"
    server.say(events([{"choices": ["x"]}]))
    with pytest.raises(ProviderError, match="unknown shape"):
        _ = llm.stream("Hi").reply
    with pytest.raises(OptionError, match="nothing to ask"):
        llm.chat(None)


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
