"""Typed answers: types as schemas, answers as values, and what is not of the type."""

from __future__ import annotations

import enum
import gc
import json
import tracemalloc
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

import pydantic
import pytest

from sqlllm.client import LLM
from sqlllm.client.typed import Shape, shape
from sqlllm.errors import AnswerError, OptionError
from tests.client.server import Server, sends, text


class Story(pydantic.BaseModel):
    """A story."""

    title: str = pydantic.Field(description="its title")
    body: str


@dataclass
class Order:
    item: str
    price: float
    tags: list[str] = field(default_factory=list)


class Reason(enum.Enum):
    RETURN = "退货"
    SWAP = "换货"


class Inner(TypedDict):
    n: int


class Row(TypedDict):
    id: int
    inner: list[Inner]
    note: NotRequired[str]


class Node(pydantic.BaseModel):
    name: str
    kids: list[Node] = []


class Point(pydantic.BaseModel):
    x: int


class Box(pydantic.BaseModel):
    a: Point
    b: Point


@pytest.mark.parametrize(
    ("kind", "said", "value"),
    [
        (Story, '{"title": "t", "body": "b"}', Story(title="t", body="b")),
        (Story, 'Here it is:\n```json\n{"title": "t", "body": "b"}\n```\nEnjoy!', Story(title="t", body="b")),
        (Story, 'Sure {not it}: {"title": "t", "body": "b"} bye', Story(title="t", body="b")),
        (Story, '{"title": "t", "body": "```py\\nx\\n```"}', Story(title="t", body="```py\nx\n```")),
        (
            Story,
            '```json\n{"title": "t", "body": "```sql\\n1\\n``` end"}\n```',
            Story(title="t", body="```sql\n1\n``` end"),
        ),
        (Story, '[{"title": "t", "body": "b"}]', Story(title="t", body="b")),
        (Order, '{"item": "pen", "price": "12.5"}', Order("pen", 12.5)),
        (Row, '{"id": 1, "inner": [{"n": 2}]}', {"id": 1, "inner": [{"n": 2}]}),
        (list[Row], '[{"id": 1, "inner": []}]', [{"id": 1, "inner": []}]),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (list[int], "[1, 2]", [1, 2]),
        (int, '{"value": 4}', 4),
        (int, "4", 4),
        (bool, '{"value": false}', False),
        (float | None, '{"value": null}', None),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Literal["退货", "换货"], '{"value": "退货"}', "退货"),
        (Literal["退货", "换货"], "**退货**", "退货"),
        (Literal["退货", "换货"], "Label: 退货", "退货"),
        (Literal["退货", "换货"], '```json\n{"label": "换货"}\n```', "换货"),
        (Reason, '{"value": "退货"}', Reason.RETURN),
        (Reason, '"换货"', Reason.SWAP),
        (Reason, "SWAP", Reason.SWAP),
        (Node, '{"name": "a", "kids": [{"name": "b"}]}', Node(name="a", kids=[Node(name="b")])),
        (Box, '{"a": {"x": 1}, "b": {"x": 2}}', Box(a=Point(x=1), b=Point(x=2))),
    ],
)
def test_an_answer_becomes_a_value_of_the_type(server: Server, llm: LLM, kind: Any, said: str, value: Any) -> None:
    server.say(said)
    reply = llm.chat("Tell", returns=kind)
    assert (reply.value, reply.text) == (value, said)
    assert type(reply.value) is type(value)
    asked = server.bodies[0]["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["schema"]["type"] == "object"


def test_chinese_values_are_real_characters_on_the_wire(server: Server, llm: LLM) -> None:
    server.say("退货")
    llm.chat("哪个?", returns=Reason)
    assert '"enum":["退货","换货"]' in server.asked[0].raw.decode()


@pytest.mark.parametrize(
    ("kind", "strict"), [(Story, True), (Box, True), (Order, False), (dict[str, int], False), (int, True)]
)
def test_strict_is_asked_for_where_every_field_is_required(kind: Any, strict: bool) -> None:
    assert Shape(kind).response_format["json_schema"]["strict"] is strict
    assert "title" not in json.dumps(Shape(Box).schema)


def test_an_answer_that_is_cut_is_truncated_and_not_asked_for_again(server: Server, llm: LLM) -> None:
    server.say(text('{"title": "t", "bo', "length"))
    with pytest.raises(AnswerError, match="cut at its limit") as caught:
        llm.chat("Tell", returns=Story)
    assert (caught.value.kind, caught.value.reply.text) == ("truncated", '{"title": "t", "bo')
    assert caught.value.reply.usage.completion_tokens == 5
    assert len(server.asked) == 1
    server.say(text('{"title": "t", "body": "b"}', "length"))
    assert llm.chat("Tell", returns=Story).value.title == "t"


def test_an_invalid_answer_is_asked_for_again_with_what_is_wrong(server: Server, llm: LLM) -> None:
    server.say('{"title": "t"}', '{"title": "t", "body": "b"}')
    reply = llm.chat("Tell", returns=Story)
    assert (reply.value.body, reply.usage.calls) == ("b", 2)
    assert [message["role"] for message in reply.messages] == ["user", "assistant"]
    again = server.bodies[1]["messages"][-1]["content"]
    assert "body: Field required" in again
    server.say(*["rubbish"] * 5)
    with pytest.raises(AnswerError, match="no answer of 3 is a valid Story") as caught:
        llm.chat("Tell", returns=Story)
    assert (caught.value.kind, caught.value.reply.usage.calls) == ("invalid", 3)


def test_a_provider_without_schemas_gets_words(server: Server, llm: LLM) -> None:
    server.say(
        sends(400, {"error": {"message": "response_format json_schema is not supported"}}), '{"title":"t","body":"b"}'
    )
    assert llm.chat("Tell", returns=Story).value.title == "t"
    assert "response_format" not in server.bodies[1]
    assert "JSON schema" in server.bodies[1]["messages"][-1]["content"]


def test_a_streamed_object_is_seen_as_it_grows(server: Server, llm: LLM) -> None:
    server.say('{"title": "ab", "body": "c"}')
    stream = llm.stream("Tell", returns=Story)
    seen = [delta.partial for delta in stream if delta.partial]
    assert {"title": "a"} in seen
    assert seen[-1] == {"title": "ab", "body": "c"}
    assert stream.reply.value == Story(title="ab", body="c")
    server.say('{"value": [1, 2]}')
    assert [1] in [delta.partial for delta in llm.stream("Tell", returns=list[int])]


class Undefined(pydantic.BaseModel):
    x: Nowhere  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize("kind", [Undefined, object(), type("Socket", (), {})])
def test_a_value_that_is_not_a_type_is_refused_before_anything_is_sent(server: Server, llm: LLM, kind: Any) -> None:
    with pytest.raises(OptionError, match=r"not a valid type|not defined"):
        llm.chat("Tell", returns=kind)
    assert not server.asked


def test_a_fresh_class_for_each_call_takes_no_more_memory() -> None:
    def call(index: int) -> None:
        kind = pydantic.create_model(f"K{index}", x=(int, ...))
        made = shape(kind)
        assert made is not None
        assert made.parse('{"x": 1}').x == 1

    for index in range(200):
        call(index)
    gc.collect()
    tracemalloc.start()
    for index in range(300):
        call(index)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The last 128 are kept, and stand in the place of 128 that were kept before.
    assert grown < 12_000_000


def test_a_stream_that_is_not_of_the_type_is_not_asked_for_again(server: Server, llm: LLM) -> None:
    server.say("rubbish")
    stream = llm.stream("Tell", returns=Story)
    with pytest.raises(AnswerError, match="not a valid Story"):
        _ = stream.reply
    assert len(server.asked) == 1
