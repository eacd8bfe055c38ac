"""The processes that parse: one file at a time each, ended when a file takes too long, made anew when one crashes."""

from __future__ import annotations

import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from sqlllm.errors import PackageError, SetupError

from .pages import Limits, Page

_FILES = 200  # that a process reads before another takes its place
_MEMORY = 512 * 2**20  # that it may keep from one file to the next
_START_SECONDS = 60.0
_PACKAGES = ("pypdfium2", "mammoth", "markdownify", "openpyxl", "pptx", "PIL")
_KEPT = ("LANG", "LC_ALL", "PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT", "TMPDIR")


class Parser:
    """One process; not for two threads at once."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._files = 0
        self._memory = 0  # that the process may take
        self.memory = 0
        """The most bytes that the process has had, once it has read a file."""

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return self._child.pid if self._child else None

    def read(
        self, content: bytes, name: str, limits: Limits, *, only: str = "", password: str = "", images: bool = False
    ) -> Iterator[Page]:
        """The pages of a file; the last one has the error that ended it, if one did. Raises nothing of the file's."""
        if len(content) > limits.bytes:
            yield Page(error=f"the file has {len(content)} bytes; at most {limits.bytes} are read")
            return
        request = {
            "size": len(content), "name": name, "limits": asdict(limits), "only": only, "password": password,
            "images": images,
        }  # fmt: skip
        done = False
        try:
            child = self._started(limits.memory)
            end = time.monotonic() + limits.seconds
            threading.Thread(
                target=_write, args=(child, json.dumps(request).encode() + b"\n", content), daemon=True
            ).start()
            frames = _frames(child, end)
            for answer, image in frames:
                if "end" in answer:
                    done = True
                    self._files += 1
                    self.memory = answer["memory"]
                    if self._files >= _FILES or answer["memory"] > _MEMORY:
                        self.close()
                    return
                yield Page(**{**answer["page"], "image": image})
            yield Page(error=_why(child))
        except TimeoutError:
            yield Page(error=f"the file takes longer than {limits.seconds:g} s to read")
        finally:
            if not done:
                self.close()

    def close(self) -> None:
        """End the process, if there is one."""
        child, self._child, self._files = self._child, None, 0
        if child is None:
            return
        with suppress(ProcessLookupError):
            child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _started(self, memory: int) -> subprocess.Popen[bytes]:
        """The process, ready. Raises PackageError, SetupError."""
        if self._child is not None and (self._child.poll() is not None or self._memory != memory):
            self.close()
        if self._child is None:
            environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
            self._memory = memory
            self._child = subprocess.Popen(
                [sys.executable, "-B", "-m", "sqlllm.udfs.parsing.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                bufsize=0,
            )
            try:
                ready = next(_frames(self._child, time.monotonic() + _START_SECONDS), None)
            except TimeoutError:
                ready = None
            if ready is None:
                self.close()
                require_packages()
                raise SetupError("the process that parses documents does not start")
        return self._child


def require_packages() -> None:
    """Raises PackageError if a package that parses documents is missing."""
    for package in _PACKAGES:
        if find_spec(package) is None:
            error = ModuleNotFoundError(f"No module named '{package}'", name=package)
            raise PackageError.from_import_error(error, package=package, extra="retrieval")


_idle: list[Parser] = []
_lock = threading.Lock()


def read(content: bytes, name: str, limits: Limits, **options: Any) -> Iterator[Page]:
    """The pages of a file, by a process that nobody else uses meanwhile."""
    with _lock:
        parser = _idle.pop() if _idle else Parser()
    try:
        yield from parser.read(content, name, limits, **options)
    finally:
        with _lock:
            _idle.append(parser)


def close() -> None:
    """End the processes that nobody uses."""
    with _lock:
        while _idle:
            _idle.pop().close()


def _write(child: subprocess.Popen[bytes], head: bytes, content: bytes) -> None:
    """In a thread of its own: a process that hangs reads nothing, and the other end of the pipe waits."""
    assert child.stdin
    with suppress(OSError, ValueError):
        for piece in (head, content):
            rest = memoryview(piece)
            while rest:
                rest = rest[child.stdin.write(rest) :]


def _frames(child: subprocess.Popen[bytes], end: float) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """What the process answers, until it ends; TimeoutError at `end`."""
    assert child.stdout
    held = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)

        def take(size: int) -> bytes | None:
            while len(held) < size:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise TimeoutError
                piece = os.read(child.stdout.fileno(), 2**18)  # type: ignore[union-attr]
                if not piece:
                    return None
                held.extend(piece)
            taken = bytes(held[:size])
            del held[:size]
            return taken

        while (head := take(4)) is not None:
            body = take(struct.unpack("<I", head)[0])
            if body is None:
                return
            answer = json.loads(body)
            image = take(answer["image"]) if "image" in answer else None
            yield answer, image


def _why(child: subprocess.Popen[bytes]) -> str:
    code = child.wait()
    if code == -signal.SIGKILL:
        return "the file needs too much memory"
    if code in (-signal.SIGABRT, -signal.SIGTRAP, -signal.SIGILL):
        return "the file needs too much memory, or is damaged: its parser gave up"
    return f"the file is damaged: its parser crashed ({signal.Signals(-code).name if code < 0 else f'exit {code}'})"
