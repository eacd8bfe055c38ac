"""--%visualize: a chart of a table, described in a few lines of YAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from sqlllm.dialect.statements import Cell
from sqlllm.errors import OptionError, PackageError, suggest

from .. import options
from ..tables import Result, table_named

if TYPE_CHECKING:
    from ..session import Session

Kind = Literal["bar", "line", "scatter", "histogram", "pie"]
KINDS = ("bar", "line", "scatter", "histogram", "pie")
KEYS = ("x", "y", "title", "labels", "bins")
_BYZER = ("runtime", "control", "fig")  # `fig` holds the chart; the others are of Byzer's Python


@dataclass(frozen=True)
class Chart:
    """A chart to draw: columns of a table and what to write beside them."""

    kind: Kind
    x: str  # the column of categories, of the horizontal axis, or to count
    y: tuple[str, ...]  # the columns of values; empty for a histogram
    title: str = ""
    labels: tuple[tuple[str, str], ...] = ()  # a column and its name in the chart
    bins: int = 20

    @classmethod
    def parse(cls, text: str, columns: list[str]) -> Chart:
        """The chart that YAML describes, of a table with these columns. Raises OptionError."""
        return _chart(_yaml(text), columns)

    def label(self, column: str) -> str:
        return dict(self.labels).get(column, column)


def visualize(session: Session, cell: Cell) -> None:
    """`kind:` and under it `x`, `y` (one column or a list), `title`, `labels` and, for a histogram, `bins`."""
    params = cell.params.resolve(session.variables)
    options.check(params, ("input",))
    options.require(params, ["input"], "visualize")
    frame = table_named(session, cell.params["input"].value)
    try:
        chart = Chart.parse(cell.body.resolve(session.variables), frame.columns)
    except OptionError as error:
        raise error.at(cell.body.place) from None
    session.observer.charted(chart, Result(frame.select(*dict.fromkeys((chart.x, *chart.y))), place=cell.place))


def _yaml(text: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise PackageError.from_import_error(error, package="yaml", extra="console") from error
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OptionError(f"this is not YAML: {' '.join(str(error).split())}", cure=_EXAMPLE) from None
    if not isinstance(read, dict):
        raise OptionError("a chart needs a kind", cure=_EXAMPLE)
    return cast("dict[str, Any]", read)


def _chart(read: dict[str, Any], columns: list[str]) -> Chart:
    found = {key: value for key, value in {**read, **(read.get("fig") or {})}.items() if key not in _BYZER}
    if len(found) != 1:
        raise OptionError(f"a chart has one kind, not {len(found)}", cure=_EXAMPLE)
    ((kind, told),) = found.items()
    if kind not in KINDS:
        raise OptionError(f"unknown chart {kind}", cure=suggest(str(kind), KINDS, what="charts"))
    if not isinstance(told, dict):
        raise OptionError(f"{kind} needs its columns", cure=_EXAMPLE)
    for key in told:
        if key not in KEYS:
            raise OptionError(f"unknown key {key} of {kind}", cure=suggest(str(key), KEYS, what="keys"))
    y = told.get("y", [])
    named = tuple(str(column) for column in (y if isinstance(y, list) else [y]))
    x = str(told.get("x", ""))
    if not x or (not named and kind != "histogram"):
        raise OptionError(f"{kind} needs {'y' if x else 'x'}", cure=_EXAMPLE)
    for column in (x, *named):
        if column not in columns:
            raise OptionError(f"the table has no column {column}", cure=suggest(column, columns, what="columns"))
    labels, bins = told.get("labels") or {}, told.get("bins", 20)
    if not isinstance(labels, dict) or not isinstance(bins, int) or bins < 1:
        raise OptionError("labels are a column and its name; bins a number from 1", cure=_EXAMPLE)
    return Chart(
        cast("Kind", kind),
        x,
        named,
        str(told.get("title", "")),
        tuple((str(k), str(v)) for k, v in labels.items()),
        bins,
    )


_EXAMPLE = "Write:\nbar:\n  x: city\n  y: celsius\n  title: Weather"
