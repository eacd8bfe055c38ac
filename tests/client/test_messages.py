"""Conversations in all the ways they are written, and chats that remember."""

from __future__ import annotations

import asyncio
import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from sqlllm.client import LLM, Chat, Image, Message, Messages, Runnable, Template
from sqlllm.client.messages import conversation, decoded
from sqlllm.errors import OptionError, ProviderError
from tests.client.server import Server, calls, sends
from tests.client.test_media import PNG

DOG, TIGER = "https://x.org/dog.jpeg", "https://x.org/tiger.png?sig=1"
OPENAI = [
    {"type": "image_url", "image_url": {"url": DOG}},
    {"type": "image_url", "image_url": {"url": TIGER}},
    {"type": "text", "text": "What are these?"},
]
QWEN = [{"image": DOG}, {"image": TIGER}, {"text": "What are these?"}]


@pytest.mark.parametrize(
    ("written", "roles"),
    [
        (["a"], ["system"]),
        (["a", "b", "c", "d"], ["system", "user", "assistant", "user"]),
        ([("user", "a"), "b", "c"], ["user", "assistant", "user"]),
        ([("ai", "a"), "b"], ["assistant", "user"]),
        ([Template(text="a"), ("human", "b")], ["system", "user"]),
        ([{"role": "ai", "content": "a"}, Message("user", "b")], ["assistant", "user"]),
        ([[{"image": DOG}], "b"], ["user", "assistant"]),
        ("a", ["system"]),
        (("user", "a"), ["user"]),
        ([], []),
    ],
)
def test_roles_that_are_not_given_are_found(written: Any, roles: list[str]) -> None:
    assert [message["role"] for message in Messages(written).to_list()] == roles


@pytest.mark.parametrize("given", [OPENAI, QWEN])
@pytest.mark.parametrize(
    ("style", "parts"), [("openai_vl", OPENAI), ("qwen_vl", QWEN), ("text", "What are these?"), (None, OPENAI)]
)
def test_every_style_becomes_every_other(given: Any, style: Any, parts: Any) -> None:
    messages = Messages([("user", given)])
    assert messages.to_list(style=style) == [{"role": "user", "content": parts}]
    assert Messages([("user", given)], style=style).to_list() == [{"role": "user", "content": parts}]
    assert messages.raw_messages == [("user", given)]


def test_text_in_each_style_and_tool_messages_keep_their_fields() -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    messages = Messages(
        [
            {"role": "user", "content": "time?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"tool_call_id": "c1", "role": "tool", "name": "now", "content": "12:00"},
        ]
    )
    assert list(messages.to_list()[2]) == ["role", "content", "tool_call_id", "name"]
    assert messages.to_list(style="qwen_vl")[1] == {
        "role": "assistant",
        "content": [{"text": ""}],
        "tool_calls": [call],
    }
    assert messages.to_list(style="openai_vl")[2]["content"] == [{"type": "text", "text": "12:00"}]
    assert (messages.has_role("tool"), messages.has_role("system"), len(messages)) == (True, False, 3)


def test_parts_may_be_mixed_and_detail_and_unknown_parts_are_kept() -> None:
    parts = [
        "a",
        Image(PNG),
        {"image": DOG, "text": "b"},
        {"type": "image_url", "image_url": {"url": DOG, "detail": "high"}},
    ]
    found = conversation([("user", [*parts, {"type": "file", "file": {"file_id": "f"}}])])[0]["content"]
    assert [part["type"] for part in found] == ["text", "image_url", "image_url", "text", "image_url", "file"]
    assert found[4]["image_url"] == {"url": DOG, "detail": "high"}
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}
    assert Messages([("user", [sound])]).to_list()[0]["content"] == [sound]
    assert Messages([("user", [sound])]).to_list(style="qwen_vl")[0]["content"] == [
        {"audio": "data:audio/mp3;base64,AAAA"}
    ]
    with pytest.raises(OptionError, match="type file has no form"):
        Messages([("user", [{"type": "file", "file": {}}])]).to_list(style="qwen_vl")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([("boss", "a")], "'boss' is not a valid role"),
        ([("user",)], "a tuple of 1"),
        ([{"role": "user"}], "no content"),
        ([3], "a int"),
        ([("user", [{"picture": "x"}])], "the keys picture"),
    ],
)
def test_an_invalid_message_is_refused(written: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Messages(written).to_list()


def test_json_of_parts_differs_from_other_json() -> None:
    assert decoded('[{"image": "x", "text": "y"}]') == [{"image": "x", "text": "y"}]
    assert decoded('{"type": "text", "text": "y"}') == [{"type": "text", "text": "y"}]
    for plain in ("[1, 2]", '{"name": "x"}', "[not json", "text", "[]"):
        assert decoded(plain) == plain


def test_templates_by_text_by_name_and_by_file(tmp_path: Path) -> None:
    assert Template(text="You write {{ what }}.").format({"what": "{{ odes }}"}) == "You write {{ odes }}."
    assert "儿歌" in Template("IDEA").format(task="儿歌")
    (tmp_path / "OWN.md").write_text("Mine: {{x}}")
    assert Template("OWN", folder=tmp_path).format(x=1) == "Mine: 1"
    with pytest.raises(OptionError, match="no template IDEAS") as caught:
        Template("IDEAS")
    assert "IDEA" in caught.value.cure
    with pytest.raises(OptionError, match="'what' is undefined"):
        Messages([Template(text="{{ what }}")]).to_list()
    with pytest.raises(OptionError, match="a text or a name"):
        Template()


def test_a_template_sees_the_variables_of_what_it_is_bound_to() -> None:
    class Echo(Runnable):
        def call(self, asked: str) -> None:
            self._last_input = asked

    template, echo = Template(text="About {{ last_input }}."), Echo()
    echo.bind_consumers(template)
    echo.bind_consumers(template)
    echo("cats")
    assert template.consumer_dict == echo.provider_dict == {"last_input": "cats"}
    assert Messages([template, "go"]).to_list()[0]["content"] == "About cats."
    assert template.format({"last_input": "dogs"}) == "About dogs."


# Chats


def test_a_chat_remembers_shows_and_begins_anew(server: Server, llm: LLM, capsys: pytest.CaptureFixture[str]) -> None:
    chat = Chat(llm, memory="Be kind.")
    server.say("Hello", "Fine", "New", "Other")
    assert chat("Hi") == "Hello"
    assert chat("How?", verbose=True) == "Fine"
    assert [message["content"] for message in server.bodies[1]["messages"]] == ["Be kind.", "Hi", "Hello", "How?"]
    assert [message["role"] for message in chat.memory] == ["system", "user", "assistant", "user", "assistant"]
    shown = capsys.readouterr().out
    assert shown.startswith("Hello\nFine\n\n  0s [USAGE] ")
    assert '{"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}' in shown
    chat("Again", new_chat=True)
    assert [message["content"] for message in chat.memory] == ["Be kind.", "Again", "New"]
    chat(["You are a cat.", "Who?"])
    assert [message["content"] for message in chat.memory] == ["You are a cat.", "Who?", "Other"]
    assert chat.provider_dict == {"last_input": ["You are a cat.", "Who?"], "last_output": "Other"}


def test_tools_of_a_chat_are_shown_and_remembered(server: Server, llm: LLM, capsys: pytest.CaptureFixture[str]) -> None:
    def weather(city: str) -> str:
        """The weather."""
        return f"{city}: sun."

    chat = Chat(llm, tools=[weather])
    server.say(calls(("weather", '{"city": "Rome"}')), "Sunny.", "Rome.")
    assert chat([{"role": "user", "content": "Weather?"}], new_chat=True) == "Sunny."
    assert capsys.readouterr().out == "Rome: sun.\n\nSunny.\n"
    assert [message["role"] for message in chat.memory] == ["user", "assistant", "tool", "assistant"]
    assert chat("Where?") == "Rome."


def test_a_failed_call_leaves_the_memory_and_copies_are_their_own(server: Server, llm: LLM) -> None:
    chat = Chat(llm, show=False)
    chat("one")
    server.say(sends(400, {"error": {"message": "no"}}))
    with pytest.raises(ProviderError):
        chat("two")
    assert len(chat.memory) == 2
    other = copy.deepcopy(chat)
    other("three")
    assert (len(chat.memory), len(other.memory)) == (2, 4)
    assert pickle.loads(pickle.dumps(chat)).memory == chat.memory
    assert asyncio.run(chat.acall("four")) == "ok"
    chat.clear()
    assert chat.memory == []


def test_a_chat_sends_images_and_its_style(server: Server, llm: LLM) -> None:
    chat = Chat(llm, Template(text="You are {{ who }}."), style="qwen_vl", show=False)
    chat(("user", [{"type": "image_url", "image_url": {"url": DOG}}, "what?"]), input_vars={"who": "a vet"})
    assert server.bodies[0]["messages"] == [
        {"role": "system", "content": [{"text": "You are a vet."}]},
        {"role": "user", "content": [{"image": DOG}, {"text": "what?"}]},
    ]
    Chat(llm, show=False)("what?", images=[PNG])
    assert [part["type"] for part in server.asked[1].last] == ["image_url", "text"]
