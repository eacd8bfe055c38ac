"""Formats of load and save that are more than Spark's reader and writer. A function reads or writes one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Save
from sqlllm.errors import OptionError, ParseError, SetupError, TableError, VariableError, suggest

from . import (
    absent_formats,
    auto,
    delimited,
    descriptions,
    documents,
    excel,
    guard,
    known_options,
    options,
    queries,
    rest,
    streams,
    system,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect.statements import Load
    from sqlllm.places import Place

    from .session import Session


@dataclass(frozen=True)
class Request:
    """A load or save with its variables filled in and its connection's options merged."""

    session: Session
    format: str
    path: str
    options: dict[str, str]
    place: Place  # of the path
    format_place: Place

    @property
    def paths(self) -> list[str]:
        """The path, or several separated by commas."""
        return re.split(r",(?![^{]*\})", self.path)


def request(session: Session, statement: Load | Save) -> Request:
    """What `statement` asks for. Raises OptionError, ForbiddenError."""
    format_ = statement.format.resolve(session.variables)
    path = statement.path.resolve(session.variables)
    given = statement.options.resolve(session.variables)
    name, rest = [*re.split(r"[./]", path, maxsplit=1), ""][:2]
    if (connection := session.connections.get((format_.lower(), name))) is not None:
        path, given = rest, {**connection, **given}
    format_ = given.pop("implClass", format_)  # Byzer's way to a source that has no name
    for key in given:
        if key.lower() in {"path", "paths"}:
            raise OptionError(
                f"{key} is not an option", cure=f"Write it after the format: {format_}.`/a/path`.", key=key
            )
    saves = isinstance(statement, Save)
    given, idle = known_options.checked(format_, given, writing=saves)
    for key in idle:
        session.observer.warned(f"{key} has no effect on {'save' if saves else 'load'} {format_}")
    ask = Request(session, format_, path, given, statement.path.place, statement.format.place)
    if format_.lower() not in _NO_FILES:
        for one in ask.paths:
            guard.check_path(session, one, ask.place)
    return ask


@contextmanager
def errors_explained(ask: Request) -> Iterator[None]:
    """Spark's errors at the path; what is missing from Spark is said by its name."""
    try:
        with queries.errors_at(ask.place):
            yield
    except TableError as error:
        known = ask.format.lower() in _PACKAGES
        if re.search(r"[Ff]ailed to find (the )?data source", error.message):
            if not known:
                raise absent_formats.no_format(ask.format, FORMATS, ask.format_place) from None
            raise SetupError(f"{ask.format} is not a part of Spark itself", cure=_add(ask, ask.format)) from None
        if ask.format.lower() == "jdbc" and re.search("No suitable driver|^[a-zA-Z]+([.][a-zA-Z]+)+$", error.message):
            raise SetupError(f"there is no driver for {ask.options.get('url')}", cure=_add(ask, "jdbc")) from None
        raise


def _add(ask: Request, format_: str) -> str:
    version = ask.session.spark.version
    package = _PACKAGES[format_.lower()].format(spark=version, minor=".".join(version.split(".")[:2]))
    return f"Start with --set spark.packages={package}; Spark then fetches it."


def _text(ask: Request) -> DataFrame:
    """Columns file and value, as in Byzer-SQL; several paths are separated by commas."""
    reader = ask.session.spark.read.options(**ask.options)
    return reader.format("text").load(ask.paths).selectExpr("_metadata.file_path as file", "value")


def _json_text(ask: Request) -> DataFrame:
    return ask.session.spark.read.options(**ask.options).json(_lines(ask))


def _csv_text(ask: Request) -> DataFrame:
    return delimited.read_text(ask, _variable(ask))


def _variable_text(ask: Request) -> DataFrame:
    options.check(ask.options, ())
    return ask.session.table([{"content": _variable(ask)}], "content string")


def _table(ask: Request) -> DataFrame:
    return ask.session.spark.read.options(**ask.options).table(ask.path)


def _module_options(ask: Request) -> DataFrame:
    options.check(ask.options, ())
    return descriptions.module_options(ask.session, ask.path)


def _module_help(ask: Request) -> DataFrame:
    options.check(ask.options, ())
    return descriptions.module(ask.session, ask.path)


def _system(ask: Request) -> DataFrame:
    options.check(ask.options, ())
    if ask.path.startswith("runs/") and ask.path.endswith("/metrics"):
        return system.metrics(ask.session, ask.path.removeprefix("runs/").removesuffix("/metrics"))
    if ask.path not in _SYSTEM:
        known = [*_SYSTEM, "runs/NAME/metrics"]
        raise OptionError(f"llm has no table {ask.path}", cure=suggest(ask.path, known, what="tables"), place=ask.place)
    return _SYSTEM[ask.path](ask.session)


def _index(ask: Request) -> DataFrame:
    from .indexes import read

    return read.load(ask)


def _model(ask: Request) -> DataFrame:
    raise ParseError(
        "a model is not a table here: it stays in its folder",
        cure=f'Write: run command as LLM.`` where action="infer" and localModelDir="{ask.path}" and udfName="chat";',
        place=ask.place,
    )


def _variable(ask: Request) -> str:
    variables = ask.session.variables
    text = variables.get(ask.path)
    if text is None:
        cure = suggest(ask.path, variables.names(), what="variables")
        raise VariableError(f"there is no variable {ask.path}", cure=cure, place=ask.place)
    return text


def _lines(ask: Request) -> DataFrame:
    """The lines of a variable's text, or all of it as one with `multiLine`."""
    text = _variable(ask).strip()
    whole = ask.options.get("multiLine", "false").lower() == "true"
    return ask.session.table([{"value": line} for line in ([text] if whole else text.splitlines())], "value string")


def jdbc_options(ask: Request) -> dict[str, str]:
    """Options for Spark's jdbc: the path is the table, unless a query is given (`query`, or Byzer's `directQuery`)."""
    found = dict(ask.options)
    if "directQuery" in found:
        found["query"] = found.pop("directQuery").strip().rstrip(";")
    if not found.get("url"):
        known = [name for kind, name in ask.session.connections if kind == "jdbc"]
        name = ask.path.partition(".")[0]
        raise OptionError(
            f"there is no connection {name}",
            cure=(suggest(name, known, what="connections") + " " if known else "")
            + f'Write before: connect jdbc where url="jdbc:..." and user="..." and password="..." as {name};',
            place=ask.place,
        )
    if ask.path and not {"dbtable", "query"} & found.keys():
        found["dbtable"] = ask.path
    return found


def _load_jdbc(ask: Request) -> DataFrame:
    """A table or a query; with `prePtnArray`, conditions between `prePtnDelimiter`, one partition for each."""
    found = jdbc_options(ask)
    conditions, between = found.pop("prePtnArray", ""), found.pop("prePtnDelimiter", ",").removeprefix("\\")
    if not conditions:
        return ask.session.spark.read.format("jdbc").options(**found).load()
    url, table = found.pop("url"), found.pop("dbtable", "")
    if not table:
        raise OptionError("prePtnArray divides a table, not a query", key="prePtnArray")
    parts = [part.strip() for part in conditions.split(between)]
    return ask.session.spark.read.jdbc(url, table, predicates=parts, properties=found)


LOADERS: dict[str, Callable[[Request], DataFrame]] = {
    "auto": auto.read,
    "csv": delimited.read,
    "csvstr": _csv_text,
    "documents": documents.documents_of,
    "excel": excel.read,
    "hive": _table,
    "index": _index,
    "jdbc": _load_jdbc,
    "jsonstr": _json_text,
    "llm": _system,
    "mockstream": streams.mock,
    "model": _model,
    "modelexample": _module_help,
    "modelparams": _module_options,
    "pdf": documents.pdf,
    "rate": streams.rate,
    "rest": rest.read,
    "script": _variable_text,
    "text": _text,
}
# Where Spark gets what it does not bring; VERSION is for the reader to choose.
_PACKAGES = {
    "avro": "org.apache.spark:spark-avro_2.13:{spark}",
    "delta": "io.delta:delta-spark_{minor}_2.13:VERSION",
    "jdbc": "org.postgresql:postgresql:VERSION (or your database's)",
    "kafka": "org.apache.spark:spark-sql-kafka-0-10_2.13:{spark}",
}
_SYSTEM: dict[str, Callable[[Session], DataFrame]] = {
    "models": system.models,
    "prompts": system.prompts,
    "runs": system.runs,
    "usage": system.usage,
}
_NO_FILES = (
    "csvstr", "hive", "index", "jdbc", "jsonstr", "kafka", "llm", "mockstream", "model", "modelexample", "modelparams",
    "rate", "rest", "script",
)  # fmt: skip
FORMATS = (
    "auto", "avro", "binaryFile", "csv", "csvStr", "delta", "documents", "excel", "hive", "image", "index", "jdbc",
    "json", "jsonStr", "kafka", "libsvm", "llm", "mockStream", "modelExample", "modelParams", "orc", "parquet", "pdf",
    "rate", "Rest", "script", "text", "xml",
)  # fmt: skip
"""What load knows, by the names of Spark and Byzer-SQL; Spark may know more."""
