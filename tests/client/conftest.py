"""A server for each test, and a model on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sqlllm.client import LLM
from sqlllm.client.asking import _lacking
from tests.client.server import Server, serve


@pytest.fixture
def server() -> Iterator[Server]:
    _lacking.clear()
    with serve() as started:
        yield started


@pytest.fixture
def llm(server: Server) -> LLM:
    return LLM("m", server.url, "k-SECRET-1234", timeout=20)
