"""Commands of Byzer-SQL that have no meaning here: each says why and what to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Macro
from sqlllm.errors import ParseError

from ..registry import command

if TYPE_CHECKING:
    from ..session import Session

_PYTHON = ("Python runs in this process, in the environment that sqlllm is installed in", "Write a --%python cell.")
_STREAM = ("streams are not supported", "Load the source as a table.")
_CONNECT = (
    "a database has a connection",
    'Write connect jdbc, then load jdbc.`db.` where query="..." or run ... as JDBC.',
)

ABSENT = {
    "callback": _STREAM,
    "conn": _CONNECT,
    "connectpersist": ("connections live with the session", "Keep the connect statements in a script, and include it."),
    "createpythonenv": _PYTHON,
    "delta": ("Delta's commands are SQL", "Write one as it stands in Delta's manual, without the `!`."),
    "exec_sql": _CONNECT,
    "iterator": ("there are no iterators", "Write the query as a select."),
    "jdbc": ("it is a module", 'Write run command as JDBC.`db._` where `driver-statement-0`="...";'),
    "kafkatool": _STREAM,
    "model": ("models are not tables of bytes", "Write !byzerllm model list; to see what is deployed."),
    "plugin": ("a plugin is a Python package", "Install a package with an entry point in the group sqlllm.modules."),
    "removepythonenv": _PYTHON,
    "resource": ("Spark's executors do not change while it runs", 'Write !show "conf/spark.executor"; to see them.'),
    "saveuploadfiletohome": ("nothing is uploaded: scripts read files where they are", "Write load csv.`/a/file`."),
    "savethenload": ("it saves in Delta's tables", "Write save overwrite t as parquet.`/a/folder`; and load it."),
    "scheduler": ("a script does not schedule scripts", "Run `sqlllm run` by cron or another scheduler."),
    "split": ("no command splits a table", "Write a select with `where rand() < 0.8`."),
    "visualize": ("a chart is a cell", "Write a --%visualize cell."),
    "watcher": ("nothing is collected in the background", "Write !show jobs; or see Spark's own page of jobs."),
    "withwartermark": _STREAM,
    "withwatermark": _STREAM,
}


@command(*ABSENT)
def absent(_: Session, macro: Macro) -> None:
    why, cure = ABSENT[macro.name.lower()]
    raise ParseError(f"!{macro.name} is not here: {why}", cure=cure)
