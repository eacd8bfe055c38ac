"""Cancelling a run that is a job of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sqlllm.errors import RunError
from sqlllm.jobs import detached
from sqlllm.jobs.job import Job
from sqlllm.jobs.processes import Process
from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training import FinetuneSpec
from sqlllm.settings import Settings

UNKNOWN = RuntimeError("Request failed with status code 404: Job mine-1 does not exist.")


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunRecord]:
    """A run as a job of a cluster that answers so when the job is to be stopped, and then when it is asked for."""
    monkeypatch.setattr(detached, "_POLITE", 0.0)
    monkeypatch.setattr(detached, "_FORCE", 0.0)
    monkeypatch.setattr(detached.cluster, "address", lambda _: "there")

    def submit(stop: bool | Exception, status: str = "", **fields: Any) -> RunRecord:
        def stop_job(_: str) -> bool:
            if isinstance(stop, Exception):
                raise stop
            return stop

        told = SimpleNamespace(value=status, is_terminal=lambda: status == "STOPPED")
        client = SimpleNamespace(stop_job=stop_job, get_job_status=lambda _: told)
        monkeypatch.setattr(detached, "_client", lambda _: client)
        run = RunRecord.create(tmp_path, "mine", kind="sft")
        Job.of(FinetuneSpec.from_options({}), Settings(home=tmp_path)).write(run)
        return run.update(**{"state": "running", "process": None, "submission": "mine-1", **fields})

    return submit


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_that_its_cluster_no_longer_knows_is_over(state: str, submitted: Callable[..., RunRecord]) -> None:
    elsewhere = Process.current().model_copy(update={"host": "elsewhere"})
    run = detached.cancel(submitted(UNKNOWN, state=state, process=elsewhere))
    assert (run.state, run.reason) == ("cancelled", "stopped by the user")


def test_a_cluster_that_refuses_is_reported(submitted: Callable[..., RunRecord]) -> None:
    run = submitted(RuntimeError("Request failed with status code 500: no agent"))
    with pytest.raises(RunError, match=r"run mine cannot be cancelled: RuntimeError: .* status code 500"):
        detached.cancel(run)
    assert RunRecord.read(run.folder).state == "running"


def test_a_job_is_cancelled_once_it_has_ended(submitted: Callable[..., RunRecord]) -> None:
    assert detached.cancel(submitted(True, "STOPPED")).state == "cancelled"
    run = submitted(True, "RUNNING")
    with pytest.raises(RunError, match="does not end: its job mine-1 is still RUNNING"):
        detached.cancel(run)
    assert RunRecord.read(run.folder).state == "running"
