"""Ctrl-C that truly cancels, and leaves the session usable."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from sqlllm.errors import SQLLLMError

if TYPE_CHECKING:
    from sqlllm.session import Session

_AGAIN = 0.1  # seconds until the signal is raised again where it could not interrupt


@contextmanager
def interruptible(session: Session) -> Iterator[None]:
    """Within, SIGINT cancels what `session` does, and the block ends with KeyboardInterrupt. For the main thread.

    An exchange with the JVM is never cut in half, which would leave its connection out of step for good: Spark is told
    to cancel over another connection, the exchange ends with Spark's error, and then the block does.
    """
    asked, ended = threading.Event(), threading.Event()

    def cancel() -> None:
        while not ended.is_set():
            session.cancel()  # a query may start another job meanwhile
            if ended.wait(_AGAIN):
                return
            signal.pthread_kill(main, signal.SIGINT)

    def handle(_signal: int, frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            threading.Thread(target=cancel, name="cancel", daemon=True).start()
        if not talks_to_the_jvm(frame):
            ended.set()
            raise KeyboardInterrupt

    main = threading.get_ident()
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    except SQLLLMError:
        if asked.is_set():  # Spark says that its job was cancelled
            raise KeyboardInterrupt from None
        raise
    finally:
        ended.set()
        signal.signal(signal.SIGINT, before)
    if asked.is_set():
        raise KeyboardInterrupt


def talks_to_the_jvm(frame: FrameType | None) -> bool:
    """Whether a thread at `frame` is in an exchange with the JVM."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("py4j."):
            return True
        frame = frame.f_back
    return False
