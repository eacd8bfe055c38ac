"""Ten thousand calls leave nothing behind: no memory, no thread, no connection."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import sqlllm

ROOT = Path(__file__).parents[2]
CALLS, FIRST = 10_000, 1_000
MOST = 8 * 2**20  # bytes; 10,000 kept replies would be twice as much

pytestmark = [pytest.mark.slow, pytest.mark.rare]


@pytest.fixture(scope="module")
def llm() -> Iterator[sqlllm.LLM]:
    """A model on a server in a process of its own, whose memory does not count here."""
    command = [sys.executable, "-m", "bench.client", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout
        yield sqlllm.LLM("m", f"http://127.0.0.1:{server.stdout.readline().strip()}/v1", "key")
        server.kill()


def left_behind(work: Callable[[int], None], calls: int) -> tuple[int, int, int]:
    """Bytes, threads and open files after `calls` more than after the first ones."""
    process = psutil.Process()

    def used() -> tuple[int, int, int]:
        gc.collect()
        return process.memory_info().rss, threading.active_count(), process.num_fds()

    for number in range(FIRST):
        work(number)
    before = used()
    for number in range(calls):
        work(FIRST + number)
    memory, threads, files = (after - earlier for after, earlier in zip(used(), before, strict=True))
    return memory, threads, files


def test_calls_of_a_prompt_function(llm: sqlllm.LLM) -> None:
    @sqlllm.prompt(llm)
    def say(number: int) -> str:
        """Say {{ number }}."""

    memory, threads, files = left_behind(lambda number: len(say.options(temperature=number % 2)(number)) or None, CALLS)
    assert (threads, files) == (0, 0)
    assert memory < MOST


def test_streams_that_are_left_early(llm: sqlllm.LLM) -> None:
    def leave(number: int) -> None:
        with llm.stream(f"Say {number}.") as stream:
            next(iter(stream))

    memory, threads, files = left_behind(leave, CALLS // 10)
    assert (threads, files) == (0, 0)
    assert memory < MOST
