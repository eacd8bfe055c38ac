"""Who runs what: one handler per kind of statement, one per `!command`, one per module of `run`.

A handler is a function of the session and the statement; it gives the statement's table, or None. Other packages add
modules of `run ... as Name` through the entry point group `sqlllm.modules`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from sqlllm.dialect import statements
from sqlllm.errors import ParseError, suggest

if TYPE_CHECKING:
    from .session import Session
    from .tables import Result

Handler = Callable[["Session", Any], "Result | None"]
F = TypeVar("F", bound=Handler)

_STATEMENTS: dict[type[statements.Statement], Handler] = {}
_COMMANDS: dict[str, Handler] = {}
_MODULES: dict[str, Handler] = {}
_NAMES: dict[str, str] = {}  # of modules, as written
_OPTIONS: dict[str, dict[str, str]] = {}  # of modules: what each option means
_ABSENT: dict[str, tuple[str, str]] = {}  # modules that scripts of Byzer-SQL have: why not here, what to write
_GROUP = "sqlllm.modules"


def statement(kind: type[statements.Statement]) -> Callable[[F], F]:
    """Register the handler of a kind of statement."""

    def register(handler: F) -> F:
        _STATEMENTS[kind] = handler
        return handler

    return register


def command(*names: str) -> Callable[[F], F]:
    """Register the handler of `!name`, under each of its names."""

    def register(handler: F) -> F:
        _COMMANDS.update(dict.fromkeys(names, handler))
        return handler

    return register


def module(name: str, **options: str) -> Callable[[F], F]:
    """Register the handler of `run ... as name`; its docstring says what it does, `options` what each option means."""

    def register(handler: F) -> F:
        _MODULES[name.lower()] = handler
        _NAMES[name.lower()] = name
        _OPTIONS[name.lower()] = options
        return handler

    return register


def absent(modules: dict[str, tuple[str, str]]) -> None:
    """Say of modules why they are not here and what to write, unless a package brings one."""
    _ABSENT.update({name.lower(): told for name, told in modules.items()})


def handler_of(kind: type[statements.Statement]) -> Handler:
    """The handler of a kind of statement; the parser makes no other kinds than those registered."""
    return _STATEMENTS[kind]


def commands() -> dict[str, Handler]:
    """The built-in `!commands` by name."""
    return _COMMANDS


def modules() -> list[str]:
    """The names of all modules, built in or from entry points."""
    return sorted({*_NAMES.values(), *(point.name for point in entry_points(group=_GROUP))})


def options_of(module: str) -> dict[str, str]:
    """What each option means that a built-in module has declared."""
    return _OPTIONS.get(module.lower(), {})


def find_module(name: str) -> Handler:
    """The handler of `run ... as name`, built in or from an entry point; ParseError if there is none."""
    if handler := _MODULES.get(name.lower()):
        return handler
    for point in entry_points(group=_GROUP):
        if point.name.lower() == name.lower():
            plugged: Handler = point.load()
            return plugged
    if name.lower() in _ABSENT:
        why, cure = _ABSENT[name.lower()]
        raise ParseError(f"module {name} is not here: {why}", cure=cure)
    raise ParseError(f"unknown module {name}", cure=suggest(name, modules(), what="modules"))
