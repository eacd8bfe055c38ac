"""Tools: how functions are described and called, what goes back to the model, and where it stops."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from dataclasses import dataclass
from threading import Barrier
from typing import Annotated, Any, Literal

import pydantic
import pytest

from sqlllm.client import LLM, Tool
from sqlllm.errors import LimitError, OptionError
from tests.client.server import Server, calls, sends, text


def date_range(
    count: Annotated[int, "how many units"], unit: Annotated[str, "the unit", {"enum": ["day", "月"]}] = "day"
) -> list[str]:
    """Compute a range of dates.

    Args:
        count: shadowed by the annotation
        unit: shadowed, too

    Returns:
        Two dates.
    """
    return [f"{count} {unit}", "now"]


def test_a_function_is_described_by_its_signature_and_docstring() -> None:
    described = Tool(date_range).to_dict()["function"]
    assert described["name"] == "date_range"
    assert described["description"].startswith("Compute a range of dates.")
    assert described["parameters"] == {
        "type": "object",
        "properties": {
            "count": {"type": "integer", "description": "how many units"},
            "unit": {"type": "string", "enum": ["day", "月"], "description": "the unit", "default": "day"},
        },
        "required": ["count"],
        "additionalProperties": False,
    }


@dataclass
class Where:
    city: str
    floor: int = 0


class Who(pydantic.BaseModel):
    name: str


def test_dataclasses_models_and_docstrings_of_three_styles() -> None:
    def google(where: Where, who: Who | None = None, schema: str = "s", *, _x: int = 1, **more: Any) -> str:
        """Look.

        Args:
            where (Where): the place
            who: the person
        """
        return f"{where.city} {where.floor} {who and who.name} {schema} {_x}"

    tool = Tool(google)
    assert tool.parameters["properties"]["where"]["description"] == "the place"
    assert tool.parameters["$defs"]["Where"]["required"] == ["city"]
    bound = tool.bind('{"where": {"city": "Rome"}, "who": {"name": "Ann"}, "schema": "t"}')
    assert bound() == "Rome 0 Ann t 1"

    def sphinx(a: int, b: int) -> int:
        """Add.

        :param a: the first
        :param int b: the second
        """
        return a + b

    assert [one["description"] for one in Tool(sphinx).parameters["properties"].values()] == ["the first", "the second"]
    assert Tool(sphinx).description == "Add."


def test_local_types_under_postponed_annotations_are_found_and_unknown_names_fail_at_once() -> None:
    @dataclass
    class Local:
        n: int

    def take(local: Local) -> int:
        return local.n

    assert Tool(take).bind('{"local": {"n": 3}}')() == 3

    def wrong(x: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(OptionError, match="Nowhere"):
        Tool(wrong)


def test_methods_partials_and_callable_objects_are_tools_and_others_are_refused() -> None:
    class Clock:
        def now(self, zone: str) -> str:
            return f"12:00 {zone}"

        def __call__(self, x: int) -> int:
            return x + 1

    assert Tool(Clock().now).bind('{"zone": "UTC"}')() == "12:00 UTC"
    assert Tool(Clock()).bind('{"x": 1}')() == 2
    assert Tool(functools.partial(date_range, 3)).bind('{"unit": "day"}')() == ["3 day", "now"]
    with pytest.raises(OptionError, match="not a valid name"):
        Tool(lambda x: x)
    with pytest.raises(OptionError, match=r"takes \*items"):
        Tool(lambda *items: items, name="many")

    def strict(a: int, b: int = 2, /, *, c: int = 3) -> tuple[int, int, int]:
        return a, b, c

    assert Tool(strict).bind('{"a": 1, "c": 5}')() == (1, 2, 5)
    assert Tool(lambda x: x, name="one").bind('{"x": [1]}')() == [1]


def test_tools_are_called_side_by_side_and_their_values_go_back(server: Server, llm: LLM) -> None:
    both = Barrier(2)  # which only calls that are under way together pass

    def slow(x: int) -> dict[str, Any]:
        """Slow."""
        both.wait(30)
        return {"城": x}

    async def later(x: int) -> str:
        """Later."""
        await asyncio.sleep(0)
        return f"later {x}"

    for ask in (llm.chat, lambda *a, **k: asyncio.run(llm.achat(*a, **k)), lambda *a, **k: llm.stream(*a, **k).reply):
        server.asked.clear()
        server.say(calls(("slow", '{"x": 1}'), ("later", '{"x": 2}'), ("slow", '{"x": 3}')), "done")
        reply = ask("Go", tools=[slow, later])
        assert (reply.text, reply.values) == ("done", ({"城": 1}, "later 2", {"城": 3}))
        assert reply.usage.calls == 2
        told = server.bodies[1]["messages"]
        assert [message["role"] for message in told] == ["user", "assistant", "tool", "tool", "tool"]
        assert [message["content"] for message in told[2:]] == ['{"城":1}', "later 2", '{"城":3}']
        assert "城" in server.asked[1].raw.decode()
        assert reply.messages[-1] == {"role": "assistant", "content": "done"}


def test_wrong_calls_are_errors_to_the_model_and_their_siblings_run(server: Server, llm: LLM) -> None:
    def count(n: int = 7) -> int:
        """Count."""
        return n

    wanted = [("count", ""), ("count", '{"n": 1'), ("count", "[1]"), ("count", '{"n": "x"}'), ("cuont", "{}")]
    server.say(calls(*wanted), "done")
    reply = llm.chat("Go", tools=[count])
    assert reply.values == (7,)
    said = [message["content"] for message in server.bodies[1]["messages"][2:]]
    assert said[0] == "7"
    for words, expected in zip(
        said[1:],
        ["not valid JSON", "not a JSON object", "wrong arguments: n", "no tool cuont. Did you mean count?"],
        strict=True,
    ):
        assert words.startswith("error: ")
        assert expected in words


def test_a_tool_that_raises_hangs_or_returns_no_json_is_an_error_to_the_model(server: Server, llm: LLM) -> None:
    def raises() -> None:
        """Raise."""
        raise RuntimeError("the disk is full")

    def leaves() -> None:
        """Leave."""
        raise SystemExit(3)

    def hangs() -> None:
        """Hang."""
        time.sleep(1.5)

    async def hangs_too() -> None:
        """Hang."""
        await asyncio.sleep(1.5)

    def odd() -> object:
        """Odd."""
        return object()

    tools = [raises, leaves, hangs, hangs_too, odd]
    for ask in (llm.chat, lambda *a, **k: asyncio.run(llm.achat(*a, **k))):
        server.asked.clear()
        server.say(calls(*((one.__name__, "{}") for one in tools)), "done")
        reply = ask("Go", tools=tools, tool_timeout=0.3)
        assert reply.text == "done"
        assert [message["content"] for message in server.bodies[1]["messages"][2:]] == [
            "error: RuntimeError: the disk is full",
            "error: SystemExit: 3",
            "error: TimeoutError: no result within 0.3 s",
            "error: TimeoutError: no result within 0.3 s",
            "error: the tool returned a object, which is not JSON",
        ]


def test_rounds_and_calls_have_limits_and_the_history_is_kept(server: Server, llm: LLM) -> None:
    made: list[int] = []

    def again(n: int = 0) -> str:
        """Again."""
        made.append(n)
        return "more"

    server.always = calls(("again", "{}"))
    with pytest.raises(LimitError, match="5 rounds") as caught:
        llm.chat("Go", tools=[again])
    assert len(made) == 5
    assert caught.value.reply.usage.calls == 6
    assert caught.value.reply.messages[-1]["role"] == "tool"
    assert llm.chat("Go", tools=[again], max_rounds=0).tool_calls[0].name == "again"
    made.clear()
    server.always = calls(*[("again", "{}")] * 200)
    with pytest.raises(LimitError, match="200 calls") as caught:
        llm.chat("Go", tools=[again])
    assert (made, caught.value.reply.usage.calls) == ([], 1)


def test_descriptions_in_openais_shape_are_passed_on_and_left_to_the_caller(server: Server, llm: LLM) -> None:
    described = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    server.say(calls(("f", "{}")))
    reply = llm.chat("Go", tools=[described])
    assert (reply.tool_calls[0].name, server.bodies[0]["tools"]) == ("f", [described])
    for wrong in ([date_range, date_range], ["text"]):
        with pytest.raises(OptionError):
            llm.chat("Go", tools=wrong)


def test_streamed_calls_come_in_pieces_also_without_an_index(server: Server, llm: LLM) -> None:
    from tests.client.server import delta, events

    def piece(**call: Any) -> dict[str, Any]:
        return delta(tool_calls=[call])

    chunks = [
        piece(id="a", function={"name": "date_range", "arguments": ""}),
        piece(id="a", function={"arguments": '{"count"'}),
        piece(function={"arguments": ": 1}"}),
        piece(id="b", function={"name": "date_range", "arguments": {"count": 2}}),
        delta(finish="tool_calls"),
        "[DONE]",
    ]
    server.say(events(chunks), "done")
    assert llm.stream("Go", tools=[date_range]).reply.values == (["1 day", "now"], ["2 day", "now"])


@pytest.mark.parametrize("how", ["refused", "told"])
def test_a_model_without_tool_calls_answers_with_json(server: Server, how: str) -> None:
    llm = LLM("m", server.url, tools="json" if how == "told" else "auto")
    if how == "refused":
        server.say(sends(400, {"error": {"message": "this model does not support tools"}}))
    said = {"calls": [{"name": "date_range", "arguments": {"count": 3, "unit": "月"}}], "answer": ""}
    server.say(json.dumps(said), '{"calls": [], "answer": "三个月"}')
    reply = llm.chat("最近三个月", tools=[date_range])
    assert (reply.text, reply.values) == ("三个月", (["3 月", "now"],))
    first, second = server.bodies[-2:]
    assert "tools" not in first
    assert first["response_format"]["json_schema"]["schema"]["properties"]["calls"]["items"]["anyOf"]
    assert '"date_range"' in first["messages"][0]["content"]
    assert second["messages"][-1]["content"] == 'date_range returned: ["3 月","now"]'
    server.say("plain words")
    assert llm.chat("Hi", tools=[date_range]).text == "plain words"


def test_a_typed_answer_after_tools(server: Server, llm: LLM) -> None:
    server.say(calls(("date_range", '{"count": 1}')), '{"value": "好"}')
    reply = llm.chat("Go", tools=[date_range], returns=Literal["好", "坏"])  # type: ignore[call-overload]
    assert (reply.value, reply.values) == ("好", (["1 day", "now"],))
    server.say(sends(400, {"error": {"message": "tools are not supported"}}))
    server.say(text('{"calls": [], "answer": {"value": "坏"}}'))
    assert llm.chat("Go", tools=[date_range], returns=Literal["好", "坏"]).value == "坏"  # type: ignore[call-overload]


def test_a_stream_of_a_model_without_tool_calls_shows_no_json(server: Server) -> None:
    llm = LLM("m", server.url, tools="json")
    said = {"calls": [{"name": "date_range", "arguments": {"count": 3}}], "answer": ""}
    server.say(json.dumps(said), '{"calls": [], "answer": "Three."}')
    assert "".join(map(str, llm.stream("Go", tools=[date_range]))) == "Three."
