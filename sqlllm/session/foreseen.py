"""What `check` foresees of loads and deployments without Spark: formats and files that are not there, wrong options of
engines. What another machine may have is for the caller to report as a warning."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, PackageError, TableError, nearest
from sqlllm.jobs.serving.worker.engines import get_engine

from . import formats
from .absent_formats import no_format
from .llm import remote, setup
from .llm.infer import BACKENDS, engine_options

if TYPE_CHECKING:
    from sqlllm.places import Place

    from .session import Session

_FILES = (
    "avro", "binaryfile", "csv", "delta", "excel", "image", "json", "libsvm", "orc", "parquet", "text", "xml",
)  # fmt: skip
_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")
_PATTERN = re.compile(r"[*?\[{\\]")


def wrong_format(name: str, place: Place) -> OptionError | None:
    """The error for an absent format; None for a known format, or for the class of a package (`com.x.Source`)."""
    if "." in name or name.lower() in {*formats.LOADERS, *map(str.lower, formats.FORMATS)}:
        return None
    return no_format(name, formats.FORMATS, place)


def missing_files(
    session: Session, format_: str, path: str, made: Collection[str], place: Place
) -> Iterator[TableError]:
    """An error for each of a load's paths where nothing is; what lies under one of `made` is written before."""
    if format_.lower() not in _FILES or session.settings.spark.remote:
        return
    for one in re.split(r",(?![^{]*\})", path):
        local = one.removeprefix("file://").removeprefix("file:")
        if _SCHEME.match(local) or any(_within(local, folder) for folder in made):
            continue
        plain = _PATTERN.split(local, maxsplit=1)[0]
        folder = Path(plain if plain == local else plain.rpartition("/")[0] or ".")
        if plain and not folder.exists():
            near = _nearest(folder)
            yield TableError(f"there is no file {one}", cure=f"Did you mean {near}?" if near else "", place=place)


def _within(path: str, folder: str) -> bool:
    return Path(path).absolute().is_relative_to(Path(folder).absolute())


def _nearest(path: Path) -> str:
    """`path` with its first missing part replaced by the nearest name that exists."""
    parts = path.parts
    for count in range(1, len(parts) + 1):
        there = Path(*parts[:count])
        if not there.exists():
            folder = there.parent
            near = nearest(there.name, [one.name for one in folder.iterdir()]) if folder.is_dir() else None
            return str(Path(folder, near, *parts[count:])) if near else ""
    return ""


def check_engine(session: Session, options: dict[str, str]) -> None:
    """OptionError for an option that the engine or the provider of `action="infer"` does not have.

    Nothing is loaded: an engine whose package is not installed is not asked, nor one that only the folder decides.
    """
    kind = options.get("pretrainedModelType", "")
    if kind.startswith(remote.KIND):
        remote.spec(session, options)
        return
    given = setup.requested(session, options).backend or ""
    engine = "oracle" if kind.startswith("oracle") else BACKENDS.get(given, given)
    wanted = {key.removeprefix("backend."): value for key, value in engine_options(options).items()}
    if not engine:
        return
    try:
        get_engine(engine).parse(wanted)
    except OptionError as error:
        error.key = {"engine": "inferBackend"}.get(error.key, error.key)
        raise
    except (PackageError, ImportError):
        return
