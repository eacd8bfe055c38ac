"""register ScriptUDF.`` as function where lang="python" and code='''...'''; unregister ScriptUDF.`function`;"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from inspect import signature
from textwrap import dedent
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

from sqlllm.dialect import SqlText, Text
from sqlllm.dialect.statements import Register, Unregister
from sqlllm.errors import OptionError, ParseError, TableError, suggest

from . import guard, options, prompt_functions, python, queries
from .modules.learning import ALGORITHMS
from .registry import statement
from .tables import quoted

if TYPE_CHECKING:
    from .session import Session

_OPTIONS = ("lang", "code", "dataType", "methodName", "udfType")
_TYPES: dict[Any, str] = {str: "string", int: "bigint", float: "double", bool: "boolean", bytes: "binary"}
_CHANGES = {
    "default_rng", "monotonic", "now", "perf_counter", "randint", "random", "secrets", "time_ns", "today", "urandom",
    "utcnow", "uuid", "uuid1", "uuid4",
}  # fmt: skip
_PYTHON = """register ScriptUDF.`` as {name} where lang="python" and code=\'\'\'
def apply(x: str) -> str:
    return x.upper()
\'\'\';"""


@statement(Register)
def register(session: Session, register: Register) -> None:
    is_prompt = _is_prompt(session, register.module)
    given = register.options.resolve(session.variables)
    name = register.function.resolve(session.variables)
    if is_prompt:
        prompt_functions.register(session, register, given)
        return
    options.check(given, _OPTIONS)
    language = given.get("lang", "scala")
    if language in {"scala", "java"}:
        raise ParseError(
            f"functions in {language.title()} are not here", cure=f"Write it in Python:\n{_PYTHON.format(name=name)}"
        )
    if language not in _LANGUAGES:
        cure = suggest(language, list(_LANGUAGES), what="languages")
        raise OptionError(f"unknown language {language}", cure=cure, key="lang")
    if given.get("udfType", "udf") != "udf":
        raise OptionError("only udfType udf is here", cure="Aggregate with SQL's own functions.", key="udfType")
    options.require(given, ["code"], f"a function in {language}")
    _LANGUAGES[language](session, name, given, register.options["code"].value)


@statement(Unregister)
def unregister(session: Session, unregister: Unregister) -> None:
    is_prompt = _is_prompt(session, unregister.module)
    name = unregister.path.resolve(session.variables)
    if is_prompt and session.prompts.remove(name):
        return
    if not session.spark.catalog.functionExists(quoted(name)):
        raise TableError(f"there is no function {name}", place=unregister.path.place)
    drop(session, name)


def drop(session: Session, name: str) -> None:
    """Remove a function of this session, if it is there."""
    session.spark.sql(f"drop temporary function if exists {quoted(name)}")
    session.models.unstable.discard(name.lower())


def _is_prompt(session: Session, module: Text) -> bool:
    """Whether `Prompt` is registered, and not `ScriptUDF`. Raises: ParseError for anything else."""
    name = module.resolve(session.variables)
    if name.lower() == "prompt":
        return True
    if name in ALGORITHMS:
        cure = f"Write predict my_table as {name}.`/the/model` as predictions; for the same figures as columns."
        raise ParseError(f"a model of {name} is not a function here", cure=cure, place=module.place)
    if name.lower() != "scriptudf":
        raise ParseError(
            f"{name} registers no function here",
            cure="Known: ScriptUDF and Prompt. A model registers itself when it is deployed, under its udfName.",
            place=module.place,
        )
    return False


def _sql(session: Session, name: str, _given: dict[str, str], code: Text) -> None:
    """`code` is what follows the name in Spark's `create function`: `(x int) returns int return x + 1`."""
    sql = SqlText.of(code).render(session.variables)
    drop(session, name)  # Spark replaces no function of another language
    queries.run_sql(session, sql, prefix=f"create or replace temporary function {quoted(name)} ")


def _python(session: Session, name: str, given: dict[str, str], code: Text) -> None:
    guard.require(session, "python", 'lang="python" runs code of the script')
    function = _function(given, code)
    returns = _data_type(given.get("dataType", "")) or _hinted(function)
    if returns is None:
        example = f"def {given.get('methodName', 'apply')}(...) -> int:"
        raise OptionError(
            f"{name} does not say what it returns",
            cure=f'Write a hint, {example}, or add dataType="bigint".',
            place=code.place,
        )
    from pyspark.sql.functions import udf

    drop(session, name)
    with queries.errors_at(code.place):
        if _is_volatile(given["code"]):
            session.models.unstable.add(name.lower())
            made = udf(function, returns, useArrow=False).asNondeterministic()  # as `register` makes others
            session.spark.udf.register(name, made)
        else:
            session.spark.udf.register(name, function, returns)


def _is_volatile(code: str) -> bool:
    """Whether Python code may give another value for the same arguments: by chance, a clock, or what it keeps."""
    nodes = list(ast.walk(ast.parse(dedent(code))))
    names: set[str] = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {part for node in nodes if isinstance(node, ast.alias) for part in node.name.split(".")}
    return bool(names & _CHANGES) or any(isinstance(node, ast.Global | ast.Nonlocal) for node in nodes)


def _function(given: dict[str, str], code: Text) -> Callable[..., Any]:
    wanted = given.get("methodName", "apply")
    namespace: dict[str, Any] = {"__name__": "__sqlllm__"}  # no module, so that it is sent to the workers by value
    python.run(given["code"], code, namespace)
    function = namespace.get(wanted)
    if not callable(function):
        raise OptionError(
            f"the code defines no function {wanted}", cure=f"Write def {wanted}(...), or add methodName.", key="code"
        )
    if next(iter(signature(function).parameters), "") == "self":  # as Byzer-SQL's manual has it
        method = cast("Callable[..., Any]", function)
        return lambda *arguments: method(None, *arguments)
    return cast("Callable[..., Any]", function)


def _data_type(text: str) -> str:
    """Byzer-SQL's `map(string,array(int))` as Spark writes it."""
    pattern = re.compile(r"\b(array|map)\(((?:[^()]|\(\d+(?:,\s*\d+)?\))*)\)", re.IGNORECASE)
    while (spelt := pattern.sub(r"\1<\2>", text)) != text:
        text = spelt
    return text


def _hinted(function: Callable[..., Any]) -> str | None:
    hint = getattr(function, "__annotations__", {}).get("return")
    if get_origin(hint) is list:
        (item,) = get_args(hint)
        return f"array<{_TYPES[item]}>" if item in _TYPES else None
    return _TYPES.get(hint)


_LANGUAGES: dict[str, Callable[[Session, str, dict[str, str], Text], None]] = {"python": _python, "sql": _sql}
