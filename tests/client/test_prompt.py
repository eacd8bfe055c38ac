"""Prompt functions: templates, bodies, methods, types, streams, long answers; each call with a state of its own."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import cloudpickle
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sqlllm
from sqlllm.client import LLM, Image, MetaHolder, Prompt, Reply, prompt
from sqlllm.client.long import joined, overlap
from sqlllm.errors import AnswerError, LimitError, OptionError
from tests.client.server import Server, sends, serve, text
from tests.client.test_media import PNG


@prompt()
def story(topic: str, words: int = 10) -> str:
    """
    Tell about {{ topic }} in {{ words }} words.
    """


class Answer(pydantic.BaseModel):
    title: str


class Teller:
    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    @prompt(lambda self: self.llm)
    def tell(self, tasks: list[dict[str, str]]) -> str:
        """
        Due:
        {% for task in tasks %}
        - {{ task.name }}
        {% endfor %}
        {{ count }}
        """
        return {"count": len(tasks)}  # type: ignore[return-value]

    @prompt(render="simple")
    def simple(self, q: str) -> str:
        """Answer {q}, not {other} or {"k": 1}."""


def test_the_docstring_is_the_template_and_the_call_asks(server: Server, llm: LLM) -> None:
    assert story.prompt("cats") == "Tell about cats in 10 words."
    assert story.with_llm(llm).run(topic="cats") == "ok"
    assert story.with_llm(llm)("dogs", 5) == "ok"
    assert [body["messages"][-1]["content"] for body in server.bodies] == [
        "Tell about cats in 10 words.",
        "Tell about dogs in 5 words.",
    ]
    assert (story.__name__, story.__doc__ is not None, repr(story)) == ("story", True, "<prompt story>")


def test_methods_bodies_and_both_renderers(server: Server, llm: LLM) -> None:
    teller = Teller(llm)
    assert teller.tell.prompt([{"name": "a"}, {"name": "b"}]) == "Due:\n\n- a\n\n- b\n\n2"
    assert teller.tell([{"name": "a"}]) == "ok"
    assert teller.simple.prompt("{other} {{ x }}") == 'Answer {other} {{ x }}, not {other} or {"k": 1}.'
    with pytest.raises(TypeError, match="missing a required argument"):
        teller.tell()


def test_a_prompt_without_a_model_is_an_error_and_bad_bodies_are_refused(llm: LLM) -> None:
    with pytest.raises(OptionError, match="the prompt story has no model"):
        story("cats")

    @prompt(llm)
    def wrong() -> str:
        """Hi."""
        return "text"

    with pytest.raises(OptionError, match=r"body of the prompt .*wrong returned a str"):
        wrong()
    with pytest.raises(OptionError, match="has no docstring"):

        @prompt()
        def bare() -> str: ...


def test_values_are_inserted_once_as_they_are_and_indentation_is_the_templates() -> None:
    @prompt()
    def ask(q: str, code: str = "") -> str:
        """
        Keep {"k": 1}:
            {{ q }}
        {{ code }}
        """

    code = "def f():\n\tif x:\n        return {{ y }}"
    assert ask.prompt("a {{ b }} {% if %}", code) == f'Keep {{"k": 1}}:\n    a {{{{ b }}}} {{% if %}}\n{code}'


def test_mistakes_in_a_template_name_the_function_and_the_line() -> None:
    @prompt()
    def broken(q: str) -> str:
        """First.

        {% if q %}
        {{ q
        """

    with pytest.raises(OptionError, match=r"broken, line [345]: .*\{\{ q"):
        broken.prompt("x")

    @prompt()
    def unknown(q: str) -> str:
        """{{ qq }}"""

    with pytest.raises(OptionError, match=r"'qq' is undefined") as caught:
        unknown.prompt("x")
    assert "q" in caught.value.cure


def test_types_extractors_and_replies(server: Server, llm: LLM) -> None:
    @prompt(llm)
    def titled() -> Answer:
        """A story."""

    @prompt(llm)
    def whole() -> Reply[str]:
        """A story."""

    server.say('{"title": "t"}', "<REGEX>a+</REGEX>", '{"title": "u"}', "text")
    assert titled().title == "t"
    assert titled.with_extractor(lambda said: re.search("<REGEX>(.*)</REGEX>", said)[1]).run() == "a+"  # type: ignore[index]
    assert story.with_llm(llm).with_return_type(Answer).run("x") == Answer(title="u")
    assert whole().usage.prompt_tokens == 10
    assert "response_format" not in server.bodies[1]


def test_conversation_options_stop_meta_and_tools(server: Server, llm: LLM) -> None:
    holder = MetaHolder()
    assert holder.get_meta() == {}
    server.say(text("done", reasoning_content="hm"))
    run = story.with_llm(llm).with_conversation([("user", "a"), ("ai", "b")]).options({"seed": 1}, top_p=0.5)
    assert run.with_stop("</END>").with_meta(holder).run("cats") == "done"
    body = server.bodies[0]
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert (body["seed"], body["top_p"], body["stop"]) == (1, 0.5, ["</END>"])
    meta = holder.get_meta()
    assert meta["first_token_time"] > 0
    assert {**meta, "first_token_time": 0} == {
        "input_tokens_count": 10,
        "generated_tokens_count": 5,
        "reasoning_content": "hm",
        "finish_reason": "stop",
        "first_token_time": 0,
    }
    assert holder.get_meta_model().finish_reason == "stop"


def test_generators_stream_and_coroutines_run_in_the_loop(server: Server, llm: LLM) -> None:
    @prompt(llm)
    def told() -> Generator[str, None, None]:
        """Tell."""

    @prompt(llm)
    def iterated() -> Iterator[str]:
        """Tell."""

    @prompt(llm)
    def later() -> AsyncIterator[str]:
        """Tell."""

    @prompt(llm)
    async def awaited(q: str) -> Answer:
        """Tell {{ q }} {{ more }}."""
        await asyncio.sleep(0)
        return {"more": "now"}  # type: ignore[return-value]

    holder = MetaHolder()
    server.say("abc", "abc", "abc", '{"title": "t"}')
    assert list(told.with_meta(holder).run()) == ["a", "b", "c"]
    assert holder.get_meta()["generated_tokens_count"] == 5
    assert "".join(iterated()) == "abc"

    async def run() -> Any:
        return [piece async for piece in later()], await awaited("x")

    assert asyncio.run(run()) == (["a", "b", "c"], Answer(title="t"))
    assert server.asked[-1].last == "Tell x now."


def test_images_stand_where_the_template_has_them(server: Server, llm: LLM, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)

    @prompt(llm)
    def look(image: Image, others: list[Image] | None = None) -> str:
        """
        {{ image }}
        What is it?
        {% for one in others or [] %}{{ one }}{% endfor %}
        """

    assert look(str(path), [Image(PNG)]) == "ok"  # type: ignore[arg-type]
    parts = server.asked[0].last
    assert [part["type"] for part in parts] == ["image_url", "text", "image_url"]
    assert parts[1]["text"] == "What is it?"
    assert look.prompt(path) == f"Image(<image/png, {len(PNG)} bytes>)\nWhat is it?"
    with pytest.raises(OptionError, match="cannot be read"):
        look("nowhere.png")  # type: ignore[arg-type]


def test_threads_that_share_a_prompt_share_no_settings() -> None:
    with serve() as one, serve() as two:
        one.always, two.always = text("one"), text("two")
        said: dict[str, set[str]] = {"one": set(), "two": set()}

        def ask(server: Server, name: str) -> None:
            for _ in range(20):
                said[name].add(story.with_llm(LLM(name, server.url)).options(stop=[name]).run(name))

        threads = [Thread(target=ask, args=args) for args in ((one, "one"), (two, "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert said == {"one": {"one"}, "two": {"two"}}
        for server, name in ((one, "one"), (two, "two")):
            assert all((body["model"], body["stop"]) == (name, [name]) for body in server.bodies)
    assert story._llm is None


def test_prompts_travel_in_pickles(server: Server, llm: LLM) -> None:
    assert pickle.loads(pickle.dumps(story)) is story
    bound = pickle.loads(pickle.dumps(story.with_llm(LLM("m", server.url)).options(seed=3)))
    assert isinstance(bound, Prompt)
    assert (bound.run("cats"), server.bodies[0]["seed"]) == ("ok", 3)

    @prompt(LLM("m", server.url))
    def local(x: str) -> str:
        """Say {{ x }}."""

    assert cloudpickle.loads(cloudpickle.dumps(local))("y") == "ok"
    assert cloudpickle.loads(cloudpickle.dumps(Teller(LLM("m", server.url)).tell))([]) == "ok"


@pytest.mark.parametrize("postponed", ["", "from __future__ import annotations\n"])
def test_a_prompt_needs_no_source_text(server: Server, postponed: str) -> None:
    code = (
        f"{postponed}import sys, sqlllm, pydantic, cloudpickle\n"
        "class T(pydantic.BaseModel):\n    title: str\n"
        "@sqlllm.prompt(sqlllm.LLM('m', sys.argv[1]))\n"
        "def tell(x: str) -> T:\n    '''Tell {{ x }} {{ y }}.'''\n    return {'y': 2}\n"
        "assert cloudpickle.loads(cloudpickle.dumps(tell))('a').title == 't'\n"
        "print(tell.prompt('a'))"
    )
    server.always = text('{"title": "t"}')
    shown = subprocess.run([sys.executable, "-c", code, server.url], capture_output=True, text=True)
    assert (shown.stdout, shown.stderr) == ("Tell a 2.\n", "")


# Long answers

LONG = "SELECT id,\n    name\n    FROM orders\n    WHERE id = 1\n    AND id = 1\n你好你好你好 and the end."


def cutting(server: Server, full: str, sizes: list[int], *, prefill: bool) -> None:
    """A model that gives a few characters of `full` at a time, and goes on after what it is asked to go on after."""
    left = iter(sizes)

    def reply(handler: Any, asked: Any) -> None:
        messages = asked.body["messages"]
        said = "".join(message["content"] for message in messages if message["role"] == "assistant")
        repeated = 0
        if messages[-1]["role"] == "assistant" and not prefill:
            return sends(400, {"error": {"message": "the last message must be the user's"}})(handler, asked)
        if messages[-1]["role"] == "user" and len(messages) > 1:
            anchor = re.search("«(.*)»$", messages[-1]["content"], re.S)[1]  # type: ignore[index]
            said, repeated = messages[-2]["content"], len(anchor)
        size = next(left, len(full))
        begin = len(said) - repeated
        cut = full[begin : len(said) + size]
        text(cut, "length" if len(said) + size < len(full) else "stop")(handler, asked)
        return None

    server.always = reply


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), max_size=12), st.sampled_from(["prefill", "refused", "markers"]))
def test_a_long_answer_is_whole_wherever_it_is_cut(sizes: list[int], how: str) -> None:
    from sqlllm.client.asking import _lacking

    _lacking.clear()
    with serve() as server:
        run = story.with_llm(LLM("m", server.url))
        if how == "markers":
            cutting(server, f"<RESPONSE>\n{LONG}\n</RESPONSE>", sizes, prefill=False)
            assert run.with_response_markers().run("x") == LONG
        else:
            cutting(server, LONG, sizes, prefill=how == "prefill")
            assert run.with_prefix_continuation().run("x") == LONG


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [
        ("SELECT a FROM ord", "FROM orders WHERE", "SELECT a FROM orders WHERE"),
        ("so haha", "haha!", "so hahahaha!"),  # chance, or so it may be
        ("x = 1\n    ", "    y = 2", "x = 1\n        y = 2"),
        ("the ca", "at sat", "the caat sat"),
        ("", "all", "all"),
        ("done", "", "done"),
    ],
)
def test_only_what_is_repeated_for_sure_is_removed(before: str, after: str, whole: str) -> None:
    assert joined(before, after) == whole
    assert overlap(before, before) in (0, len(before))


def test_a_long_answer_has_a_limit_of_rounds_and_one_sum(server: Server, llm: LLM) -> None:
    server.always = text("more ", "length")
    with pytest.raises(LimitError, match="no end after 3 rounds") as caught:
        story.with_llm(llm).with_prefix_continuation(max_rounds=3).run("x")
    assert (caught.value.reply.text, caught.value.reply.usage.calls) == ("more more more ", 3)
    sent = server.bodies[1]
    assert sent["messages"][-1] == {"role": "assistant", "content": "more "}
    assert (sent["continue_final_message"], sent["add_generation_prompt"]) == (True, False)


def test_a_typed_answer_may_be_long(server: Server, llm: LLM) -> None:
    cutting(server, json.dumps({"title": "t" * 40}), [9, 9, 9], prefill=True)
    run = story.with_llm(llm).with_return_type(Answer)
    assert run.with_prefix_continuation().run("x").title == "t" * 40
    cutting(server, json.dumps({"title": "t" * 40}), [9], prefill=True)
    with pytest.raises(AnswerError) as caught:
        run.run("x")
    assert caught.value.kind == "truncated"


def test_the_package_shows_it() -> None:
    assert sqlllm.prompt is prompt
