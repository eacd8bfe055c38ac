"""What a call does besides thinking, as values: one logic, which a thread or an event loop carries out.

The logic of a call is a generator that yields effects and is sent their results. It opens no socket and waits for
nothing itself, so it is written once for the synchronous and the asynchronous API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from .endpoint import Endpoint

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request to `endpoint`; `path` is below its base, or below its root if it begins with `//`."""

    endpoint: Endpoint
    path: str
    content: bytes | None = None  # None: a GET
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; names of headers are in lower case. A stream's body is read by `Read`."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """No response: the time was up, or the connection could not be made or broke."""

    reason: str
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request and read the response within `timeout` seconds: a Response or a Failure."""

    request: Request
    timeout: float


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request and read the head of its response; the whole of it if that is an error."""

    request: Request
    timeout: float
    idle: float  # seconds between two pieces of a stream


@dataclass(frozen=True, slots=True)
class Read:
    """The next bytes of what is open; None at its end, a Failure if it breaks off."""


@dataclass(frozen=True, slots=True)
class Sleep:
    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Give an item to whoever reads the stream."""

    item: Any


@dataclass(frozen=True, slots=True)
class Call:
    """Call functions side by side; a list of what each returned, or of the exception that it raised."""

    functions: tuple[Callable[[], Any], ...]
    timeout: float | None


Effect: TypeAlias = Send | Open | Read | Sleep | Emit | Call
Steps: TypeAlias = Generator[Effect, Any, T]


class Link(Protocol):
    """Carries effects out in the calling thread."""

    def perform(self, effect: Effect) -> Any: ...
    def close(self) -> None: ...


class AsyncLink(Protocol):
    """Carries effects out in the running event loop."""

    def perform(self, effect: Effect) -> Awaitable[Any]: ...
    async def close(self) -> None: ...


def drive(steps: Steps[T], link: Link) -> T:
    """Run a call to its end; what it emits is dropped."""
    told = None
    try:
        while True:
            effect = steps.send(told)
            told = None if type(effect) is Emit else link.perform(effect)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()
        link.close()


async def drive_async(steps: Steps[T], link: AsyncLink) -> T:
    """`drive` in an event loop."""
    told = None
    try:
        while True:
            try:
                effect = steps.send(told)
            except StopIteration as stop:
                result: T = stop.value
                return result
            told = None if type(effect) is Emit else await link.perform(effect)
    finally:
        steps.close()
        await link.close()


def emitted(steps: Steps[T], link: Link, finish: Callable[[T], None]) -> Iterator[Any]:
    """What a call emits; `finish` gets what it returns."""
    told = None
    try:
        while True:
            try:
                effect = steps.send(told)
            except StopIteration as stop:
                finish(stop.value)
                return
            if type(effect) is Emit:
                told = None
                yield effect.item
            else:
                told = link.perform(effect)
    finally:
        steps.close()
        link.close()


async def emitted_async(steps: Steps[T], link: AsyncLink, finish: Callable[[T], None]) -> AsyncIterator[Any]:
    """`emitted` in an event loop."""
    told = None
    try:
        while True:
            try:
                effect = steps.send(told)
            except StopIteration as stop:
                finish(stop.value)
                return
            if type(effect) is Emit:
                told = None
                yield effect.item
            else:
                told = await link.perform(effect)
    finally:
        steps.close()
        await link.close()
