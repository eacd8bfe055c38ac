"""What a script may do only if a setting says so: files outside the allowed folders, commands, code.

This keeps a pasted script from harm. It is not a sandbox: a script that Python or a plugin helps has other ways.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.errors import ForbiddenError

if TYPE_CHECKING:
    from sqlllm.places import Place

    from .session import Session

_INDIRECT = frozenset({"har", "local", "viewfs", "viewfsoverload"})
"""Schemes that may stand for files of this machine, by ways that only Hadoop's configuration knows."""


def require(session: Session, name: str, what: str, place: Place | None = None) -> None:
    """ForbiddenError unless the setting `allow.NAME` is on."""
    if not getattr(session.settings.allow, name):
        cure = f"Allow it with --set allow.{name}=true, or SQLLLM_ALLOW__{name.upper()}=true."
        raise ForbiddenError(f"{what}, so it is off", cure=cure, place=place)


def check_path(session: Session, path: str, place: Place | None) -> None:
    """ForbiddenError if `path` is local and outside the allowed folders. A remote Spark's files are its own."""
    scheme, colon, rest = path.partition(":")
    has_scheme = bool(colon and re.fullmatch(r"[A-Za-z][\w+.-]+", scheme))
    indirect = scheme.lower() in _INDIRECT
    if session.settings.spark.remote or (has_scheme and scheme.lower() != "file" and not indirect):
        return
    local = re.sub("^//[^/]*", "", rest) if has_scheme else path
    allowed = _allowed(session)
    if Path("/") in allowed:
        return
    plain = re.split(r"[*?\[{\\]", local, maxsplit=1)[0]  # up to what Hadoop reads as a pattern
    if plain != local:
        plain = plain[: plain.rfind("/") + 1]
    folder = Path(plain).resolve()
    if not indirect and not _strays(local[len(plain) :]) and any(folder.is_relative_to(parent) for parent in allowed):
        return
    wider = os.pathsep.join((session.settings.allow.folders, str(folder if folder.is_dir() else folder.parent)))
    raise ForbiddenError(
        f"{path} lies outside the folders that scripts may use ({session.settings.allow.folders})",
        cure=f"Allow it with --set allow.folders={wider}, or all with --set allow.folders=/.",
        place=place,
    )


def allows_everything(session: Session) -> bool:
    """Whether no statement of SQL needs a look."""
    return session.settings.allow.shell and (Path("/") in _allowed(session) or bool(session.settings.spark.remote))


def _strays(pattern: str) -> bool:
    """Whether a pattern may leave its folder: by `..`, or by braces over several folders, which can spell it."""
    if ".." in pattern.replace("\\", "").split("/"):
        return True
    inner = 1
    while inner:
        pattern, inner = re.subn(r"\{[^{}/]*\}", "", pattern)
    return "{" in pattern and "/" in pattern


def _allowed(session: Session) -> list[Path]:
    folders = [folder for folder in session.settings.allow.folders.split(os.pathsep) if folder]
    return [Path(folder).expanduser().resolve() for folder in [*folders, str(session.settings.home)]]
