"""A function whose body the model writes: once, kept, and run in a process of its own.

It is off unless `allow.python` is set, or the caller says `allow=True`: code that nobody has read runs on this machine.
The process has no key, no environment, no open file, no network, and limits of time and memory; what it gives back is
data, which is checked against the function's return type.
"""

from __future__ import annotations

import ast
import functools
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, ParamSpec, TypeVar

from sqlllm.errors import AnswerError, ForbiddenError, OptionError

from .hints import resolve
from .llm import LLM
from .typed import Shape, shape

P = ParamSpec("P")
R = TypeVar("R")
_TRIES = 3
_KEPT = 512
_FENCE = re.compile(r"^[ \t]*```[ \t]*(?:python|py)?[ \t]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE | re.IGNORECASE)
_REFUSED = frozenset({"antigravity", "idlelib", "turtledemo", "this"})
_written: dict[tuple[str, ...], Code] = {}
_lock = Lock()


@dataclass(frozen=True)
class Code:
    """What a model wrote for a function: its source, and how it is run. A call runs it."""

    name: str
    code: str
    modules: tuple[str, ...]
    shape: Shape[Any] | None
    timeout: float
    memory_mb: int

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it. Raises: ModelError if it fails or takes too long, AnswerError if its result is not of the type."""
        from .confined import run

        given = json.loads(_encoded({"args": args, "kwargs": kwargs}))
        result = run(self.code, self.name, given, self.modules, timeout=self.timeout, memory_mb=self.memory_mb)
        if self.shape is None:
            return result
        try:
            return self.shape.take(result)
        except ValueError as error:
            raise AnswerError(
                f"the code of {self.name} returned what is not a valid {self.shape.name}: {error}",
                cure="Describe the result in the docstring, call clear_impl_cache(), and call it again.",
            ) from None


def impl(
    llm: LLM | Callable[[], LLM],
    *,
    instruction: str = "",
    allow: bool | None = None,
    timeout: float = 10.0,
    memory_mb: int = 512,
) -> Callable[[Callable[P, R]], Implemented[P, R]]:
    """Have the model write the body of a function at its first call: `@impl(llm)`, or `@llm.impl()`.

    Args:
        llm: The model, or a function that gives it.
        instruction: What the function is for here, besides its docstring.
        allow: Whether code of a model may run; None: the setting `allow.python`.
        timeout: Seconds that a call may take.
        memory_mb: Memory that it may use.
    """
    return lambda function: Implemented(function, llm, instruction, allow, timeout, memory_mb)


class Implemented(Generic[P, R]):
    """A function that a model implements; `code()` is the source that it runs."""

    def __init__(
        self, function: Callable[P, R], llm: Any, instruction: str, allow: bool | None, timeout: float, memory_mb: int
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._signature = inspect.signature(function)
        self._llm = llm
        self._instruction = instruction
        self._allow = allow
        self._limits = timeout, memory_mb

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        bound = self._signature.bind(*args, **kwargs)
        result: R = self._code()(*bound.args, **bound.kwargs)
        return result

    def code(self) -> str:
        """The source, which the model writes now if it has not yet."""
        return self._code().code

    def _code(self) -> Code:
        llm = self._llm if isinstance(self._llm, LLM) else self._llm()
        return implementation(llm, self._function, instruction=self._instruction, allow=self._allow,
                              timeout=self._limits[0], memory_mb=self._limits[1])  # fmt: skip


def clear_impl_cache() -> None:
    """Forget all bodies that models have written."""
    with _lock:
        _written.clear()


def implementation(
    llm: LLM,
    function: Callable[..., Any],
    *,
    instruction: str = "",
    returns: Any = None,
    allow: bool | None = None,
    timeout: float = 10.0,
    memory_mb: int = 512,
) -> Code:
    """The body of a function, kept by its signature, its docstring and the model.

    Raises: ForbiddenError if code of a model may not run, AnswerError if the model writes none that fits.
    """
    _check_allowed(allow)
    name = function.__name__
    if not function.__doc__:
        raise OptionError(f"{name} has no docstring", cure="Write there what it does.")
    kind = returns if returns is not None else resolve(function, f"the function {name}").get("return")
    found = shape(kind)
    schema = json.dumps(found.schema, ensure_ascii=False) if found else ""
    key = (llm.model, repr(llm), name, str(inspect.signature(function)), function.__doc__, instruction, schema)
    with _lock:
        if key in _written:
            return _written[key]
    code, modules = _asked(llm, function, instruction, schema)
    made = Code(name, code, modules, found, timeout, memory_mb)
    with _lock:
        while len(_written) >= _KEPT:
            _written.pop(next(iter(_written)))
        _written[key] = made
    return made


def _check_allowed(allow: bool | None) -> None:
    if allow is None:
        from sqlllm.settings import Settings

        allow = Settings.load().allow.python
    if not allow:
        raise ForbiddenError(
            "code that a model writes may not run", cure="Allow it: SQLLLM_ALLOW__PYTHON=true, or impl(allow=True)."
        )


def _asked(llm: LLM, function: Callable[..., Any], instruction: str, schema: str) -> tuple[str, tuple[str, ...]]:
    name, doc = function.__name__, textwrap.indent(inspect.cleandoc(function.__doc__ or ""), "    ")
    returned = f"It returns a value that json.dumps takes, of this JSON schema:\n{schema}\n" if schema else ""
    words = (
        f"Write this Python function.\n\ndef {name}{_signature(function)}:\n    '''\n{doc}\n    '''\n\n{returned}"
        f"{f'It is for this: {instruction}{chr(10)}' if instruction else ''}"
        "Use the standard library alone: no files, no network. Import what you need inside of the code. "
        "Answer with the whole function in a ```python block."
    )
    messages: list[dict[str, Any]] = [{"role": "user", "content": words}]
    for _ in range(_TRIES):
        reply = llm.chat(messages)
        try:
            return _checked(reply.text, name)
        except ValueError as error:
            problem = str(error)
            messages = [*reply.messages, {"role": "user", "content": f"{problem}. Write the whole function again."}]
    raise AnswerError(
        f"{llm.model} wrote no code for {name} in {_TRIES} answers: {problem}",
        cure="Write more in the docstring, or ask another model.",
        reply=reply,
    )


def _signature(function: Callable[..., Any]) -> str:
    """The parameters with their types; an `Annotated` one with its meaning."""
    return str(inspect.signature(function)).replace("typing.", "")


def _checked(text: str, name: str) -> tuple[str, tuple[str, ...]]:
    """The code in an answer, and the modules that it imports. Raises: ValueError with what is wrong."""
    blocks = _FENCE.findall(text)
    code = textwrap.dedent(max(blocks, key=len) if blocks else text)
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the code is not valid Python: {error}") from None
    if not any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body):
        raise ValueError(f"the code defines no function {name}")
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    allowed = sys.stdlib_module_names - _REFUSED
    if foreign := sorted(module for module in modules if module.partition(".")[0] not in allowed):
        raise ValueError(f"the code imports {', '.join(foreign)}, which is not in the standard library")
    return code, tuple(sorted(modules))


def _encoded(value: Any) -> str:
    """Arguments as JSON; dates, times and decimals keep their type, objects become dicts."""
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    import datetime
    import decimal

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return {"$type": type(value).__name__, "value": value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return {"$type": "timedelta", "value": value.total_seconds()}
    if isinstance(value, decimal.Decimal):
        return {"$type": "Decimal", "value": str(value)}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return json.loads(to_json(value))
    except (PydanticSerializationError, ValueError):
        raise OptionError(f"a {type(value).__name__} cannot be an argument here", cure="Give JSON's types.") from None
