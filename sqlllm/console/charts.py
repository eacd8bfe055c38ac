"""Charts as SVG, by matplotlib: no network, no script in the page, sharp at every size."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlllm.errors import PackageError, TableError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sqlllm.session import Result
    from sqlllm.session.cells.visualize import Chart

ROWS = 10_000  # of a table that are drawn
_COLOURS = ("#4285f4", "#f4a142", "#2e8b57", "#d9433b", "#8e63ce", "#00a3a3")
_INK, _PAPER = "#010203", "#fdfeff"  # colours that no chart has: stand-ins for those of the page or of the file
_STYLE: Any = {  # of matplotlib, whose own type names every key
    "text.parse_math": False,  # `$` and `_` in a title are text
    "svg.fonttype": "none",  # letters stay letters, so the browser's fonts show them
    "font.family": "sans-serif",
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), _INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), _PAPER),
}


def svg(chart: Chart, result: Result) -> str:
    """The chart of the first ROWS rows of a result, in stand-in colours: for `inline` or `file`."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PackageError.from_import_error(error, package="matplotlib", extra="console") from error
    rows = result.rows(ROWS + 1)
    x = [row[chart.x] for row in rows[:ROWS]]
    ys = {column: [_number(row[column], column) for row in rows[:ROWS]] for column in chart.y}
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.set_prop_cycle(color=_COLOURS)
        if chart.title:
            axes.set_title(chart.title)
        _DRAW[chart.kind](axes, chart, x, ys)
        if len(rows) > ROWS:
            figure.supxlabel(f"the first {ROWS:,} rows", fontsize=8)
        if chart.kind != "pie":
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlabel(chart.label(chart.x))
            if len(chart.y) == 1:
                axes.set_ylabel(chart.label(chart.y[0]))
            elif chart.y:
                axes.legend(frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg")
    return out.getvalue()[out.getvalue().index("<svg") :]


def inline(drawn: str) -> str:
    """A drawn chart for a page: text and axes have the page's text colour, the background is the page's."""
    return drawn.replace(_INK, "currentColor").replace(_PAPER, "none")


def file(drawn: str) -> str:
    """A drawn chart for a file: black on white."""
    return drawn.replace(_INK, "#202124").replace(_PAPER, "#ffffff")


def _bar(axes: Axes, chart: Chart, x: list[Any], ys: dict[str, list[float]]) -> None:
    width = 0.8 / len(ys)
    for index, (column, values) in enumerate(ys.items()):
        places = [place + (index - (len(ys) - 1) / 2) * width for place in range(len(x))]
        axes.bar(places, values, width, label=chart.label(column))
    names = [str(value) for value in x]
    crowded = sum(map(len, names)) > 70
    axes.set_xticks(range(len(x)), names, rotation=45 if crowded else 0, ha="right" if crowded else "center")


def _line(axes: Axes, chart: Chart, x: list[Any], ys: dict[str, list[float]]) -> None:
    order = sorted(range(len(x)), key=lambda index: (x[index] is None, x[index]))
    for column, values in ys.items():
        axes.plot([x[i] for i in order], [values[i] for i in order], label=chart.label(column), linewidth=1.8)


def _scatter(axes: Axes, chart: Chart, x: list[Any], ys: dict[str, list[float]]) -> None:
    for column, values in ys.items():
        axes.scatter(x, values, s=14, alpha=0.7, label=chart.label(column))


def _histogram(axes: Axes, chart: Chart, x: list[Any], _: dict[str, list[float]]) -> None:
    axes.hist([_number(value, chart.x) for value in x if value is not None], bins=chart.bins, edgecolor="white")
    axes.set_ylabel("rows")


def _pie(axes: Axes, chart: Chart, x: list[Any], ys: dict[str, list[float]]) -> None:
    (values,) = [*ys.values()][:1]
    if any(not value >= 0 for value in values):
        raise TableError(f"a pie has no part below 0, as {chart.y[0]} has", cure="Draw a bar.")
    axes.pie(values, labels=[str(value) for value in x], autopct="%1.0f%%", colors=_COLOURS, startangle=90)


def _number(value: Any, column: str) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, (int, float, Decimal)):
        return float(value)
    raise TableError(f"{column} holds no numbers but {value!r}", cure=f"Select cast({column} as double) as {column}.")


_DRAW = {"bar": _bar, "line": _line, "scatter": _scatter, "histogram": _histogram, "pie": _pie}
