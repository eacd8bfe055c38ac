"""Models in the session's own process: a provider's and an oracle's table, behind the same gateway, without Ray."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from sqlllm import gateways, wire
from sqlllm.errors import ModelError, SetupError
from sqlllm.jobs.serving import Autoscale, ModelSpec, Serving
from sqlllm.jobs.serving.deploy import ports
from sqlllm.jobs.serving.deploy.house import takes
from sqlllm.jobs.serving.gateway import usage
from sqlllm.jobs.serving.gateway.models import Model, Models
from sqlllm.settings import Settings

from . import provider as fake
from .provider import KEY, Provider, ask, fails, says
from .test_bad_answers import chosen, only


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    with_home = Settings(home=tmp_path)
    started = Serving(with_home)
    yield started
    started.close()


def remote(provider: Provider, name: str = "m", **options: str) -> ModelSpec:
    given = {"provider": "openai", "base_url": provider.url, "api_key": KEY, "model": "real", **options}
    return ModelSpec(name=name, engine="remote", model_path="saas/openai/real", engine_options=given)


def oracle(folder: Path, name: str = "o", **answers: str) -> ModelSpec:
    file = folder / f"{name}.json"
    file.write_text("\n".join(json.dumps({"prompt": key, "answer": value}) for key, value in answers.items()))
    return ModelSpec(name=name, engine="oracle", model_path=str(file))


def post(serving: Serving, path: str = "/v1/chat/completions", **fields: Any) -> httpx.Response:
    headers = fields.pop("headers", {})
    with serving.client(timeout=30) as http:
        return http.post(path, json={**ask(), "temperature": 0, **fields}, headers=headers)


def text(reply: httpx.Response) -> str:
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"])


def streamed(serving: Serving, **fields: Any) -> tuple[str, str]:
    """The text of a stream, and what its header says of where it comes from."""
    found = []
    body = {**ask(), "temperature": 0, "stream": True, **fields}
    with serving.client(timeout=30) as http, http.stream("POST", "/v1/chat/completions", json=body) as reply:
        assert reply.status_code == 200, reply.read()
        for line in reply.iter_lines():
            if line.startswith("data: {"):
                found += [one["delta"].get("content") or "" for one in json.loads(line[6:])["choices"]]
        return "".join(found), reply.headers.get(wire.CACHE_HEADER, "")


def wait_for(serving: Serving, requests: int) -> None:
    """Wait until that number of requests is under way at the gateway."""
    with serving.client() as http:
        while f'requests_running{{model="m",route="chat"}} {requests}.0' not in http.get("/metrics").text:
            time.sleep(0.05)


def test_a_provider_and_an_oracle_need_no_ray_and_no_torch(tmp_path: Path) -> None:
    script = f"""
import json, sys, time
from pathlib import Path
from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.settings import Settings
file = Path({str(tmp_path)!r}, "a.csv")
file.write_text("prompt,answer\\nhello,hi\\n")
serving = Serving(Settings(home={str(tmp_path)!r}))
serving.deploy(ModelSpec(name="o", engine="oracle", model_path=str(file)))
given = dict(provider="openai", base_url="http://127.0.0.1:9", api_key="sk-12345678", model="real")
serving.deploy(ModelSpec(name="m", engine="remote", model_path="saas/openai/m", engine_options=given))
with serving.client() as http:
    body = dict(model="o", messages=[dict(role="user", content="hello")])
    print(http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"])
print([row.name for row in serving.models()])
serving.close()
print([name for name in ("ray", "torch", "transformers", "fastapi") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["hi", "['m', 'o']", "[]"], done.stderr


@pytest.mark.parametrize(
    ("fields", "here"),
    [
        ({"engine": "remote", "model_path": ""}, True),
        ({"engine": "oracle", "model_path": "a.csv"}, True),
        ({"engine": "oracle", "model_path": "", "engine_options": {"function": "m:f"}}, False),
        ({"engine": "oracle", "model_path": "a.csv", "replicas": 2}, False),
        ({"engine": "oracle", "model_path": "a.csv", "autoscale": Autoscale()}, False),
        ({"engine": "oracle", "model_path": "a.csv", "resources": {"here": 1}}, False),
        ({"engine": "transformers", "model_path": "/m"}, False),
    ],
)
def test_what_needs_workers_of_its_own_is_left_to_ray(fields: dict[str, Any], here: bool) -> None:
    assert takes(ModelSpec(name="m", **fields)) is here


def test_life_of_a_model(serving: Serving, tmp_path: Path) -> None:
    first = oracle(tmp_path, hello="hi")
    row = serving.deploy(first)
    assert (row.state, row.replicas, row.endpoint) == ("RUNNING", 1, serving.endpoint)
    assert gateways.find() == gateways.Found(serving.endpoint)
    assert text(post(serving, model="o")) == "hi"
    assert serving.deploy(first).seconds == 0
    assert serving.find("o").name == "o"
    with pytest.raises(ModelError, match="there is no model x"):
        serving.find("x")
    oracle(tmp_path, hello="hello to you")  # the same statement, another table
    serving.deploy(first)
    assert text(post(serving, model="o")) == "hello to you"
    assert serving.counts("o")["calls"] == 1
    assert serving.workers("o")[0].requests == 1
    assert serving.count_tokens("o", [ask()["messages"]])[0] > 0
    with pytest.raises(ModelError, match=r"nowhere\.csv does not exist"):
        serving.deploy(first.model_copy(update={"model_path": str(tmp_path / "nowhere.csv")}))
    assert text(post(serving, model="o")) == "hello to you"
    serving.undeploy("o")
    assert serving.models() == []
    assert post(serving, model="o").status_code == 404


def test_a_port_that_is_taken_is_one_clear_error(serving: Serving, tmp_path: Path) -> None:
    serving.deploy(oracle(tmp_path, hello="hi"))
    port = int(serving.endpoint.rpartition(":")[2])
    other = Serving(Settings(home=tmp_path, serving={"port": port}))
    with pytest.raises(SetupError, match=f"port {port} of 127.0.0.1 is in use"):
        other.deploy(oracle(tmp_path, hello="hi"))


def test_a_gateway_that_does_not_start_is_one_clear_error(tmp_path: Path) -> None:
    table = oracle(tmp_path, hello="hi")
    (tmp_path / "serving").write_text("a file")
    with pytest.raises(SetupError, match=r"the gateway does not start.*serving"):
        Serving(Settings(home=tmp_path)).deploy(table)


def test_the_log_of_the_process_stays_open(serving: Serving, tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log", mode="w")
    try:
        serving.deploy(oracle(tmp_path, hello="hi"))
        handler.emit(logging.makeLogRecord({"msg": "written"}))
    finally:
        handler.close()
    assert (tmp_path / "log").read_text() == "written\n"


def test_an_engine_that_breaks_is_named(serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> bytes:
        raise KeyError("odd")

    serving.deploy(oracle(tmp_path, hello="hi"))
    for route in ("chat", "chat_batch"):
        monkeypatch.setattr(f"sqlllm.jobs.serving.worker.engines.oracle.OracleModel.{route}", broken)
    for path, messages in (("/v1/chat/completions", ask()["messages"]), (wire.BATCH, [ask()["messages"]])):
        reply = post(serving, path, model="o", messages=messages)
        assert (reply.status_code, reply.json()["error"]["message"]) == (500, "model o failed: KeyError('odd')")


def test_a_closed_session_has_written_its_usage_and_left_no_threads(serving: Serving, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    serving.deploy(oracle(tmp_path, hello="hi"))
    assert text(post(serving, model="o")) == "hi"
    serving.close()
    assert [one["calls"] for one in usage.read(tmp_path / "serving")] == [1]
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not any(name.startswith(("sqlllm-gateway", "usage", "answers")) for name in left), left


def test_models_on_ray_are_behind_the_gateway_that_is_there(serving: Serving, tmp_path: Path) -> None:
    class OnServe(Models):
        """One model, on a Ray that is not there."""

        async def deployed(self, before: dict[str, Model]) -> dict[str, Model]:
            return {"heavy": before.get("heavy") or Model("heavy", house._tenants.known["o"].queue, 0, workers=1)}

        def spec(self, name: str) -> ModelSpec | None:
            return None

    serving.deploy(oracle(tmp_path, hello="hi"))
    house = serving._house
    assert house is not None
    house._tenants.on_serve = OnServe()
    with serving.client() as http:
        assert [card["id"] for card in http.get("/v1/models").json()["data"]] == ["heavy", "o"]
    limited = {wire.QUERY_HEADER: json.dumps({"id": "s-1", "max_calls": 3, "store": "off"})}
    answers = [post(serving, model=model, headers=limited).status_code for model in ("o", "heavy", "o", "heavy")]
    assert answers == [200, 200, 200, 403]  # one count for both
    serving.deploy(oracle(tmp_path, name="p", hello="ho"))
    assert serving.endpoint == house.url


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with ports.listening("127.0.0.1", 0) as listens, socket.create_connection(listens.getsockname()):
        accepted, _ = listens.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_rollback_brings_back_the_revision_before(serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    old, new = oracle(tmp_path, hello="old"), oracle(tmp_path / "new", hello="new")
    first = serving.deploy(old).revision
    assert serving.deploy(old).revision == first
    with pytest.raises(ModelError, match="model o has no revision before this one"):
        serving.rollback("o")
    second = serving.deploy(new).revision
    assert first != second
    assert text(post(serving, model="o")) == "new"
    assert serving.rollback("o").revision == first
    again = post(serving, model="o")
    assert text(again) == "old"
    assert serving.rollback("o").revision == second == serving.find("o").revision
    assert text(post(serving, model="o")) == "new"
    assert post(serving, model="o").headers[wire.CACHE_HEADER] == "cached"  # what is kept is kept by revision


def test_a_rollback_to_files_that_are_gone_changes_nothing(serving: Serving, tmp_path: Path) -> None:
    serving.deploy(oracle(tmp_path, hello="old"))
    serving.deploy(oracle(tmp_path, hello="new"))  # in the same file
    with pytest.raises(ModelError, match=r"the files of revision \w{8} in .* have changed or are gone"):
        serving.rollback("o")
    assert text(post(serving, model="o")) == "new"
    with pytest.raises(ModelError, match="there is no model absent"):
        serving.rollback("absent")
    serving.undeploy("o")
    serving.deploy(oracle(tmp_path, hello="later"))
    with pytest.raises(ModelError, match="no revision before"):
        serving.rollback("o")


def test_a_call_that_has_found_a_model_is_answered_by_what_replaces_it(serving: Serving, provider: Provider) -> None:
    spec = remote(provider)
    serving.deploy(spec)
    house = serving._house
    assert house is not None
    found = house._tenants.known["m"].model
    serving.deploy(spec.model_copy(update={"engine_options": {**spec.engine_options, "input_price": "1"}}))
    body = json.dumps({"model": "m", **ask()}).encode()
    status, answer, _, _ = house._call(found.worker.ask("chat", body), 30)
    assert (status, json.loads(answer)["choices"][0]["message"]["content"]) == (200, says("hello"))


def test_one_answer_serves_every_route(serving: Serving, provider: Provider) -> None:
    serving.deploy(remote(provider))
    whole = post(serving)
    assert wire.CACHE_HEADER not in whole.headers
    assert text(whole) == says("hello")
    again = post(serving, n=1, logprobs=None, tools=None, response_format={"type": "text"})  # asks for nothing more
    assert (text(again), again.headers[wire.CACHE_HEADER]) == (says("hello"), "cached")
    assert again.json()["usage"] == whole.json()["usage"]
    assert streamed(serving) == (says("hello"), "cached")
    batch = post(serving, wire.BATCH, messages=[ask()["messages"]]).json()["choices"]
    assert (batch[0]["message"]["content"], batch[0]["cached"]) == (says("hello"), True)
    assert len(provider.asked) == 1
    assert text(post(serving, temperature=0.5)) == says("hello")
    assert text(post(serving, headers={wire.QUERY_HEADER: '{"store": "off"}'})) == says("hello")
    assert len(provider.asked) == 3


def test_a_stream_that_says_what_it_used_is_kept(serving: Serving, provider: Provider) -> None:
    serving.deploy(remote(provider))
    assert streamed(serving, stream_options={"include_usage": True}) == (says("hello"), "")
    assert text(post(serving)) == says("hello")
    assert len(provider.asked) == 1


def test_equal_requests_under_way_are_joined(serving: Serving, provider: Provider) -> None:
    go = threading.Event()

    def late(handler: Any, asked: fake.Asked) -> None:
        go.wait(20)
        fake.answer(handler, asked)

    provider.answers = late
    serving.deploy(remote(provider))
    with ThreadPoolExecutor(8) as pool:
        streams = [pool.submit(streamed, serving) for _ in range(3)]
        while not provider.asked:
            time.sleep(0.01)
        streams += [pool.submit(streamed, serving) for _ in range(3)]
        wait_for(serving, 6)
        go.set()
        assert {stream.result()[0] for stream in streams} == {says("hello")}
        assert sorted(stream.result()[1] for stream in streams) == ["", *["joined"] * 5]
        go.clear()
        provider.asked.clear()
        wholes = [pool.submit(post, serving, messages=ask("other")["messages"]) for _ in range(4)]
        while not provider.asked:
            time.sleep(0.01)
        stream = pool.submit(streamed, serving, messages=ask("other")["messages"])
        wait_for(serving, 5)
        go.set()
        assert {text(whole.result()) for whole in wholes} == {says("other")}
        assert stream.result() == (says("other"), "joined")
    assert len(provider.asked) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_who_waits_for_a_batch_that_fails_gets_a_response_of_their_own(
    serving: Serving, provider: Provider, stream: bool
) -> None:
    go = threading.Event()

    def late(handler: Any, asked: fake.Asked) -> None:
        first = len(provider.asked) == 1
        go.wait(20)
        fails(400, {"error": {"message": "no"}})(handler, asked) if first else fake.answer(handler, asked)

    provider.answers = late
    serving.deploy(remote(provider))
    with ThreadPoolExecutor(2) as pool:
        batch = pool.submit(post, serving, wire.BATCH, messages=[ask()["messages"]])
        while not provider.asked:
            time.sleep(0.01)
        alone = pool.submit(streamed, serving) if stream else pool.submit(lambda: (text(post(serving)), ""))
        wait_for(serving, 1)
        go.set()
        assert alone.result() == (says("hello"), "")
        assert "error" in batch.result().json()["choices"][0]


@pytest.mark.parametrize("kind", ["chat", "stream", "batch"])
@pytest.mark.parametrize("temperature", [0, 1])
def test_everything_under_way_can_be_cancelled(
    serving: Serving, provider: Provider, kind: str, temperature: float
) -> None:
    go, gone = threading.Event(), threading.Event()

    def never(handler: Any, asked: fake.Asked) -> None:
        handler.connection.settimeout(0.1)
        while not go.is_set():
            try:
                if handler.connection.recv(1) == b"":
                    gone.set()
                    break
            except TimeoutError:
                continue
        handler.close_connection = True

    provider.answers = never
    serving.deploy(remote(provider))
    headers = {wire.QUERY_HEADER: '{"id": "session-1"}'}
    fields: dict[str, Any] = {"temperature": temperature, "headers": headers}
    if kind == "batch":
        fields |= {"path": wire.BATCH, "messages": [ask()["messages"]]}
    if kind == "stream":
        fields["stream"] = True
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(post, serving, **fields)
        while not provider.asked:
            time.sleep(0.01)
        with serving.client() as http:
            assert http.post(wire.CANCEL, params={"session": "session"}).json() == {"cancelled": 1}
        assert gone.wait(10)  # the provider is no longer asked
        reply = call.result()
    go.set()
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "cancelled")


@pytest.mark.parametrize("route", ["chat", "batch"])
def test_what_is_not_an_answer_is_not_kept_and_is_billed(serving: Serving, provider: Provider, route: str) -> None:
    provider.answers = only("odd", chosen({"content": None, "refusal": "No."}))
    serving.deploy(remote(provider, input_price="1000000", output_price="0"))
    headers = {wire.QUERY_HEADER: '{"id": "s-1", "prices": {"m": [0, 0]}}'}
    for _ in range(2):
        if route == "chat":
            post(serving, messages=ask("odd")["messages"], headers=headers)
        else:
            asked = [ask("odd")["messages"], ask("fine")["messages"]]
            odd, fine = post(serving, wire.BATCH, messages=asked, headers=headers).json()["choices"]
            assert odd["error"]["code"] == "refusal"
            assert fine["message"]["content"] == says("fine")
    with serving.client() as http:
        (used,) = http.get(wire.USAGE, params={"session": "s"}).json()["usage"]
    calls = 2 if route == "chat" else 3  # the fine one is kept
    assert (used["calls"], used["cost"]) == (calls, 10.0 * calls)  # at the gateway's price, not at the caller's


def test_neighbours_of_a_fatal_error_are_kept_and_billed(serving: Serving, provider: Provider) -> None:
    provider.answers = only("odd", fails(401, {"error": {"message": "bad key"}}))
    serving.deploy(remote(provider).model_copy(update={"concurrency": 1}))
    headers = {wire.QUERY_HEADER: '{"id": "s-1"}'}
    texts = ["a", "b", "c", "odd"]
    asked = [ask(one)["messages"] for one in texts]
    *good, bad = post(serving, wire.BATCH, messages=asked, headers=headers).json()["choices"]
    assert [choice["message"]["content"] for choice in good] == [says(one) for one in texts[:3]]
    assert bad["error"]["code"] == wire.PROVIDER_REFUSED
    provider.answers = fake.answer
    again = post(serving, wire.BATCH, messages=asked, headers=headers).json()["choices"]
    assert [choice.get("cached", False) for choice in again] == [True, True, True, False]
    with serving.client() as http:
        (used,) = http.get(wire.USAGE, params={"session": "s"}).json()["usage"]
    assert (used["calls"], used["cached"]) == (5, 3)


@pytest.mark.parametrize(
    "header",
    ['{"prices": {"m": [-1, 0]}}', '{"prices": {"*": [0, -1]}}', '{"max_calls": -1}', '{"max_cost": -0.1}',
     '{"prices": {"m": [NaN, 0]}}', '{"prices": {"m": [1e999, 0]}}'],
)  # fmt: skip
def test_a_header_cannot_pay_back(serving: Serving, provider: Provider, header: str) -> None:
    serving.deploy(remote(provider))
    assert post(serving, headers={wire.QUERY_HEADER: header}).status_code == 400
    assert provider.asked == []


def test_the_limits_of_a_request_without_a_statement_are_its_own(serving: Serving, provider: Provider) -> None:
    serving.deploy(remote(provider))
    asked = [ask(one)["messages"] for one in "abc"]
    limited = {wire.QUERY_HEADER: '{"max_calls": 2}'}
    for _ in range(2):
        assert post(serving, temperature=1, headers=limited).status_code == 200
    assert post(serving, wire.BATCH, messages=asked, temperature=1, headers=limited).status_code == 403
    assert post(serving, wire.BATCH, messages=asked, temperature=1).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "evil.example:8000"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "text/plain;charset=UTF-8"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_a_gateway_without_a_key_does_not_serve_web_pages(
    serving: Serving, provider: Provider, headers: dict[str, str], status: int
) -> None:
    serving.deploy(remote(provider))
    assert post(serving, headers=headers).status_code == status
    assert len(provider.asked) == (status == 200)


@pytest.mark.parametrize("settings", [{"api_key": "open sesame"}, {"allowed_origins": "https://good.example"}])
def test_a_key_or_an_allowed_origin_lets_a_page_in(
    tmp_path: Path, provider: Provider, settings: dict[str, str]
) -> None:
    serving = Serving(Settings(home=tmp_path, serving=settings))
    try:
        serving.deploy(remote(provider))
        reply = post(serving, headers={"Origin": "https://good.example"})
        assert reply.status_code == 200
        assert ("access-control-allow-origin" in reply.headers) == ("allowed_origins" in settings)
    finally:
        serving.close()


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing"])
def test_a_route_that_is_not_there_says_so_as_openai_does(serving: Serving, provider: Provider, path: str) -> None:
    serving.deploy(remote(provider))
    reply = post(serving, path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_route")
