"""include lib: scripts of others, from a folder or by Git; `include local` and `!pyInclude local` find them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, TableError

from . import guard, options

if TYPE_CHECKING:
    from sqlllm.places import Place

    from .session import Session

_ENDINGS = ("", ".byzer", ".sql", ".mlsql", ".kolo", ".py")
_FOLDERS = ("", "src", "src/main")
OPTIONS = ("alias", "commit", "force", "libMirror")


def include(session: Session, name: str, given: dict[str, str], place: Place) -> Path:
    """Fetch the library `name`, a folder, a repository's folder or `host/owner/repository`, and keep its alias.

    Raises ForbiddenError for a folder outside the allowed ones, or for a host without `allow.http`.
    """
    options.check(given, OPTIONS)
    local = Path(name.removeprefix("file://")).expanduser()
    if local.is_dir():
        guard.check_path(session, str(local), place)
        folder = _clone(session, str(local.resolve()), given, place) if _is_bare(local) or "commit" in given else local
    else:
        host, _, rest = name.removeprefix("https://").partition("/")
        if "." not in host or not re.fullmatch(r"[\w.-]+/[\w./-]+", rest):
            cure = "Write a folder, or host/owner/repository."
            raise TableError(f"there is no library {name}", cure=cure, place=place)
        guard.require(session, "http", "include lib runs scripts from the network", place)
        folder = _clone(session, f"https://{given.get('libMirror') or host}/{rest}", given, place)
    session.libraries[given.get("alias") or name] = folder
    session.libraries[name] = folder
    return folder


def find(session: Session, path: str) -> Path | None:
    """The file of a library that a dotted path names, as in `alias.udf.hello`; None if it names no library.

    Raises TableError if the library has no such file.
    """
    for name in sorted(session.libraries, key=len, reverse=True):
        if path.startswith(f"{name}."):
            rest = path.removeprefix(f"{name}.")
            stem, ending = (rest.removesuffix(".py"), ".py") if rest.endswith(".py") else (rest, "")
            for folder in _FOLDERS:
                for suffix in (ending,) if ending else _ENDINGS[1:]:
                    file = session.libraries[name] / folder / (stem.replace(".", "/") + suffix)
                    if file.is_file() and file.resolve().is_relative_to(session.libraries[name].resolve()):
                        return file
            raise TableError(
                f"the library {name} has no script {rest}", cure=f"Its folder is {session.libraries[name]}."
            )
    return None


def _is_bare(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir()


def _clone(session: Session, url: str, given: dict[str, str], place: Place) -> Path:
    """A clone in the settings' home, made once unless `force` is true; at `commit` if one is given."""
    commit = given.get("commit", "")
    if commit and not re.fullmatch(r"\w[\w./-]*", commit):
        raise OptionError(f"{commit} is not a commit, a tag or a branch", key="commit")
    folder = session.settings.home / "libraries" / sha256(f"{url} {commit}".encode()).hexdigest()[:16]
    if options.flag(given, "force", False):
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            _git(place, "clone", "--quiet", *([] if commit else ["--depth=1"]), "--", url, str(beside))
            if commit:
                _git(place, "-C", str(beside), "checkout", "--quiet", commit)
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder


def _git(place: Place, *words: str) -> None:
    # Other protocols may run commands; a question for a password would wait for ever.
    environment = {**os.environ, "GIT_ALLOW_PROTOCOL": "https:file", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError:
        raise TableError("include lib needs git", cure="Install git, or name a folder.", place=place) from None
    if done.returncode:
        raise TableError(f"git {words[0]}: {done.stderr.strip()}", place=place)
