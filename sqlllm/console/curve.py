"""The loss curve of runs: in braille for a terminal, as an SVG picture for a page. No library draws it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

Points = Sequence[tuple[float, float]]
"""(step, loss), the steps rising."""

_COLOURS = ("#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2")
_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 40, 36
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #6b7280 } .title { font-size: 14px; font-weight: 600; fill: #111827 }
  .grid { stroke: #e5e7eb } .line { fill: none; stroke-width: 2; stroke-linejoin: round }
  .eval { stroke-dasharray: 2 5; stroke-linecap: round }
  @media (prefers-color-scheme: dark) { .title { fill: #f3f4f6 } text { fill: #9ca3af } .grid { stroke: #374151 } }
"""


class Curve(NamedTuple):
    """What one run logged."""

    name: str
    loss: Points
    eval_loss: Points = ()


def braille(points: Points, width: int = 60, height: int = 8) -> list[str]:
    """The curve in `height` lines of `width` characters, each 2 by 4 dots; the highest loss is at the top."""
    if not points:
        return []
    rows = [[0] * width for _ in range(height)]
    lines, columns = 4 * height, 2 * width
    left, right = points[0][0], points[-1][0]
    low, high = _range(points)
    dots = [
        (
            round((step - left) / ((right - left) or 1) * (columns - 1)),
            round((high - loss) / ((high - low) or 1) * (lines - 1)),
        )
        for step, loss in points
    ]
    for (x, y), (next_x, next_y) in pairwise([dots[0], *dots]):
        reach = max(abs(next_x - x), abs(next_y - y), 1)
        for part in range(reach + 1):
            column, line = round(x + (next_x - x) * part / reach), round(y + (next_y - y) * part / reach)
            rows[line // 4][column // 2] |= _DOTS[line % 4][column % 2]
    return ["".join(chr(0x2800 + cell) for cell in row) for row in rows]


_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of one character, from the top


def svg(curves: Sequence[Curve], title: str) -> str:
    """A picture of the curves, with axes and a legend; it suits light and dark pages."""
    low, high = _range([point for curve in curves for point in (*curve.loss, *curve.eval_loss)])
    ticks = _ticks(min(low, 0.0) if low < high / 4 else low, high)
    steps = _ticks(0, max((curve.loss[-1][0] for curve in curves if curve.loss), default=1))
    right = max(steps[-1], *(curve.loss[-1][0] for curve in curves if curve.loss))

    def x(step: float) -> float:
        return _LEFT + step / right * (_WIDTH - _LEFT - _RIGHT)

    def y(loss: float) -> float:
        return _TOP + (ticks[-1] - loss) / (ticks[-1] - ticks[0]) * (_HEIGHT - _TOP - _BOTTOM)

    def path(points: Points) -> str:
        return " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in points)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{_LEFT}" y="20">{escape(title)}</text>',
    ]
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in steps:
        parts.append(f'<text x="{x(tick):.1f}" y="{_HEIGHT - 14}" text-anchor="middle">{tick:,.0f}</text>')
    legend: dict[str, tuple[str, str]] = {}
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        for points, kind, label in ((curve.loss, "", ""), (curve.eval_loss, " eval", " held out")):
            if points:
                parts.append(f'<polyline class="line{kind}" stroke="{colour}" points="{path(points)}"/>')
                legend[curve.name + label] = (colour, kind)
    parts += _legend(legend)
    return "\n".join([*parts, "</svg>", ""])


def _legend(entries: dict[str, tuple[str, str]]) -> Iterable[str]:
    right = _WIDTH - _RIGHT
    for name, (colour, kind) in reversed(entries.items()):
        yield f'<text x="{right}" y="20" text-anchor="end">{escape(name)}</text>'
        right -= round(6.6 * len(name)) + 12
        yield f'<line class="line{kind}" stroke="{colour}" x1="{right - 18}" x2="{right}" y1="16" y2="16"/>'
        right -= 34


def _range(points: Iterable[tuple[float, float]]) -> tuple[float, float]:
    losses = [loss for _, loss in points] or [0.0, 1.0]
    return min(losses), max(losses)


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round numbers whose ends enclose `low` and `high`."""
    width = (high - low) or 1.0
    size = 10.0 ** math.floor(math.log10(width / most))
    while (math.ceil(high / size) - math.floor(low / size)) >= most:
        size *= 2.5 if f"{size:e}"[0] == "2" else 2
    first, last = math.floor(low / size), math.ceil(high / size)
    return [number * size for number in range(first, max(last, first + 1) + 1)]
