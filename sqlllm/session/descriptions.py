"""What modules, formats and functions are for, as tables: !show et, load modelParams.`RateSampler`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from . import registry

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .session import Session

_SPARK = "https://spark.apache.org/docs/latest/sql-data-sources"
_PAGES = {
    "csv": "csv",
    "json": "json",
    "orc": "orc",
    "parquet": "parquet",
    "text": "text",
    "jdbc": "jdbc",
    "xml": "xml",
}
_OURS = {
    "csv": {"skipFirstNLines": "how many lines of each file are left out"},
    "csvstr": {"skipFirstNLines": "how many lines are left out"},
    "excel": {
        "header": "whether the first row holds the names; also useHeader",
        "sheet": "the sheet's name",
        "dataAddress": "a sheet, cells or both: 'Sheet2'!A20:D34",
        "skipFirstNLines": "how many rows are left out",
        "comment": "the sign that begins a comment",
    },
    "jdbc": {
        "directQuery": "a query that the database answers",
        "prePtnArray": "conditions, one partition for each",
        "prePtnDelimiter": "what stands between them (,)",
    },
}
_SCHEMA = "param string, description string"


def modules(session: Session) -> DataFrame:
    """Every module and what it does."""
    rows = [{"name": name, "doc": _doc(name)} for name in registry.modules()]
    return session.table(rows, "name string, doc string")


def module(session: Session, name: str) -> DataFrame:
    """One module: what it does. ParseError if there is none."""
    return session.table([{"name": name, "doc": _doc(name)}], "name string, doc string")


def module_options(session: Session, name: str) -> DataFrame:
    """The options of a module. ParseError if there is none of that name."""
    registry.find_module(name)
    rows = [{"param": key, "description": about} for key, about in registry.options_of(name).items()]
    return session.table(rows, _SCHEMA)


def format_options(session: Session, name: str) -> DataFrame:
    """The options of a format: ours, and where Spark's manual lists its own."""
    known = dict(_OURS.get(name.lower(), {}))
    if page := _PAGES.get(name.lower().removesuffix("str")):
        known["..."] = f"those of Spark: {_SPARK}-{page}.html"
    return session.table([{"param": key, "description": about} for key, about in known.items()], _SCHEMA)


def _doc(name: str) -> str:
    return inspect.getdoc(registry.find_module(name)) or ""
