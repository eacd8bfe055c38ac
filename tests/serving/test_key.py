"""A gateway with a key, and what is left of vLLM when its script is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sqlllm.jobs.reaper import marked

from .conftest import user

pytestmark = [pytest.mark.slow, pytest.mark.rare]

SCRIPT = """
import os, sys, time
from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.settings import Settings
users = {
    "al": {"key": "al's own key", "models": ["tiny*"], "calls_per_day": 2},
    "bo": {"key": "bo's own key", "models": ["other"]},
}
serving = Serving(Settings.load(serving={"api_key": "open sesame", "users": users}))
serving.deploy(ModelSpec(name="tiny", engine="vllm", model_path=sys.argv[1]))
print(serving.endpoint, os.path.dirname(os.environ["RAY_AUTH_TOKEN_PATH"]), flush=True)
time.sleep(1000)
"""


@pytest.fixture
def script(tiny_model: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "_SQLLLM"))}
    command = [sys.executable, "-c", SCRIPT, str(tiny_model)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as script:
        yield script
        script.kill()


def users_have_keys_models_and_quotas(endpoint: str, body: dict[str, Any], key: dict[str, str]) -> None:
    al, bo = ({"Authorization": f"Bearer {name}'s own key"} for name in ("al", "bo"))
    refused = httpx.post(f"{endpoint}/v1/chat/completions", json=body, headers=bo, timeout=60)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert "user bo may not use model tiny; allowed: other" in refused.json()["error"]["message"]
    assert httpx.get(f"{endpoint}/v1/models", headers=bo).json()["data"] == []
    assert len(httpx.get(f"{endpoint}/v1/models", headers=al).json()["data"]) == 1
    assert httpx.get(f"{endpoint}/metrics", headers=al).status_code == 403
    assert httpx.get(f"{endpoint}/metrics", headers=key).status_code == 200
    tokenized = httpx.post(
        f"{endpoint}/tokenize", json={"model": "tiny", "messages": user("hello")}, headers=al, timeout=60
    ).json()
    assert tokenized["count"] == len(tokenized["tokens"]) > 2
    message = {"model": "tiny", "messages": user("hello"), "max_tokens": 2}
    answer = httpx.post(f"{endpoint}/v1/messages", json=message, headers={"x-api-key": "al's own key"}, timeout=60)
    assert answer.json()["usage"] == {"input_tokens": tokenized["count"], "output_tokens": 2}
    batch = {**body, "messages": [user("hello")] * 3}
    header = {"x-sqlllm-query": '{"user": "somebody else", "store": "off"}'}
    for status in (200, 403):
        last = httpx.post(f"{endpoint}/v1/chat/completions", json=body, headers=al, timeout=60)
        assert last.status_code == status, last.text
        last_batch = httpx.post(f"{endpoint}/v1/chat/completions/batch", json=batch, headers=al | header, timeout=60)
        assert last_batch.status_code == 403
    assert last.json()["error"]["code"] == "limit_reached"
    assert "user al has a quota of 2 calls a day" in last.json()["error"]["message"]
    used = httpx.get(f"{endpoint}/v1/usage", headers=key).json()["usage"]
    assert sum(one["calls"] for one in used if one["user"] == "al") == 2
    assert httpx.get(f"{endpoint}/v1/usage", headers=al).json()["usage"] == [one for one in used if one["user"] == "al"]
    assert httpx.get(f"{endpoint}/v1/usage", headers=bo).json()["usage"] == []


def test_the_key_is_asked_for_and_a_kill_leaves_no_engine(script: subprocess.Popen[str]) -> None:
    assert script.stdout is not None
    assert script.stderr is not None
    endpoint, folder = script.stdout.readline().split()
    body = {"model": "tiny", "messages": user("hello"), "max_tokens": 2}
    for route in ("/v1/chat/completions", "/v1/chat/completions/batch", "/v1/completions"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "open sesame"}):
            refused = httpx.post(endpoint + route, json=body, headers=headers, timeout=60)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
            assert "sesame" not in refused.text
    assert httpx.get(f"{endpoint}/v1/models").status_code == 401
    assert httpx.get(f"{endpoint}/health").status_code == 200
    key = {"Authorization": "Bearer open sesame"}
    assert httpx.post(f"{endpoint}/v1/chat/completions", json=body, headers=key, timeout=60).status_code == 200

    users_have_keys_models_and_quotas(endpoint, body, key)

    mark = f"_SQLLLM_RAY={folder}".encode()
    names = [Path(f"/proc/{pid}/comm").read_text() for pid in marked(mark)]
    assert any("EngineCor" in name for name in names), names
    script.kill()
    deadline = time.monotonic() + 15
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    assert script.stderr.read() == ""
