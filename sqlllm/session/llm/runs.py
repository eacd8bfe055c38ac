"""Training runs: what they are at, and action="cancel" and "resume"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Run
from sqlllm.errors import OptionError, RunError
from sqlllm.jobs import detached, job
from sqlllm.jobs.runs import ACTIVE, RunRecord, find_run, noted
from sqlllm.jobs.training.progress import read_metrics

from .. import options as checks
from ..tables import Result
from .finetune import row, train

if TYPE_CHECKING:
    from sqlllm.places import Place

    from ..session import Session


RESUME = ("action", "name", "udfName", "detached")


def cancel(session: Session, run: Run, options: dict[str, str]) -> Result:
    """End the queued or running run `name`; its checkpoints stay."""
    record = _named(session, run, options, "cancel")
    session.observer.step(f"cancelling {record.name}")
    try:
        record = detached.cancel(record)
    except RunError as error:
        raise error.at(place_of_name(run)) from None
    return Result(row(session, record).frame, place=run.place)


def resume(session: Session, run: Run, options: dict[str, str]) -> Result:
    """Go on with the run `name` from its last checkpoint, in the background unless `detached="false"`."""
    record = _named(session, run, options, "resume")
    background = checks.flag(options, "detached", True)
    changes = {key: text for key, text in options.items() if key not in RESUME}
    try:
        detached.check_resumable(record)
        again = job.changed(record, changes)
        record = detached.resumable(record)
        again.write(record)
        record = record.update(options={**record.options, **changes})
    except RunError as error:
        raise error.at(place_of_name(run)) from None
    if job.last_checkpoint(record) is None:
        session.observer.warned(f"run {record.name} has no checkpoint: it starts anew")
    with noted(record):
        record = detached.start(record, resume=True) if background else train(session, record, resume=True)
    return Result(row(session, record).frame, place=run.place)


def detail(record: RunRecord) -> str:
    """What a run is at, in one line."""
    done = f"step {record.steps} of {record.total_steps}" if record.total_steps else ""
    if record.state == "queued":
        return "waits for its turn"
    if record.state == "running":
        logged, _ = read_metrics(record.metrics)
        return f"{done}  {logged[-1]}" if logged else "starting"
    return record.reason or done


def lines(record: RunRecord) -> list[str]:
    """What a run wrote: its log if it ran in the background, else its metrics; then why it ended."""
    path = record.log if record.log.exists() else record.metrics
    written = path.read_text(errors="replace").splitlines() if path.exists() else []
    return [*written, *([record.reason] if record.state not in ACTIVE and record.reason else [])]


def _named(session: Session, run: Run, options: dict[str, str], action: str) -> RunRecord:
    name = options.get("name") or options.get("udfName")
    if not name:
        raise OptionError(f"{action} needs name", cure='Write: name="..."; `` load llm.`runs` as runs; `` lists them.')
    try:
        return find_run(session.settings.home / "runs", name)
    except RunError as error:
        raise error.at(place_of_name(run)) from None


def place_of_name(run: Run) -> Place:
    """Where a statement names its model or run."""
    return run.options["name" if "name" in run.options else "udfName"].value_place
