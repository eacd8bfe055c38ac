"""What a cell shows while it runs: one display, updated in place; steps, bars, the loss as a curve."""

from __future__ import annotations

import math
import threading
import time
import uuid
from html import escape
from typing import TYPE_CHECKING

from sqlllm.errors import SQLLLMError
from sqlllm.session import Observer

from .. import charts, html
from ..activity import Activity, Watch
from ..html import asset
from ..progress import headline
from .outlet import Outlet, answer, bundles

if TYPE_CHECKING:
    from sqlllm.dialect.statements import Statement
    from sqlllm.jobs.training import Progress
    from sqlllm.session import Result, Session
    from sqlllm.session.cells.visualize import Chart
    from sqlllm.session.meter import Used

_QUIET = 0.7  # seconds that a statement may take before anything is shown
_EVERY = 0.3  # seconds between two updates
_FLOW = 0.1  # seconds between two looks at an answer that comes
_POINTS = 300  # of the loss curve


class Board(Observer):
    """Collects what the session reports, and shows it from a thread of its own while a cell runs."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._reset()

    def _reset(self) -> None:
        self._id = uuid.uuid4().hex
        self._shown = ""
        self._done: list[tuple[str, float]] = []
        self._running: list[tuple[str, float]] = []  # headline and start; nested ones last
        self._step = ""
        self._training: list[Progress] = []
        self._activity = Activity()
        self._used = ""
        self._state = ""
        self._answer: list[str] = []  # of a chat, as far as it has come
        self._answer_id = ""
        self._answer_length, self._answer_shown = 0, 0.0  # of what is shown, and when

    def begin(self, session: Session) -> None:
        """A cell starts."""
        self._reset()
        self._ended = threading.Event()  # its own: the thread of the cell before may still wait for the gateway
        self._thread = threading.Thread(target=self._watch, args=(session, self._ended), name="board", daemon=True)
        self._thread.start()

    def end(self, state: str = "") -> None:
        """The cell has ended: `state` is empty, `failed` or `stopped`."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(1.0)
        self._show_answer()
        self._state = state
        if not state:
            now = time.monotonic()
            self._done += [(line, now - began) for line, began in self._running if now - began >= _QUIET]
            self._running.clear()
        if self._shown or self._used:
            self._show()

    def show(self, result: Result | None) -> None:
        """The statements are done: compute the last table, which may take as long, and show it."""
        with self._lock:
            self._running.append(("computing the rows to show", time.monotonic()))
        found = bundles(result) if result is not None else []
        if self.streamed:
            self._outlet.display(found.pop(0), id=self._answer_id, update=True)
        for bundle in found:
            self._outlet.display(bundle)

    @property
    def streamed(self) -> bool:
        """Whether the last statement's answer is shown already."""
        return bool(self._answer_id)

    # --- from the session --------------------------------------------------------------------------------------

    def started(self, statement: Statement) -> None:
        with self._lock:
            self._running.append((headline(statement), time.monotonic()))
            self._step = ""
        self._answer, self._answer_id, self._answer_length = [], "", 0

    def finished(self, statement: Statement, seconds: float) -> None:
        self._show_answer()
        with self._lock:
            line, _ = self._running.pop()
            self._step = ""
            if seconds >= _QUIET:
                self._done.append((line, seconds))

    def step(self, text: str) -> None:
        self._step = text

    def training(self, progress: Progress) -> None:
        with self._lock:
            if self._training and progress.step < self._training[-1].step:  # another run, or one that goes back
                self._training.clear()
            self._training.append(progress)

    def used(self, used: Used) -> None:
        self._used = Activity(used=used).models()

    def printed(self, text: str) -> None:
        self._outlet.stream("stdout", text + "\n")

    def warned(self, text: str) -> None:
        self._outlet.stream("stderr", f"note: {text}\n")

    def shown(self, result: Result) -> None:
        for bundle in bundles(result):
            self._outlet.display(bundle)

    def charted(self, chart: Chart, result: Result) -> None:
        drawn = charts.svg(chart, result)
        text = f"{chart.kind} of {', '.join(chart.y) or chart.x}"
        self._outlet.display(
            {"text/html": html.drawing(charts.inline(drawn)), "image/svg+xml": charts.file(drawn), "text/plain": text}
        )

    def answering(self, piece: str) -> None:
        self._answer.append(piece)
        if time.monotonic() - self._answer_shown > _FLOW:
            self._show_answer()

    # --- shown to the user -------------------------------------------------------------------------------------

    def _watch(self, session: Session, ended: threading.Event) -> None:
        began, watch = time.monotonic(), Watch(session)
        while not ended.wait(_EVERY):
            if time.monotonic() - began > _QUIET:
                activity = watch.look()
                if not ended.is_set():
                    self._activity = activity
                    self._show()

    def _show(self) -> None:
        with self._lock:
            page, line = self._page(), self._line()
        bundle = {"text/html": page, "text/plain": line}
        if page != self._shown:
            self._outlet.display(bundle, id=self._id, update=bool(self._shown))
            self._shown = page

    def _show_answer(self) -> None:
        text, first = "".join(self._answer), not self._answer_id
        if len(text) > self._answer_length:
            self._answer_length = len(text)
            self._answer_id = self._answer_id or uuid.uuid4().hex
            self._outlet.display(answer(text, "markdown")[0], id=self._answer_id, update=not first)
            self._answer_shown = time.monotonic()

    def _page(self) -> str:
        parts = [f'<div class="done">✓ {_line(line, seconds)}</div>' for line, seconds in self._done]
        if self._running and not self._state:
            line, began = self._running[-1]
            parts.append(f'<div class="now">▸ {_line(line, time.monotonic() - began)}</div>')
            parts += [f'<div class="step">{escape(self._step)}</div>'] if self._step else []
            parts += [_bar(stage.share, str(stage)) for stage in self._activity.stages]
            models, share = self._activity.models(), self._activity.share
            parts += [_bar(share, models) if share else f'<div class="step">{escape(models)}</div>'] if models else []
        elif self._running:
            line, began = self._running[0]
            parts.append(f'<div class="bad">✗ {escape(self._state)}: {_line(line, time.monotonic() - began)}</div>')
        if self._training:
            last = self._training[-1]
            parts.append(_bar(last.step / max(last.total_steps, 1), f"step {last.step}/{last.total_steps}  {last}"))
            parts.append(_curve(self._training))
        if self._used:
            parts.append(f'<div class="step">{escape(self._used)}</div>')
        return (
            f'<div class="sqlllm-board"><style>{asset("colours.css")}{asset("board.css")}</style>{"".join(parts)}</div>'
        )

    def _line(self) -> str:
        lines = [f"✓ {line}  {seconds:.1f} s" for line, seconds in self._done]
        if self._running:
            lines.append(f"{self._state or '▸'} {self._running[-1][0]}  {self._step}".rstrip())
        if self._training:
            lines.append(f"step {self._training[-1].step}/{self._training[-1].total_steps}  {self._training[-1]}")
        return "\n".join([*lines, *filter(None, [self._used])])


def _line(line: str, seconds: float) -> str:
    return f"<code>{escape(line)}</code> <span>{seconds:.1f} s</span>"


def _bar(share: float, text: str) -> str:
    percent = 100 * min(max(share, 0.0), 1.0)
    return f'<div class="bar"><i style="width:{percent:.0f}%"></i></div><span class="told">{escape(text)}</span>'


def _curve(points: list[Progress]) -> str:
    """The loss over the steps as a drawing of the page: no picture, no network."""
    kept = points[:: max(1, len(points) // _POINTS)] + points[-1:]
    kept = [point for point in kept if math.isfinite(point.loss)]
    if len(kept) < 3:
        return ""
    losses = [point.loss for point in kept]
    low, high = min(losses), max(losses)
    most, span = kept[-1].step or 1, (high - low) or 1
    path = " ".join(
        f"{40 + 440 * p.step / most:.1f},{8 + 92 * (high - p.loss) / span:.1f}" for p in kept if p.loss == p.loss
    )
    return (
        '<svg class="curve" viewBox="0 0 490 124" width="490" height="124" role="img" aria-label="training loss">'
        '<line x1="40" y1="100" x2="480" y2="100"/><line x1="40" y1="8" x2="40" y2="100"/>'
        f'<polyline points="{path}"/><text x="36" y="14" text-anchor="end">{high:.2f}</text>'
        f'<text x="36" y="102" text-anchor="end">{low:.2f}</text><text x="40" y="116">loss</text>'
        f'<text x="480" y="116" text-anchor="end">step {most:,}</text></svg>'
    )


def failed(error: BaseException) -> str:
    """The state of a cell that ended with `error`."""
    return "failed" if isinstance(error, SQLLLMError) else "stopped"
