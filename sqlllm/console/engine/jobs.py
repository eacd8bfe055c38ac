"""Jobs: each runs one script in its owner's session, in a thread of its own, and can be cancelled."""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlllm.errors import LimitError, RunError, SQLLLMError
from sqlllm.session import Observer, Session

from ..interrupts import lost, talks_to_the_jvm

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.places import Place
    from sqlllm.settings import Settings

_log = logging.getLogger(__name__)
_AGAIN = 0.1  # seconds between two looks
KEPT = 3600.0  # seconds that an idle session and an ended job are kept, as in Byzer
ENDED = 200  # ended jobs that are kept at most
BYTES = 256 * 2**20  # of their answers together; the oldest go first
_LINES = 1000  # that a job has printed, the last ones


class Cancelled(RunError):
    """The job was cancelled, or its time was over."""

    def __init__(self, message: str, *, status: int = 409, cure: str = "", place: Place | None = None) -> None:
        super().__init__(message, cure=cure, place=place)
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        kind, fields, *_ = super().__reduce__()
        return kind, (*fields, {"status": self.status})


class _Told(Observer):
    """Keeps what a script prints and what it is warned of."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_LINES)

    def printed(self, text: str) -> None:
        self.lines.append(text)

    def warned(self, text: str) -> None:
        self.lines.append(f"note: {text}")


@dataclass
class Job:
    """One script."""

    name: str
    owner: str
    sql: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: str = "queued"
    began: float = field(default_factory=time.time)
    ended: float = 0.0
    messages: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    future: Future[bytes] = field(default_factory=Future)  # the answer, as JSON
    size: int = 0  # bytes of it
    interrupts: threading.Lock = field(default_factory=threading.Lock)  # held while one is sent
    over: bool = False  # no interrupt any more
    _why: Cancelled | None = None

    def cancel(self, why: str, *, status: int = 409) -> None:
        """End it as soon as its thread sees that; does nothing when it has ended."""
        self._why = self._why or Cancelled(why, status=status)

    def drop(self) -> None:
        """Keep the answer no longer; who waited for it has it."""
        if self.size:
            self.size, self.future = 0, Future()
            self.future.set_result(b"null")

    @property
    def why(self) -> Cancelled | None:
        """Why it is to end, if it is."""
        return self._why

    def to_dict(self) -> dict[str, Any]:
        """What others may know of it; times in milliseconds, as Byzer has them."""
        until = self.ended or time.time()
        return {
            "groupId": self.id, "jobName": self.name, "owner": self.owner, "state": self.state,
            "startTime": int(1000 * self.began), "seconds": round(until - self.began, 3),
            "messages": list(self.messages),
        }  # fmt: skip


@dataclass
class _Seat:
    """An owner's session; one job at a time has it."""

    session: Session
    told: _Told
    lock: threading.Lock = field(default_factory=threading.Lock)
    used: float = field(default_factory=time.monotonic)


class Engine:
    """Sessions by owner over one Spark, and the jobs in them. Ray must be up, from a thread that lives as long."""

    def __init__(self, settings: Settings, spark: SparkSession, *, at_once: int = 4, waiting: int = 100) -> None:
        self._settings, self._spark = settings, spark
        self._running = threading.Semaphore(at_once)
        self._most = at_once + waiting
        self._lock = threading.Lock()
        self._seats: dict[str, _Seat] = {}
        self._jobs: dict[str, Job] = {}

    def submit(self, job: Job, work: Callable[[Session], bytes], *, alone: bool, timeout: float | None) -> Job:
        """Run `work` as `job`; its future holds the answer.

        alone: in a session that ends with the job. timeout: seconds, from now.
        Raises: LimitError if too many wait, RunError if a job of that name runs for this owner.
        """
        with self._lock:
            under_way = [one for one in self._jobs.values() if not one.ended]
            if any(one.owner == job.owner and one.name == job.name for one in under_way):
                raise RunError(
                    f"a job {job.name} is under way", cure="Wait for it, cancel it, or take another jobName."
                )
            if len(under_way) >= self._most:
                raise LimitError(f"{len(under_way)} jobs are under way or wait already", cure="Try again later.")
            self._forget()
            self._jobs[job.id] = job
            seat = self._seat(job.owner, alone=alone)
        thread = threading.Thread(target=self._thread, args=(job, seat, work, alone), name=job.id, daemon=True)
        thread.start()
        watch = threading.Thread(target=_watch, args=(job, seat, thread, timeout), name="watch", daemon=True)
        watch.start()
        return job

    def jobs(self, owner: str | None = None) -> list[Job]:
        """Jobs of `owner`, or of all, those that have ended lately too."""
        with self._lock:
            return [job for job in self._jobs.values() if owner in (None, job.owner)]

    def close(self) -> None:
        """Cancel what runs, wait for it, and end the sessions."""
        for job in self.jobs():
            job.cancel("the engine ends", status=503)
        for job in self.jobs():
            job.future.exception()
        for seat in self._seats.values():
            seat.session.close()
        self._seats.clear()

    # --- inside --------------------------------------------------------------------------------------------------

    def _seat(self, owner: str, *, alone: bool) -> _Seat:
        if not alone and (known := self._seats.get(owner)):
            known.used = time.monotonic()
            return known
        told = _Told()
        settings = self._settings.model_copy(deep=True)
        seat = _Seat(Session(settings, spark=self._spark.newSession(), observer=told, user=owner), told)
        if not alone:
            self._seats[owner] = seat
        return seat

    def _forget(self) -> None:
        """End sessions and forget jobs that nobody has asked for in a while."""
        ended = [job for job in self._jobs.values() if job.ended]
        old = time.time() - KEPT
        for job in [job for number, job in enumerate(reversed(ended)) if number >= ENDED or job.ended < old]:
            del self._jobs[job.id]
        for owner, seat in list(self._seats.items()):
            if time.monotonic() - seat.used > KEPT and seat.lock.acquire(blocking=False):
                del self._seats[owner]
                seat.session.close()

    def _thread(self, job: Job, seat: _Seat, work: Callable[[Session], bytes], alone: bool) -> None:
        outcome = b""
        error: BaseException | None = None
        try:
            try:
                outcome = self._work(job, seat, work)
            except BaseException as raised:  # noqa: BLE001 - whatever it is, the job's waiter gets it
                error = raised
            with job.interrupts:
                job.over = True
        except KeyboardInterrupt as raised:  # the one there is; it came as the script ended by itself
            error, job.over = error or raised, True
        if error is not None and job.why is None and not isinstance(error, SQLLLMError):
            _log.error("job %s failed", job.name, exc_info=error)
        if alone:
            seat.session.close()
        if error is None:
            job.state = "succeeded"
        else:
            error = job.why or error
            job.state = "cancelled" if job.why else "failed"
        job.ended, job.sql = time.time(), ""
        if error is None:
            job.size = len(outcome)
            job.future.set_result(outcome)
        else:
            job.future.set_exception(error.with_traceback(None))  # which holds what the frames held
        with self._lock:
            self._bound()

    def _bound(self) -> None:
        """Drop the oldest answers that are more than is kept; the last one stays, however large."""
        ended = sorted((job for job in self._jobs.values() if job.size), key=lambda job: job.ended)
        total = sum(job.size for job in ended)
        for job in ended[:-1]:
            if total <= BYTES:
                return
            total -= job.size
            job.drop()

    def _work(self, job: Job, seat: _Seat, work: Callable[[Session], bytes]) -> bytes:
        with _held(seat.lock, job), _held(self._running, job):
            job.state, seat.told.lines = "running", job.messages
            try:
                return work(seat.session)
            finally:
                seat.session.end_script()
                seat.used = time.monotonic()
                with job.interrupts:  # before another job has the session
                    job.over = True


@contextmanager
def _held(lock: threading.Lock | threading.Semaphore, job: Job) -> Iterator[None]:
    """Wait for `lock`, unless the job is cancelled meanwhile."""
    while not lock.acquire(timeout=_AGAIN):
        if job.why:
            raise job.why
    try:
        yield
    finally:
        lock.release()


def _watch(job: Job, seat: _Seat, thread: threading.Thread, timeout: float | None) -> None:
    """Wait for the job's end; when it is cancelled or its time is over, make it end.

    As Ctrl-C does: Spark's jobs end until the thread has ended, since a query may start another job meanwhile, and what
    runs in Python gets a KeyboardInterrupt, once, and never in the middle of an exchange with the JVM.
    """
    until = None if timeout is None else time.monotonic() + timeout
    interrupted = False
    while not job.over:
        thread.join(_AGAIN)
        if until is not None and time.monotonic() > until:
            job.cancel(f"the job took longer than its timeout of {timeout:g} s", status=504)
        with job.interrupts:
            if job.why is None or job.state != "running" or job.over:
                continue
            with suppress(*lost()):
                seat.session.cancel()
            frame = sys._current_frames().get(thread.ident or 0)
            if interrupted or frame is None or talks_to_the_jvm(frame):
                continue
            interrupted = True
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
            )
