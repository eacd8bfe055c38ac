"""!show what; as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import OptionError, ParseError, nearest, suggest
from sqlllm.places import SECRET_KEY
from sqlllm.settings import Settings
from sqlllm.version import __version__

from .. import descriptions, glance, queries, registry
from ..formats import FORMATS
from ..registry import command
from ..tables import Result, identifier
from . import arguments

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from ..session import Session


@command("show")
def show(session: Session, macro: Macro) -> Result:
    """`!show tables;` and the rest of SUBJECTS; `!show "conf/key";` and the rest of DETAILS, one of them."""
    found = arguments.words(session, macro, "!show tables;", 1, 3)
    subject, place = found[0], macro.args[0].place
    if len(found) > 1:
        if len(found) < 3 or found[:2] != ["tables", "from"]:
            raise arguments.misused(macro, "!show tables from my_database;", " ".join(found))
        with queries.errors_at(macro.args[2].place):
            return Result(session.spark.sql(f"show tables from {identifier(found[2])}"), place=macro.place)
    for prefix in sorted(DETAILS, key=len, reverse=True):
        if subject.startswith(prefix):
            with queries.errors_at(place):
                return Result(DETAILS[prefix](session, subject.removeprefix(prefix)), place=macro.place)
    if subject in GLANCES:
        frame, links = GLANCES[subject](session)
        return Result(frame, place=macro.place, links=links)
    if subject not in SUBJECTS:
        known = [*GLANCES, *SUBJECTS, *(f"{prefix}NAME" for prefix in DETAILS)]
        cure = _ABSENT.get(subject.partition("/")[0]) or suggest(subject.partition("/")[0], known, what="subjects")
        raise ParseError(f"!show does not know {subject}", cure=cure, place=place)
    return Result(SUBJECTS[subject](session), place=macro.place)


def _function(session: Session, name: str) -> DataFrame:
    return session.spark.sql(f"describe function extended {identifier(name)}")


def _resource(session: Session) -> DataFrame:
    context = session.spark.sparkContext
    row = {
        "master": context.master,
        "cores": context.defaultParallelism,
        "driver_memory": context.getConf().get("spark.driver.memory", ""),
        "executor_memory": context.getConf().get("spark.executor.memory", ""),
    }
    return session.table([row], "master string, cores int, driver_memory string, executor_memory string")


def _group(session: Session, group: str) -> DataFrame:
    tracker = session.spark.sparkContext.statusTracker()
    return _job_rows(session, tracker.getJobIdsForGroup(group))


def _functions(session: Session) -> DataFrame:
    return session.spark.sql("show functions")


def _version(session: Session) -> DataFrame:
    return session.table([{"sqlllm": __version__, "spark": session.spark.version}], "sqlllm string, spark string")


def _datasources(session: Session) -> DataFrame:
    return _names(session, FORMATS)


def _modules(session: Session) -> DataFrame:
    return _names(session, registry.modules())


def _commands(session: Session) -> DataFrame:
    return _names(session, registry.commands())


def _indexes(session: Session) -> DataFrame:
    from ..indexes import read

    return read.show(session)


def _jobs(session: Session) -> DataFrame:
    return _job_rows(session, session.spark.sparkContext.statusTracker().getActiveJobsIds())


def _job_rows(session: Session, jobs: Iterable[int]) -> DataFrame:
    tracker = session.spark.sparkContext.statusTracker()
    rows = []
    for job in jobs:
        if info := tracker.getJobInfo(job):
            rows.append({"job": job, "status": info.status})
    return session.table(rows, "job int, status string")


def conf(session: Session, key: str = "list") -> DataFrame:
    """Spark's settings and ours: all of them for `list`, else those whose name begins with `key`."""
    found = {**session.spark.conf.getAll, **{name: _setting(session, name) for name in Settings.key_names()}}
    if key not in {"", "list"}:
        if not any(name.startswith(key) for name in found):
            near = nearest(key, found)
            raise OptionError(f"there is no setting {key}", cure=f"Did you mean {near}?" if near else "")
        found = {name: value for name, value in found.items() if name.startswith(key)}
    rows = [{"key": name, "value": _masked(name, value)} for name, value in sorted(found.items())]
    return session.table(rows, "key string, value string")


def _setting(session: Session, name: str) -> str:
    value: object = session.settings
    for part in name.split("."):
        value = getattr(value, part)
    return "" if value is None else str(value)


def _masked(name: str, value: str) -> str:
    return "***" if value and SECRET_KEY.search(name) else value


def _names(session: Session, names: Iterable[str]) -> DataFrame:
    return session.table([{"name": name} for name in sorted(names)], "name string")


GLANCES: dict[str, Callable[[Session], tuple[DataFrame, glance.Links]]] = {
    "models": glance.models,
    "runs": glance.runs,
    "tables": glance.tables,
    "usage": glance.usage,
}
SUBJECTS: dict[str, Callable[[Session], DataFrame]] = {
    "commands": _commands,
    "conf": conf,
    "datasources": _datasources,
    "et": descriptions.modules,  # Byzer-SQL's word for modules
    "functions": _functions,
    "indexes": _indexes,
    "jobs": _jobs,
    "modules": _modules,
    "resource": _resource,
    "version": _version,
}
DETAILS: dict[str, Callable[[Session, str], DataFrame]] = {
    "conf/": conf,
    "datasources/params/": descriptions.format_options,
    "et/": descriptions.module,
    "et/params/": descriptions.module_options,
    "function/": _function,
    "jobs/": _group,
    "jobs/v2/": _group,
}
_ABSENT = {
    "api": "A session has no HTTP interface of its own; the models have one: see !show models;",
    "log": "Spark writes its log where it was started; a model's or a run's: action=\"logs\" of run command as LLM.",
}
