"""Cluster puts texts in groups that a model names; Dedup finds the rows that mean the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlllm.errors import OptionError, TableError, suggest
from sqlllm.udfs import templates

from .. import options
from ..registry import module
from ..tables import Result, quoted
from .inputs import columns_of, input_table, options_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from sqlllm.dialect.statements import Run

    from ..session import Session

_OTHER = "other."
_TEXT = "llm_text"
_RECORDS = 24


@module(
    "Cluster",
    column="the column of texts",
    k="how many clusters; without it the number that separates them best",
    about="what the names are about, as in: why customers write",
    names="false leaves out the names, and asks no chat model",
    model="the model that names the clusters; llm.model without it",
)
def cluster(session: Session, run: Run) -> Result:
    """Adds cluster (from 1, by size), label, similarity (to the centre) and representative to each row."""
    from ..operators import topics
    from ..operators.join import asks, embedded
    from ..operators.tools import Tools

    given, frame = options_of(session, run), input_table(session, run)
    options.require(given, ["column"], "Cluster")
    k = 0 if given.get("k", "auto") == "auto" else options.count(given, "k")
    (column, *more) = columns_of(frame, given, "column")
    if more:
        raise OptionError(
            "Cluster takes one column", cure="Put several together by concat_ws in a select.", key="column"
        )
    named, model = options.flag(given, "names", True), given.get("model", "")
    _check_new(frame, ["cluster", "label", "similarity", "representative"])
    texts, counts = _counted(frame, [_string(column)])
    tools = Tools(session, session.meter.open(run.place.text))
    if named:
        model = tools.model(model)
    rows: list[tuple[Any, ...]] = []
    if texts:
        shown = [text for (text,) in texts]
        found = topics.topics(shown, counts, embedded(tools, shown), k)
        if named:
            ask = asks(tools, model, "naming clusters with")
            context = tools.context(model)
            topics.name(found, shown, ask, lambda text: tools.tokens(text, model), context, given.get("about", ""))
        for number, error in found.failed.items():
            tools.note(f"cluster {number + 1} has no name: {error.kind}: {error.message}")
        central = {row for part in found.representatives for row in part}
        for row, text in enumerate(shown):
            number = found.clusters[row]
            rows.append((text, number + 1, found.names[number], found.near[row], row in central))
    schema = f"{_TEXT} string, cluster int, label string, similarity double, representative boolean"
    return Result(_added(session, frame, [_string(column)], rows, schema), place=run.place)


@module(
    "Dedup",
    prompt='what makes two rows the same, as in "{name} is the same company as {other.name}"',
    recall="the share of the same rows that shall be compared (0.95)",
    records=f"rows in one prompt at most ({_RECORDS})",
    model="the model that compares; llm.model without it",
)
def dedup(session: Session, run: Run) -> Result:
    """Adds entity (from 1), canonical (the values of its canonical row) and is_canonical to each row."""
    from ..operators.entities import Limits, entities
    from ..operators.join import asks, embedded
    from ..operators.tools import Tools

    given, frame = options_of(session, run), input_table(session, run)
    options.require(given, ["prompt"], "Dedup")
    columns, statement = _compared(frame, given["prompt"])
    recall = options.share({"recall": "0.95", **given}, "recall")
    most = options.count({"records": str(_RECORDS), **given}, "records")
    _check_new(frame, ["entity", "canonical", "is_canonical"])
    tools = Tools(session, session.meter.open(run.place.text))
    model = tools.model(given.get("model", ""))
    values = [_string(column) for column in columns]
    texts, _ = _counted(frame, values)
    rows: list[tuple[Any, ...]] = []
    if texts:
        records = [_record(columns, text) for text in texts]
        limits = Limits(lambda text: tools.tokens(text, model), tools.context(model), max(2, most), recall)
        ask = asks(tools, model, "comparing with")
        found = entities(records, embedded(tools, records), statement, limits, ask)
        if found.failed:
            error = next(iter(found.failed.values()))
            tools.note(
                f"{len(found.failed):,} pairs have no answer and count as different: {error.kind}: {error.message}"
            )
        order = sorted(set(found.canonical), key=lambda row: records[row])
        numbers = {row: number for number, row in enumerate(order, 1)}
        rows = [(*text, numbers[one], texts[one]) for text, one in zip(texts, found.canonical, strict=True)]
    keys = [f"{_TEXT}_{number}" for number in range(len(columns))]
    fields = ", ".join(f"{quoted(column)}: string" for column in columns)
    kind = "string" if len(columns) == 1 else f"struct<{fields}>"
    rows = [(*row[:-1], row[-1][0] if len(columns) == 1 else row[-1]) for row in rows]
    schema = f"{', '.join(f'{key} string' for key in keys)}, entity int, canonical {kind}"
    return Result(_with_canonical(_added(session, frame, values, rows, schema), columns), place=run.place)


def _compared(frame: DataFrame, prompt: str) -> tuple[list[str], str]:
    """The columns that `prompt` compares, and the statement about two records A and B. OptionError if it is wrong."""
    fields = [piece for piece in templates.parse(prompt) if isinstance(piece, templates.Field)]
    if unnamed := next((field for field in fields if not field.name), None):
        raise OptionError(f"{unnamed.written} in the prompt names no column", cure="Write {name}.", key="prompt")
    columns: dict[str, str] = {}
    sides = set[bool]()
    known = {name.lower(): name for name in frame.columns}
    for field in fields:
        other = field.name.lower().startswith(_OTHER)
        wanted = field.name[len(_OTHER) :] if other else field.name
        if wanted.lower() not in known:
            cure = suggest(wanted, frame.columns, what="columns")
            raise OptionError(f"there is no column {wanted}", cure=cure, key="prompt")
        columns[wanted.lower()] = known[wanted.lower()]
        sides.add(other)
    if sides != {False, True}:
        cure = 'Write both, as in "{name} is the same company as {other.name}".'
        raise OptionError(
            "the prompt compares a row with another: {column} with {other.column}", cure=cure, key="prompt"
        )
    pieces = []
    for piece in templates.parse(prompt):
        if isinstance(piece, str):
            pieces.append(piece)
            continue
        other = piece.name.lower().startswith(_OTHER)
        name = columns[piece.name.lower().removeprefix(_OTHER) if other else piece.name.lower()]
        record = "B" if other else "A"
        pieces.append(f"{{{record}}}" if len(columns) == 1 else f"{{{record}.{name}}}")
    return list(columns.values()), "".join(pieces)


def _record(columns: Sequence[str], values: Sequence[str | None]) -> str:
    """A record on one line; what is missing is left out."""
    shown = [(column, " ".join(value.split())) for column, value in zip(columns, values, strict=True) if value]
    return shown[0][1] if len(columns) == 1 else "; ".join(f"{column}: {value}" for column, value in shown if value)


def _string(column: str) -> Column:
    from pyspark.sql import functions as f

    return f.col(quoted(column)).cast("string")


def _check_new(frame: DataFrame, names: Sequence[str]) -> None:
    if there := [name for name in names if name in {column.lower() for column in frame.columns}]:
        raise OptionError(f"there is a column {there[0]} already", cure="Give it another name in a select before.")


def _counted(frame: DataFrame, values: Sequence[Column]) -> tuple[list[tuple[Any, ...]], list[int]]:
    """The distinct values that are not all blank, in their order, and how many rows have each."""
    from ..operators.running import MOST

    keys = [value.alias(f"v{number}") for number, value in enumerate(values)]
    table = (
        frame.select(*keys).groupBy(*(f"v{number}" for number in range(len(keys)))).count().limit(MOST + 1).toArrow()
    )
    if table.num_rows > MOST:
        raise TableError(
            f"the table has more than {MOST:,} different texts", cure="Take a part of it in a select before."
        )
    *texts, count = (column.to_pylist() for column in table.columns)
    found = [(row, n) for *row, n in zip(*texts, count, strict=True) if any((value or "").strip() for value in row)]
    found.sort(key=lambda one: [value or "" for value in one[0]])
    return [tuple(row) for row, _ in found], [n for _, n in found]


def _added(
    session: Session, frame: DataFrame, values: Sequence[Column], rows: Sequence[tuple[Any, ...]], schema: str
) -> DataFrame:
    """`frame` with the columns of `rows`, whose first ones say which row they are for; NULL for the other rows."""
    from pyspark.sql import functions as f

    added = session.spark.createDataFrame(list(rows), schema)
    keys = added.columns[: len(values)]
    marked = frame.select("*", *(value.alias(f"{key}_of") for value, key in zip(values, keys, strict=True)))
    on = [f.col(f"{key}_of").eqNullSafe(f.col(key)) for key in keys]
    return marked.join(added, on, "left").drop(*keys, *(f"{key}_of" for key in keys))


def _with_canonical(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    """`frame` with the mark of one row of each entity: of the first that has the canonical values."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    own = [f.col("canonical")] if len(columns) == 1 else [f.col(f"canonical.{quoted(column)}") for column in columns]
    same = f.lit(True)
    for column, value in zip(columns, own, strict=True):
        same = same & _string(column).eqNullSafe(value)
    order = Window.partitionBy("entity").orderBy(same.desc(), f.to_json(f.struct("*")))
    first = f.row_number().over(order) == 1
    return frame.withColumn("is_canonical", f.col("entity").isNull() | first)
