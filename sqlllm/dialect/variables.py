"""The variables of a session: `set`, built-ins, scopes. What one holds is data, never read as script again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..errors import OptionError, VariableError, nearest, suggest
from . import dates, macros
from .text import Parts, Reference, Text

SCOPES = ("request", "session")
VISIBILITIES = ("all", "un_select")
_DAYS = {"theDayBeforeYesterday": -2, "yesterday": -1, "today": 0, "tomorrow": 1}


@dataclass
class _Variable:
    source: str  # as written, which is a macro's script
    parts: Parts  # what is not known yet stays a Reference until it is set
    hidden: bool


class Variables:
    """Names and values. `set` binds a value's own references at once, or as soon as they are set (as Byzer does)."""

    def __init__(
        self,
        *,
        home: str = "",
        owner: str = "",
        environment: Mapping[str, str] | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._scopes: dict[str, dict[str, _Variable]] = {scope: {} for scope in SCOPES}
        self._waiting: list[_Variable] = []  # for a variable that is not set yet
        self._given = {"HOME": home, "OWNER": owner}
        self._environment = os.environ if environment is None else environment
        self._now = now

    # --- setting -----------------------------------------------------------------------------------------------

    def set(
        self,
        name: str,
        value: Text | str,
        *,
        scope: str = "request",
        visibility: str = "all",
        default: bool = False,
    ) -> None:
        """Set a variable. A `str` is data; a `Text` may refer to other variables. Raises OptionError.

        scope: `request` (until the script ends) or `session`. visibility: `un_select` keeps it out of selects.
        default: leave it as it is if it is set already (`type="defaultParam"`).
        """
        if scope not in SCOPES:
            raise OptionError(f"unknown scope {scope}", cure=suggest(scope, SCOPES, what="scopes"), key="scope")
        wanted = {word.strip() for word in visibility.split(",")} - {""}
        for word in wanted - set(VISIBILITIES):
            cure = suggest(word, VISIBILITIES, what="visibilities")
            raise OptionError(f"unknown visibility {word}", cure=cure, key="visibility")
        if default and name in self:
            return
        parts = value.parts if isinstance(value, Text) else (value,)
        variable = _Variable(str(value), parts, "un_select" in wanted)
        self._bind(variable)  # before it is known: `set path = "${path}/x"` extends the old one
        self._scopes["request"].pop(name, None)
        self._scopes[scope][name] = variable
        self._waiting.append(variable)
        self._settle()

    def end_request(self) -> None:
        """Forget what was set for one script only."""
        self._scopes["request"].clear()
        self._waiting = [variable for variable in self._all() if _missing(variable) is not None]

    def __copy__(self) -> Variables:
        """The same variables, which can be set apart from these."""
        twin = object.__new__(Variables)
        twin.__dict__.update(self.__dict__)
        twin._scopes = {
            scope: {name: replace(one) for name, one in named.items()} for scope, named in self._scopes.items()
        }
        twin._waiting = [variable for variable in twin._all() if _missing(variable) is not None]
        return twin

    def adopt(self, name: str, other: Variables) -> None:
        """Set `name` as `other` has it."""
        for scope, named in other._scopes.items():
            if name in named:
                self._scopes[scope][name] = variable = replace(named[name])
                self._waiting.append(variable)

    @contextmanager
    def bound(self, bindings: Mapping[str, str]) -> Iterator[None]:
        """Within, the variables `bindings` are set besides; they are a macro's arguments."""
        before = dict(self._scopes["request"])
        self._scopes["request"].update({name: _Variable(value, (value,), False) for name, value in bindings.items()})
        try:
            yield
        finally:
            for name in bindings:
                self._scopes["request"].pop(name, None)
                if name in before:
                    self._scopes["request"][name] = before[name]

    # --- reading -----------------------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return any(name in scope for scope in self._scopes.values())

    def get(self, name: str) -> str | None:
        """The value of a set variable, or None; raises VariableError if it refers to an unset variable."""
        variable = self._find(name)
        return None if variable is None else self._value(name, variable)

    def source(self, name: str) -> str | None:
        """The text of a variable as written, references and all: a macro's script. None if it is not set."""
        variable = self._find(name)
        return None if variable is None else variable.source

    def names(self) -> list[str]:
        """All names that can be referred to."""
        return sorted(
            {"date", "template", *self._given, *_DAYS, *(name for scope in self._scopes.values() for name in scope)}
        )

    def hidden_values(self) -> list[str]:
        """The values no output may show."""
        return ["".join(_plain(variable.parts)) for variable in self._all() if variable.hidden]

    def lookup(self, reference: Reference, *, in_select: bool = False) -> str:
        """The value of `${...}`; raises VariableError at its place."""
        try:
            return self._lookup(reference, in_select)
        except VariableError as error:
            raise error.at(reference.place) from None

    # --- inside ------------------------------------------------------------------------------------------------

    def _lookup(self, reference: Reference, in_select: bool) -> str:
        name, calls = reference.name, reference.calls
        variable = self._find(name)
        if variable is not None and not calls:
            if variable.hidden and in_select:
                raise VariableError(
                    f'{name} is not visible in a select: it was set with visibility="un_select"',
                    cure="Use it in an option, or set it without that visibility.",
                )
            return self._value(name, variable)
        if calls and name == "date":
            return dates.call(self._now(), calls)
        if calls and name == "template" and calls[0].method == "get" and calls[0].arguments:
            template, *args = calls[0].arguments
            return macros.render(self._lookup(Reference(template, (), None, reference.place), in_select), args)
        if calls:
            raise VariableError(f"{name} has no method {calls[0].method}", cure="Only date and template have methods.")
        value = self._built_in(name)
        if value is not None:
            return value
        if reference.default is not None:
            return reference.default.resolve(self, in_select=in_select)
        raise self._unset(name)

    def _built_in(self, name: str) -> str | None:
        if name.startswith("env:"):
            return self._environment.get(name.removeprefix("env:"))
        if name in _DAYS:
            return dates.show(self._now() + timedelta(days=_DAYS[name]))
        if name == "date":
            return dates.show(self._now())
        return self._given.get(name) or None

    def _unset(self, name: str) -> VariableError:
        if name.startswith("env:"):
            return VariableError(f"the environment variable {name.removeprefix('env:')} is not set")
        near = nearest(name, self.names())
        cure = f'Write set {name}="..."; before it, or ${{{name}:default}}.'
        return VariableError(f"variable {name} is not set", cure=f"Did you mean {near}? {cure}" if near else cure)

    def _find(self, name: str) -> _Variable | None:
        for scope in SCOPES:
            if name in self._scopes[scope]:
                return self._scopes[scope][name]
        return None

    def _all(self) -> list[_Variable]:
        return [variable for scope in self._scopes.values() for variable in scope.values()]

    def _value(self, name: str, variable: _Variable) -> str:
        missing, chain = _missing(variable), {name}
        while missing is not None:
            target = self._find(missing)
            if missing in chain:
                raise VariableError(f"the value of {name} needs {missing} itself", cure=f"Set {missing} to a text.")
            if target is None or (following := _missing(target)) is None:
                raise VariableError(f"{name} needs ${{{missing}}}, which is not set", cure=self._unset(missing).cure)
            chain.add(missing)
            missing = following
        return "".join(_plain(variable.parts))

    def _settle(self) -> None:
        """Bind what waits for another variable, until no more can be."""
        before = len(self._waiting) + 1
        while len(self._waiting) < before:
            before = len(self._waiting)
            for variable in self._waiting:
                self._bind(variable)
            self._waiting = [variable for variable in self._waiting if _missing(variable) is not None]

    def _bind(self, variable: _Variable) -> None:
        """Fill in the references whose value is known; a hidden value makes the whole hidden."""
        parts: list[str | Reference] = []
        for part in variable.parts:
            if isinstance(part, Reference):
                target = self._find(part.name)
                if target is variable or (target is not None and _missing(target) is not None):
                    parts.append(part)
                    continue
                try:
                    parts.append(self.lookup(part))
                except VariableError:
                    parts.append(part)
                    continue
                variable.hidden |= target is not None and target.hidden
            else:
                parts.append(part)
        variable.parts = tuple(parts)


def _missing(variable: _Variable) -> str | None:
    """The name of the first reference whose value is not known yet."""
    return next((part.name for part in variable.parts if isinstance(part, Reference)), None)


def _plain(parts: Parts) -> list[str]:
    return [part for part in parts if isinstance(part, str)]
