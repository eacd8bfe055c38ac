"""Fields that ask for nothing, contents in parts, empty inputs, forms of tool calls: alike on every engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import OptionError
from sqlllm.jobs.serving.asked import asked
from sqlllm.jobs.serving.gateway import messages, single
from sqlllm.jobs.serving.protocol import RequestError, check_input, text_messages
from sqlllm.jobs.serving.worker.engines import get_engine, vllm_tools
from sqlllm.jobs.serving.worker.engines.vectors import EmbeddingRequest
from sqlllm.jobs.serving.worker.engines.vllm_arguments import tool_parsers

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    "nothing",
    [
        {"logprobs": None},
        {"logprobs": False, "top_logprobs": 0},
        {"tools": None, "tool_choice": "auto"},
        {"tools": [], "tool_choice": "none", "parallel_tool_calls": True},
        {"functions": [], "function_call": "auto"},
        {"response_format": {"type": "text"}},
        {"logit_bias": {}, "n": 1, "best_of": 1},
        {"stop": [], "suffix": "", "echo": False},
        {"stop": ""},
        {"modalities": ["text"], "audio": None, "prediction": None},
    ],
)
def test_a_field_that_asks_for_nothing_is_left_out(nothing: dict[str, Any]) -> None:
    assert asked({**CHAT, **nothing}) == CHAT
    assert single.key("chat", "f", {**CHAT, "seed": 1, **nothing}, "on") == single.key(
        "chat", "f", {**CHAT, "seed": 1}, "on"
    )


@pytest.mark.parametrize(
    "something",
    [
        {"n": 2},
        {"logprobs": True, "top_logprobs": 0},
        {"logprobs": 0},
        {"stop": ["", "x"]},
        {"temperature": 0},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_a_field_that_asks_for_something_stays(something: dict[str, Any]) -> None:
    assert asked({**CHAT, **something}) == {**CHAT, **something}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
@pytest.mark.parametrize("tools", [{}, {"tools": []}, {"tools": None}])
def test_a_tool_to_be_called_without_tools_is_refused(choice: Any, tools: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="tools is empty") as caught:
        asked({**CHAT, **tools, "tool_choice": choice})
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hello", "hello"),
        ([{"type": "text", "text": "hello"}], "hello"),
        ([{"type": "text", "text": "hello"}, {"type": "text", "text": "you"}], "hello\nyou"),
        ([{"type": "input_text", "text": "hello"}, "you"], "hello\nyou"),
        ([], ""),
        (None, None),
    ],
)
@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_parts_that_are_texts_are_the_plain_text(role: str, content: Any, text: str | None) -> None:
    (found,) = text_messages([{"role": role, "content": content}])
    assert found == {"role": role, "content": text}


@pytest.mark.parametrize(
    "part",
    [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}, {"type": "input_audio"}, {"type": "text"}, 7],
)
def test_a_part_of_another_kind_is_refused(part: Any) -> None:
    turns = [*CHAT["messages"], {"role": "user", "content": [{"type": "text", "text": "see"}, part]}]
    with pytest.raises(RequestError, match=r"messages\[1\] has a part of type"):
        text_messages(turns)
    assert text_messages(turns, only=False) == turns


@pytest.mark.parametrize("given", ["", [], [""], ["a", ""], [[1], []], ["", "b"]])
def test_an_empty_input_is_refused_by_its_place(given: Any) -> None:
    with pytest.raises(RequestError, match=r"input(\[\d\])? is empty") as caught:
        check_input(given)
    assert (caught.value.status, caught.value.param) == (400, "input")
    with pytest.raises(RequestError):
        _ = EmbeddingRequest(model="m", input=given).inputs


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])],
)
def test_inputs_are_texts_or_tokens(given: Any, inputs: list[Any]) -> None:
    assert EmbeddingRequest(model="m", input=given).inputs == inputs


def ended(choice: dict[str, Any]) -> tuple[str, str | None]:
    body = {"model": "m", "choices": [{"message": {"content": "a"}, **choice}], "usage": None}
    told = messages.message(body)
    return told["stop_reason"], told["stop_sequence"]


def test_anthropic_hears_which_stop_sequence_it_was() -> None:
    assert ended({"finish_reason": "stop", "stop_reason": "END"}) == ("stop_sequence", "END")
    assert ended({"finish_reason": "stop", "stop_reason": 151645}) == ("end_turn", None)  # a token, on vLLM
    assert ended({"finish_reason": "stop"}) == ("end_turn", None)
    assert ended({"finish_reason": "length", "stop_reason": None}) == ("max_tokens", None)


def test_a_kept_answer_keeps_its_stop_sequence() -> None:
    told = {"message": {"role": "assistant", "content": "a"}, "finish_reason": "stop", "stop_reason": "END"}
    kept = single.plain(told)
    assert json.loads(single.body(kept, "m"))["choices"][0]["stop_reason"] == "END"

    async def streamed() -> dict[str, Any] | None:
        return single.assembled([piece async for piece in single.events(kept, "m", with_usage=False)])

    import asyncio

    assert asyncio.run(streamed()) == kept


@pytest.mark.parametrize(
    ("kind", "template", "parser"),
    [
        ("qwen2", "{% if tools %}<tool_call>{{ tools }}", "hermes"),
        ("qwen3_moe", "{% if tools %}<tool_call><function=", "qwen3_coder"),
        ("llama", "{{ tools }}<|python_tag|>", "llama3_json"),
        ("llama", "{{ tools }}<tool_call>", "hermes"),  # Hermes itself
        ("mistral", "{{ tools }}[TOOL_CALLS]", "mistral"),
        ("deepseek_v3", "{{ tools }}<｜tool▁calls▁begin｜>```json", "deepseek_v3"),  # noqa: RUF001
        ("deepseek_v3", "{{ tools }}<｜tool▁calls▁begin｜>", "deepseek_v31"),  # noqa: RUF001
        ("gpt_oss", "{{ tools }}", "openai"),
        ("llama", "{{ tools }} in a form of its own", ""),
        ("qwen2", "no such thing <tool_call>", ""),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_the_parser_of_a_model_s_tool_calls(tmp_path: Path, kind: str, template: str, parser: str, named: bool) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    told: Any = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": template}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": told if named else template}))
    assert vllm_tools.parser(tmp_path) == parser
    assert not parser or parser in tool_parsers()


def test_the_parser_reaches_vllm_s_server(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ tools }}<tool_call>")
    found = {"tool_call_parser": "hermes", "enable_auto_tool_choice": True}
    assert vllm_tools.arguments(tmp_path, {"seed": 1}) == {"seed": 1, **found}
    assert vllm_tools.arguments(tmp_path, {"tool_call_parser": "xlam"}) == {**found, "tool_call_parser": "xlam"}
    assert vllm_tools.arguments(tmp_path, {"tool_call_parser": ""}) == {}
    assert vllm_tools.arguments(tmp_path, {"runner": "pooling"}) == {"runner": "pooling"}


def test_every_parser_that_is_chosen_is_one_of_vllm_s() -> None:
    chosen = {name for _, name in vllm_tools._BY_MARK} | set(vllm_tools._BY_TYPE.values())
    assert chosen <= set(tool_parsers())


def test_the_parser_can_be_named() -> None:
    parse = get_engine("vllm").parse
    assert parse({"tool_call_parser": "pythonic"}) == {"tool_call_parser": "pythonic"}
    assert parse({"tool_call_parser": "none"}) == {"tool_call_parser": ""}
    with pytest.raises(OptionError, match=r"backend\.tool_call_parser: hermess is unknown") as caught:
        parse({"tool_call_parser": "hermess"})
    assert "hermes" in caught.value.cure
