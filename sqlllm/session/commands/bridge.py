"""!ray on, !python conf, !pyInclude: Byzer's ways to Python; !sh: a command of the shell."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import TableError

from .. import guard, libraries
from ..llm import setup
from ..modules.inputs import DUMMY
from ..modules.ray import execute
from ..registry import command
from ..tables import Result, table_named
from . import arguments

if TYPE_CHECKING:
    from ..session import Session

_CONF = 'a --%python cell; or !byzerllm setup "num_gpus=1";'
_ON = "!ray on my_table '''code''' named other_table;"
_INCLUDE = "!pyInclude project 'folder/file.py' named my_code;"


@command("python", "ray")
def python(session: Session, macro: Macro) -> Result | None:
    """`!ray on t '''code''' named u;` is `run t as Ray` with the code; `!python conf` sets up what comes next.

    Of the settings of Byzer's bridge to Python, `schema` names the columns of the result; a note says which have no
    effect here.
    """
    found = arguments.words(session, macro, _ON, 2, 5)
    if found[0] == "on":
        if len(found) == 4 or (len(found) == 5 and found[3] != "named"):
            raise arguments.misused(macro, _ON, " ".join(found[3:]))
        return _on(session, macro, found)
    kind, setting = arguments.words(session, macro, _CONF, 2)
    if kind not in {"conf", "env"} or "=" not in setting:
        raise arguments.misused(macro, _CONF, kind)
    key, _, value = (part.strip() for part in setting.partition("="))
    if kind == "conf" and key == "schema":
        session.bridge[key] = value
    elif kind == "env" or key not in setup.KEYS:
        session.observer.warned(f"!python {kind} {key} has no effect here: Python runs in the environment of sqlllm")
    else:
        setup.apply(session, setting)
    return None


def _on(session: Session, macro: Macro, words: list[str]) -> Result:
    guard.require(session, "python", f"!{macro.name} on runs code of the script", macro.place)
    if len(words) == 2:  # !ray on 'code' of no table
        table, code, text = None, words[1], macro.args[1]
    else:
        table = None if words[1].lower() == DUMMY else table_named(session, macro.args[1])
        code, text = words[2], macro.args[2]
    frame = execute(session, table, code, text)
    return session.name_table(frame, words[4], macro.place) if len(words) == 5 else Result(frame, place=macro.place)


@command("pyinclude")
def python_include(session: Session, macro: Macro) -> Result:
    """`!pyInclude project 'folder/file.py' named t;` makes a file the table `t` of one cell, for `code="py.t"`.

    With `local` the file is of a library, as in 'alias.folder.file.py'. Without a kind `folder.file.py` is a path, too.
    """
    words = arguments.words(session, macro, _INCLUDE, 3, 4)
    kind, path, named, name = words if len(words) == 4 else ("project", *words)
    if named != "named" or kind not in {"local", "project"}:
        raise arguments.misused(macro, _INCLUDE, kind if named == "named" else named)
    place = macro.args[-3].place
    file = libraries.find(session, path) if kind == "local" else None
    if file is None:
        file = Path(path).expanduser() if kind == "local" else session.settings.project / path
        if not file.is_file():  # as Byzer's notebooks write it
            dotted = session.settings.project / (path.removesuffix(".py").replace(".", "/") + ".py")
            file = dotted if dotted.is_file() else file
        guard.check_path(session, str(file), place)
    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise TableError(f"cannot read {file}: {why}", cure=f"Write {_INCLUDE}", place=place) from None
    return session.name_table(session.table([{"content": content}], "content string"), name, macro.place)


@command("sh")
def shell(session: Session, macro: Macro) -> Result:
    """`!sh echo "yes";` runs a command on the driver and gives its lines, if `allow.shell` is on.

    `!sh script '''echo "$HOME"''';` runs a script of bash, whose `${variables}` are its own.
    """
    guard.require(session, "shell", "!sh runs commands on the driver", macro.place)
    words = arguments.words(session, macro, '!sh echo "yes";', 1, len(macro.args))
    is_script = len(words) == 2 and words[0] == "script"
    command = "the script" if is_script else shlex.join(words)
    if is_script:
        words = ["bash", "-c", words[1]]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise TableError(f"{command} does not run: {error.strerror}", place=macro.args[0].place) from None
    if done.returncode:
        raise TableError(f"{command} ended with {done.returncode}: {done.stderr.strip()}", place=macro.place)
    return Result(
        session.table([{"value": line} for line in done.stdout.splitlines()], "value string"), place=macro.place
    )
