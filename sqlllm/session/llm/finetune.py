"""action="finetune": train a model on a table, here or in the background."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.dialect import Text
from sqlllm.dialect.statements import Run
from sqlllm.errors import OptionError, SetupError
from sqlllm.jobs import detached, job
from sqlllm.jobs.runs import RunRecord, noted
from sqlllm.jobs.training import dpo, formats

from .. import options as checks
from .. import queries
from ..tables import Result, table_named
from . import setup

if TYPE_CHECKING:
    from ..session import Session

_SCHEMA = (
    "name string, kind string, state string, folder string, model string, rows bigint, examples bigint,"
    " truncated bigint, dropped bigint, steps bigint, loss double, eval_loss double, tokens bigint, seconds double"
)


def check(run: Run, options: dict[str, str]) -> None:
    """OptionError for what the options alone show to be wrong."""
    checks.flag(options, "detached", False)
    job.kind_of(options).spec.from_options(options, look=False)
    if not options.get("localDataDir") and _table(run, options).raw.lower() == "command":
        raise OptionError(
            "finetune needs a table to learn from", cure='Write: run my_table as LLM, or inputTable="my_table"'
        )


def finetune(session: Session, run: Run, options: dict[str, str]) -> Result:
    """Write the table into the run's folder, train, and give one row about the run.

    With `detached="true"` the row comes at once, its state queued, and the run goes on without this session.
    """
    background = checks.flag(options, "detached", False)
    kind = job.kind_of(options)
    spec = kind.spec.from_options(options)
    table = _table(run, options)
    frame = None if options.get("localDataDir") else table_named(session, table)
    held_out = run.options["evalTable"].value if options.get("evalTable") else None
    measured = table_named(session, held_out) if held_out else None
    known = FORMATS.get(getattr(spec, "kind", ""))  # pretraining has no kinds
    taken = _taken(table, known, frame.columns) if frame is not None and known else ""
    wanted = setup.requested(session) if background else setup.resources(session)
    unset = wanted.gpus is None and not background
    _tell_unused(session, wanted, on_gpus=job.has_gpu() if unset else bool(wanted.gpus))
    shown = {key: session.mask(value) for key, value in options.items()}
    record = kind.new_run(spec.model_copy(update={"options": shown}), session.settings.home)
    session.observer.step(f"writing the training table: {taken}" if taken else "writing the training table")
    with noted(record):
        job.Job.of(
            spec,
            session.settings,
            workers=wanted.workers,
            gpus=None if wanted.gpus is None else math.ceil(wanted.gpus),
            cpus=wanted.cpus,
        ).write(record)
        with queries.errors_at(table.place):
            if frame is not None:
                frame.write.parquet(str(record.data))
                check_seen(session, record.data)
        if held_out and measured is not None:
            with queries.errors_at(held_out.place):
                measured.write.parquet(str(record.eval_data))
        if background:
            record = detached.start(record)
            session.observer.warned(f"{record.name} goes on in the background: sqlllm runs follow {record.name}")
        else:
            record = train(session, record)
    made = row(session, record)
    if spec.output_table:
        return session.name_table(made.frame, spec.output_table, run.place)
    return Result(made.frame, place=run.place)


def _taken(table: Text, known: Sequence[formats.Format], columns: list[str]) -> str:
    """What each column is taken for; OptionError, with its place, if that is not clear."""
    try:
        return formats.described(columns, formats.choose(columns, known))
    except OptionError as error:
        raise error.at(table.place) from None


def warn_of_cuts(session: Session, record: RunRecord) -> None:
    """Warn where a share of the answers was not learned as it is."""
    for count, what in (
        (record.truncated or 0, "are cut: question and answer are longer than max_length"),
        (record.dropped or 0, "are left out: their question alone fills max_length"),
    ):
        if count and count >= _SHARE * record.examples:
            session.observer.warned(
                f"{count:,} of {record.examples:,} answers {what}. Raise `sft.int.max_length`, or leave long rows out"
            )


_SHARE = 0.01
"""Below this share, cut answers are counted in the row without a warning."""
FORMATS = {"sft": formats.FORMATS, "dpo": dpo.FORMATS}


def _tell_unused(session: Session, wanted: setup.Resources, *, on_gpus: bool) -> None:
    """Warn of what the setup asks for and no run takes."""
    if wanted.custom:
        session.observer.warned("setup resource.* has no effect on runs: it places the workers of deployed models")
    if wanted.workers > 1 and on_gpus:
        session.observer.warned("setup num_workers has no effect on GPUs: num_gpus says how many train")


def check_seen(session: Session, table: Path) -> None:
    """SetupError if Spark's workers have written a table where this machine does not see it."""
    if not session.settings.spark.is_here and not any(table.glob("*.parquet")):
        raise SetupError(
            f"Spark's workers wrote the training table to disks of their own: nothing is in {table} here",
            cure="Mount one folder at one path on all machines, and set SQLLLM_HOME to a folder in it.",
        )


def train(session: Session, record: RunRecord, *, resume: bool = False) -> RunRecord:
    """Do a run's job in this session, its progress shown."""
    session.start_ray()
    session.observer.step(f"training {record.name}")
    record = job.execute(record, on_progress=session.observer.training, resume=resume)
    warn_of_cuts(session, record)
    return record


def row(session: Session, record: RunRecord) -> Result:
    """One row about a run."""
    values = record.model_dump(mode="json", include={column.split()[0] for column in _SCHEMA.split(", ")})
    return Result(session.table([values], _SCHEMA))


def _table(run: Run, options: dict[str, str]) -> Text:
    return run.options["inputTable"].value if options.get("inputTable") else run.table
