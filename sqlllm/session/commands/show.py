"""!show what; as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sqlllm import __version__
from sqlllm.dialect.statements import Macro
from sqlllm.errors import OptionError, ParseError, nearest, suggest
from sqlllm.places import SECRET_KEY
from sqlllm.settings import Settings

from .. import registry, system
from ..formats import FORMATS
from ..registry import command
from ..tables import Result
from . import arguments

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from ..session import Session


@command("show")
def show(session: Session, macro: Macro) -> Result:
    """`!show tables;` and the rest of SUBJECTS; `!show "conf/key";` one setting."""
    (subject,) = arguments.words(session, macro, "!show tables;", 1)
    name, _, key = subject.partition("/")
    if name == "conf":
        return Result(_conf(session, key), place=macro.place)
    if name not in SUBJECTS or key:
        known = [*SUBJECTS, "conf"]
        raise ParseError(
            f"!show does not know {subject}", cure=suggest(name, known, what="subjects"), place=macro.args[0].place
        )
    return Result(SUBJECTS[name](session), place=macro.place)


def _tables(session: Session) -> DataFrame:
    return session.spark.sql("show tables")


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


def _jobs(session: Session) -> DataFrame:
    tracker = session.spark.sparkContext.statusTracker()
    rows = []
    for job in tracker.getActiveJobsIds():
        if info := tracker.getJobInfo(job):
            rows.append({"job": job, "status": info.status})
    return session.table(rows, "job int, status string")


def _conf(session: Session, key: str) -> DataFrame:
    """Spark's settings and ours, `list` or no key for all of them, else those whose name begins with `key`."""
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


SUBJECTS: dict[str, Callable[[Session], DataFrame]] = {
    "commands": _commands,
    "datasources": _datasources,
    "et": _modules,  # Byzer-SQL's word for modules
    "functions": _functions,
    "jobs": _jobs,
    "models": system.models,
    "modules": _modules,
    "runs": system.runs,
    "tables": _tables,
    "version": _version,
}
