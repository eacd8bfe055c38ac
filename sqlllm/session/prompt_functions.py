"""A prompt is a function: register Prompt.`Rate {{ review }} from 1 to 5` as rate where model="chat" and returns="int";

A call of it in a statement is written out as a call of ai_query, so all that holds for such calls holds for it. Its
versions are kept in the folder `prompts` of the settings' home: load llm.`prompts` as p;
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.dialect import builtins
from sqlllm.dialect.statements import Register
from sqlllm.errors import OptionError, ParseError, nearest, suggest
from sqlllm.udfs import ai, kinds, literals, requests
from sqlllm.udfs.functions import FUNCTIONS

from . import calls
from .calls import Call, Cut

if TYPE_CHECKING:
    from sqlllm.dialect import RenderedSql

    from .session import Session

SCHEMA = (
    "name string, version string, current boolean, parameters array<string>, model string, returns string,"
    " labels array<string>, options map<string,string>, template string, registered string"
)
_OWN = ("model", "returns", "version", "code")
_PASSED = ("model", "failOnError")  # arguments of a call that ai_query has, too
_FIELD = re.compile(r"\{\{\s*([^\W\d]\w*)\s*\}\}")
_JINJA = re.compile(r"\{\{.*?\}\}|\{%|\{#", re.DOTALL)
_FILE = re.compile(r"[^\w-]")


@dataclass(frozen=True)
class PromptFunction:
    """One version of a prompt function.

    `template` is as it was written; `request` is it in the notation of llm_prompt, or empty where the function
    `renderer` of SQL makes the text. `returns` is a type of Spark, empty for a text.
    """

    name: str
    template: str
    parameters: tuple[str, ...]
    request: str = ""
    renderer: str = ""
    model: str = ""
    returns: str = ""
    labels: tuple[str, ...] = ()  # the answers that there are
    options: dict[str, str] = field(default_factory=dict)
    version: str = ""
    registered: str = ""

    def same_as(self, other: PromptFunction) -> bool:
        """Whether both ask the same, whatever their versions are called."""
        return replace(self, version="", registered="", renderer="") == replace(
            other, version="", registered="", renderer=""
        )

    def sql(self, arguments: dict[str, str], model: str, more: dict[str, str]) -> str:
        """The call for the SQL of each argument, by its parameter."""
        if self.renderer:
            prompt = f"{self.renderer}({', '.join(arguments[name] for name in self.parameters)})"
        elif self.parameters:
            values = ", ".join(f"'{name}', {arguments[name]}" for name in self.parameters)
            prompt = f"llm_prompt({literals.text(self.request)}, named_struct({values}))"
        else:
            prompt = literals.text(self.template)
        parts = [literals.text(model), prompt]
        if self.returns:
            parts.append(f"returnType => {literals.text(self.returns)}")
        if self.labels:
            parts.append(f"labels => array({', '.join(map(literals.text, self.labels))})")
        if self.options:
            pairs = ", ".join(f"{literals.text(key)}, {literals.text(value)}" for key, value in self.options.items())
            parts.append(f"modelParameters => map({pairs})")
        parts += [f"{key} => {value}" for key, value in more.items()]
        return f"ai_query({', '.join(parts)})"


class Prompts:
    """The prompt functions of a session, and the versions that are kept in its home."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._versions: dict[str, dict[str, PromptFunction]] = {}  # by name in lower case, the current one last

    def __contains__(self, name: object) -> bool:
        return name in self._versions

    def __bool__(self) -> bool:
        return bool(self._versions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._versions)

    def add(self, prompt: PromptFunction) -> PromptFunction:
        """Register a prompt function as the current version of its name, and keep it.

        Without a version it gets that of an equal one, else the next number. Raises: OptionError if its version is
        kept with another text.
        """
        name = prompt.name.lower()
        if name in self._session.models:
            raise OptionError(f"{prompt.name} is a model", cure="Give the prompt another name.")
        kept = {one.version: one for one in self.kept(prompt.name)}
        equal = next((one.version for one in kept.values() if one.same_as(prompt)), "")
        numbers = [int(version) for version in kept if version.isdecimal()]
        version = prompt.version or equal or str(max(numbers, default=0) + 1)
        before = kept.get(version)
        if before is not None and not before.same_as(prompt):
            free = str(max(numbers, default=0) + 1)
            raise OptionError(
                f"version {version} of the prompt {prompt.name} is kept with another text, model or type",
                cure=f'Write version="{free}", or leave the version out.',
                key="version",
            )
        registered = before.registered if before else datetime.now(UTC).isoformat(timespec="seconds")
        prompt = replace(prompt, version=version, registered=registered)
        versions = self._versions.setdefault(name, {})
        versions.pop(version, None)
        versions[version] = prompt
        if before is None:
            file = self._file(prompt.name)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(prompt), ensure_ascii=False) + "\n")
        return prompt

    def renew(self, prompt: PromptFunction) -> PromptFunction:
        """Replace a registered version by an equal version that is filled in another way."""
        self._versions[prompt.name.lower()][prompt.version] = prompt
        return prompt

    def remove(self, name: str) -> bool:
        """End the function `name`; its kept versions stay. False if there is none."""
        return self._versions.pop(name.lower(), None) is not None

    def find(self, name: str, version: str = "") -> PromptFunction:
        """The current version, or another one. Raises: ValueError if there is no such version."""
        versions = self._versions[name.lower()]
        if not version:
            return next(reversed(versions.values()))
        kept = {one.version: one for one in self.kept(name) if not one.renderer} | versions
        if version not in kept:
            raise ValueError(f"{name} has no version {version}; versions: {', '.join(kept)}")
        return kept[version]

    def kept(self, name: str = "") -> list[PromptFunction]:
        """Every kept version, of `name` or of all, the oldest first."""
        files = [self._file(name)] if name else sorted(self._folder.glob("*.jsonl"))
        lines = [line for file in files if file.is_file() for line in file.read_text(encoding="utf-8").splitlines()]
        return [_read(json.loads(line)) for line in lines]

    def rows(self) -> list[dict[str, Any]]:
        """`kept` as rows of SCHEMA."""
        current = {(name, self.find(name).version) for name in self._versions}
        return [{**asdict(one), "current": (one.name.lower(), one.version) in current} for one in self.kept()]

    @property
    def _folder(self) -> Path:
        return self._session.settings.home.expanduser() / "prompts"

    def _file(self, name: str) -> Path:
        return self._folder / f"{_FILE.sub('_', name.lower())}.jsonl"


def _read(fields: dict[str, Any]) -> PromptFunction:
    return PromptFunction(**{**fields, **{key: tuple(fields[key]) for key in ("parameters", "labels")}})


# --- register ----------------------------------------------------------------------------------------------------


def register(session: Session, register: Register, given: dict[str, str]) -> None:
    """register Prompt.`template` as name where model="..." and returns="..." and version="...";"""
    session.prompts.add(
        read(
            register.function.resolve(session.variables),
            given.get("code") or register.path.resolve(session.variables),
            given,
        )
    )


def read(name: str, template: str, given: dict[str, str]) -> PromptFunction:
    """The prompt function that a statement makes.

    Raises: OptionError for an empty template, Jinja2 beyond names, an unknown option, and a name of SQL's.
    """
    check_name(name)
    if not template.strip():
        raise OptionError(
            f"the prompt {name} is empty",
            cure=f"Write register Prompt.`Rate {{{{ review }}}}` as {name}; or code='''...''' for a long one.",
        )
    options = {key: value for key, value in given.items() if key not in _OWN}
    for key, value in options.items():
        if key not in requests.KEYS:
            cure = suggest(key, [*_OWN, *requests.KEYS], what="options")
            raise OptionError(f"unknown option {key} of a prompt", cure=cure, key=key)
        try:
            requests.check(key, value)
        except ValueError as error:
            raise OptionError(str(error), key=key) from None
    request, parameters = plain(template, name)
    return PromptFunction(
        name=name,
        template=template,
        parameters=parameters,
        request=request,
        model=given.get("model", ""),
        returns=checked_type(given.get("returns", "")),
        options=options,
        version=given.get("version", ""),
    )


def check_name(name: str) -> None:
    """OptionError for the name of a function that SQL has already."""
    if name.lower() in builtins.functions() or name.lower() in ai.FUNCTIONS or name.lower() in FUNCTIONS:
        raise OptionError(f"{name} is a function of SQL", cure="Give the prompt another name.")


def checked_type(returns: str) -> str:
    """The type, empty for a text. Raises: OptionError for what is not a type of Spark."""
    if not returns or returns.lower() == "string":
        return ""
    try:
        kinds.parse(returns.strip())
    except ValueError as error:
        raise OptionError(str(error), key="returns") from None
    return returns.strip()


def plain(template: str, name: str) -> tuple[str, tuple[str, ...]]:
    """A template of `{{ name }}` alone in the notation of llm_prompt, and the names in the order of the text.

    Raises: OptionError for anything else of Jinja2.
    """
    pieces, names, done, opened = list[str](), dict[str, None](), 0, 0
    for match in [*_JINJA.finditer(template), None]:
        text = template[done : match.start() if match else len(template)]
        for char in text:
            if char == "{":
                opened += 1
            pieces.append("{{" if char == "{" else "}}" if char == "}" and opened else char)
            opened -= char == "}" and opened > 0
        if match is None:
            break
        if not (named := _FIELD.fullmatch(match[0])):
            raise OptionError(
                f"the prompt {name} holds {match[0]}, and a prompt in SQL takes {{{{ name }}}} alone",
                cure="Write it as a Python function with @sqlllm.prompt, and session.register(function).",
            )
        names[named[1]] = None
        pieces.append(f"{{{named[1]}}}")
        done = match.end()
    return "".join(pieces), tuple(names)


# --- calls -------------------------------------------------------------------------------------------------------


def written_out(session: Session, sql: RenderedSql) -> RenderedSql:
    """`sql` with each call of a prompt function replaced by a call of ai_query."""
    prompts = session.prompts
    if not prompts:
        return sql

    def write(call: Call, cut: Cut) -> str:
        try:
            given = _named(call, cut)
            version = str(literals.constant(given.pop("version"))) if "version" in given else ""
            prompt = prompts.find(call.name, version)
            more = {key: given.pop(key) for key in _PASSED if key in given}
            model = more.pop("model", "").strip()[1:-1] or prompt.model  # ai_query finds the only one
            return prompt.sql(_arguments(prompt, given), model, more)
        except literals.NotConstant:
            words = f"the version of {call.name} is a text in quotes: the query is planned by it"
            raise ParseError(words, place=sql.place_at(call.start, call.end)) from None
        except ValueError as error:
            cure = f"Write {signature(prompts.find(call.name))}."
            raise ParseError(str(error), cure=cure, place=sql.place_at(call.start, call.end)) from None

    return calls.written_out(sql, frozenset(prompts), write)


def signature(prompt: PromptFunction) -> str:
    """How a prompt function is called."""
    return f"{prompt.name}({', '.join(prompt.parameters)})"


def _named(call: Call, cut: Cut) -> dict[str, str]:
    """The SQL of each argument by its name, or by its position as `0`, `1`."""
    given: dict[str, str] = {}
    for position, one in enumerate(call.arguments):
        key = one.name or str(position)
        if key in given or one.start == one.end:
            raise ValueError(
                f"{call.name} gets {one.name or 'an argument'} {'twice' if one.end else 'without a value'}"
            )
        if key == "model" and not one.is_text:
            raise ValueError(f"the model of {call.name} is a text in quotes: the query is planned by it")
        given[key] = cut(one.start, one.end)
    return given


def _arguments(prompt: PromptFunction, given: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in given.items():
        position = int(key) if key.isdecimal() else -1
        name = key if position < 0 else prompt.parameters[position] if position < len(prompt.parameters) else ""
        if not name:
            raise ValueError(f"{prompt.name} takes {len(prompt.parameters)} arguments, not {len(given)}")
        if name not in prompt.parameters:
            near = nearest(name, [*prompt.parameters, *_PASSED, "version"])
            raise ValueError(f"{prompt.name} has no {name}" + (f"; did you mean {near}?" if near else ""))
        if name in found:
            raise ValueError(f"{prompt.name} gets {name} twice")
        found[name] = value
    if missing := [name for name in prompt.parameters if name not in found]:
        raise ValueError(f"{prompt.name} needs {missing[0]}")
    return found
