"""A run's checkpoints: `finetune_model/checkpoint-N`, whole once it holds our mark, which is written last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlllm.jobs.files import sync, write_whole

_MARK = "sqlllm.json"


class Mark(NamedTuple):
    """Where the run stood: it goes on counting from here."""

    step: int
    tokens: int
    seconds: float
    finished: bool
    """Nothing is left but to save the model."""


def mark(checkpoint: Path, where: Mark) -> None:
    """Declare a checkpoint whole."""
    flush(checkpoint)
    write_whole(checkpoint / _MARK, json.dumps(where._asdict()))
    sync(checkpoint.parent)


def read_mark(checkpoint: Path) -> Mark:
    """Where the run stood at a whole checkpoint."""
    return Mark(**json.loads((checkpoint / _MARK).read_text()))


def last(folder: Path) -> Path | None:
    """The last whole checkpoint in `folder`; one that was cut short in its writing does not count."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_MARK}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def flush(folder: Path) -> None:
    """Have the disk take all of a folder: a power cut must not leave a name without its bytes."""
    for path in (*folder.rglob("*"), folder):
        sync(path)


def drop(folder: Path, *, whole: bool = True) -> None:
    """Remove the checkpoints in `folder`; without `whole`, only those that were cut short."""
    for path in folder.glob("checkpoint-*"):
        if whole or not (path / _MARK).exists():
            shutil.rmtree(path)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write into that becomes `folder` only when the block ends well; an older `folder` goes then."""
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    yield beside
    flush(beside)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    sync(folder.parent)
