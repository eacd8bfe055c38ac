"""Run code that nobody has read: a process of its own, without keys, files and network, with limits of the system."""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlllm.errors import ModelError, SetupError

_CHILD = Path(__file__).with_name("confined_child.py")
_MOST_BYTES = 16 * 2**20  # of a result
_START_SECONDS = 20.0  # that the process may take before the code runs


def run(
    code: str,
    name: str,
    arguments: Mapping[str, Any],
    modules: Sequence[str] = (),
    *,
    timeout: float = 10.0,
    memory_mb: int = 512,
) -> Any:
    """What the function `name` of `code` returns, as JSON has it; `arguments` are its `args` and `kwargs`.

    Raises: ModelError if it raises, runs out of time or memory, or returns what is not JSON.
    """
    if not sys.platform.startswith("linux"):
        raise SetupError("code of a model can be confined on Linux alone", cure="Run it there, or write the function.")
    task = {"code": code, "name": name, **arguments, "modules": list(modules), "memory": memory_mb * 2**20,
            "seconds": math.ceil(timeout)}  # fmt: skip
    with tempfile.TemporaryDirectory() as empty:
        child = subprocess.Popen(
            [sys.executable, "-I", "-B", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
            cwd=empty,
            start_new_session=True,
        )
        try:
            told, out_of_time = _talk(child, json.dumps(task).encode(), timeout)
        finally:
            _end(child)
    if out_of_time or child.returncode == -signal.SIGXCPU:
        raise ModelError(f"the code of {name} ran longer than {timeout:g} s", cure="Allow more: timeout=...")
    try:
        result = json.loads(told)
    except ValueError:
        raise ModelError(
            f"the code of {name} ended without a result (exit {child.returncode}): too much memory, or it ended itself",
            cure="Allow more: memory_mb=..., or call clear_impl_cache() and try again.",
        ) from None
    if not isinstance(result, dict) or "error" in result:
        raise ModelError(f"the code of {name} failed: {result['error'] if isinstance(result, dict) else result}")
    return result.get("value")


def _talk(child: subprocess.Popen[bytes], task: bytes, timeout: float) -> tuple[bytes, bool]:
    """What the process writes, and whether its time was up. Its time begins when it reports that it is ready."""
    assert child.stdin
    assert child.stdout
    try:
        child.stdin.write(task)
        child.stdin.close()
    except BrokenPipeError:
        return b"", False
    told, end, ready = bytearray(), time.monotonic() + _START_SECONDS, False
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, end - time.monotonic())):
            piece = os.read(child.stdout.fileno(), 65536)
            if not piece:
                return bytes(told), False
            told += piece
            if not ready and told.startswith(b"\n"):
                ready, end = True, time.monotonic() + timeout
            if len(told) > _MOST_BYTES:
                return b"", False
    return b"", True


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout:
        child.stdout.close()
