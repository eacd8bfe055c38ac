"""action="convert" and action="merge": one model folder in, another out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Run
from sqlllm.jobs import detached, job
from sqlllm.jobs.conversion.spec import ALIASES, ConvertSpec
from sqlllm.jobs.runs import noted

from .. import guard
from .. import options as checks
from ..tables import Result

if TYPE_CHECKING:
    from ..session import Session

_SCHEMA = "name string, kind string, state string, folder string, model string, base string, seconds double"


def check(_: Run, options: dict[str, str]) -> None:
    """OptionError for what the options alone show to be wrong."""
    checks.flag(options, "detached", False)
    ConvertSpec.from_options(options, look=False)


def convert(session: Session, run: Run, options: dict[str, str]) -> Result:
    """Write the model to `savePath`, and give one row about it; with `detached="true"` at once, before it is there."""
    background = checks.flag(options, "detached", False)
    spec = ConvertSpec.from_options(options)
    path = next(key for key in options if ALIASES.get(key, key) == "savePath")
    guard.check_path(session, str(spec.save_path), run.options[path].value_place)
    shown = {key: session.mask(value) for key, value in options.items()}
    kind = job.KINDS[spec.kind]
    record = kind.new_run(spec.model_copy(update={"options": shown}), session.settings.home)
    with noted(record):
        job.Job.of(spec, session.settings).write(record)
        if background:
            record = detached.start(record)
        else:
            session.start_ray()
            session.observer.step(f"writing {spec.save_path}")
            record = job.execute(record)
    row = record.model_dump(mode="json", include={column.split()[0] for column in _SCHEMA.split(", ")})
    made = session.table([row], _SCHEMA)
    if spec.output_table:
        return session.name_table(made, spec.output_table, run.place)
    return Result(made, place=run.place)
