"""Runs that go on without their caller.

    run = start(run)                                # returns at once
    python -m sqlllm.jobs.detached RUN_FOLDER       # what it starts

On this machine that is a process of its own session, with a Ray of its own; one trains at a time, the others wait
`queued`. On a cluster it is a Ray job, and Ray shares out what there is; the run's folder must be one that the
cluster's machines share. Either way it reads all it needs from the run's folder and writes `run.log` there.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from sqlllm.errors import RunError, SetupError, SQLLLMError
from sqlllm.settings import RaySettings

from . import cluster
from .job import Job, execute, last_checkpoint
from .processes import Process
from .queueing import turn
from .runs import ACTIVE, STOPPED, RunRecord, why

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.job_submission import JobSubmissionClient

    from .training import Progress

T = TypeVar("T")
_ENTRY = "sqlllm.jobs.detached"
_POLITE = 30.0  # seconds that a cancelled run has to end its workers by itself
_FORCE = 15.0  # seconds more in which a cluster ends it
_LOG_EVERY = 5.0  # seconds between two lines of progress
_LOG = logging.getLogger("sqlllm.run")


def start(run: RunRecord, *, resume: bool = False) -> RunRecord:
    """Start the job in the run's folder, and return its record, queued; `resume` goes on from the last checkpoint.

    Raises: SetupError if the cluster takes no jobs.
    """
    job = Job.read(run)
    arguments = [str(run.folder), *(["--resume"] if resume else [])]
    if where := cluster.address(job.ray):
        return _submit(run, where, arguments)
    with run.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", _ENTRY, *arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=cluster.environment(),
            start_new_session=True,  # neither Ctrl-C nor the end of the terminal reaches it
        )
    run = run.update(process=Process.of(process.pid), submission="")
    assert process.stdin is not None
    process.stdin.close()  # the record knows it: it may begin
    # Else it stays a zombie of a caller that lives longer.
    Thread(target=process.wait, name="run-reaper", daemon=True).start()
    return run


def cancel(run: RunRecord) -> RunRecord:
    """End a queued or running run, politely, then by force; its checkpoints stay. Returns its record, cancelled.

    Raises: RunError if it has ended, if it runs on another machine, or if its cluster does not end it.
    """
    if run.state not in ACTIVE:
        raise RunError(
            f"run {run.name} has ended: it is {run.state}", cure="Only a queued or running run is cancelled."
        )
    process = run.process
    client = _client(cluster.address(Job.read(run).ray)) if run.submission else None
    if client:
        if _asked(client.stop_job, run) is None:  # the cluster was started anew
            return run.end("cancelled", STOPPED)
    elif process is None or not process.here:
        raise RunError(
            f"run {run.name} runs on another machine", cure=f"Cancel it on {process.host if process else 'it'}."
        )
    else:
        process.send(signal.SIGINT)
    deadline = time.monotonic() + _POLITE
    while (run := RunRecord.read(run.folder)).state in ACTIVE and time.monotonic() < deadline:
        time.sleep(0.1)
    if run.state in ACTIVE and process is not None and process.here:
        process.send(signal.SIGKILL)
    elif run.state in ACTIVE and client:
        _await_end(client, run)
    return run.end("cancelled", STOPPED)


def _await_end(client: JobSubmissionClient, run: RunRecord) -> None:
    """Wait while the cluster ends by force what did not end by itself; RunError if it does not."""
    deadline = time.monotonic() + _FORCE
    while (status := _asked(client.get_job_status, run)) and not status.is_terminal():
        if time.monotonic() > deadline:
            raise RunError(
                f"run {run.name} does not end: its job {run.submission} is still {status.value}",
                cure="Cancel it again, or see the cluster's dashboard.",
            )
        time.sleep(0.5)


def _asked(ask: Callable[[str], T], run: RunRecord) -> T | None:
    """What the cluster says of the run's job; None if it knows no such job."""
    try:
        return ask(run.submission)
    except (RuntimeError, OSError) as error:
        if "does not exist" in str(error):
            return None
        raise RunError(
            f"run {run.name} cannot be cancelled: {why(error)}", cure="Try again, or see the cluster's dashboard."
        ) from None


def check_resumable(run: RunRecord) -> None:
    """RunError if a run is under way, has succeeded or is of a kind that is not resumed."""
    if run.state in ACTIVE:
        raise RunError(f"run {run.name} is {run.state}", cure="Follow it, or cancel it first.")
    if run.state == "succeeded":
        raise RunError(f"run {run.name} has succeeded: there is nothing to resume", cure=f"Its model is {run.model}.")
    Job.read(run)


def resumable(run: RunRecord) -> RunRecord:
    """The run, queued again; RunError as in `check_resumable`, also if another process was faster."""
    check_resumable(run)
    return run.update(
        among=("failed", "cancelled", "interrupted"), state="queued", reason="", resumed=run.resumed + 1,
        process=Process.current(), submission="",
    )  # fmt: skip


def _submit(run: RunRecord, where: str, arguments: list[str]) -> RunRecord:
    # The cluster's machines may keep Python elsewhere.
    python = f'exe={shlex.quote(sys.executable)}; [ -x "$exe" ] || exe=python; exec "$exe"'
    number = f"{run.name}-{os.urandom(4).hex()}"
    run = run.update(submission=number, process=None)  # this one may end before the job begins
    try:
        _client(where).submit_job(
            entrypoint=f"{python} -m {_ENTRY} {shlex.join(arguments)}",
            submission_id=number,
            # A stopped job gets Ctrl-C, and the time to end its workers.
            runtime_env={"env_vars": {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": f"{_POLITE:.0f}"}},
            metadata={"sqlllm_run": str(run.folder)},
        )
    except RuntimeError as error:
        raise SetupError(f"the Ray cluster at {where} does not take the job: {error}") from None
    return run


def _client(where: str) -> JobSubmissionClient:
    cluster.authorize(where)
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(where)
    except (ConnectionError, RuntimeError) as error:
        raise SetupError(
            f"the Ray cluster at {where} takes no jobs: {error}",
            cure="Detached runs need its dashboard: start the head with `--include-dashboard=true` and ray[default].",
        ) from None


def main() -> int:
    """Do the job of the run's folder named on the command line, when it is its turn."""
    folder, resume = Path(sys.argv[1]), "--resume" in sys.argv
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = RunRecord.read(folder)
    if run.submission:
        _write_to(run.log)
    else:
        sys.stdin.read()  # until the record knows this process
    run = RunRecord.read(folder).update(process=Process.current())
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    _LOG.setLevel(logging.INFO)
    job = Job.read(run)
    try:
        if run.submission:
            _run(run, job.ray.model_copy(update={"address": ""}), resume)  # Ray says where, in the environment
        else:
            _LOG.info("queued")
            with turn(job.queue, at_once=job.ray.detached_runs):
                _run(run, job.ray, resume)
    except KeyboardInterrupt:
        run.end("cancelled", STOPPED)
        _LOG.info("cancelled")
        return 130
    except SQLLLMError as error:
        run.end("failed", why(error))
        _LOG.error("failed: %s", error)
        return 1
    except Exception as error:
        run.end("failed", why(error))
        raise  # its stack goes to the log
    finally:
        cluster.stop()
    return 0


def _run(run: RunRecord, settings: RaySettings, resume: bool) -> None:
    _LOG.info("starting Ray")
    cluster.start(settings)
    checkpoint = last_checkpoint(run) if resume else None
    _LOG.info("%s%s", run.name, f": goes on from {checkpoint.name}" if checkpoint else "")
    run = execute(run, on_progress=_log_progress(), resume=resume)
    _LOG.info("succeeded: %s", run.model)


def _log_progress() -> Callable[[Progress], None]:
    last = 0.0

    def log(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LOG_EVERY or progress.step == progress.total_steps:
            last = now
            _LOG.info("step %d/%d  %s", progress.step, progress.total_steps, progress)

    return log


def _write_to(path: Path) -> None:
    """Send what this process and its children print to a file: Ray keeps a job's words elsewhere."""
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


if __name__ == "__main__":
    sys.exit(main())
