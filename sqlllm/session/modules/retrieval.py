"""Byzer-LLM's module Retrieval, on indexes: clusters and databases are a part of an index's name.

run command as Retrieval.`` where action="table/create" and clusterName="c" and `table.database`="db"
and `table.table`="t" and `table.schema`="st(field(_id,string),field(content,string,analyze),field(v,array(float)))";
run command as Retrieval.`` where action="table/data" and clusterName="c" and database="db" and table="t"
and inputTable="chunks";
run command as Retrieval.`` where action="register" and clusterName="c" and database="db" and table="t"
and udfName="search";
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, TableError, suggest

from .. import options
from ..registry import module
from ..tables import Result, table_named
from .inputs import options_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.dialect.statements import Run

    from ..session import Session

ACTIONS = (
    "cluster/create", "table/create", "table/data", "table/commit", "table/truncate", "table/closeAndDeleteFile",
    "register",
)  # fmt: skip
_ROW = "name string, action string, rows bigint"
_FIELD = re.compile(r"field\(\s*(\w+)\s*,\s*(array\(\s*\w+\s*\)|\w+)\s*((?:,\s*\w+\s*)*)\)")
_VECTORS = re.compile(r"array\(\s*(?:float|double)\s*\)")
_UNUSED = ("cluster.location", "cluster.numNodes", "cluster.javaHome", "cluster.path", "cluster.options")
_UNUSED_TABLE = ("table.location", "table.num_shards", "batchSize")


@dataclass(frozen=True)
class Schema:
    """What `table.schema` says: which column is the key, which is searched by words, which holds the vectors."""

    columns: tuple[str, ...]
    key: str
    text: str
    vector: str

    @classmethod
    def parse(cls, text: str) -> Schema:
        """Byzer's notation. Raises OptionError."""
        fields = _FIELD.findall(text)
        usage = "st(field(_id,string),field(content,string,analyze),field(vector,array(float)))"
        if not text.strip().startswith("st(") or not fields:
            raise OptionError(f"{text!r} is not a schema", cure=f"Write {usage}.", key="table.schema")
        names = [name for name, _, _ in fields]
        searched = [name for name, kind, more in fields if kind == "string" and "analyze" in more]
        vectors = [name for name, kind, _ in fields if _VECTORS.fullmatch(kind)]
        if not searched:
            cure = f"Mark the column that is searched by words: {usage}."
            raise OptionError("the schema has no field with analyze", cure=cure, key="table.schema")
        if len(searched) > 1 or len(vectors) != 1:
            raise OptionError(
                "a table has one text that is analyzed and one vector",
                cure=f"Write {usage}. For several texts, concat them or make a table for each.",
                key="table.schema",
            )
        return cls(tuple(names), "_id" if "_id" in names else names[0], searched[0], vectors[0])


@module(
    "Retrieval",
    action=", ".join(ACTIONS),
    clusterName="the first part of the index's name",
    database="the second part",
    table="the third part",
    inputTable="the rows of table/data",
    udfName="the function of register: it takes a map and gives the hits as JSON",
    **{
        "cluster.name": "the name of a cluster; it takes no process here",
        "table.database": "`database`, where the table is made",
        "table.table": "`table`, where the table is made",
        "table.schema": "st(field(_id,string),field(content,string,analyze),field(vector,array(float)))",
        **dict.fromkeys((*_UNUSED, *_UNUSED_TABLE), "of Byzer's processes; it has no effect"),
    },
)
def retrieval(session: Session, run: Run) -> Result:
    """Byzer-LLM's retrieval on indexes: write rows, and search them by vectors and words."""
    given = options_of(session, run)
    for key in (*_UNUSED, *_UNUSED_TABLE):
        if key in given:
            session.observer.warned(f"{key} has no effect: an index takes no process of its own")
    action = given.get("action", "")
    if action not in ACTIONS:
        raise OptionError(f"unknown action {action}", cure=suggest(action, ACTIONS, what="actions"), key="action")
    if action == "cluster/create":
        options.require(given, ["cluster.name"], action)
        return _row(session, run, given["cluster.name"], action, 0)
    name = _name(given, action)
    if action == "table/create":
        return _create(session, run, name, given)
    schema = _schema(session, name)
    if action == "table/data":
        options.require(given, ["inputTable"], action)
        rows = _append(session, run, name, schema, table_named(session, given["inputTable"]))
    elif action == "table/commit":  # each table/data is committed already
        rows = _count(session, name)
    elif action == "register":
        return _register(session, run, name, given)
    else:
        rows = 0
        _drop(session, name, whole=action == "table/closeAndDeleteFile")
    return _row(session, run, name, action, rows)


def _name(given: dict[str, str], action: str) -> str:
    prefix = "table." if action == "table/create" else ""
    parts = ["clusterName", f"{prefix}database", f"{prefix}table"]
    options.require(given, parts, action)
    for part in parts:
        if not re.fullmatch(r"\w[\w-]*", given[part]):
            raise OptionError(f"{given[part]!r} is not a name", cure="Write letters, digits, _ and -.", key=part)
    return ".".join(given[part] for part in parts)


def _file(session: Session, name: str) -> Path:
    """Where a table is described until it has rows, and after."""
    from ..indexes import places

    return Path(places.folder(session)) / f"{name}.schema.json"


def _create(session: Session, run: Run, name: str, given: dict[str, str]) -> Result:
    from ..indexes import places

    options.require(given, ["table.schema"], "table/create")
    schema = Schema.parse(given["table.schema"])
    place, path = places.of(session, name), _file(session, name)
    if "://" in place.uri:
        raise OptionError("Retrieval keeps its tables on a disk", cure="Set indexes to a folder.", key="action")
    if path.exists():
        raise TableError(f"there is a table {name} already", cure='Write action="table/truncate" to empty it.')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schema.__dict__))
    return _row(session, run, name, "table/create", 0)


def _schema(session: Session, name: str) -> Schema:
    path = _file(session, name)
    if not path.exists():
        known = [one.name.removesuffix(".schema.json") for one in path.parent.glob("*.schema.json")]
        raise TableError(
            f"there is no table {name}",
            cure=suggest(name, known, what="tables") if known else 'Make it with action="table/create".',
        )
    told = json.loads(path.read_text())
    return Schema(**{**told, "columns": tuple(told["columns"])})


def _append(session: Session, run: Run, name: str, schema: Schema, frame: DataFrame) -> int:
    from ..formats import Request
    from ..indexes import write

    missing = [one for one in schema.columns if one not in frame.columns]
    if missing:
        raise TableError(f"the table has no column {missing[0]}, and {name} has")
    given = {"text": schema.text, "key": schema.key, "vector": schema.vector}
    ask = Request(session, "index", name, given, run.place, run.place)
    result = write.save(ask, frame.select(*schema.columns), "append")
    return int(result.rows()[0]["rows"]) if result else 0


def _count(session: Session, name: str) -> int:
    from ..indexes import places

    found = places.of(session, name).find()
    return found.count_rows() if found is not None else 0


def _drop(session: Session, name: str, *, whole: bool) -> None:
    """Remove all rows; with `whole` the table, too."""
    from sqlllm.retrieval import dataset

    from ..indexes import places

    place = places.of(session, name)
    with dataset.one_at_a_time(place.uri):
        if place.find() is not None:
            dataset.lance().LanceDataset.drop(place.uri)
        if whole:
            _file(session, name).unlink(missing_ok=True)


def _register(session: Session, run: Run, name: str, given: dict[str, str]) -> Result:
    from sqlllm.udfs import index as tasks

    from ..indexes import places

    options.require(given, ["udfName"], "register")
    tasks.register_lookup(session.spark, given["udfName"], places.of(session, name).uri)
    session.models.unstable.add(given["udfName"].lower())  # later rows give other hits
    return _row(session, run, name, "register", _count(session, name))


def _row(session: Session, run: Run, name: str, action: str, rows: int) -> Result:
    return Result(session.table([{"name": name, "action": action, "rows": rows}], _ROW), place=run.place)
