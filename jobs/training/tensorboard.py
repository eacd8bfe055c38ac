"""A run's metrics as TensorBoard reads them, where its package is installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

from .progress import Progress

_FIGURES = [field.name for field in fields(Progress) if field.name not in {"step", "total_steps"}]


@contextmanager
def events(folder: Path, began: float) -> Iterator[Callable[[Progress], None]]:
    """A function that writes each progress to a fresh `folder`; without the package it does nothing.

    `began` is the run's first second, of the epoch.
    """
    if find_spec("tensorboard") is None:
        yield lambda _: None
        return
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    # A resumed run writes its earlier steps again.
    shutil.rmtree(folder, ignore_errors=True)
    writer = EventFileWriter(str(folder), flush_secs=5)

    def write(progress: Progress) -> None:
        figures = {name: getattr(progress, name) for name in _FIGURES}
        values = [
            Summary.Value(tag=f"train/{name}", simple_value=figure)
            for name, figure in figures.items()
            if figure is not None
        ]
        writer.add_event(Event(wall_time=began + progress.seconds, step=progress.step, summary=Summary(value=values)))

    try:
        yield write
    finally:
        writer.close()
