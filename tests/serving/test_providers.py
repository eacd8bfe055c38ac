"""Providers with protocols of their own: AWS Bedrock, Azure's and Volcengine's speech; over real HTTP, without Ray."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
from base64 import b64encode
from typing import Any

import httpx
import pytest
from botocore.credentials import Credentials

from sqlllm.errors import OptionError
from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.worker.engines.remote.bedrock import SigV4

from . import provider as fake
from .provider import KEY, Provider, ask, call, fails, frame, garbage, hangs_up, loaded, signature

ID = "AKIDEXAMPLE"
MODEL = "us.anthropic.claude-3:0"
PATH = "/model/us.anthropic.claude-3%3A0/converse"
KEYS = {"aws_access_key": ID, "aws_secret_key": KEY, "aws_session_token": f"{KEY}-token", "region_name": "eu-west-1"}


def bedrock(provider: Provider, **options: str) -> ModelSpec:
    given = {"provider": "aws_bedrock", "base_url": provider.url, "model": MODEL, "max_retries": "1", **KEYS, **options}
    return ModelSpec(name="m", engine="remote", model_path="", engine_options=given)


def speech(provider: Provider, kind: str, **options: str) -> ModelSpec:
    given = {"provider": kind, "base_url": provider.url, "api_key": KEY, "max_retries": "1", **options}
    return ModelSpec(name="m", engine="remote", model_path="", engine_options=given)


def sent(model: ModelSpec, route: str, **request: Any) -> tuple[bytes, str]:
    """What a route that is not JSON answers."""

    async def run() -> Any:
        async with loaded(model) as one:
            return await getattr(one, route)({"model": "m", **request})

    answer = asyncio.run(run())
    return answer.content, answer.media_type


# Of AWS's own test suite for signatures, version 4: request, signed headers and signature.
VECTORS = [
    ("GET", "/", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("POST", "/", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ("POST", "/", {"content-type": "application/x-www-form-urlencoded"}, b"Param1=value1",
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
    ("GET", "/?Param1=value1&Param2=value2", {}, b"",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "headers", "body", "wanted"), VECTORS)
def test_aws_s_own_signatures(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, headers: dict[str, str], body: bytes, wanted: str
) -> None:
    when = datetime.datetime(2015, 8, 30, 12, 36, tzinfo=datetime.UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: when)
    keys = Credentials(ID, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    request = httpx.Request(method, f"https://example.amazonaws.com{path}", headers=headers, content=body)

    async def sign() -> None:
        async for _ in SigV4(keys, "us-east-1", "service").async_auth_flow(request):
            return

    asyncio.run(sign())
    assert request.headers["authorization"].endswith(f"Signature={wanted}")
    assert request.headers["x-amz-date"] == "20150830T123600Z"


SAID = {
    "output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}},
    "stopReason": "max_tokens",
    "usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4, "cacheReadInputTokens": 2},
    "metrics": {"latencyMs": 1},
}
CALLS = {
    "output": {"message": {"role": "assistant", "content": [
        {"reasoningContent": {"reasoningText": {"text": "hm"}}},
        {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Bonn"}}},
    ]}},
    "stopReason": "tool_use",
    "usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4},
}  # fmt: skip
PIECES = [
    frame("messageStart", {"role": "assistant"}),
    frame("contentBlockDelta", {"delta": {"text": "hi "}, "contentBlockIndex": 0}),
    frame("contentBlockStop", {"contentBlockIndex": 0}),
    frame("contentBlockStart", {"start": {"toolUse": {"toolUseId": "c1", "name": "weather"}}, "contentBlockIndex": 1}),
    frame("contentBlockDelta", {"delta": {"toolUse": {"input": '{"city":'}}, "contentBlockIndex": 1}),
    frame("contentBlockDelta", {"delta": {"toolUse": {"input": ' "Bonn"}'}}, "contentBlockIndex": 1}),
    frame("messageStop", {"stopReason": "tool_use"}),
    frame("metadata", {"usage": CALLS["usage"], "metrics": {"latencyMs": 1}}),
]
STREAM = b"".join(PIECES)


def test_bedrock_is_asked_in_its_own_protocol_with_a_signature(provider: Provider) -> None:
    busy = fails(429, {"message": "Too many requests"}, x_amzn_errortype="ThrottlingException:http://x")
    provider.say(busy, fails(200, SAID))
    answer = call(bedrock(provider), "chat", ask("hello", temperature=0, max_tokens=9, stop="x", top_k=3))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "hi"}
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    for asked in provider.asked:
        assert asked.path == PATH
        assert f"Credential={ID}/" in asked.headers["authorization"]
        assert "/eu-west-1/bedrock/aws4_request" in asked.headers["authorization"]
        assert asked.headers["x-amz-security-token"] == KEYS["aws_session_token"]
        assert asked.headers["authorization"].endswith(signature(asked, "POST", KEY))
    assert provider.asked[-1].body == {
        "messages": [{"role": "user", "content": [{"text": "hello"}]}],
        "inferenceConfig": {"temperature": 0, "maxTokens": 9, "stopSequences": ["x"]},
        "additionalModelRequestFields": {"top_k": 3},
    }


def test_a_conversation_that_is_not_as_openai_has_it_fails_alone(provider: Provider) -> None:
    provider.answers = fails(200, SAID)
    result = {"role": "tool", "content": "21 degrees"}  # of which call?
    called = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{city"}}
    batch = [[{"role": "user", "content": "hi"}], [result], [{"role": "assistant", "tool_calls": [called]}]]
    first, *wrong = call(bedrock(provider), "chat_batch", {**ask(), "messages": batch})["choices"]
    assert first["message"]["content"] == "hi"
    assert [choice["error"]["param"] for choice in wrong] == ["tool_call_id", None]


def test_bedrock_takes_pictures_tools_and_schemas(provider: Provider) -> None:
    call_made = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bonn"}'}}
    function = {"name": "weather", "description": "of a city", "parameters": {"type": "object"}}
    request = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [call_made]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
            {"role": "user", "content": "so?"},
        ],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "required",
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    }  # fmt: skip
    provider.say(fails(200, CALLS))
    choice = call(bedrock(provider), "chat", request)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["reasoning_content"] == "hm"
    assert choice["message"]["tool_calls"] == [call_made]
    result = {"toolResult": {"toolUseId": "c1", "content": [{"text": "rain"}]}}
    assert provider.asked[0].body == {
        "system": [{"text": "be brief"}],
        "messages": [
            {"role": "user", "content": [{"text": "see"}, {"image": {"format": "png", "source": {"bytes": "AAAA"}}}]},
            {"role": "assistant",
             "content": [{"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Bonn"}}}]},
            {"role": "user", "content": [result, {"text": "so?"}]},
        ],
        "toolConfig": {
            "tools": [{"toolSpec": {**{key: function[key] for key in ("name", "description")},
                                    "inputSchema": {"json": {"type": "object"}}}}],
            "toolChoice": {"any": {}},
        },
        "outputConfig": {"textFormat": {
            "type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type":"object"}', "name": "a"}},
        }},
    }  # fmt: skip


def test_bedrock_s_stream(provider: Provider) -> None:
    provider.say(fails(200, STREAM))
    request = ask("hello", stream=True, stream_options={"include_usage": True})
    *events, last = call(bedrock(provider), "stream", "chat", request)
    assert last == b"data: [DONE]\n\n"
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == "hi "
    calls = [piece for delta in deltas for piece in delta.get("tool_calls", ())]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("c1", "weather")
    assert json.loads("".join(piece["function"]["arguments"] for piece in calls)) == {"city": "Bonn"}
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert chunks[-1]["usage"]["total_tokens"] == 4
    assert provider.asked[0].path == PATH + "-stream"


THROTTLED = {":message-type": "exception", ":exception-type": "throttlingException"}
EXPIRED = {"message": f"the token {KEYS['aws_session_token']} of {ID} with {KEY} is expired"}
BOTH, STREAMED = ("chat", "stream"), ("stream",)


@pytest.mark.parametrize(
    ("fault", "words", "routes"),
    [
        (fails(200, STREAM[:-200]), "aws_bedrock broke its answer off", STREAMED),
        (fails(200, b"".join(PIECES[:3])), "there is no last event", STREAMED),
        (fails(200, STREAM[:50] + b"x" + STREAM[51:]), "an event is none: Checksum mismatch", STREAMED),
        (garbage, "an event is none", STREAMED),
        (garbage, "not what was asked for", ("chat",)),
        (fails(200, PIECES[0] + frame("", {"message": "slow down"}, **THROTTLED)), "bedrock: slow down", STREAMED),
        (fails(403, EXPIRED), r"the token \*\*\* of \*\*\* with \*\*\* is", BOTH),
        (fails(400, {"message": "Input is too long for requested model."}), "too long", BOTH),
        (fails(500, b""), "aws_bedrock answers 500", BOTH),
        (hangs_up, "cannot be reached", BOTH),
    ],
)
def test_a_fault_of_bedrock_is_one_clear_error(
    provider: Provider, fault: fake.Reply, words: str, routes: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.answers = fault
    for route in routes:
        arguments = ("chat", ask(stream=True)) if route == "stream" else (ask(),)
        with pytest.raises(RequestError, match=words) as caught:
            call(bedrock(provider), route, *arguments)
        assert (caught.value.code == "context_length_exceeded") == (words == "too long")
        assert KEY not in f"{caught.value.message} {caplog.text} {bedrock(provider).shown()} {bedrock(provider)!r}"


def test_what_bedrock_lacks_is_refused(provider: Provider) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "https://h/x.png"}}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    for request, words in (
        (ask(n=2), "n must be 1"),
        (ask(response_format={"type": "json_object"}), "needs a schema"),
        (ask(tools=tools, tool_choice="none"), "leave the tools out"),
        ({**ask(), "messages": [{"role": "user", "content": picture}]}, "not their addresses"),
    ):
        with pytest.raises(RequestError, match=words) as caught:
            call(bedrock(provider), "chat", request)
        assert caught.value.code == "unsupported"
    assert provider.asked == []


def test_bedrock_s_keys(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of Bedrock's own; those that AWS's tools find; and what is missing."""
    provider.answers = fails(200, SAID)
    no_keys = dict.fromkeys(KEYS, "")
    call(bedrock(provider, **no_keys, api_key=KEY), "chat", ask())
    assert provider.asked[0].headers["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    through = {"base_url": "", "proxies": provider.url, "https_verify": "false"}
    with pytest.raises(RequestError, match=r"bedrock-runtime\.eu-west-1\.amazonaws\.com/model"):
        call(bedrock(provider, **no_keys, **through, max_retries="0"), "chat", ask())  # it is not a proxy for https
    for options, missing in (
        (no_keys, "saas.aws_access_key"),  # for an address that the script names
        ({"aws_secret_key": ""}, "saas.aws_secret_key"),
        ({"region_name": ""}, "saas.region_name"),
        ({"model": ""}, "saas.model"),
    ):
        with pytest.raises(OptionError) as caught:
            call(bedrock(provider, **options), "chat", ask())
        assert caught.value.key == missing


def test_azure_speaks(provider: Provider) -> None:
    provider.say(fails(500, b"oops"), fails(200, b""), fails(200, b"RIFF"))
    azure = speech(provider, "azure", max_retries="2")
    assert sent(azure, "speech", input="1 < 2", voice="de-DE-KatjaNeural", response_format="wav", speed=1.5) == (
        b"RIFF", "audio/wav",
    )  # fmt: skip
    asked = provider.asked[-1]
    assert asked.path == "/tts/cognitiveservices/v1"
    assert (
        asked.headers.items()
        >= {
            "ocp-apim-subscription-key": KEY,
            "content-type": "application/ssml+xml",
            "x-microsoft-outputformat": "riff-24khz-16bit-mono-pcm",
        }.items()
    )
    assert asked.raw.decode() == (
        "<speak version='1.0' xmlns='http://www.w3.org/2001/10/synthesis' xml:lang=\"de-DE\">"
        "<voice name=\"de-DE-KatjaNeural\"><prosody rate='+50%'>1 &lt; 2</prosody></voice></speak>"
    )
    provider.say(fails(200, b"ID3"))
    assert sent(azure, "speech", input="<speak>as it is</speak>") == (b"ID3", "audio/mpeg")
    assert provider.asked[-1].raw == b"<speak>as it is</speak>"


def test_azure_hears(provider: Provider) -> None:
    azure, wav = speech(provider, "azure_speech"), b64encode(b"RIFF....").decode()
    heard = {"RecognitionStatus": "Success", "DisplayText": "Hello."}
    provider.say(garbage, fails(200, heard), fails(200, heard), fails(200, {"RecognitionStatus": "NoMatch"}))
    assert sent(azure, "transcriptions", file=wav, language="de-DE") == (b'{"text":"Hello."}', "application/json")
    asked = provider.asked[-1]
    assert asked.path == "/stt/speech/recognition/conversation/cognitiveservices/v1?language=de-DE"
    assert asked.headers["content-type"] == "audio/wav; codecs=audio/pcm; samplerate=16000"
    assert asked.raw == b"RIFF...."
    assert sent(azure, "transcriptions", file=wav, response_format="text") == (b"Hello.", "text/plain")
    assert sent(azure, "transcriptions", file=wav) == (b'{"text":""}', "application/json")


def test_azure_s_own_addresses() -> None:
    async def urls(**options: str) -> list[str]:
        given = {"provider": "azure", "api_key": KEY, **options}
        async with loaded(ModelSpec(name="m", engine="remote", model_path="", engine_options=given)) as model:
            return [model._url(kind, "x") for kind in ("tts", "stt")]

    assert asyncio.run(urls()) == [
        "https://eastus.tts.speech.microsoft.com/x",
        "https://eastus.stt.speech.microsoft.com/x",
    ]
    assert asyncio.run(urls(service_region="chinaeast2"))[0] == "https://chinaeast2.tts.speech.azure.cn/x"


def test_volcengine_speaks(provider: Provider) -> None:
    said = {"reqid": "x", "code": 3000, "message": "Success", "sequence": -1, "data": b64encode(b"ID3").decode()}
    provider.say(fails(200, {"code": 3005, "message": "busy"}), fails(200, said))
    model = speech(provider, "volcengine", app_id="123")
    assert sent(model, "speech", input="hello", voice="BV001_streaming", speed=2) == (b"ID3", "audio/mpeg")
    first, second = provider.asked
    assert second.headers["authorization"] == f"Bearer;{KEY}"
    assert second.body["app"]["appid"] == "123"
    assert second.body["app"]["cluster"] == "volcano_tts"
    assert second.body["audio"] == {"voice_type": "BV001_streaming", "encoding": "mp3", "speed_ratio": 2.0}
    assert second.body["request"] | {"reqid": ""} == {"reqid": "", "text": "hello", "operation": "query"}
    assert first.body["request"]["reqid"] != second.body["request"]["reqid"]
    assert KEY not in str(second.body)


SAY = {"input": "hello", "voice": "v"}
BABBLE = fails(200, {"RecognitionStatus": "BabbleTimeout"})
FULL = fails(200, {"code": 3003, "message": "full"})
NO_VOICE = fails(200, {"code": 3050, "message": f"no voice {KEY}"})


@pytest.mark.parametrize(
    ("kind", "route", "asks", "fault", "words", "tries"),
    [
        ("azure", "speech", SAY, fails(429, b"slow down"), "azure answers 429: slow down", 2),
        ("azure", "speech", SAY, fails(500, b"oops"), "azure answers 500: oops", 2),
        ("azure", "speech", SAY, fails(200, b""), "it is not a sound", 2),
        ("azure", "speech", SAY, fails(401, f"bad key {KEY}".encode()), r"azure answers 401: bad key \*\*\*", 1),
        ("azure", "speech", SAY, hangs_up, "cannot be reached", 2),
        ("azure", "speech", {**SAY, "response_format": "flac"}, None, "no response_format flac; it has mp3", 0),
        ("azure", "speech", {**SAY, "instructions": "whisper"}, None, "azure has no instructions", 0),
        ("azure", "speech", {"voice": "v"}, None, "input is missing", 0),
        ("azure", "transcriptions", {"file": "UklGRg=="}, BABBLE, "Babble", 2),
        ("azure", "transcriptions", {"file": "UklGRg=="}, garbage, "not what was asked for", 2),
        ("azure", "transcriptions", {"file": "UklGRg==", "language": "de"}, None, "the country too", 0),
        ("azure", "transcriptions", {"file": "SUQz"}, None, "hears WAV", 0),
        ("azure", "transcriptions", {"file": "UklGRg"}, None, "file is not base64", 0),
        ("azure", "speech", {**SAY, "speed": "fast"}, None, "could not convert string to float: 'fast'", 0),
        ("volcengine", "speech", SAY, FULL, "volcengine_speech: 3003 full", 2),
        ("volcengine", "speech", SAY, NO_VOICE, r"3050 no voice \*\*\*", 1),
        ("volcengine", "speech", SAY, fails(500, b"oops"), "answers 500: oops", 2),
        ("volcengine", "speech", SAY, garbage, "not what was asked for", 2),
        ("volcengine", "speech", {"input": "hello"}, None, "voice is missing", 0),
        ("volcengine", "speech", {**SAY, "speed": "fast"}, None, "could not convert string to float: 'fast'", 0),
    ],
)  # fmt: skip
def test_a_fault_of_a_voice_is_one_clear_error(
    provider: Provider,
    kind: str,
    route: str,
    asks: dict[str, Any],
    fault: fake.Reply | None,
    words: str,
    tries: int,
) -> None:
    if fault:
        provider.answers = fault
    model = speech(provider, kind, **({"app_id": "1"} if kind == "volcengine" else {}))
    with pytest.raises(RequestError, match=words) as caught:
        sent(model, route, **asks)
    assert len(provider.asked) == tries
    assert KEY not in f"{caught.value.message} {model.shown()} {model!r}"
