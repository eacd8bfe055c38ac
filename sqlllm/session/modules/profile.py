"""What is in a table: DataSummary, a row of figures for each column; DescriptiveMetrics, its most frequent values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, suggest

from .. import options
from ..registry import module
from ..tables import Result, identifier
from .inputs import input_table, options_of

if TYPE_CHECKING:
    from sqlllm.dialect.statements import Run

    from ..session import Session

_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")

# SQL for a column: `{c}` is the column, `{n}` the column as a double (NULL if it holds no numbers), `{q}` the quantile
# function. Those that need the name, the type or the position of the column are filled in below.
_METRICS: dict[str, str] = {  # in Byzer-SQL's order
    "columnName": "{name}",
    "ordinalPosition": "{position}",
    "%25": "round({q}({n}, 0.25), {digits})",
    "median": "round({q}({n}, 0.5), {digits})",
    "%75": "round({q}({n}, 0.75), {digits})",
    "blankValueRatio": "round(avg(if(trim(cast({c} as string)) = '', 1, 0)), {shares})",
    "dataLength": "cast({bytes} as int)",
    "dataType": "{kind}",
    "max": "cast(max({c}) as string)",
    "maximumLength": "{longest}",
    "mean": "round(avg({n}), {digits})",
    "min": "cast(min({c}) as string)",
    "minimumLength": "{shortest}",
    "nonNullCount": "count({c})",
    "nullValueRatio": "round(avg(if({c} is null, 1, 0)), {shares})",
    "skewness": "round(skewness({n}), {digits})",
    "totalCount": "count(*)",
    "standardDeviation": "round(stddev({n}), {digits})",
    "standardError": "round(stddev({n}) / sqrt(count({n})), {digits})",
    "uniqueValueRatio": "round({distinct} / count({c}), {shares})",
    "categoryCount": "{distinct}",
    "primaryKeyCandidate": "if(count(distinct {c}) = count(*), 1, 0)",
    "mode": "cast(mode({c}, true) as string)",  # of several the least
}
_ALWAYS = ("columnName", "ordinalPosition")
_DEFAULT = [name for name in _METRICS if name not in {"%25", "%75", "skewness", "categoryCount"}]
_SPELLINGS = {"25%": "%25", "75%": "%75", **{name.lower(): name for name in _METRICS}}
_TYPES: dict[str, str] = {
    **dict.fromkeys(("columnName", "dataType", "mode", "max", "min"), "string"),
    **dict.fromkeys(("ordinalPosition", "dataLength", "primaryKeyCandidate"), "int"),
    **dict.fromkeys(("totalCount", "nonNullCount", "categoryCount", "maximumLength", "minimumLength"), "bigint"),
}
_BYTES = {"tinyint": 1, "smallint": 2, "int": 4, "float": 4, "boolean": 1, "bigint": 8, "double": 8, "date": 8}
_NAMES = {"tinyint": "byte", "smallint": "short", "int": "integer", "bigint": "long"}  # Byzer-SQL's


@module(
    "DataSummary",
    metrics="the figures: " + ", ".join(_METRICS) + "; most of them without it",
    roundAt="how many decimals (2); ratios have two more",
    approxSwitch="true estimates distinct values and quantiles",
)
def summary(session: Session, run: Run) -> Result:
    """One row for each column."""
    given, frame = options_of(session, run), input_table(session, run)
    names = _metrics(given.get("metrics", ",".join(_DEFAULT)))
    digits = given.get("roundAt", "2")
    if not digits.isdecimal():
        raise OptionError(f"roundAt is a whole number, not {digits}", key="roundAt")
    estimates = options.flag(given, "approxSwitch", False)
    rows = []
    for position, (column, kind) in enumerate(frame.dtypes, 1):
        c = identifier(column)
        texts = {
            "name": _literal(column),
            "kind": _literal(_NAMES.get(kind, kind)),
            "position": str(position),
            "bytes": _size(kind, c),
            "longest": f"max(length({c}))" if kind == "string" else "null",
            "shortest": f"min(length({c}))" if kind == "string" else "null",
            "c": c,
            "n": f"cast({c} as double)" if kind.startswith(_NUMBERS) else "cast(null as double)",
            "q": "percentile_approx" if estimates else "percentile",
            "distinct": f"approx_count_distinct({c})" if estimates else f"count(distinct {c})",
            "digits": digits,
            "shares": str(int(digits) + 2),
        }
        cells = (
            f"cast({_METRICS[name].format(**texts)} as {_TYPES.get(name, 'double')}) as `{name}`" for name in names
        )
        rows.append(f"struct({', '.join(cells)})")
    figures = frame.selectExpr(f"array({', '.join(rows)}) as rows").selectExpr("inline(rows)").collect()
    schema = ", ".join(f"`{name}` {_TYPES.get(name, 'double')}" for name in names)
    return Result(session.spark.createDataFrame(figures, schema), place=run.place)


def _size(kind: str, column: str) -> str:
    """The bytes of a value, as Byzer-SQL counts them; of a text, the characters of the longest."""
    if kind == "string":
        return f"max(length({column}))"
    if kind.startswith("decimal"):
        return "16"
    return str(_BYTES[kind]) if kind in _BYTES else "8" if kind.startswith("timestamp") else "null"


def _metrics(text: str) -> list[str]:
    wanted = set(_ALWAYS)
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name.lower() not in _SPELLINGS:
            cure = suggest(name, list(_METRICS), what="figures")
            raise OptionError(f"unknown figure {name}", cure=cure, key="metrics")
        wanted.add(_SPELLINGS[name.lower()])
    return [name for name in _METRICS if name in wanted]


@module("DescriptiveMetrics", metricSize="how many values of a column at most (100)")
def frequencies(session: Session, run: Run) -> Result:
    """Rows `columnName` and `descriptiveMetrics`, JSON: how often each value is there, the most frequent first."""
    given, frame = {"metricSize": "100", **options_of(session, run)}, input_table(session, run)
    most = options.count(given, "metricSize")
    rows = []
    for column in frame.columns:
        counted = frame.where(f"{identifier(column)} is not null").groupBy(identifier(column)).count()
        top = counted.orderBy("count", identifier(column), ascending=[False, True]).limit(most).collect()
        figures = json.dumps([{str(value): count} for value, count in top], ensure_ascii=False)
        rows.append({"columnName": column, "descriptiveMetrics": figures})
    return Result(session.table(rows, "columnName string, descriptiveMetrics string"), place=run.place)


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
