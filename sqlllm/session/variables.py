"""set key = value where type="...": variables, settings, Spark's configuration."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

from sqlllm.dialect import SqlText, Text, builtins
from sqlllm.dialect.statements import Set
from sqlllm.errors import ForbiddenError, OptionError, TableError, suggest
from sqlllm.settings import Settings

from . import guard, queries
from .registry import statement

if TYPE_CHECKING:
    from .session import Session

_OPTIONS = ("type", "scope", "visibility", "mode")


@statement(Set)
def set_(session: Session, set_: Set) -> None:
    options = set_.options.resolve(session.variables)
    for key in options:
        if key not in _OPTIONS:
            raise OptionError(f"unknown option {key}", cure=suggest(key, _OPTIONS, what="options"), key=key)
    kind = options.get("type", "text")
    if kind not in _TYPES:
        known = sorted(_TYPES)
        raise OptionError(f"unknown type {kind}", cure=suggest(kind, known, what="types"), key="type")
    key = set_.key.resolve(session.variables)
    if key in session.overridden:
        return
    if kind != "conf":
        check_key(session, set_, key)
    if is_conf(key, options):
        _conf(session, set_, key, options)
    _TYPES[kind](session, set_, key, options)


def is_conf(key: str, options: Mapping[str, str]) -> bool:
    """Whether a `set` without a type is of Spark's configuration, too: `set spark.sql.shuffle.partitions = 3;`."""
    return key.startswith("spark.") and "type" not in options and key not in Settings.key_names()


def check_key(session: Session, set_: Set, key: str) -> None:
    """An error if `key` is a setting that the script cannot set, or nearly one."""
    try:
        if not Settings.has(key):
            return
    except OptionError as error:
        raise error.at(set_.key.place) from None
    if key.startswith("allow."):
        cure = f"Set it outside: --set {key}=..., or in sqlllm.toml."
        raise ForbiddenError(f"a script cannot set {key}", cure=cure, place=set_.key.place)
    if key.startswith("spark.") and session.spark_runs:
        raise OptionError(f"Spark has started without this {key}", cure=f"Start with --set {key}=...")


def unknown_conf(key: str) -> OptionError | None:
    """What to say of a key that is nearly one of Spark's settings; Spark itself takes any, and ignores it."""
    known = builtins.settings()
    near = get_close_matches(key, known, n=1, cutoff=0.93) if key.startswith("spark.sql.") and key not in known else []
    return OptionError(f"Spark has no setting {key}", cure=f"Did you mean {near[0]}?") if near else None


def _text(session: Session, set_: Set, key: str, options: dict[str, str]) -> None:
    _assign(session, key, set_.value, options)


def _conf(session: Session, set_: Set, key: str, _options: dict[str, str]) -> None:
    if doubt := unknown_conf(key):
        session.observer.warned(f"{doubt.message}. {doubt.cure}")
    try:
        with queries.errors_at(set_.key.place):
            session.spark.conf.set(key, set_.value.resolve(session.variables))
    except TableError as error:
        if "Cannot modify" in error.message:
            raise OptionError(
                f"Spark takes {key} only when it starts", cure=f"Start with --set {key}=...", place=error.place
            ) from None
        raise


def _sql(session: Session, set_: Set, key: str, options: dict[str, str]) -> None:
    if options.get("mode", "runtime") not in {"runtime", "compile"}:
        raise OptionError("mode is runtime or compile", key="mode")
    with queries.errors_at(set_.value.place):
        row = queries.run_sql(session, SqlText.of(set_.value).render(session.variables)).first()
    _assign(session, key, "" if row is None or row[0] is None else str(row[0]), options)


def _shell(session: Session, set_: Set, key: str, options: dict[str, str]) -> None:
    guard.require(session, "shell", 'type="shell" runs commands on the driver')
    command = set_.value.resolve(session.variables)
    shown = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - allowed
    if shown.returncode:
        raise TableError(f"the command ended with {shown.returncode}: {shown.stderr.strip()}", place=set_.value.place)
    _assign(session, key, shown.stdout.strip(), options)


def _assign(session: Session, key: str, value: Text | str, options: dict[str, str]) -> None:
    if Settings.has(key):
        session.settings.assign(key, value if isinstance(value, str) else value.resolve(session.variables))
        return
    session.variables.set(
        key,
        value,
        scope=options.get("scope", "request"),
        visibility=options.get("visibility", "all"),
        default=options.get("type") == "defaultParam",
    )


_TYPES: dict[str, Callable[[Session, Set, str, dict[str, str]], None]] = {
    "text": _text,
    "defaultParam": _text,
    "conf": _conf,
    "sql": _sql,
    "shell": _shell,
}
