"""action="finetune": train a model on a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect import Text
from sqlllm.dialect.statements import Run
from sqlllm.errors import OptionError, SQLLLMError
from sqlllm.jobs import training

from .. import queries
from ..tables import Result, table_named
from .setup import resources

if TYPE_CHECKING:
    from ..session import Session

_SCHEMA = (
    "name string, kind string, state string, folder string, model string, rows bigint, steps bigint, loss double,"
    " tokens bigint, seconds double"
)


def finetune(session: Session, run: Run, options: dict[str, str]) -> Result:
    """Write the table into the run's folder, train, and give one row about the run."""
    spec = training.FinetuneSpec.from_options(options)
    table = run.options["inputTable"].value if spec.input_table else run.table
    if _is_dummy(table):
        raise OptionError(
            "finetune needs a table to learn from", cure='Write: run my_table as LLM, or inputTable="my_table"'
        )
    frame = table_named(session, table)
    session.start_ray()
    shown = {key: session.mask(value) for key, value in options.items()}
    record = training.new_run(spec.model_copy(update={"options": shown}), session.settings.home)
    session.observer.step("writing the training table")
    try:
        with queries.errors_at(table.place):
            frame.write.parquet(str(record.data))
    except SQLLLMError as error:
        record.finish("failed", reason=error.message)
        raise
    except KeyboardInterrupt:
        record.finish("cancelled", reason="stopped by the user")
        raise
    session.observer.step(f"training {record.name}")
    wanted = resources(session)
    gpus = int(wanted.gpus if wanted.gpus is not None else _has_gpu())
    record = training.finetune(
        spec,
        record,
        on_progress=session.observer.training,
        resources=training.Resources(num_workers=gpus or wanted.workers, use_gpu=gpus > 0),
    )
    row = record.model_dump(mode="json", include={column.split()[0] for column in _SCHEMA.split(", ")})
    made = session.table([row], _SCHEMA)
    if spec.output_table:
        return session.name_table(made, spec.output_table, run.place)
    return Result(made, place=run.place)


def _is_dummy(table: Text) -> bool:
    return table.raw.lower() == "command"


def _has_gpu() -> bool:
    import ray

    return "GPU" in ray.cluster_resources()  # type: ignore[no-untyped-call]
