"""What the session knows of itself, as tables: load llm.`runs`, !show models."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlllm.jobs.runs import RunRecord, find_run, list_runs
from sqlllm.jobs.training.progress import Progress, read_metrics

from . import meter, prompt_functions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.jobs.serving import Deployment

    from .session import Session

RUN_SCHEMA = (
    "name string, kind string, state string, folder string, model string, base string, rows bigint, examples bigint,"
    " truncated bigint, dropped bigint, steps bigint, total_steps bigint, loss double, tokens bigint, started string,"
    " seconds double, reason string, parent string, fingerprint string, resumed bigint"
)
METRICS_SCHEMA = ", ".join(
    f"{field.name} {'bigint' if field.type == 'int' else 'double'}" for field in dataclasses.fields(Progress)
)
USAGE_SCHEMA = (
    "statement string, model string, user string, rows bigint, calls bigint, cached bigint, joined bigint,"
    " failed bigint, retried bigint, prompt_tokens bigint, answer_tokens bigint, cost double, seconds double,"
    " tokens_per_second double, started string, query string"
)
MODEL_SCHEMA = (
    "name string, backend string, state string, endpoint string, model string, replicas int, seconds double,"
    " revision string"
)


def recorded(session: Session) -> list[RunRecord]:
    """Every training run under the settings' `home`, the oldest first."""
    return list_runs(session.settings.home / "runs")


def deployed(session: Session) -> list[Deployment]:
    """Every deployed model; none, without starting Ray, where this session deployed none and joins no cluster."""
    return session.serving.models() if session.serves else []


def usage(session: Session) -> DataFrame:
    """What each statement used of each model."""
    rows = [
        {
            **one,
            "started": datetime.fromtimestamp(one["started"], UTC).isoformat(timespec="seconds"),
            "tokens_per_second": one["answer_tokens"] / one["seconds"] if one["seconds"] else 0.0,
        }
        for one in meter.recorded(session)
    ]
    return session.table(rows, USAGE_SCHEMA)


def runs(session: Session) -> DataFrame:
    """`recorded` as a table."""
    names = {column.split()[0] for column in RUN_SCHEMA.split(", ")}
    return session.table([run.model_dump(mode="json", include=names) for run in recorded(session)], RUN_SCHEMA)


def prompts(session: Session) -> DataFrame:
    """Every kept version of a prompt function."""
    return session.table(session.prompts.rows(), prompt_functions.SCHEMA)


def metrics(session: Session, name: str) -> DataFrame:
    """Each logged step of the run `name`; RunError with the nearest one if there is none."""
    logged, _ = read_metrics(find_run(session.settings.home / "runs", name).metrics)
    return session.table([dataclasses.asdict(progress) for progress in logged], METRICS_SCHEMA)


def models(session: Session) -> DataFrame:
    """`deployed` as a table."""
    return session.table([dataclasses.asdict(model) for model in deployed(session)], MODEL_SCHEMA)
