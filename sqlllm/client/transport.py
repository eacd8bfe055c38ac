"""HTTP for the client: effects carried out with httpx, in a thread or in an event loop.

All clients of a process share their connections. A forked child begins anew, and each event loop has connections of
its own, which are closed when it ends.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

from .calling import call_all, call_all_async
from .effects import Call, Effect, Failure, Open, Read, Request, Response, Send, Sleep

if TYPE_CHECKING:
    import httpx

_Wanted: TypeAlias = tuple[str, bool]  # the certificate, and whether the environment's proxies are for it
_clients: dict[_Wanted, httpx.Client] = {}
_lock = Lock()
_loops: dict[asyncio.AbstractEventLoop, dict[_Wanted, tuple[httpx.AsyncClient, AsyncIterator[None]]]] = {}


def _forget() -> None:
    """A forked child shares no connection with its parent."""
    global _lock
    _lock = Lock()
    _clients.clear()
    _loops.clear()


os.register_at_fork(after_in_child=_forget)


@atexit.register
def close() -> None:
    """Close the idle connections of this process."""
    with _lock:
        clients = list(_clients.values())
        _clients.clear()
    for client in clients:
        client.close()


def _wanted(request: Request) -> _Wanted:
    return request.endpoint.certificate, not request.endpoint.is_local


def _options(wanted: _Wanted) -> dict[str, Any]:
    import httpx

    from sqlllm import tls

    certificate, proxied = wanted
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30)
    trust = tls.context(certificate) if certificate else True if proxied else tls.context("")
    return {"verify": trust, "trust_env": proxied, "limits": limits, "timeout": None}


def _client(wanted: _Wanted) -> httpx.Client:
    if (found := _clients.get(wanted)) is not None:
        return found
    import httpx

    with _lock:
        if wanted not in _clients:
            _clients[wanted] = httpx.Client(**_options(wanted))
        return _clients[wanted]


async def _async_client(wanted: _Wanted) -> httpx.AsyncClient:
    loop = asyncio.get_running_loop()
    if (clients := _loops.get(loop)) is None:
        for old in [old for old in _loops if old.is_closed()]:
            del _loops[old]
        clients = _loops[loop] = {}
    if (found := clients.get(wanted)) is not None:
        return found[0]
    import httpx

    made = httpx.AsyncClient(**_options(wanted))
    keeper = _until_the_loop_ends(loop, made)
    clients[wanted] = made, keeper
    await anext(keeper)
    return made


async def _until_the_loop_ends(loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient) -> AsyncIterator[None]:
    """A loop that ends closes the asynchronous generators that it has seen: this one closes the client."""
    try:
        yield
    finally:
        _loops.pop(loop, None)
        await client.aclose()


def _built(request: Request, timeout: float, idle: float) -> httpx.Request:
    import httpx

    endpoint = request.endpoint
    headers = [("accept", "*/*"), ("user-agent", "sqlllm"), *endpoint.sent()]
    if request.content is not None:
        headers.append(("content-type", request.content_type))
    return httpx.Request(
        "GET" if request.content is None else "POST",
        endpoint.url(request.path),
        headers=headers,
        content=request.content,
        extensions={"timeout": {"connect": timeout, "read": idle, "write": timeout, "pool": timeout}},
    )


def _failure(error: Exception) -> Failure:
    import httpx

    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return Failure("no answer in time", timed_out=True)
    if isinstance(error, httpx.ConnectError):
        return Failure(f"no connection: {error}")
    return Failure(f"the connection broke: {error or type(error).__name__}")


def _errors() -> tuple[type[Exception], ...]:
    import httpx

    return httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError


class ThreadLink:
    """Carries effects out in the calling thread."""

    def __init__(self) -> None:
        self._open: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def perform(self, effect: Effect) -> Any:
        """The result of an effect."""
        match effect:
            case Send():
                return self._send(effect)
            case Open():
                return self._start(effect)
            case Read():
                return self._read()
            case Sleep():
                time.sleep(effect.seconds)
            case Call():
                return call_all(effect.functions, effect.timeout)
        return None

    def _send(self, effect: Send) -> Response | Failure:
        end = time.monotonic() + effect.timeout
        client = _client(_wanted(effect.request))
        built = _built(effect.request, effect.timeout, effect.timeout)
        try:
            response = client.send(built, stream=True)
            try:
                pieces = []
                for piece in response.iter_bytes():
                    pieces.append(piece)
                    if time.monotonic() > end:
                        return Failure("no whole answer in time", timed_out=True)
            finally:
                response.close()
        except _errors() as error:
            return _failure(error)
        return Response(response.status_code, response.headers, b"".join(pieces))

    def _start(self, effect: Open) -> Response | Failure:
        self.close()
        client = _client(_wanted(effect.request))
        built = _built(effect.request, effect.timeout, effect.timeout)
        try:
            response = client.send(built, stream=True)
            if response.status_code != 200:
                try:
                    return Response(response.status_code, response.headers, response.read())
                finally:
                    response.close()
        except _errors() as error:
            return _failure(error)
        built.extensions["timeout"]["read"] = effect.idle  # from here on
        self._open, self._pieces = response, response.iter_bytes()
        return Response(200, response.headers)

    def _read(self) -> bytes | Failure | None:
        try:
            return next(self._pieces, None)
        except _errors() as error:
            return _failure(error)

    def close(self) -> None:
        """End what is open, read or not."""
        if self._open is not None:
            self._open.close()
            self._open = None


class LoopLink:
    """Carries effects out in the running event loop."""

    def __init__(self) -> None:
        self._open: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def perform(self, effect: Effect) -> Any:
        """The result of an effect."""
        match effect:
            case Send():
                return await self._send(effect)
            case Open():
                return await self._start(effect)
            case Read():
                return await self._read()
            case Sleep():
                await asyncio.sleep(effect.seconds)
            case Call():
                return await call_all_async(effect.functions, effect.timeout)
        return None

    async def _send(self, effect: Send) -> Response | Failure:
        client = await _async_client(_wanted(effect.request))
        built = _built(effect.request, effect.timeout, effect.timeout)
        try:
            async with asyncio.timeout(effect.timeout):
                response = await client.send(built)
        except _errors() as error:
            return _failure(error)
        return Response(response.status_code, response.headers, response.content)

    async def _start(self, effect: Open) -> Response | Failure:
        await self.close()
        client = await _async_client(_wanted(effect.request))
        built = _built(effect.request, effect.timeout, effect.timeout)
        try:
            async with asyncio.timeout(effect.timeout):
                response = await client.send(built, stream=True)
                if response.status_code != 200:
                    try:
                        return Response(response.status_code, response.headers, await response.aread())
                    finally:
                        await response.aclose()
        except _errors() as error:
            return _failure(error)
        built.extensions["timeout"]["read"] = effect.idle  # from here on
        self._open, self._pieces = response, response.aiter_bytes()
        return Response(200, response.headers)

    async def _read(self) -> bytes | Failure | None:
        assert self._pieces is not None
        try:
            return await anext(self._pieces, None)
        except _errors() as error:
            return _failure(error)

    async def close(self) -> None:
        """End what is open, read or not."""
        if self._open is not None:
            opened, self._open, self._pieces = self._open, None, None
            with suppress(Exception):  # the connection may be gone
                await opened.aclose()
