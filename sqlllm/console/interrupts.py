"""Ctrl-C that truly cancels, and leaves the session usable."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from sqlllm.errors import SQLLLMError

if TYPE_CHECKING:
    from sqlllm.session import Session

_AGAIN = 0.1  # seconds until the signal is raised again where it could not interrupt
_PATIENCE = 5.0  # seconds that what is under way has to hear that it is cancelled


@contextmanager
def interruptible(session: Session) -> Iterator[None]:
    """Within, SIGINT cancels what `session` does, and the block ends with KeyboardInterrupt. For the main thread.

    An exchange with the JVM is never cut in half, which would leave its connection out of step for good: the
    cancellation goes over another connection, the exchange ends with Spark's error, and then the block does.
    """
    over, turn = False, threading.Lock()
    cancelling: threading.Thread | None = None

    def cancel() -> None:
        while True:
            with suppress(*lost()):
                session.cancel()  # a query may start another job meanwhile
            time.sleep(_AGAIN)
            with turn:
                if over:
                    return
                signal.pthread_kill(main, signal.SIGINT)

    def handle(_signal: int, frame: FrameType | None) -> None:
        nonlocal over, cancelling
        if over:  # too late
            return
        if cancelling is None:
            cancelling = threading.Thread(target=cancel, name="cancel", daemon=True)
            cancelling.start()
        if not talks_to_the_jvm(frame):
            over = True
            raise KeyboardInterrupt

    main = threading.get_ident()
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    except SQLLLMError:
        if cancelling is not None:  # Spark says that its job was cancelled
            raise KeyboardInterrupt from None
        raise
    finally:
        over = True
        with turn:  # a signal on its way reaches `handle`
            signal.signal(signal.SIGINT, before)
        if cancelling is not None:  # what comes next is not cancelled
            cancelling.join(_PATIENCE)
    if cancelling is not None:
        raise KeyboardInterrupt


def lost() -> tuple[type[Exception], ...]:
    """What cancelling raises where the JVM, or Spark's server, has died: the statement reports that."""
    if "pyspark" not in sys.modules:  # loading it takes its time
        return ()
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    return Py4JError, PySparkException, OSError


def talks_to_the_jvm(frame: FrameType | None) -> bool:
    """Whether a thread at `frame` is in an exchange with the JVM."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("py4j."):
            return True
        frame = frame.f_back
    return False
