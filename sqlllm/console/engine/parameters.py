"""The parameters of a request, Byzer's by name; what cannot be done is refused with its reason, never ignored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sqlllm.errors import OptionError, suggest
from sqlllm.settings import Settings

if TYPE_CHECKING:
    from sqlllm.session import Session

VARIABLE = "set."  # before the name of a variable of the script
_FIXED: dict[str, tuple[str, str]] = {  # the one value there is, and why
    "jobType": ("script", "Only scripts run here."),
    "sessionPerUser": ("true", "Each owner has a session: tables of one are not seen by another."),
    "skipInclude": ("false", "`include` is a statement here: leave it out of the script."),
    "skipAuth": ("true", "There is no authorization of tables here: a key is all or nothing."),
    "skipGrammarValidate": ("false", "Every script is parsed as a whole before its first statement runs."),
}
_ABSENT = {
    "defaultPathPrefix": "Write paths in full, or with a variable: set.folder=/data and ${folder} in the script.",
    "allPathPrefix": "Write paths in full, or with a variable: set.folder=/data and ${folder} in the script.",
    "vecType": "A vector is an array of numbers here.",
}
_AS_BYZER_SENDS = {("sessionPerUser", "false"), ("skipGrammarValidate", "true")}  # its defaults, which change nothing


class Parameters(BaseModel):
    """Of every request that runs something."""

    model_config = ConfigDict(extra="forbid")

    sql: str = Field(min_length=1)
    owner: str = Field("", pattern=r"^[\w.@-]{0,100}$")
    sessionPerRequest: bool = False  # noqa: N815 - Byzer's names
    timeout: int = Field(-1, ge=-1)  # milliseconds; -1: any
    variables: dict[str, str] = {}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Checked parameters. Raises OptionError that names the wrong one."""
        own: dict[str, Any] = {}
        variables = {}
        known = [field.alias or name for name, field in cls.model_fields.items() if name != "variables"]
        for name, value in values.items():
            if name.startswith(VARIABLE):
                variables[_variable(name)] = str(value)
            elif name in _FIXED:
                fixed, why = _FIXED[name]
                word = str(value).lower()
                if word != fixed and (name, word) not in _AS_BYZER_SENDS:
                    raise OptionError(f"{name} can only be {fixed}, not {value}", cure=why, key=name)
            elif name in _ABSENT or name.startswith("context."):
                why = _ABSENT.get(name, f"Hand values over as variables: {VARIABLE}NAME=value.")
                raise OptionError(f"{name} is not supported", cure=why, key=name)
            elif name not in known:
                raise OptionError(f"unknown parameter {name}", cure=suggest(name, known, what="parameters"), key=name)
            else:
                own[name] = value
        try:
            return cls(**own, variables=variables)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            raise OptionError(f"parameter {name}: {first['msg']}", key=name) from None

    @contextmanager
    def given(self, session: Session) -> Iterator[None]:
        """Within, the variables of the request are set, and the script's own `set` leaves them alone."""
        new = self.variables.keys() - session.overridden
        for name, value in self.variables.items():
            session.variables.set(name, value)
        session.overridden |= new
        try:
            yield
        finally:
            session.overridden -= new


def _variable(parameter: str) -> str:
    name = parameter.removeprefix(VARIABLE)
    if Settings.has(name):
        cure = f"Start the engine with --set {name}=..., or write set {name} = ... in the script."
        raise OptionError(f"{parameter} is a setting, which no request changes", cure=cure, key=parameter)
    return name


class RunScript(Parameters):
    """Of `POST /run/script`."""

    executeMode: Literal["query", "analyze"] = "query"  # noqa: N815
    jobName: str = Field("", max_length=200)  # noqa: N815
    silence: bool = False
    async_: bool = Field(False, alias="async")
    callback: str = Field("", pattern=r"^(https?://.+)?$")
    callbackHeader: dict[str, str] = {}  # noqa: N815
    maxRetries: int = Field(3, ge=0, le=20)  # noqa: N815
    includeSchema: bool = False  # noqa: N815
    fetchType: Literal["take", "collect"] = "take"  # noqa: N815
    outputSize: int = Field(5000, ge=1)  # noqa: N815
