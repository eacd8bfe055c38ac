"""The models that the gateway knows, from what Serve says; Serve and its handles are stand-ins here."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from ray.exceptions import RayTaskError

from sqlllm.errors import ModelError, SetupError
from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.jobs.serving.deploy.first import first_answer
from sqlllm.jobs.serving.gateway import on_serve
from sqlllm.jobs.serving.gateway.access import Caller
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.settings import Settings


def test_a_model_that_has_the_name_of_another_s_alias_is_called_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    there: dict[str, Any] = {}

    def deploy(name: str, created: int, *aliases: str) -> None:
        worker = SimpleNamespace(replica_states={"RUNNING": 1})
        status = SimpleNamespace(status="RUNNING", last_deployed_time_s=created, deployments={"model": worker})
        there.clear()
        there[f"sqlllm-model-{name}"] = status
        monkeypatch.setattr(on_serve, "recall", lambda _: ModelSpec(name=name, model_path="/m", aliases=aliases))

    monkeypatch.setattr(on_serve.serve, "status", lambda: SimpleNamespace(applications=there))
    monkeypatch.setattr(on_serve, "DeploymentHandle", lambda _, application: application)

    async def check() -> None:
        known = on_serve.ServeModels()
        deploy("large", 1, "chat")
        assert (await known.find("chat", Caller())).worker._handle == "sqlllm-model-large"  # type: ignore[attr-defined]
        deploy("chat", 2)
        await known.refresh(older_than=0)
        assert (await known.find("chat", Caller())).worker._handle == "sqlllm-model-chat"  # type: ignore[attr-defined]

    asyncio.run(check())


def test_a_refusal_by_a_worker_is_one_of_the_gateway() -> None:
    refusal = RequestError("the chat template refuses the messages", param="messages")
    assert on_serve.unavailable("m", RayTaskError("count_tokens", "", refusal)) is refusal
    assert on_serve.unavailable("m", RayTaskError("count_tokens", "", ValueError("x"))).status == 500


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (RequestError("the chat template refuses the messages"), "m does not count tokens: the chat template refuses"),
        (ValueError("x"), "m does not count tokens: model m failed: ValueError"),
    ],
)
def test_a_model_that_does_not_count_tokens_says_why(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, words: str
) -> None:
    def fail(**_: Any) -> None:
        raise RayTaskError("count_tokens", "", cause)

    calls = SimpleNamespace(remote=lambda _: SimpleNamespace(result=fail))
    monkeypatch.setattr(on_serve.serve, "get_app_handle", lambda _: SimpleNamespace(count_tokens=calls))
    with pytest.raises(ModelError, match=words):
        Serving(Settings()).count_tokens("m", [[{"role": "user", "content": "x"}]])


@pytest.mark.parametrize(
    ("broken", "kind", "message"),
    [
        ("/health", SetupError, "cannot be reached from here: no route"),
        ("/v1/models/m", ModelError, "m loaded but does not answer: no route"),
        ("/v1/completions", ModelError, "m loaded but does not answer: no route"),
    ],
)
def test_a_first_answer_that_does_not_come_is_one_clear_error(broken: str, kind: type[Exception], message: str) -> None:
    spec = ModelSpec(name="m", engine="transformers", model_path="/m")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == broken:
            raise httpx.ReadTimeout("no route")
        return httpx.Response(200, json={"spec": spec.shown(), "fingerprint": "f", "routes": ["completions"]})

    http = httpx.Client(base_url="http://gateway", transport=httpx.MockTransport(answer))
    with http, pytest.raises(kind, match=message):
        first_answer(http, spec, "f", time.monotonic() + 5)


def test_a_first_answer_is_that_of_the_new_files() -> None:
    spec, told = ModelSpec(name="m", engine="transformers", model_path="/m"), ["old", "old", "new"]
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models/m":
            asked.append(told[len(asked)])
            return httpx.Response(200, json={"spec": spec.shown(), "fingerprint": asked[-1], "routes": []})
        return httpx.Response(200)

    with httpx.Client(base_url="http://gateway", transport=httpx.MockTransport(answer)) as http:
        first_answer(http, spec, "new", time.monotonic() + 5)
    assert asked == told
