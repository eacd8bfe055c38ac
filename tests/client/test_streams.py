"""Streams over the wire: events, ends, breaks, silence."""

from __future__ import annotations

import asyncio
import itertools
import time
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlllm.client import LLM, Usage
from sqlllm.client.asking import converse
from sqlllm.client.effects import Emit, Failure, Open, Read, Response
from sqlllm.client.sse import Events
from sqlllm.errors import AnswerError, ModelError, OptionError, ProviderError
from tests.client.server import Server, delta, events, sends, text, usage, whole


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


def test_a_page_where_a_stream_was_due_is_shown(server: Server, llm: LLM) -> None:
    server.say(sends(200, b"<html>maintenance</html>", content_type="text/html"))
    with pytest.raises(ProviderError, match="maintenance"):
        _ = llm.stream("Hi").reply


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
