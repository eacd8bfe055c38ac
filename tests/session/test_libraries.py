"""include lib: a folder, a repository's folder, a host that needs leave."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sqlllm.errors import ForbiddenError, OptionError, TableError
from sqlllm.session import Session

from .conftest import Recorder


def git(folder: Path, *words: str) -> str:
    me = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *me, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def offline(tmp_path: Path, recorder: Recorder) -> Session:
    """A session that starts no Spark."""
    session = Session(observer=recorder)
    session.override("home", str(tmp_path / "home"))
    session.override("allow.folders", str(tmp_path))
    return session


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "lib-core"
    (folder / "udf").mkdir(parents=True)
    (folder / "udf" / "hello.byzer").write_text('!println "hello 1";')
    return folder


def test_a_folder(offline: Session, library: Path, recorder: Recorder) -> None:
    offline.run(f'include lib.`{library}` where alias="core"; include local.`core.udf.hello`;')
    assert recorder.lines == ["hello 1"]
    assert not offline.spark_runs


def test_a_bare_repository_and_one_of_its_commits(
    offline: Session, library: Path, tmp_path: Path, recorder: Recorder
) -> None:
    git(library, "init", "--quiet")
    git(library, "add", ".")
    git(library, "commit", "--quiet", "-m", "one")
    first = git(library, "rev-parse", "HEAD")
    git(tmp_path, "clone", "--quiet", "--bare", str(library), "core.git")
    include = f'include lib.`{tmp_path}/core.git` where alias="core" {{}}; include local.`core.udf.hello`;'
    offline.run(include.format(""))
    (library / "udf" / "hello.byzer").write_text('!println "hello 2";')
    git(library, "commit", "--quiet", "-am", "two")
    git(library, "push", "--quiet", str(tmp_path / "core.git"), "HEAD:main")
    for more in ("", 'and force="true"', f'and commit="{first}"', 'and commit="main"'):
        offline.run(include.format(more))
    assert recorder.lines == ["hello 1", "hello 1", "hello 2", "hello 1", "hello 2"]


def test_a_python_file_of_a_library(offline: Session, library: Path) -> None:
    from sqlllm.session import libraries

    (library / "src" / "main" / "alg").mkdir(parents=True)
    (library / "src" / "main" / "alg" / "x.py").write_text("1")
    offline.run(f'include lib.`{library}` where alias="github.com/me/core";')
    found = libraries.find(offline, "github.com/me/core.alg.x.py")
    assert found == library / "src" / "main" / "alg" / "x.py"
    assert libraries.find(offline, "other.alg.x.py") is None
    (library / "out.byzer").symlink_to("/etc/hostname")
    for path in ("alg.y.py", "out"):
        with pytest.raises(TableError, match="has no script"):
            libraries.find(offline, f"github.com/me/core.{path}")


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        ("include lib.`github.com/me/core`", ForbiddenError, "include lib runs scripts from the network"),
        ("include lib.`/etc`", ForbiddenError, "/etc lies outside the folders"),
        ("include lib.`nothing`", TableError, "there is no library nothing"),
        ("include lib.`ext::sh -c date`", TableError, "there is no library ext::sh"),
        ('include lib.`{library}` where alais="x"', OptionError, "unknown option alais"),
        ('include lib.`{library}` where commit="--x"', OptionError, "--x is not a commit"),
        ('include lib.`{library}` where commit="main"', TableError, "git clone"),
        ('include lib.`{library}` where alias="x"; include local.`x.udf.bye`', TableError, "has no script udf.bye"),
    ],
)
def test_what_is_refused(offline: Session, library: Path, statement: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        offline.run(statement.format(library=library) + ";")
