"""A provider for scripts of other libraries; `SQLLLM_BASE_URL` and the providers' variables lead to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sqlllm.client.asking import _lacking
from tests.client.server import Server, serve


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    _lacking.clear()
    with serve() as started:
        monkeypatch.setenv("SQLLLM_BASE_URL", started.url)
        monkeypatch.setenv("DASHSCOPE_BASE_URL", started.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-test")
        yield started
