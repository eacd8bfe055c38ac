"""action="list", "status", "logs", "undeploy": what is deployed, what has run. Also behind !byzerllm model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Run
from sqlllm.errors import ModelError, suggest

from .. import options as checks
from .. import register, system
from ..tables import Result
from . import runs

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from ..session import Session

_STATUS = "name string, kind string, state string, folder string, detail string"


def list_(session: Session, run: Run, _: dict[str, str]) -> Result:
    """One row for each deployed model."""
    return Result(system.models(session), place=run.place)


def status(session: Session, run: Run, options: dict[str, str]) -> Result:
    """One row for each model and each training run, or for those called `name`."""
    rows = [
        {
            "name": model.name,
            "kind": "model",
            "state": model.state,
            "folder": model.model,
            "detail": ", ".join([f"{model.replicas} x {model.backend}", *_counted(session, model.name)]),
        }
        for model in system.deployed(session)
    ]
    for record in system.recorded(session):
        row = {"name": record.name, "kind": "run", "state": record.state, "folder": str(record.folder)}
        rows.append({**row, "detail": runs.detail(record)})
    if name := options.get("name") or options.get("udfName"):
        known = sorted({row["name"] for row in rows})
        rows = [row for row in rows if row["name"] == name]
        if not rows:
            raise _unknown(name, known).at(runs.place_of_name(run))
    return Result(session.table(rows, _STATUS), place=run.place)


def logs(session: Session, run: Run, options: dict[str, str]) -> Result:
    """The last `lines` (200) of what each worker of a model wrote, or a training run."""
    name = options.get("name") or options.get("udfName") or ""
    checks.require({"name": name}, ["name"], "logs")
    last = checks.count({"lines": "200", **options}, "lines")
    records = {record.name: record for record in system.recorded(session)}
    models = {model.name for model in system.deployed(session)}
    if name in models:
        found = session.serving.logs(name, last)
    elif name in records:
        found = [(name, line) for line in runs.lines(records[name])[-last:]]
    else:
        raise _unknown(name, sorted(models | records.keys())).at(runs.place_of_name(run))
    rows = [{"source": source, "line": session.mask(line)} for source, line in found]
    return Result(session.table(rows, "source string, line string"), place=run.place)


def undeploy(session: Session, run: Run, options: dict[str, str]) -> Result:
    """Remove a model and its function; gives the row of what was removed."""
    checks.require(options, ["udfName"], "undeploy")
    try:
        return Result(remove(session, options["udfName"]), place=run.place)
    except ModelError as error:
        raise error.at(run.options["udfName"].value_place) from None


def exists(session: Session, name: str) -> bool:
    """Whether a model of that name is deployed."""
    return name in {model.name for model in system.deployed(session)}


def remove(session: Session, name: str) -> DataFrame:
    """Remove a model and its function, and say so in a row; ModelError if there is none."""
    found = {model.name: model for model in system.deployed(session)}
    if name not in found:
        raise _unknown(name, sorted(found))
    session.serving.undeploy(name)
    session.models.drop(name)
    register.drop(session, name)
    row = {"name": name, "kind": "model", "state": "REMOVED", "folder": found[name].model, "detail": ""}
    return session.table([row], _STATUS)


def _counted(session: Session, name: str) -> list[str]:
    """What a model has counted, in words."""
    return [f"{count:,} {what.replace('_', ' ')}" for what, count in session.serving.counts(name).items()]


def _unknown(name: str, known: list[str]) -> ModelError:
    cure = suggest(name, known, what="names") if known else "None is deployed."
    return ModelError(f"there is no model {name}", cure=cure)
