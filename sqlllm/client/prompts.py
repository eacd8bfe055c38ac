"""A prompt that is a function: its docstring is the template, its parameters are the variables, a call asks a model."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import sys
import time
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from sqlllm.errors import OptionError

from .asking import Ask, converse
from .effects import Steps, drive, drive_async
from .filling import coerced, dedented, filled, shown
from .hints import resolve
from .llm import LLM
from .long import Long, long_answer
from .messages import Messages, conversation
from .meta import MetaHolder
from .replies import Reply
from .streams import AsyncStream, Stream, in_loop, in_thread

P = ParamSpec("P")
R = TypeVar("R")
_STREAMS = (collections.abc.Generator, collections.abc.Iterator, collections.abc.Iterable)
_ASYNC_STREAMS = (collections.abc.AsyncGenerator, collections.abc.AsyncIterator, collections.abc.AsyncIterable)
_MISSING: Any = ...  # which stays itself in a pickle


class Prompt(Generic[P, R]):
    """A prompt function. Not changed once made: each `with_...` gives another one, so threads may share it.

    The body may return a dict: more variables for the template, or other values of the parameters.
    """

    def __init__(self, function: Callable[P, R], llm: Any = None, *, render: str = "jinja2") -> None:
        if not function.__doc__ or not function.__doc__.strip():
            raise OptionError(
                f"the prompt {function.__qualname__} has no docstring", cure="Write the prompt as its docstring."
            )
        if render not in ("jinja2", "simple"):
            raise OptionError(f"render={render!r} is not valid", cure="Write jinja2 or simple.", key="render")
        functools.update_wrapper(self, function)
        self.__qualname__: str = function.__qualname__
        self._function = function
        self._template = dedented(function.__doc__)
        self._simple = render == "simple"
        self._signature = inspect.signature(function)
        self._llm = llm
        self._instance: Any = _MISSING
        self._params: dict[str, Any] = {}
        self._returns: Any = _MISSING
        self._extractor: Callable[[str], Any] | None = None
        self._history: list[dict[str, Any]] = []
        self._meta: Any = None
        self._long: Long | None = None
        self._tools: tuple[Any, ...] = ()
        try:
            self._hints: dict[str, Any] | None = resolve(function, f"the prompt {function.__qualname__}")
        except OptionError:
            self._hints = None  # a name that is defined later, perhaps

    def __get__(self, instance: Any, owner: type | None = None) -> Prompt[Any, R]:
        return self if instance is None else self._with(_instance=instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask the model: the answer has the function's return type."""
        answer: R = self.run(*args, **kwargs)
        return answer

    def __repr__(self) -> str:
        return f"<prompt {self.__qualname__}>"

    def __reduce__(self) -> Any:
        # A prompt of a module is found there again; `pickle` finds the function itself nowhere.
        found: Any = sys.modules.get(self.__module__)
        for name in self.__qualname__.split("."):
            found = getattr(found, name, None)
        if self.__module__ == "__main__" or not isinstance(found, Prompt) or found._function is not self._function:
            return _remade, (type(self), dict(self.__dict__))
        if found is self:
            return self.__qualname__
        changed = {name: value for name, value in self.__dict__.items() if name not in ("_function", "__wrapped__")}
        return _changed, (found, changed)

    # What is sent

    def prompt(self, *args: Any, **kwargs: Any) -> str:
        """The text that would be sent."""
        return shown(self._content(args, kwargs))

    def messages(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """The conversation that would be sent."""
        return conversation([*self._history, ("user", self._content(args, kwargs))])

    # How it is sent

    def with_llm(self, llm: LLM | str) -> Self:
        """Ask this model."""
        return self._with(_llm=llm)

    def options(self, options: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Send these parameters: `story.options(temperature=0)`."""
        return self._with(_params={**self._params, **(options or {}), **more})

    def with_return_type(self, returns: Any) -> Self:
        """Make an answer of that type, in place of the annotation."""
        return self._with(_returns=returns)

    def with_extractor(self, extractor: Callable[[str], Any]) -> Self:
        """Return what a function makes of the answer's text."""
        return self._with(_extractor=extractor)

    def with_conversation(self, messages: Any) -> Self:
        """Ask after an earlier conversation."""
        return self._with(_history=Messages(messages).to_list())

    def with_meta(self, holder: MetaHolder) -> Self:
        """Let a holder take the tokens, the thoughts and the finish reason of the answer."""
        return self._with(_meta=holder)

    def with_tools(self, *tools: Any) -> Self:
        """Let the model call these functions."""
        return self._with(_tools=tools)

    def with_response_markers(self, markers: Sequence[str] | None = None, *, max_rounds: int = 64) -> Self:
        """Ask on until the answer is whole, with marks around it that show its end; for any model."""
        start, end = markers or Long().markers
        return self._with(_long=Long("markers", (start, end), max_rounds))

    def with_prefix_continuation(self, *, max_rounds: int = 64) -> Self:
        """Ask on until the answer is whole: the model continues its own words; else as with markers."""
        return self._with(_long=Long("prefix", max_rounds=max_rounds))

    def with_stop(self, *suffixes: str) -> Self:
        """End the answer before one of these texts."""
        return self.options(stop=list(suffixes))

    # Sending it

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the model; with an `async def`, or the annotation of an asynchronous stream, in an event loop."""
        kind = self._kind()
        if _origin(kind) in _ASYNC_STREAMS:
            return self._astreamed(args, kwargs)
        if inspect.iscoroutinefunction(self._function):
            return self.arun(*args, **kwargs)
        if _origin(kind) in _STREAMS:
            return self._streamed(args, kwargs)
        start = time.monotonic()
        reply = drive(self._steps(self._ask(args, kwargs)), in_thread())
        return self._result(reply, start)

    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        """`run` in an event loop, whatever the function is."""
        start = time.monotonic()
        own = () if self._instance is _MISSING else (self._instance,)
        variables = self._variables(args, kwargs)
        extra: Any = self._function(*own, *args, **kwargs)
        extra = await extra if inspect.isawaitable(extra) else extra
        reply = await drive_async(self._steps(self._asked(self._filled(variables, extra))), in_loop())
        return self._result(reply, start)

    def _with(self, **changes: Any) -> Self:
        made = object.__new__(type(self))
        made.__dict__ |= {**self.__dict__, **changes}
        return made

    def _ask(self, args: Any, kwargs: Any) -> Ask:
        return self._asked(self._content(args, kwargs))

    def _asked(self, content: str | list[Any]) -> Ask:
        kind = self._kind()
        plain = kind in (None, type(None), str) or _origin(kind) in (Reply, *_STREAMS, *_ASYNC_STREAMS)
        typed = None if plain or self._extractor is not None else kind
        messages = [*self._history, ("user", content)]
        return self._model()._ask(messages, typed, tools=self._tools, **self._params)

    def _steps(self, ask: Ask) -> Steps[Reply[Any]]:
        return converse(ask) if self._long is None else long_answer(ask, self._long)

    def _result(self, reply: Reply[Any], start: float) -> Any:
        if self._meta is not None:
            self._meta.take(reply, time.monotonic() - start)
        if self._extractor is not None:
            return self._extractor(reply.text)
        return reply if _origin(self._kind()) is Reply else reply.value

    def _streamed(self, args: Any, kwargs: Any) -> Iterator[str]:
        self._no_long_stream()
        start, first = time.monotonic(), 0.0
        with Stream(converse(self._ask(args, kwargs), stream=True)) as stream:
            for delta in stream:
                first = first or time.monotonic() - start
                if delta.text:
                    yield delta.text
            if self._meta is not None:
                self._meta.take(stream.reply, first)

    async def _astreamed(self, args: Any, kwargs: Any) -> AsyncIterator[str]:
        self._no_long_stream()
        start, first = time.monotonic(), 0.0
        async with AsyncStream(converse(self._ask(args, kwargs), stream=True)) as stream:
            async for delta in stream:
                first = first or time.monotonic() - start
                if delta.text:
                    yield delta.text
            if self._meta is not None:
                self._meta.take(await stream.finish(), first)

    def _no_long_stream(self) -> None:
        if self._long is not None:
            raise OptionError(
                f"{self.__qualname__} streams, and an answer in several rounds does not", cure="Return str from it."
            )

    def _model(self) -> LLM:
        llm = self._llm
        if callable(llm) and not isinstance(llm, LLM):
            llm = llm(self._instance) if self._instance is not _MISSING else llm()
        if isinstance(llm, str):
            llm = LLM(llm)
        if not isinstance(llm, LLM):
            raise OptionError(
                f"the prompt {self.__qualname__} has no model",
                cure="Write @prompt(llm), or .with_llm(llm).run(...); .prompt(...) is the text alone.",
            )
        return llm

    def _kind(self) -> Any:
        """The type of the answer; None for a text."""
        if self._returns is not _MISSING:
            return self._returns
        if self._hints is None:
            self._hints = resolve(self._function, f"the prompt {self.__qualname__}")
        return self._hints.get("return")

    def _given(self, args: Any, kwargs: Any) -> dict[str, Any]:
        """The arguments by name; TypeError as of any function."""
        own = () if self._instance is _MISSING else (self._instance,)
        bound = self._signature.bind(*own, *args, **kwargs)
        bound.apply_defaults()
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if self._signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                named |= value
            else:
                hint = (self._hints or {}).get(name)
                named[name] = coerced(value, hint)
        return named

    def _variables(self, args: Any, kwargs: Any) -> dict[str, Any]:
        named = self._given(args, kwargs)
        if self._instance is not _MISSING:
            named.pop(next(iter(self._signature.parameters)))
        return named

    def _content(self, args: Any, kwargs: Any) -> str | list[Any]:
        own = () if self._instance is _MISSING else (self._instance,)
        variables = self._variables(args, kwargs)
        extra: Any = self._function(*own, *args, **kwargs)
        if inspect.iscoroutine(extra):
            extra.close()  # its variables need a loop: `arun` awaits them
            extra = None
        return self._filled(variables, extra)

    def _filled(self, variables: dict[str, Any], extra: Any) -> str | list[Any]:
        if extra is not None and not isinstance(extra, Mapping):
            raise OptionError(
                f"the body of the prompt {self.__qualname__} returned a {type(extra).__name__}",
                cure='Return a dict of variables, {"name": value}, or nothing.',
            )
        name = f"the prompt {self.__qualname__}"
        return filled(self._template, {**variables, **(extra or {})}, name, simple=self._simple)


@overload
def prompt(  # type: ignore[overload-overlap]
    llm: LLM | str | Callable[[Any], LLM] | None = None, *, render: str = "jinja2"
) -> Callable[[Callable[P, R]], Prompt[P, R]]: ...
@overload
def prompt(llm: Callable[P, R], *, render: str = "jinja2") -> Prompt[P, R]: ...
def prompt(llm: Any = None, *, render: str = "jinja2") -> Any:
    """Make a function whose docstring is a prompt.

        @prompt(llm)
        def rate(review: str) -> int:
            '''Rate from 1 to 5: {{ review }}'''

        rate("Great!")  # 5

    Args:
        llm: An LLM, a model's name, or `lambda self: self.llm` for a method; none: `.with_llm` names it.
        render: `jinja2`, or `simple` for `{name}` alone.
    """
    if inspect.isfunction(llm) and llm.__name__ != "<lambda>" and llm.__doc__:
        return Prompt(llm)
    return lambda function: Prompt(function, llm, render=render)


def _origin(kind: Any) -> Any:
    return typing.get_origin(kind) or kind


def _remade(kind: type[Prompt[Any, Any]], state: dict[str, Any]) -> Prompt[Any, Any]:
    made = object.__new__(kind)
    made.__dict__ |= state
    return made


def _changed(prompt: Prompt[Any, Any], state: dict[str, Any]) -> Prompt[Any, Any]:
    return prompt._with(**state)
