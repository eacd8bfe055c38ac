"""Runs that go on without their caller: killed, resumed, queued, cancelled; here and as jobs of a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlllm.errors import RunError
from sqlllm.jobs import detached
from sqlllm.jobs.job import Job
from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training.progress import read_metrics
from sqlllm.settings import RaySettings, Settings
from tests.clusters import RayCluster

from .conftest import SUMS, MakeRun

pytestmark = [pytest.mark.slow, pytest.mark.rare]

TINY = {
    "sft__int__hidden_size": 32, "sft__int__intermediate_size": 64, "sft__int__vocab_size": 300,
    "sft__int__per_device_train_batch_size": 16, "sft__int__logging_steps": 5,
}  # fmt: skip


def prepared(make_run: MakeRun, home: Path, ray: RaySettings | None = None, **options: object) -> RunRecord:
    spec, run = make_run(SUMS, **TINY, **options)
    Job.of(spec, Settings(home=home, ray=ray or RaySettings())).write(run)
    return run


def until(run: RunRecord, *states: str, steps: int = 0) -> RunRecord:
    """The run when it is in one of the states, with at least that number of steps."""
    while (run := RunRecord.read(run.folder)).state not in states or run.steps < steps:
        assert run.state in ("queued", "running"), run.log.read_text()
        time.sleep(0.1)
    return run


def processes_of(run: RunRecord) -> list[int]:
    """Those that carry the folder of the run in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(run.folder).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_killed_run_reads_as_interrupted_and_is_resumed(make_run: MakeRun, tmp_path: Path) -> None:
    run = prepared(make_run, tmp_path, sft__int__max_steps=300, sft__int__save_steps=5)
    started = detached.start(run)
    assert started.state == "queued"
    assert started.process
    assert os.getsid(started.process.pid) != os.getsid(0)  # no terminal's end reaches it
    running = until(run, "running", steps=10)
    with pytest.raises(RunError, match="is running"):
        detached.resumable(running)
    os.kill(started.process.pid, signal.SIGKILL)
    killed = until(run, "interrupted")
    assert (killed.steps, killed.total_steps) > (5, 300)
    assert "its process is gone" in killed.reason

    done = until(detached.start(detached.resumable(killed), resume=True), "succeeded")
    assert (done.steps, done.resumed, done.reason) == (300, 1, "")
    assert done.model
    assert (done.model / "config.json").exists()
    # It went on where it was: each step is logged once, and those before the kill were not done again.
    logged = [progress.step for progress in read_metrics(run.metrics)[0]]
    assert logged == list(range(5, 301, 5))
    while processes_of(run):
        time.sleep(0.1)
    assert "succeeded" in run.log.read_text()


def test_one_trains_and_the_next_waits_and_both_are_cancelled(make_run: MakeRun, tmp_path: Path) -> None:
    first = prepared(make_run, tmp_path, name="first", sft__int__max_steps=100_000)
    second = prepared(make_run, tmp_path, name="second", sft__int__max_steps=100_000)
    detached.start(first)
    until(first, "running", steps=5)
    detached.start(second)
    while "queued" not in (second.log.read_text() if second.log.exists() else ""):
        time.sleep(0.1)
    assert RunRecord.read(second.folder).state == "queued"
    cancelled = detached.cancel(RunRecord.read(second.folder))
    assert (cancelled.state, cancelled.reason) == ("cancelled", "stopped by the user")
    assert RunRecord.read(first.folder).state == "running"
    assert detached.cancel(RunRecord.read(first.folder)).state == "cancelled"
    while processes_of(first) + processes_of(second):
        time.sleep(0.1)
    with pytest.raises(RunError, match="run first has ended: it is cancelled"):
        detached.cancel(RunRecord.read(first.folder))


def test_what_fails_says_why_in_the_record_and_the_log(make_run: MakeRun, tmp_path: Path) -> None:
    run = prepared(make_run, tmp_path, ray=RaySettings(address="127.0.0.1:1"), sft__int__max_steps=1)
    run = run.update(submission="")  # no cluster there: as a job would meet it
    job = run.folder / "job.json"
    shown = subprocess.run(
        [sys.executable, "-m", "sqlllm.jobs.detached", str(run.folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 1
    failed = RunRecord.read(run.folder)
    assert failed.state == "failed"
    assert failed.reason.startswith("no Ray cluster answers at 127.0.0.1:1")
    assert "Correct ray.address" in shown.stdout
    assert "Traceback" not in shown.stdout + shown.stderr
    job.write_text("{")
    with pytest.raises(RunError, match="cannot be done again"):
        detached.resumable(failed)


@pytest.fixture
def ray_address(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A Ray cluster with a dashboard, and the environment in which it can be reached."""
    with RayCluster(tmp_path / "ray", 4, dashboard=True) as cluster:
        cluster.launch()
        yield cluster.address, cluster.environment


def test_on_a_cluster_it_is_a_job(make_run: MakeRun, tmp_path: Path, ray_address: tuple[str, dict[str, str]]) -> None:
    address, environment = ray_address

    def elsewhere(what: str, run: RunRecord) -> None:
        """Call a function of `detached` in a process that knows the cluster's address."""
        code = (
            "import sys; from pathlib import Path; from sqlllm.jobs import detached; from sqlllm.jobs.runs import"
            " RunRecord; getattr(detached, sys.argv[1])(RunRecord.read(Path(sys.argv[2])))"
        )
        subprocess.run([sys.executable, "-c", code, what, str(run.folder)], env=environment, check=True)

    ray = RaySettings(address=address)
    short = prepared(make_run, tmp_path, ray, name="short", sft__int__max_steps=10)
    long = prepared(make_run, tmp_path, ray, name="long", sft__int__max_steps=1_000_000)
    elsewhere("start", short)
    assert RunRecord.read(short.folder).submission.startswith("short-")
    done = until(short, "succeeded")
    assert done.steps == 10
    while "succeeded" not in done.log.read_text():
        time.sleep(0.1)
    elsewhere("start", long)
    until(long, "running", steps=5)
    elsewhere("cancel", long)
    assert RunRecord.read(long.folder).state == "cancelled"
