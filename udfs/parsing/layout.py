"""The reading order of a page: columns one after the other, the rows of a table as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median


@dataclass(slots=True)
class Segment:
    """Words on one line with no gap as wide as a column's between them. y grows upwards, as in PDF."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    order: int  # in the file
    hyphen: bool = False  # its last word goes on in the next line

    @property
    def middle(self) -> float:
        return (self.bottom + self.top) / 2

    @property
    def height(self) -> float:
        return self.top - self.bottom


_MOST_CROSSING = 0.34  # of the lines that may stand across a gutter: titles, figures, a table over two columns
_PROSE_LETTERS = 18  # that a line of a column of prose has at least, in the middle
_PROSE_FILL = 0.6  # of its column's width


def text(segments: Sequence[Segment]) -> str:
    """The text of a page: a line each, an empty line between paragraphs that stand apart."""
    blocks = [block for block in (_block(lines) for lines in _blocks(list(segments))) if block]
    return "\n\n".join(blocks)


def _blocks(segments: list[Segment]) -> list[list[list[Segment]]]:
    """Runs of lines in reading order; a line is its segments."""
    found: list[list[list[Segment]]] = []
    for gutter, part in _parts(segments):
        found += [_lines(part)] if gutter is None else _side_by_side(part, gutter)
    return found


def _parts(segments: list[Segment]) -> list[tuple[float | None, list[Segment]]]:
    """The page from top to bottom, cut where it changes between columns and lines over all of it."""
    found: list[tuple[float | None, list[Segment]]] = []
    for band in _bands(segments):
        gutter = _gutter(band)
        above = found[-1][0] if found else None
        if found and (gutter is None if above is None else _goes_on(band, above, gutter)):
            found[-1][1].extend(band)
        else:
            found.append((gutter, band))
    return found


def _goes_on(band: list[Segment], gutter: float, own: float | None) -> bool:
    """Whether a band has the columns of the one above it."""
    apart = all(one.right <= gutter or one.left >= gutter for one in band)
    return apart and (own is not None or median(_weight(one.text) for one in band) >= _PROSE_LETTERS)


def _bands(segments: list[Segment]) -> list[list[Segment]]:
    """The page cut where a white strip goes over all of it that is wider than most between its lines."""
    rows: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda one: -one.top):
        if rows and segment.top > min(one.bottom for one in rows[-1]):
            rows[-1].append(segment)
        else:
            rows.append([segment])
    strips = [min(one.bottom for one in row) - max(one.top for one in below) for row, below in pairwise(rows)]
    if not strips:
        return rows
    wide = max(1.5 * median(strips), 0.7 * median(one.height for one in segments))
    bands = [rows[0]]
    for strip, row in zip(strips, rows[1:], strict=True):
        if strip > wide:
            bands.append([])
        bands[-1] = [*bands[-1], *row]
    return bands


def _side_by_side(segments: list[Segment], gutter: float) -> list[list[list[Segment]]]:
    """The left column, then the right one; what stands across the gutter divides what is above from what is below."""
    found: list[list[list[Segment]]] = []
    band: list[Segment] = []
    for segment in sorted(segments, key=lambda one: (-one.middle, one.left)):
        if segment.left < gutter < segment.right:
            found += _columns(band, gutter)
            band = []
            if found and found[-1] and found[-1][-1][-1].left < gutter < found[-1][-1][-1].right:
                found[-1].append([segment])
            else:
                found.append([[segment]])
        else:
            band.append(segment)
    return found + _columns(band, gutter)


def _columns(band: list[Segment], gutter: float) -> list[list[list[Segment]]]:
    left = [one for one in band if one.right <= gutter]
    right = [one for one in band if one.right > gutter]
    return [*_blocks(left), *_blocks(right)]


def _gutter(segments: list[Segment]) -> float | None:
    """Where the page divides into a left and a right column of prose; None if it does not."""
    if len(segments) < 4:
        return None
    lefts, rights = min(one.left for one in segments), max(one.right for one in segments)
    width, size = rights - lefts, median(one.height for one in segments)
    best: tuple[int, float, float] | None = None
    edges = sorted({one.left for one in segments if lefts + 0.15 * width < one.left < rights - 0.1 * width})
    if len(edges) > 200:
        edges = edges[:: len(edges) // 200 + 1]
    for edge in edges:  # a gutter ends where a column begins
        before = [one.right for one in segments if one.right <= edge]
        if not before:
            continue
        start = max(before)
        crossing = sum(one.left < edge - 0.01 and one.right > edge for one in segments)
        if edge - start < 0.4 * size:
            continue
        candidate = (crossing, -(edge - start), (start + edge) / 2)
        best = candidate if best is None or candidate < best else best
    if best is None:
        return None
    gutter = best[2]
    left = [one for one in segments if one.right <= gutter]
    right = [one for one in segments if one.left >= gutter]
    crossing = len(segments) - len(left) - len(right)
    if min(len(left), len(right)) < 2 or crossing > _MOST_CROSSING * (crossing + max(len(left), len(right))):
        return None
    overlap = min(max(one.top for one in left), max(one.top for one in right)) - max(
        min(one.bottom for one in left), min(one.bottom for one in right)
    )
    if overlap <= 0:  # one above the other: an indented part
        return None
    return gutter if _drawn_apart(left, right) or (_is_prose(left) and _is_prose(right)) else None


def _drawn_apart(left: list[Segment], right: list[Segment]) -> bool:
    """Whether the file draws one side, then the other; a table is drawn row by row."""
    sides = [side for _, side in sorted([(one.order, 0) for one in left] + [(one.order, 1) for one in right])]
    return sum(one != other for one, other in pairwise(sides)) <= 2


def _is_prose(column: list[Segment]) -> bool:
    width = max(one.right for one in column) - min(one.left for one in column)
    letters = median(_weight(one.text) for one in column)
    return letters >= _PROSE_LETTERS and median(one.right - one.left for one in column) >= _PROSE_FILL * width


def _weight(text: str) -> int:
    """Letters, of which a Chinese one counts as two."""
    return len(text) + sum(one >= "\u2e80" for one in text)


def _lines(segments: list[Segment]) -> list[list[Segment]]:
    """Segments on one height are a line, from the left unless the file has them in another order of reading."""
    lines: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda one: (-one.middle, one.order)):
        if lines and abs(lines[-1][0].middle - segment.middle) <= 0.5 * min(lines[-1][0].height, segment.height):
            lines[-1].append(segment)
        else:
            lines.append([segment])
    for line in lines:
        right_to_left = sum(_is_right_to_left(one.text) for one in line) * 2 > len(line)
        line.sort(key=lambda one: -one.right if right_to_left else one.left)
    return lines


def _is_right_to_left(text: str) -> bool:
    letters = [one for one in text if one.isalpha()]
    return sum("\u0590" <= one <= "\u08ff" for one in letters) * 2 > len(letters)


def _block(lines: list[list[Segment]]) -> str:
    """Lines as text; where the distance between two is larger than between most, a new paragraph begins."""
    gaps = [one[0].middle - other[0].middle for one, other in pairwise(lines)]
    usual = median(gaps) if gaps else 0.0
    pieces: list[str] = []
    for index, line in enumerate(lines):
        if index:
            apart = gaps[index - 1] > 1.45 * usual and gaps[index - 1] > 1.6 * line[0].height
            before = lines[index - 1][-1]
            pieces.append("\n\n" if apart else "" if before.hyphen else "\n")
        pieces.append(line[0].text)
        for one, after in pairwise(line):
            pieces.append(f"{'  ' if after.left - one.right > 1.5 * after.height else ' '}{after.text}")
    return "".join(pieces).strip()
