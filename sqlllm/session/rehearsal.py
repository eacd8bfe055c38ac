"""What a script would find unset, or unknown, before any of it runs: neither Spark nor Ray starts.

Statements that only set variables run; a value that only a run can give (a query's, a command's) stays open. Where
something open decides what is set - a script from a table, Python, a branch - what looks unset is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.dialect import Expression, Reference, SqlText, Text, expand, parse
from sqlllm.dialect.statements import (
    Cell,
    Explain,
    If,
    Include,
    Load,
    Macro,
    Options,
    Register,
    Run,
    Save,
    Set,
    Sql,
    Statement,
)
from sqlllm.errors import OptionError, ParseError, SQLLLMError, TableError, VariableError
from sqlllm.settings import Settings

from . import commands, foreseen, include, known_options, llm, prompt_functions, prompts, registry
from .called import Functions
from .commands import absent
from .variables import check_key, is_conf, unknown_conf

if TYPE_CHECKING:
    from sqlllm.dialect import Script, Variables
    from sqlllm.places import Place

    from .session import Session

_OPEN = "\ufdd0"  # in a value: a part that only a run can give; no character of any text
_LATER = ("conf", "shell", "sql")  # types of `set` that only a run can do
_ELSEWHERE = ("http", "lib", "table")  # scripts that only a run can read
_WRITES = re.compile(r"\b(directory|location|path)\b", re.IGNORECASE)
_NO_FILES = ("assert", "desc", "head", "if", "last", "lasttablename", "llm", "byzerllm", "profiler", "show")  # commands
_OF_VARIABLES = ("jsonstr", "csvstr", "script")  # formats whose path is a variable


class Rehearsal:
    """Walks scripts in the order they run; `errors` are sure to stop a run, `warnings` may."""

    def __init__(self, session: Session) -> None:
        self.errors: list[SQLLLMError] = []
        self.warnings: list[SQLLLMError] = []
        self.files: set[Path] = set()  # included
        self._session = session
        self._running: list[str] = []
        self._maybe: set[str] = set()  # set in some branches only
        self._sure = True  # nothing open has run that may have set anything
        self._functions = Functions(session.models)
        self._models: set[str] = set()  # that the scripts deploy
        self._paths: list[str] | None = []  # what is saved so far; None: files may come from elsewhere, too

    def run(self, script: Script) -> None:
        """Walk a script from a file. What one with errors does not set is not sure to be missing."""
        self._running = [str(Path(script.source.name).resolve())]
        self._sure = not script.errors
        self.walk(script.statements)

    def walk(self, statements: Iterable[Statement]) -> None:
        for statement in statements:
            self._session.variables.set("elapsed_seconds", "0")
            self.warnings += getattr(getattr(statement, "options", None), "warnings", ())
            self.warnings += getattr(getattr(statement, "params", None), "warnings", ())
            special = _WALKS.get(type(statement), Rehearsal._fields)
            special(self, statement)

    def lookup(self, reference: Reference, *, in_select: bool = False) -> str:
        """As Variables does it; what has no value is noted, and open."""
        if reference.name in self._maybe and reference.default is None:
            cure = f"Set it before the !if, or write ${{{reference.name}:default}}."
            message = f"{reference.name} is set in some branches only"
            self._note(VariableError(message, cure=cure, place=reference.place), False)
        try:
            return self._session.variables.lookup(reference, in_select=in_select)
        except VariableError as error:
            elsewhere = reference.name.startswith("env:") or "${env:" in error.message
            self._note(error, self._sure and not elsewhere)
            return _OPEN

    # --- one kind of statement each ----------------------------------------------------------------------------

    def _fields(self, statement: Any) -> None:
        """Look at every text of a statement."""
        for field in fields(statement):
            self._look(getattr(statement, field.name))

    def _look(self, value: object) -> None:
        if isinstance(value, Text):
            value.resolve(self)
        elif isinstance(value, SqlText):
            self._functions.read(value)
            for error in self._functions.check(value):
                self._note(error, isinstance(error, ParseError) or (self._sure and self._functions.sure))
            try:
                rendered = value.render(self)
                if _OPEN not in rendered.text:
                    prompts.checked(self._session, rendered, self._models)
            except ParseError as error:
                self._note(error, True)
        elif isinstance(value, Options):
            value.resolve(self)
        elif isinstance(value, tuple):
            for one in value:
                self._look(one)

    def _set(self, statement: Set) -> None:
        options, key = statement.options.resolve(self), statement.key.resolve(self)
        kind = options.get("type", "text")
        if _OPEN in key + kind:
            self._sure = False
            return
        self._maybe.discard(key)
        if (is_conf(key, options) or kind == "conf") and (doubt := unknown_conf(key)):
            self._note(doubt.at(statement.key.place), False)
        if kind not in _LATER:
            if key in Settings.key_names() and _OPEN in statement.value.resolve(self):
                return
            with self._noting(statement):
                if not is_conf(key, options):
                    registry.handler_of(Set)(self._session, statement)
                elif key not in self._session.overridden:
                    scope, visibility = options.get("scope", "request"), options.get("visibility", "all")
                    self._session.variables.set(key, statement.value, scope=scope, visibility=visibility)
            return
        self._look(SqlText.of(statement.value) if kind == "sql" else statement.value)
        if kind != "conf" and key not in self._session.overridden:
            visibility = options.get("visibility", "all")
            with self._noting(statement):
                check_key(self._session, statement, key)
                if key not in Settings.key_names():
                    scope = options.get("scope", "request")
                    self._session.variables.set(key, _OPEN, scope=scope, visibility=visibility)

    def _if(self, block: If) -> None:
        before, maybe = self._session.variables, self._maybe
        with ExitStack() as scope:
            after, unsure = [], set[str]()
            for branch in (*block.branches, None):
                if branch is not None:
                    for definition in branch.condition.definitions:
                        self._condition(definition.expression)
                        scope.enter_context(before.bound({definition.name: _OPEN}))
                    self._condition(branch.condition.test)
                self._session.variables, self._maybe = copy(before), set(maybe)
                self.walk(block.otherwise if branch is None else branch.statements)
                after.append(self._session.variables)
                unsure |= self._maybe
                self._session.variables, self._maybe = before, maybe
            self._maybe = unsure
            self._join(before, after)

    def _condition(self, expression: Expression) -> None:
        self._look(expression.sql)
        for reference in expression.references:
            self.lookup(reference, in_select=True)

    def _join(self, before: Variables, after: list[Variables]) -> None:
        """What the branches set holds from now on; where they differ it is open."""
        for name in {name for one in after for name in one.names()}:
            values = {one.source(name) for one in after}
            if len(values) > 1:
                if None in values:
                    self._maybe.add(name)
                before.set(name, _OPEN)
            elif values != {before.source(name)}:
                before.adopt(name, after[0])

    def _load(self, load: Load) -> None:
        options, of, path = load.options.resolve(self), load.format.resolve(self), load.path.resolve(self)
        load.table.resolve(self)
        of = options.get("implClass", of)
        if _OPEN in of:
            return
        self._format(load, of, options)
        if _OPEN in path:
            return
        if of.lower() in _OF_VARIABLES:
            self.lookup(Reference(path, (), None, load.path.place))
        elif self._paths is not None:
            self.warnings += foreseen.missing_files(self._session, of, path, self._paths, load.path.place)

    def _write(self, path: str) -> None:
        if _OPEN in path:
            self._paths = None
        elif path and self._paths is not None:
            self._paths.append(path)

    def _save(self, save: Save) -> None:
        self._fields(save)
        options, of = save.options.resolve(self), save.format.resolve(self)
        self._write(save.path.resolve(self))
        if _OPEN not in of and of.lower() != "console":
            self._format(save, options.get("implClass", of), options)

    def _format(self, statement: Load | Save, of: str, options: dict[str, str]) -> None:
        """The format of a load or save, and each of its options."""
        if error := foreseen.wrong_format(of, statement.format.place):
            self._note(error, not self._session.settings.spark.packages)
            return
        verb = "save" if isinstance(statement, Save) else "load"
        for key, value in options.items():
            if _OPEN in key or key == "implClass":
                continue
            with self._noting(statement):
                if known_options.checked(of, {key: value}, writing=verb == "save")[1]:
                    place = statement.options[key].key_place if key in statement.options else statement.place
                    self.warnings.append(OptionError(f"{key} has no effect on {verb} {of}", place=place, key=key))

    def _make(self, function: str) -> None:
        if _OPEN in function:
            self._functions.sure = False
        elif function:
            self._functions.add(function)

    def _sql(self, statement: Sql) -> None:
        self._fields(statement)
        if _WRITES.search(statement.sql.text):  # insert overwrite directory '/out', create table ... location '/out'
            self._paths = None

    def _register(self, register: Register) -> None:
        self._fields(register)
        name, path = register.function.resolve(self), register.path.resolve(self)
        given = register.options.resolve(self)
        self._make(name)
        is_prompt = register.module.resolve(self).lower() == "prompt"
        if is_prompt and not any(_OPEN in text for text in (name, path, *given, *given.values())):
            with self._noting(register):
                prompt_functions.read(name, given.get("code") or path, given)

    def _cell(self, cell: Cell) -> None:
        self._fields(cell)
        if cell.kind == "python":
            self._paths = None
            self._sure &= "session" not in cell.body.raw
            self._functions.sure &= "udf" not in cell.body.raw

    def _run(self, run: Run) -> None:
        self._look((run.table, run.output))
        self._write(run.path.resolve(self))
        name, options = run.module.resolve(self), run.options.resolve(self)
        later = {key for key, text in options.items() if _OPEN in key + text}
        if options.get("action") == "infer":
            self._make(options.get("udfName", ""))
            self._models.add(options.get("udfName", "").lower())
        if name.lower() == "llm" and later <= llm.FREE:
            with self._noting(run):
                action = llm.check(run, {key: "later" if key in later else text for key, text in options.items()})
                if action == "infer" and not later:
                    foreseen.check_engine(self._session, options)
        elif _OPEN not in name:
            try:
                registry.find_module(name)
            except ParseError as error:  # another machine may have the package that brings it
                self._note(error.at(run.module.place), False)

    def _macro(self, macro: Macro) -> None:
        args = [argument.resolve(self) for argument in macro.args]
        name = macro.name.lower()
        if name == "lasttablename":
            self._session.variables.set("__last_table_name__", _OPEN)
        if name in {"runscript", "eval"} and args:
            text = args[0] if name == "runscript" else self._session.variables.source(args[0])
            self._nested(text, f"!{macro.name}", macro.place, {})
            return
        if name in absent.ABSENT:
            with self._noting(macro):
                absent.absent(self._session, macro)
        if name in {"byzerllm", "llm"} and args[:1] == ["setup"] and _OPEN not in "".join(args):
            with self._noting(macro):
                registry.commands()[name](self._session, macro)
        if name in registry.commands():
            self._paths = self._paths if name in _NO_FILES else None
            return
        body = self._session.variables.source(macro.name)
        if body is None:
            self._note(commands.unknown(self._session, macro), self._sure)
        elif any(_OPEN in text for text in (body, *args)):
            self._sure = False
        else:
            with self._noting(macro):
                text, bindings = expand(macro.name, body, args)
                self._nested(text, f"!{macro.name}", macro.place, bindings)

    def _include(self, statement: Include) -> None:
        self._look(statement.options)
        kind, path = statement.format.resolve(self).lower(), statement.path.resolve(self)
        if _OPEN in kind + path or kind in _ELSEWHERE:
            self._sure = False
            return
        with self._noting(statement):
            text, name = include.source(self._session, statement, kind, path)
            if kind != "variable" and name not in self._running:
                self.files.add(Path(name))
            self._nested(text, name, statement.place, None)
            return
        self._sure = False

    def _nested(self, text: str | None, name: str, at: Place, bindings: dict[str, str] | None) -> None:
        """Walk a script of a script. Errors of one without a file of its own stand where it is called."""
        if text is None or _OPEN in text:
            self._sure = False
            return
        if name in self._running:
            chain = [*self._running[self._running.index(name) :], name]
            self._note(ParseError(f"{name} runs itself: {' -> '.join(chain)}", place=at), True)
            return
        script = parse(text, name)
        found = len(self.errors), len(self.warnings)
        self.errors += script.errors
        self._sure &= not script.errors
        self._running.append(name)
        with self._session.variables.bound(bindings or {}):
            self.walk(script.statements)
        self._running.pop()
        if bindings is not None:
            for error in (*self.errors[found[0] :], *self.warnings[found[1] :]):
                if error.place and error.place.source.name == name:
                    error.message, error.place = f"in {name}: {error.message}", at

    # -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _noting(self, statement: Include | Load | Macro | Register | Run | Save | Set) -> Iterator[None]:
        try:
            yield
        except SQLLLMError as error:
            if isinstance(error, OptionError) and error.key in (given := getattr(statement, "options", {})):
                error.at(given[error.key].key_place)
            # A file may be there when the script runs.
            self._note(error.at(statement.place), not isinstance(error, TableError))

    def _note(self, error: SQLLLMError, known: bool) -> None:
        (self.errors if known else self.warnings).append(error)


_WALKS: dict[type[Statement], Any] = {
    Cell: Rehearsal._cell,
    Explain: lambda self, explain: self._fields(explain.select),
    If: Rehearsal._if,
    Include: Rehearsal._include,
    Load: Rehearsal._load,
    Macro: Rehearsal._macro,
    Register: Rehearsal._register,
    Run: Rehearsal._run,
    Save: Rehearsal._save,
    Set: Rehearsal._set,
    Sql: Rehearsal._sql,
}
