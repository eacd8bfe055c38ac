"""`sqlllm mcp`: scripts, tables, models and the manual as tools of an assistant, by the Model Context Protocol.

One session answers one call after the other, in a thread of its own. It reads only, unless `writes` allows the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from sqlllm import __version__
from sqlllm.dialect import parse
from sqlllm.dialect.statements import (
    Cell,
    Connect,
    Explain,
    If,
    Include,
    Load,
    Macro,
    Options,
    Register,
    Run,
    Select,
    Set,
    Sql,
    Statement,
    Unregister,
)
from sqlllm.errors import ForbiddenError, SQLLLMError, suggest
from sqlllm.session import Observer, Result, Session, registry, system
from sqlllm.session.values import plain

from .cli.check import findings
from .language import manual

T = TypeVar("T")
_ROWS = 50
_READING = (Connect, Explain, If, Include, Load, Register, Select, Set, Unregister)
_INCLUDES = ("file", "hdfs", "http", "local", "project", "table", "variable")  # `lib` fetches a repository
_SETS = ("text", "defaultparam", "conf", "sql")  # `shell` runs a command
_STATEMENTS = ("prepareQuery", "sessionInitStatement")  # options of JDBC that the database runs
_QUESTIONS = ("desc", "describe", "explain", "from", "show", "table", "values", "with")  # statements of Spark's
_LOOKS = (
    "assert", "desc", "emptytable", "head", "lastcommand", "lasttablename", "println", "profiler", "show",
)  # fmt: skip
_LLM_LOOKS = ("logs", "status", "workers")
_PAGES = {
    "sql/index": "the dialect", "sql/load": "load", "sql/select": "select", "sql/register": "functions and prompts",
    "sql/commands": "!commands", "serving/functions": "ai_classify and the other ai_* functions",
    "serving/index": "deploying a model", "training/index": "training a model", "batch/index": "a model over a table",
}  # fmt: skip
_INSTRUCTIONS = (
    "Tables and language models by SQLLLM, a dialect of Spark SQL. A statement ends with `as name;`, which names its"
    ' table: load csv.`file.csv` where header="true" as t; select * from t as u; First read the page sql/index. Check a'
    " script with check, then run it. Tables stay for the next call."
)


def changes(statement: Statement) -> bool:
    """Whether a statement may write files or tables, start models or runs, or run code.

    What SQL itself may change is looked at when it runs, with its variables filled in: see `Session.reads_only`.
    """
    match statement:
        case Sql():
            return statement.keyword not in _QUESTIONS
        case Macro():
            name = statement.name.lower()
            return name in registry.commands() and name not in _LOOKS and not name.startswith("assert")
        case Cell():
            return statement.kind == "python"
        case Run():
            looks = _written(statement.options, "action") in _LLM_LOOKS and not _hides(statement.options)
            return not (statement.module.raw.lower() == "llm" and looks)
        case Register():
            return statement.module.raw.lower() != "prompt"
        case Include():
            return statement.format.raw.lower() not in _INCLUDES
        case Set():
            key = statement.key.raw.lower()  # of a setting by which a text of SQL would end elsewhere than we read it
            hides = _hides(statement.options) or "${" in key or "spark.sql.parser." in key
            return hides or _written(statement.options, "type", "text").lower() not in _SETS
        case Load() | Connect():
            sends = _written(statement.options, "config.method", "get").lower() != "get"
            runs = any(key.lower() in map(str.lower, _STATEMENTS) for key in statement.options)
            return sends or runs or _hides(statement.options)
    return not isinstance(statement, _READING)


def _written(options: Options, key: str, default: str = "") -> str:
    """An option as it is written, with no variable filled in."""
    return options[key].value.raw if key in options else default


def _hides(options: Options) -> bool:
    """Whether a variable is part of a key, which may so be any other one."""
    return any("${" in key for key in options)


class Notes(Observer):
    """What a call's statements print and warn of; with `writes` off, no statement that changes something begins."""

    def __init__(self, *, writes: bool) -> None:
        self.writes = writes
        self.lines: list[str] = []

    def started(self, statement: Statement) -> None:
        if not self.writes and changes(statement):
            raise ForbiddenError(
                "this server reads only, and the statement may change something",
                cure="Leave it out, or start the server with `sqlllm mcp --write`.",
                place=statement.place,
            )

    def printed(self, text: str) -> None:
        self.lines.append(text)

    def warned(self, text: str) -> None:
        self.lines.append(f"warning: {text}")

    def shown(self, result: Result) -> None:
        self.lines += [json.dumps(row.asDict(recursive=True), default=plain) for row in result.rows(_ROWS)]


class Desk:
    """The session and its thread: Ray ends with the thread that has started it."""

    def __init__(self, session: Session, notes: Notes) -> None:
        self._session, self.notes = session, notes
        if not notes.writes:
            session.reads_only = True
            session.settings.allow.python = session.settings.allow.shell = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlllm-mcp")

    async def ask(self, work: Callable[[Session], T]) -> T:
        """What `work` gives in the session's thread; when the caller cancels, the session's jobs end."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._done, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._session.cancel()
            raise
        except SQLLLMError as error:
            raise ToolError(self._session.mask(str(error))) from None

    def _done(self, work: Callable[[Session], T]) -> T:
        self.notes.lines.clear()
        with contextlib.redirect_stdout(sys.stderr):  # standard output is the protocol's
            return work(self._session)

    def close(self) -> None:
        """End the session and what it has started."""
        self._thread.submit(self._session.close).result()
        self._thread.shutdown()


def server(desk: Desk, *, writes: bool = False) -> MCPServer[Any]:
    """The server over one session; `run()` serves it on standard input and output."""
    made: MCPServer[Any] = MCPServer("sqlllm", version=__version__, instructions=_INSTRUCTIONS, log_level="ERROR")
    reads = ToolAnnotations(read_only_hint=True)

    @made.tool(annotations=ToolAnnotations(read_only_hint=not writes, destructive_hint=writes))
    async def run(script: str, rows: int = _ROWS) -> dict[str, Any]:
        """Run a script and return its last table: columns with types, at most `rows` rows, and whether there are more.

        A select that calls a model sends one request for each different row, which may cost money: try it with a
        LIMIT, or ask `explain llm select ...;` first, which shows requests and cost and sends none.
        """
        return await desk.ask(lambda session: _run(session, desk.notes, script, rows))

    @made.tool(annotations=reads)
    async def check(script: str) -> list[dict[str, Any]]:
        """The errors of a script with their lines and cures, without running it; an empty list if there are none."""
        return _check(script)

    @made.tool(annotations=reads)
    async def tables() -> list[dict[str, Any]]:
        """The tables that scripts have made so far, with their columns and types."""
        return await desk.ask(_tables)

    @made.tool(annotations=reads)
    async def models() -> list[dict[str, Any]]:
        """The deployed models: name, engine, state."""
        return await desk.ask(_models)

    @made.tool(description=f"A page of the manual, in Markdown. Pages: {json.dumps(_PAGES)}", annotations=reads)
    async def page(name: str) -> str:
        text = manual.page(name.removesuffix(".md"))
        if not text:
            raise ToolError(f"there is no page {name}. {suggest(name, list(_PAGES), what='pages')}")
        return text

    return made


def _run(session: Session, notes: Notes, script: str, rows: int) -> dict[str, Any]:
    result = session.run(script, "script")
    answer: dict[str, Any] = {"columns": [], "rows": [], "more": False}
    if result is not None:
        found = result.rows(rows + 1)
        columns = [{"name": name, "type": kind} for name, kind in result.frame.dtypes]
        values = json.loads(json.dumps([list(map(_named, row)) for row in found[:rows]], default=plain))
        answer = {"columns": columns, "rows": values, "more": len(found) > rows}
    return {**answer, "notes": list(notes.lines)}


def _named(value: Any) -> Any:
    """A value with each struct in it as an object."""
    if isinstance(value, list):
        return list(map(_named, value))
    if isinstance(value, dict):
        return {str(key): _named(one) for key, one in value.items()}
    names = getattr(value, "__fields__", None)  # of a Row
    return dict(zip(names, map(_named, value), strict=True)) if names else value


def _check(script: str) -> list[dict[str, Any]]:
    parsed = parse(script, "script")
    errors, warnings = ([*parsed.errors], []) if parsed.errors else findings([parsed], ())
    kinds = [(one, "error") for one in errors] + [(one, "warning") for one in warnings]
    return [{**one.to_dict(), "severity": kind} for one, kind in kinds]


def _models(session: Session) -> list[dict[str, Any]]:
    found = system.deployed(session)
    return [{"name": one.name, "engine": one.backend, "state": one.state} for one in found]


def _tables(session: Session) -> list[dict[str, Any]]:
    if not session.spark_runs:
        return []
    names = [table.name for table in session.spark.catalog.listTables()]
    return [{"name": name, "columns": [{"name": column, "type": kind} for column, kind in frame.dtypes]}
            for name in names for frame in [session.spark.table(f"`{name}`")]]  # fmt: skip
