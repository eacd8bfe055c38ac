"""!python conf "key=value": what older scripts of Byzer-LLM write for !byzerllm setup; !sh: a command of the shell."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import TableError

from .. import guard
from ..llm import setup
from ..registry import command
from ..tables import Result
from . import arguments

if TYPE_CHECKING:
    from ..session import Session

_USAGE = 'a --%python cell; or !byzerllm setup "num_gpus=1";'


@command("python")
def python(session: Session, macro: Macro) -> None:
    """Sets up the next deployment; what belongs to Byzer's bridge to Python has no effect, and a note says so."""
    kind, setting = arguments.words(session, macro, _USAGE, 2)
    if kind not in {"conf", "env"} or "=" not in setting:
        raise arguments.misused(macro, _USAGE, kind)
    key = setting.partition("=")[0].strip()
    if kind == "env" or key not in setup.KEYS:
        session.observer.warned(f"!python {kind} {key} has no effect here: Python runs in this process")
    else:
        setup.apply(session, setting)


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
