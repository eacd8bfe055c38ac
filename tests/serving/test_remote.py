"""Models of providers: what is sent, what comes back, and what becomes of every fault; over real HTTP, without Ray."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sqlllm.errors import OptionError
from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.worker.engines.remote.options import ignored, parse
from sqlllm.jobs.serving.worker.engines.remote.providers import PROVIDERS

from . import provider as fake
from .provider import KEY, Provider, ask, call, fails, garbage, half, hangs_up, loaded, says


def spec(provider: Provider, kind: str = "openai", **options: str) -> ModelSpec:
    address = {"base_url": f"{provider.url}/v1", "api_key": KEY, "model": "real-name", "max_retries": "2"}
    return ModelSpec(name="m", engine="remote", model_path="", engine_options={"provider": kind, **address, **options})


def test_a_request_passes_as_it_is_and_so_does_the_answer(provider: Provider) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    picture = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    request = ask(tools=tools, response_format={"type": "json_object"}, temperature=0, max_tokens=5)
    request["messages"] = [{"role": "user", "content": picture}]
    answer = call(spec(provider), "chat", request)
    (asked,) = provider.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body == {**request, "model": "real-name"}
    assert answer["model"] == "m"
    assert answer["choices"][0]["message"]["content"] == says("see<image>")
    assert answer["usage"]["prompt_tokens"] == 10


def test_a_stream_says_what_a_whole_answer_says(provider: Provider) -> None:
    request = ask("hello", stream=True, stream_options={"include_usage": True})
    *events, last = call(spec(provider), "stream", "chat", request)
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events]
    assert last == b"data: [DONE]\n\n"
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]) == says("hello")
    assert {chunk["model"] for chunk in chunks} == {"m"}
    assert chunks[-1]["usage"] == fake.usage(says("hello"))


def test_a_batch_is_answered_in_order_and_a_bad_conversation_fails_alone(provider: Provider) -> None:
    provider.say(*[fails(400, {"error": {"message": "no", "param": "messages", "code": None}})])
    batch = [[{"role": "user", "content": f"say {number}"}] for number in range(6)]
    choices = call(spec(provider), "chat_batch", {**ask(), "messages": [*batch, "nonsense"]})["choices"]
    assert [choice["index"] for choice in choices] == list(range(7))
    failed = [choice for choice in choices if "error" in choice]
    assert len(failed) == 2
    for choice in choices:
        if choice not in failed:
            assert choice["message"] == {"role": "assistant", "content": says(f"say {choice['index']}")}
            assert choice["usage"]["prompt_tokens"] == 10


def test_a_choice_says_its_tokens_and_nothing_else_that_a_provider_counts(provider: Provider) -> None:
    told = {"prompt_tokens": 3, "completion_tokens": None, "prompt_tokens_details": {"cached_tokens": 1}}
    message = {"role": "assistant", "content": "hi"}
    provider.say(fails(200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": told}))
    (choice,) = call(spec(provider), "chat_batch", {**ask(), "messages": [ask()["messages"]]})["choices"]
    assert choice["usage"] == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


@pytest.mark.parametrize(
    "fault",
    [
        fails(429, {"error": {"message": "slow down"}}, Retry_After="0.01"),
        fails(500, b"oops"),
        fails(503, {"message": "overloaded"}),
        garbage,
        half,
        hangs_up,
        fails(200, {"choices": []}),
        fails(200, {"choices": [{"message": None}]}),
    ],
)
def test_a_fault_that_passes_costs_nothing_but_time(provider: Provider, fault: fake.Reply) -> None:
    provider.say(fault, fault)
    answer = call(spec(provider), "chat", ask("hello"))
    assert answer["choices"][0]["message"]["content"] == says("hello")
    assert len(provider.asked) == 3


@pytest.mark.parametrize(
    ("fault", "status", "words", "tries"),
    [
        (fails(429, {"error": {"message": "slow down"}}), 429, "openai answers 429: slow down", 3),
        (fails(429, {"error": {"message": "later"}}, Retry_After="3600"), 429, "openai answers 429: later", 1),
        (fails(429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}), 403,
         "exceeded your current quota", 1),
        (fails(500, b"oops"), 502, "openai answers 500: oops", 3),
        (fails(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}), 403, "provided: ***", 1),
        (fails(404, {"error": {"message": "no such model"}}), 404, "no such model", 1),
        (fails(400, {"error": {"message": "maximum context length is 5", "code": None}}), 400, "context", 1),
        (garbage, 502, "not what was asked for: '<html>", 3),
        (half, 502, "cannot be reached", 3),
        (hangs_up, 502, "Server disconnected", 3),
        (fails(200, {"base_resp": {"status_code": 1004, "status_msg": "login fail"}}), 502, "login fail", 3),
        (fails(200, {"error": {"message": "it is 200"}}), 502, "it is 200", 3),
    ],
)  # fmt: skip
def test_a_fault_that_stays_is_one_clear_error(
    provider: Provider, fault: fake.Reply, status: int, words: str, tries: int
) -> None:
    provider.answers = fault
    with pytest.raises(RequestError, match=words.replace("*", r"\*")) as caught:
        call(spec(provider), "chat", ask())
    assert caught.value.status == status
    assert KEY not in caught.value.message
    assert len(provider.asked) == tries
    if "context" in words:
        assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (half, "openai broke its answer off: there is no last event"),
        (fails(200, b"data: {\n\n"), "an event is not a chunk"),
        (fails(200, b'data: {"error": {"message": "out of memory"}}\n\n'), "openai: out of memory"),
    ],
)
def test_a_broken_stream_is_one_clear_error(provider: Provider, fault: fake.Reply, words: str) -> None:
    provider.say(fault)
    with pytest.raises(RequestError, match=words):
        call(spec(provider), "stream", "chat", ask(stream=True))


def test_what_every_row_would_get_stops_the_batch(provider: Provider) -> None:
    provider.answers = fails(401, {"error": {"message": "bad key"}})
    one_by_one = spec(provider).model_copy(update={"concurrency": 1})

    async def run() -> None:
        async with loaded(one_by_one) as model:
            with pytest.raises(RequestError, match="bad key"):
                await model.chat_batch({**ask(), "messages": [ask()["messages"]] * 8})
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(run())
    assert len(provider.asked) <= 2  # the next may be on its way


@pytest.mark.parametrize("cut", range(490, 497, 3))
def test_a_key_that_a_long_error_quotes_at_its_cut_is_not_shown(provider: Provider, cut: int) -> None:
    provider.say(fails(400, {"error": {"message": "x" * cut + KEY}}), fails(200, b"x" * (cut - 300) + KEY.encode()))
    for _ in range(2):
        with pytest.raises(RequestError) as caught:
            call(spec(provider, max_retries="0"), "chat", ask())
        assert KEY[:3] not in caught.value.message
    provider.say(fails(200, b"data: " + b"x" * (cut - 300) + KEY.encode() + b"\n\n"))
    with pytest.raises(RequestError) as caught:
        call(spec(provider), "stream", "chat", ask(stream=True))
    assert KEY[:3] not in caught.value.message


def test_requests_and_tokens_a_minute(provider: Provider) -> None:
    """Sixty a second and then some: the limit holds by waiting, not by failing."""
    limited = spec(provider, requests_per_minute="1200", tokens_per_minute="60000")
    batch = [ask(f"say {number}")["messages"] for number in range(30)]

    async def run() -> tuple[list[Any], float]:
        loop = asyncio.get_running_loop()
        async with loaded(limited) as model:
            started = loop.time()
            answer = json.loads(await model.chat_batch({**ask(), "messages": batch}))
            return answer["choices"], loop.time() - started

    choices, seconds = asyncio.run(run())
    assert all("error" not in choice for choice in choices)
    assert seconds > (30 - 20 - 1) / 20  # twenty at once, the others at twenty a second


@pytest.mark.parametrize(
    ("kind", "options", "path", "headers"),
    [
        ("azure_openai", {"api_version": "2023-07-01-preview"},
         "/v1/openai/deployments/real-name/chat/completions?api-version=2023-07-01-preview", {"api-key": KEY}),
        ("openai", {"api_type": "azure"},
         "/v1/openai/deployments/real-name/chat/completions?api-version=2024-10-21", {"api-key": KEY}),
        ("minimax", {"group_id": "g"}, "/v1/text/chatcompletion_v2?GroupId=g", {"authorization": f"Bearer {KEY}"}),
        ("sparkdesk", {"api_secret": "s3cret"}, "/v1/chat/completions", {"authorization": f"Bearer {KEY}:s3cret"}),
        ("openai", {"organization": "org-1"}, "/v1/chat/completions", {"openai-organization": "org-1"}),
        ("kimi", {}, "/v1/chat/completions", {"authorization": f"Bearer {KEY}"}),
    ],
)  # fmt: skip
def test_providers_differ(
    provider: Provider, kind: str, options: dict[str, str], path: str, headers: dict[str, str]
) -> None:
    answer = call(spec(provider, kind, **options), "chat", ask("hello"))
    assert answer["choices"][0]["message"]["content"] == says("hello")
    assert provider.asked[0].path == path
    assert provider.asked[0].headers.items() >= headers.items()


def test_a_reasoning_model_takes_no_sampling(provider: Provider) -> None:
    call(spec(provider, "reasoning_openai"), "chat", ask(temperature=0, top_p=1, max_tokens=7))
    assert provider.asked[0].body == {**ask(), "model": "real-name", "max_completion_tokens": 7}


def test_max_output_tokens_where_the_request_says_nothing(provider: Provider) -> None:
    limited = spec(provider, max_output_tokens="9")
    call(limited, "chat", ask())
    call(limited, "chat", ask(max_tokens=3))
    assert [asked.body["max_tokens"] for asked in provider.asked] == [9, 3]


def test_a_proxy_is_asked_instead(provider: Provider) -> None:
    through = spec(provider, base_url="http://provider.invalid/v1", proxies=f"{{'https': '{provider.url}'}}")
    assert call(through, "chat", ask("hello"))["choices"][0]["message"]["content"] == says("hello")
    assert provider.asked[0].path == "http://provider.invalid/v1/chat/completions"


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"provider": "opnai"}, "pretrainedModelType", "Did you mean openai"),
        ({"provider": "openai"}, "saas.api_key", r"\$\{env:OPENAI_API_KEY\}"),
        ({"provider": "openai", "api_key": KEY, "time_out": "3"}, "saas.time_out", "Did you mean timeout"),
        ({"provider": "openai", "api_key": KEY, "timeout": "soon"}, "saas.timeout", "valid number"),
        ({"provider": "openai", "api_key": KEY, "group_id": "g"}, "saas.group_id", "openai has no option"),
        ({"provider": "openai", "api_key": KEY, "base_url": "ftp://x"}, "saas.base_url", "https://"),
        ({"provider": "azure_openai", "api_key": KEY}, "saas.azure_deployment", "azure_openai needs"),
        ({"provider": "pangu", "api_key": KEY, "model": "m"}, "saas.api_url", "pangu needs saas.api_url"),
        ({"provider": "openai", "api_key": KEY, "https_verify": "/no/such/file"}, "", "No such file"),
    ],
)
def test_a_wrong_option_is_named(given: dict[str, str], key: str, words: str) -> None:
    wrong = ModelSpec(name="m", engine="remote", model_path="", engine_options=given)
    with pytest.raises(OptionError, match=words) as caught:
        call(wrong, "chat", ask())
    assert caught.value.key == key
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_every_provider_takes_the_common_keys(name: str) -> None:
    given = {"provider": name, "api_key": KEY, "model": "m", "base_url": "https://h/v1/chat/completions/"}
    options = parse(given | ({"app_id": "1"} if name == "volcengine_speech" else {}))
    assert options.base_url == "https://h/v1"
    assert KEY not in repr(options)


SHARED = {"api_key": "api_key", "model": "model", "max_retries": "max_retries"}
OPENAI = SHARED | {
    "base_url": "base_url", "api_base": "base_url", "api_version": None, "api_type": "api_type", "timeout": "timeout",
    "proxies": "proxies", "local_address": "local_address", "is_reasoning": "is_reasoning",
    "max_output_tokens": "max_output_tokens", "https_verify": "https_verify",
}  # fmt: skip
# Byzer-LLM's `saas.*` keys by provider, and the option that each is here; None: without effect, and that is said.
BYZER: dict[str, dict[str, str | None]] = {
    "openai": OPENAI,
    "official_openai": OPENAI,
    "reasoning_openai": OPENAI,
    "azure_openai": SHARED | {
        "api_version": "api_version", "azure_endpoint": "base_url", "azure_deployment": "model", "api_base": "base_url",
        "deployment_id": "model", "api_type": "api_type",
    },
    "azure": {"api_key": "api_key", "service_region": "service_region"},
    "claude": {"api_key": "api_key", "model": "model", "base_url": "base_url"},
    "gemini": {"api_key": "api_key", "model": "model"},
    "qianwen": {"api_key": "api_key", "model": "model"},
    "qianwen_vl": {"api_key": "api_key", "model": "model"},
    "zhipu": {"api_key": "api_key", "model": "model"},
    "siliconflow": {"api_key": "api_key", "model": "model"},
    "baichuan": {"api_key": "api_key", "model": "model", "baichuan_api_url": "base_url"},
    "qianfan": {"api_key": "api_key", "secret_key": None, "access_token": "api_key", "model": "model"},
    "minimax": {"api_key": "api_key", "group_id": "group_id", "model": "model", "api_url": "base_url"},
    "sparkdesk": {
        "appid": None, "api_key": "api_key", "api_secret": "api_secret", "gpt_url": "base_url", "domain": "model",
        "timeout": "timeout", "debug": None,
    },
    "aws_bedrock": {
        "aws_access_key": "aws_access_key", "aws_secret_key": "aws_secret_key", "region_name": "region_name",
        "model": "model", "model_api_version": None,
    },
    "volcengine": SHARED | {"app_id": "app_id", "base_url": "base_url"},
    "pangu": {"api_url": "base_url", "model": "model"},
    "chatglm": {"api_key": "api_key", "public_key": None},
}  # fmt: skip
VALUES = {
    "base_url": "https://h/v1", "api_type": "openai", "timeout": "3.0", "max_retries": "3", "is_reasoning": "true",
    "max_output_tokens": "3", "https_verify": "true",
}  # fmt: skip


@pytest.mark.parametrize("name", BYZER)
def test_byzer_s_keys_do_what_they_say_or_say_that_they_do_nothing(name: str) -> None:
    keys = BYZER[name]
    every = {key: VALUES.get(field or "", f"the {key}") for key, field in keys.items()}
    options = parse({"provider": name, **every})
    assert set(ignored({"provider": name, **every})) == {key for key, field in keys.items() if field is None}
    named = {field for field in keys.values() if field}
    assert named <= options.model_fields_set
    for key, field in keys.items():
        if field:
            one = parse({"provider": name, **{k: v for k, v in every.items() if keys[k] != field}, key: every[key]})
            assert str(getattr(one, field)).lower() == every[key], key


def test_an_unknown_name_of_byzer_s_names_the_known_ones() -> None:
    with pytest.raises(OptionError, match="oracle/table"):
        parse({"provider": "filelogger", "log_file": "filelogger.json"})


def test_a_secret_is_kept_apart_and_looked_up_by_name() -> None:
    given = {"saas.provider": "openai", "saas.api_key": "secret:openai", "saas.proxies": "http://u:p@h:1"}
    one = ModelSpec(name="m", engine="remote", model_path="", engine_options=given)
    assert one.engine_options == {"provider": "openai"}
    known = one.with_secrets({"openai": SecretStr(KEY)})
    assert known.options["api_key"] == KEY
    assert KEY not in f"{known!r} {known.shown()} {known}"
    assert known == ModelSpec(**known.model_dump())
    with pytest.raises(OptionError, match="there is no secret openai") as caught:
        one.with_secrets({})
    assert "SQLLLM_SECRETS__OPENAI" in caught.value.cure


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 1},
}
STREAM = b"".join(
    b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n"
    for event in (
        {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3}}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    )
)


def test_claude_is_asked_in_its_own_protocol(provider: Provider) -> None:
    overloaded = fails(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    provider.say(overloaded, garbage, fails(200, MESSAGE))
    answer = call(spec(provider, "claude"), "chat", ask("hello", temperature=0))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "hi"}
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    assert len(provider.asked) == 3
    asked = provider.asked[-1]
    assert asked.path == "/v1/messages"
    assert asked.headers.items() >= {"x-api-key": KEY, "anthropic-version": "2023-06-01"}.items()
    turn = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
    assert asked.body == {
        "model": "real-name", "max_tokens": 4096, "temperature": 0, "stream": False, "messages": [turn],
    }  # fmt: skip
    provider.say(fails(200, STREAM))
    *events, last = call(spec(provider, "claude"), "stream", "chat", ask("hello", stream=True))
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events]
    assert last == b"data: [DONE]\n\n"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "hi"
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (fails(200, STREAM.rpartition(b"event: x")[0]), "claude broke its answer off: there is no last event"),
        (fails(200, b"data: {\n\n"), "an event is none"),
        (fails(200, b'data: {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}\n\n'),
         "claude: no"),
        (fails(401, {"type": "error", "error": {"message": f"invalid x-api-key {KEY}"}}), r"x-api-key \*\*\*"),
        (fails(400, {"type": "error", "error": {"message": "prompt is too long: 9 tokens > 5"}}), "too long"),
    ],
)  # fmt: skip
def test_a_fault_of_claude_is_one_clear_error(provider: Provider, fault: fake.Reply, words: str) -> None:
    provider.say(fault)
    with pytest.raises(RequestError, match=words) as caught:
        call(spec(provider, "claude", max_retries="0"), "stream", "chat", ask(stream=True))
    assert KEY not in caught.value.message
    assert (caught.value.code == "context_length_exceeded") == (words == "too long")


def test_vectors_images_and_sound_of_a_provider(provider: Provider) -> None:
    vectors = {
        "object": "list",
        "model": "x",
        "data": [{"index": 0, "embedding": [1.0]}],
        "usage": {"prompt_tokens": 2},
    }
    provider.say(fails(500, b""), garbage, fails(200, vectors))
    answer = call(spec(provider), "embeddings", {"model": "m", "input": ["a"], "encoding_format": "base64"})
    assert answer == {**vectors, "model": "m"}
    assert provider.asked[-1].path == "/v1/embeddings"
    assert provider.asked[-1].body == {"model": "real-name", "input": ["a"], "encoding_format": "base64"}
    provider.say(fails(200, {"created": 1, "data": [{"b64_json": "AA"}]}))
    assert call(spec(provider), "images", {"model": "m", "prompt": "a dog"})["data"] == [{"b64_json": "AA"}]

    async def sounds() -> tuple[Any, Any]:
        async with loaded(spec(provider)) as model:
            provider.say(fails(200, b"RIFF"), fails(500, b""), fails(200, {"text": "hi"}))
            made = await model.speech({"model": "m", "input": "hi", "response_format": "wav"})
            heard = await model.transcriptions({"model": "m", "file": "UklGRg==", "language": "en"})
            return made, heard

    made, heard = asyncio.run(sounds())
    assert (made.content, made.media_type) == (b"RIFF", "audio/wav")
    assert (json.loads(heard.content), heard.media_type) == ({"text": "hi"}, "application/json")
    assert b"RIFF" in provider.asked[-1].raw
    assert b'name="model"\r\n\r\nreal-name' in provider.asked[-1].raw


def test_a_proxy_of_the_environment_is_used_and_no_key_of_netrc(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine models.invalid login me password other\n")
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, provider.url)
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(netrc))
    given = {"provider": "openai", "base_url": "http://models.invalid/v1", "api_key": KEY, "model": "real"}
    away = ModelSpec(name="m", engine="remote", model_path="saas/openai/m", engine_options=given)
    assert call(away, "chat", ask())["choices"][0]["message"]["content"] == says("hello")
    (asked,) = provider.asked
    assert asked.path == "http://models.invalid/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"


def test_a_socks_proxy_of_the_environment_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    given = {"provider": "openai", "base_url": "http://socks.invalid/v1", "api_key": KEY, "model": "real"}
    away = ModelSpec(name="m", engine="remote", model_path="saas/openai/m", engine_options=given)
    with pytest.raises(RequestError, match=r"name it in saas\.proxies"):
        call(away, "chat", ask())
