"""A gateway with a key, and what is left of vLLM when its script is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sqlllm.jobs.reaper import marked

from .conftest import user

pytestmark = pytest.mark.slow

SCRIPT = """
import os, sys, time
from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.settings import Settings
serving = Serving(Settings.load(serving={"api_key": "open sesame"}))
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


def test_the_key_is_asked_for_and_a_kill_leaves_no_engine(script: subprocess.Popen[str]) -> None:
    assert script.stdout is not None
    assert script.stderr is not None
    endpoint, folder = script.stdout.readline().split()
    body = {"model": "tiny", "messages": user("hello"), "max_tokens": 2}
    for route in ("/v1/chat/completions", "/v1/chat/completions/batch", "/v1/completions"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "open sesame"}):
            refused = httpx.post(endpoint + route, json=body, headers=headers)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
            assert "sesame" not in refused.text
    assert httpx.get(f"{endpoint}/v1/models").status_code == 401
    assert httpx.get(f"{endpoint}/health").status_code == 200
    key = {"Authorization": "Bearer open sesame"}
    assert httpx.post(f"{endpoint}/v1/chat/completions", json=body, headers=key, timeout=60).status_code == 200

    mark = f"_SQLLLM_RAY={folder}".encode()
    names = [Path(f"/proc/{pid}/comm").read_text() for pid in marked(mark)]
    assert any("EngineCor" in name for name in names), names
    script.kill()
    deadline = time.monotonic() + 15
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    assert script.stderr.read() == ""
