from __future__ import annotations

import xml.etree.ElementTree as ET
from decimal import Decimal
from typing import Any

import pytest

from sqlllm.console import charts
from sqlllm.errors import OptionError, TableError
from sqlllm.session.cells.visualize import KINDS, Chart


class Rows:
    """A result without Spark."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self._rows = list(rows)

    def rows(self, limit: int | None = None) -> list[dict[str, Any]]:
        return self._rows[:limit]


WEATHER = Rows({"city": "<b>Oslo", "t": 4, "rain": Decimal("1.5")}, {"city": "$Rome_1$", "t": 19, "rain": None})


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_drawn(kind: Any) -> None:
    x = "t" if kind in ("histogram", "scatter") else "city"
    chart = Chart(kind, x, () if kind == "histogram" else ("t",), title="Weather <&> $x$")
    drawing = charts.svg(chart, WEATHER)  # type: ignore[arg-type]
    words = " ".join(ET.fromstring(drawing).itertext())
    assert "Weather <&> $x$" in words
    assert "<script" not in drawing
    if x == "city":
        assert "<b>Oslo" in words
        assert "$Rome_1$" in words


def test_several_columns_have_a_legend_with_their_names() -> None:
    chart = Chart("bar", "city", ("t", "rain"), labels=(("t", "Celsius"),))
    words = " ".join(ET.fromstring(charts.svg(chart, WEATHER)).itertext())  # type: ignore[arg-type]
    assert "Celsius" in words
    assert "rain" in words


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(TableError, match="city holds no numbers"):
        charts.svg(Chart("line", "t", ("city",)), WEATHER)  # type: ignore[arg-type]
    with pytest.raises(TableError, match="no part below 0"):
        charts.svg(Chart("pie", "city", ("t",)), Rows({"city": "a", "t": -1}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("bar: {x: city, y: t}", ""),
        ("fig:\n  bar:\n    x: city\n    y: [t]\nruntime: {env: conda}", ""),
        ("histogram: {x: t}", ""),
        ("bars: {x: city, y: t}", "unknown chart bars"),
        ("bar: {x: city}", "bar needs y"),
        ("bar: {x: town, y: t}", "the table has no column town"),
        ("bar: {x: city, y: t, colour: red}", "unknown key colour"),
        ("bar: {x: city, y: t}\npie: {x: city, y: t}", "a chart has one kind, not 2"),
        ("bar", "a chart needs a kind"),
        ("bar: [", "this is not YAML"),
        ("bar: {x: city, y: t, bins: many}", "bins a number"),
    ],
)
def test_the_description_of_a_chart(body: str, message: str) -> None:
    if not message:
        assert Chart.parse(body, ["city", "t"]).x in ("city", "t")
        return
    with pytest.raises(OptionError, match=message):
        Chart.parse(body, ["city", "t"])
