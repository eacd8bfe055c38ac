"""Answers that are held to a form, scored, called as tools: on the engines in this process, without Ray."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.worker.engines import get_engine
from sqlllm.jobs.serving.worker.worker import Worker
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

from .conftest import LLAMA_CPP, TOOLS_TEMPLATE, Reference, make_gguf, user

pytestmark = pytest.mark.slow

Ask = Callable[..., dict[str, Any]]
PERSON = {
    "type": "object",
    "properties": {"name": {"enum": ["Ann", "Bob"]}, "age": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": PERSON}} for name in ("f", "g")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with room for tools in its context, and the same as a GGUF file beside it."""
    made = make_tiny_model(tmp_path_factory.mktemp("forms") / "tiny", context=2048)
    (made / "chat_template.jinja").write_text(TOOLS_TEMPLATE + CHAT_TEMPLATE)
    make_gguf(made)
    return made


@pytest.fixture(params=["transformers", "llama_cpp"])
def ask(request: pytest.FixtureRequest, folder: Path) -> Ask:
    """Sends one request to the model; an error is raised."""
    path, options = folder, dict[str, str]()
    if request.param == "llama_cpp":
        path, options = folder.with_suffix(".gguf"), LLAMA_CPP
    spec = ModelSpec(name="m", engine=request.param, model_path=str(path), engine_options=options)

    def send(route: str = "chat", **fields: Any) -> dict[str, Any]:
        async def answer() -> dict[str, Any]:
            engine = get_engine(spec.engine)
            model = await engine.load(spec, engine.parse(spec.options), 0)
            try:
                body = {"model": "m", "messages": user("hello"), "temperature": 0, "max_tokens": 60, **fields}
                worker = Worker(spec, model, "")
                status, told, _, _ = await worker.ask(route, orjson.dumps(body))
                if status != 200:
                    raise RequestError.from_json(status, told)
                found: dict[str, Any] = orjson.loads(told)
                return found
            finally:
                if close := getattr(model, "close", None):
                    await close()

        return asyncio.run(answer())

    send.engine = request.param  # type: ignore[attr-defined]
    return send


def message(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["choices"][0]["message"]
    return found


def test_an_object_follows_its_schema(ask: Ask) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    for more in ({}, {"temperature": 1.3, "seed": 3}):
        found = json.loads(message(ask(response_format=form, **more))["content"])
        assert found["name"] in ("Ann", "Bob")
        assert found["age"] in range(1, 10)


def test_choice_regex_and_grammar(ask: Ask) -> None:
    assert message(ask(structured_outputs={"choice": ["yes, please", "no"]}))["content"] in ("yes, please", "no")
    assert message(ask(structured_outputs={"grammar": 'root ::= "a" [0-9] "b"'}))["content"][::2] == "ab"
    if ask.engine == "llama_cpp":  # type: ignore[attr-defined]
        with pytest.raises(RequestError, match="send a grammar"):
            ask(structured_outputs={"regex": "[ab]{3}"})
    else:
        assert re.fullmatch("[ab]{3}", message(ask(structured_outputs={"regex": "[ab]{3}"}))["content"])


@pytest.mark.parametrize(
    "form",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "odd"}}}},
        {"response_format": {"type": "xml"}},
        {"structured_outputs": {"choice": []}},
        {"structured_outputs": {"jsn": {}}},
        {"structured_outputs": {"json": {}}, "response_format": {"type": "json_object"}},
    ],
)
def test_a_form_that_is_not_one_is_refused(ask: Ask, form: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        ask(**form)
    assert caught.value.status == 400


def test_an_answer_that_is_cut_is_the_part_that_was_written(ask: Ask) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": PERSON}}
    for more in ({"response_format": form}, {"tools": TOOLS, "tool_choice": "required"}):
        choice = ask(max_tokens=3, **more)["choices"][0]
        assert choice["finish_reason"] == "length"
        assert choice["message"]["content"].startswith("{")
        assert not choice["message"].get("tool_calls")


@pytest.mark.parametrize(
    ("choice", "names"), [("required", ["f", "g"]), ({"type": "function", "function": {"name": "g"}}, ["g"])]
)
def test_a_call_is_forced(ask: Ask, choice: Any, names: list[str]) -> None:
    answer = ask(tools=TOOLS, tool_choice=choice)
    (call,) = message(answer)["tool_calls"]
    assert call["function"]["name"] in names
    assert json.loads(call["function"]["arguments"])["name"] in ("Ann", "Bob")
    assert answer["choices"][0]["finish_reason"] == "tool_calls"


def test_each_token_has_its_log_probability(ask: Ask, folder: Path) -> None:
    reference = Reference(folder)
    for top in (0, 2):
        choice = ask(logprobs=True, top_logprobs=top, max_tokens=6)["choices"][0]
        found = choice["logprobs"]["content"]
        assert [token["logprob"] for token in found] == pytest.approx(reference.logprobs("hello", len(found)), abs=1e-3)
        assert [len(token["top_logprobs"]) for token in found] == [top] * len(found)
        assert (
            bytes(byte for token in found for byte in token["bytes"]).decode().startswith(choice["message"]["content"])
        )
    assert len(ask(logprobs=True, max_tokens=6)["choices"][0]["logprobs"]["content"]) == len(found)
    plain = ask("completions", prompt="hello", messages=None, logprobs=1, max_tokens=4)["choices"][0]
    assert "".join(plain["logprobs"]["tokens"]).startswith(plain["text"])
    with pytest.raises(RequestError, match="needs logprobs"):
        ask(top_logprobs=2)


def test_several_answers_differ_as_their_seeds_do(ask: Ask) -> None:
    drawn = {"temperature": 1.5, "seed": 1, "max_tokens": 12}
    answer = ask(n=3, **drawn)
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert len(set(texts)) > 1
    assert [message(ask(**{**drawn, "seed": 2}))["content"]] == texts[1:2]
    assert answer["usage"]["prompt_tokens"] == ask()["usage"]["prompt_tokens"]


def test_neighbours_in_a_batch_keep_their_own_forms(ask: Ask) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": PERSON}}
    batch = [user("hello"), user("say 1"), [{"role": "user", "content": None}], user("say 2")]
    choices = ask("chat_batch", messages=batch, response_format=form)["choices"]
    assert ["error" in choice for choice in choices] == [False, False, True, False]
    assert all(json.loads(choice["message"]["content"])["age"] for choice in choices if "error" not in choice)


def test_what_ends_an_answer_is_reported(ask: Ask, folder: Path) -> None:
    whole = Reference(folder).chat("hello", 30).text
    choice = ask(stop=["never", whole[5:8]], max_tokens=30)["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", whole[5:8])
    assert "stop_reason" not in ask(max_tokens=3)["choices"][0]
