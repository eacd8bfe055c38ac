from __future__ import annotations

import json

import pytest

from sqlllm.udfs.requests import RequestError, parse


def ask(**fields: str | None) -> str:
    return json.dumps(fields)


def params_of(**fields: str) -> dict[str, object]:
    conversation = parse(ask(instruction="hi", **fields))
    assert conversation is not None
    return dict(json.loads(conversation.params))


def test_an_instruction_is_one_user_turn() -> None:
    conversation = parse(ask(instruction="hi"))
    assert conversation is not None
    assert conversation.messages == [{"role": "user", "content": "hi"}]
    assert json.loads(conversation.params) == {"temperature": 0.0}


def test_query_wins_over_instruction() -> None:
    conversation = parse(ask(instruction="a", query="b"))
    assert conversation is not None
    assert conversation.prompt == "b"


@pytest.mark.parametrize("fields", [{"instruction": None}, {"query": None}, {"query": None, "instruction": None}])
def test_null_asks_nothing(fields: dict[str, None]) -> None:
    assert parse(json.dumps(fields)) is None


def test_system_message_comes_first_and_replaces_that_of_the_history() -> None:
    history = json.dumps([{"role": "system", "content": "old"}, {"role": "user", "content": "q"}])
    conversation = parse(ask(instruction="next", history=history, system_msg="new"))
    assert conversation is not None
    assert conversation.messages == [
        {"role": "system", "content": "new"},
        {"role": "user", "content": "q"},
        {"role": "user", "content": "next"},
    ]


def test_own_role_names_are_translated() -> None:
    history = json.dumps([{"role": "Human", "content": "q"}, {"role": "Bot", "content": "a"}])
    conversation = parse(ask(instruction="next", history=history, user_role="Human", assistant_role="Bot"))
    assert conversation is not None
    assert [message["role"] for message in conversation.messages] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("key", "text", "field", "value"),
    [
        ("temperature", "0.5", "temperature", 0.5),
        ("max_length", "12", "max_tokens", 12),
        ("generation.max_tokens", "7", "max_tokens", 7),
        ("gen.top_k", "3", "top_k", 3),
        ("stop", "END", "stop", ["END"]),
        ("stop", '["a", "b"]', "stop", ["a", "b"]),
        ("stop", "[END]", "stop", ["[END]"]),
        ("stop", "[/INST]", "stop", ["[/INST]"]),
        ("stopping_sequences", "a,b", "stop", ["a", "b"]),
        ("ignore_eos", "true", "ignore_eos", True),
        ("response_format", '{"type": "json_object"}', "response_format", {"type": "json_object"}),
        ("response_format", "wav", "response_format", "wav"),
        ("cfg_scale", "7.5", "guidance_scale", 7.5),
        ("max_tokens", "5.0", "max_tokens", 5),
        ("seed", "9007199254740993", "seed", 9007199254740993),
        ("task", "speak", "task", "speak"),
    ],
)
def test_parameters(key: str, text: str, field: str, value: object) -> None:
    assert params_of(**{key: text})[field] == value


@pytest.mark.parametrize(
    ("request_text", "kind", "message"),
    [
        ("not json", "invalid_request", "a request is JSON"),
        ("[1]", "invalid_request", "a JSON object"),
        (ask(), "invalid_request", "llm_param needs the key instruction"),
        (ask(instruction=" "), "empty_prompt", "the instruction is empty"),
        (ask(instruction="x", temprature="1"), "invalid_request", "temprature; did you mean temperature?"),
        (ask(instruction="x", temperature="hot"), "invalid_request", "temperature cannot be 'hot'"),
        (ask(instruction="x", ignore_eos="yes"), "invalid_request", "ignore_eos cannot be 'yes'"),
        (ask(instruction="x", stop='["a", "b"'), "invalid_request", 'stop cannot be \'["a", "b"\''),
        (ask(instruction="x", max_tokens="5.5"), "invalid_request", "max_tokens cannot be '5.5'"),
        (ask(instruction="x", returns="strct<a int>"), "invalid_request", "'strct<a int>' is not a type of Spark"),
        (ask(instruction="x", returns="label"), "invalid_request", "labels are a JSON array"),
        (ask(instruction="x", labels="[true]"), "invalid_request", "labels are a JSON array"),
        (ask(instruction="x", returns="int", labels='["a"]'), "invalid_request", "labels go with"),
        (ask(instruction="x", stop="[1]"), "invalid_request", "stop cannot be '[1]'"),
        (ask(instruction="x", history="oops"), "invalid_request", "history is a JSON array"),
        (ask(instruction="x", history='[{"role": "wizard", "content": ""}]'), "invalid_request", "roles user"),
        ('{"error": {"kind": "timeout", "message": "no answer"}}', "timeout", "no answer"),
        (ask(instruction="x", error="y"), "invalid_request", "does not know the key error"),
        ('{"instruction": "x", "stop": ["y"]}', "invalid_request", "stop cannot be ['y']"),
        ('{"instruction": "x", "user_role": 5, "history": "oops"}', "invalid_request", "history is a JSON array"),
    ],
)
def test_a_wrong_request_says_why(request_text: str, kind: str, message: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse(request_text)
    assert raised.value.kind == kind
    assert message in raised.value.message


def test_images_and_sounds_are_parts_before_the_text() -> None:
    png, url = "iVBORw0KGgo=", "https://example.com/a.jpg"
    conversation = parse(ask(instruction="what?", image=json.dumps([png, url]), audio="data:audio/mp3;base64,SUQzBA=="))
    assert conversation is not None
    assert conversation.messages[-1]["content"] == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "input_audio", "input_audio": {"data": "SUQzBA==", "format": "mp3"}},
        {"type": "text", "text": "what?"},
    ]
    alone = parse(ask(audio="Ukl\r\nGRg==\r\n"))
    assert alone is not None
    sound = {"data": "UklGRg==", "format": "wav"}
    assert alone.messages[-1]["content"] == [{"type": "input_audio", "input_audio": sound}]
    assert parse(ask(instruction="what?", image=None)) is None


@pytest.mark.parametrize("fields", [{"image": ""}, {"image": "[1]"}, {"audio": "[]x"}, {"task": "sing"}])
def test_what_is_not_an_image_sound_or_task_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(RequestError) as raised:
        parse(ask(instruction="what?", **fields))
    assert raised.value.message.startswith(tuple(fields))


@pytest.mark.parametrize(
    ("fields", "schema"),
    [
        ({"returns": "int"}, {"answer": {"type": "integer"}}),
        ({"returns": "name string, tags array<string> not null"},
         {"name": {"type": ["string", "null"]}, "tags": {"type": "array", "items": {"type": "string"}}}),
        ({"labels": '["a", "b"]'}, {"label": {"type": "string", "enum": ["a", "b"]}}),
        ({"returns": "labels", "labels": '{"a": "the first"}'},
         {"labels": {"type": "array", "items": {"type": "string", "enum": ["a"]}}}),
    ],
)  # fmt: skip
def test_a_model_is_held_to_the_schema_of_what_it_returns(fields: dict[str, str], schema: object) -> None:
    form = params_of(**fields)["response_format"]
    assert isinstance(form, dict)
    assert form["json_schema"]["schema"]["properties"] == schema
    loose = parse(ask(instruction="hi", **fields), constrains=False)
    assert loose is not None
    assert b"response_format" not in loose.params
    assert params_of(**fields, response_format="json")["response_format"] == "json"


def test_a_text_needs_no_schema() -> None:
    assert "response_format" not in params_of(returns="string")
    assert "response_format" not in params_of(returns="varchar(3)")
    assert parse(ask(instruction="hi", labels=None)) is None
