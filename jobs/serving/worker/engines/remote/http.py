"""Calls of a provider's API: as many as it allows, sent again when it asks for that, errors in its own words."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import orjson

from sqlllm.errors import OptionError
from sqlllm.lines import alines
from sqlllm.wire import BAD_RESPONSE, INSUFFICIENT_QUOTA, PROVIDER_ERROR, PROVIDER_REFUSED, RATE_LIMITED

from ....protocol import CONTEXT_LENGTH_EXCEEDED, RequestError
from ....rate import Rate
from ...rows import Sent, sent
from .connections import Connections
from .options import Options

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})  # 529: Anthropic's "overloaded"
_FIRST_DELAY = 0.5  # seconds; doubles with each try
_BAD_TRIES = 3  # of a request whose answers have status 200 and are none: each may cost, and the next is like it
_LONGEST_DELAY = 60.0  # a provider that asks for more patience has an error instead
_TOO_LONG = (
    "context length",
    "context size",
    "context window",
    "maximum context",
    "max_model_len",  # vLLM's, of an answer alone
    "prompt is too long",
    "input is too long",
    "too many tokens",
)
_EMPTY = ("insufficient_quota", "insufficient balance", "exceeded your current quota", "arrearage")

T = TypeVar("T")
P = TypeVar("P")


class Api:
    """One provider's API, as one worker calls it."""

    def __init__(
        self,
        options: Options,
        headers: dict[str, str],
        *,
        params: dict[str, str] | None = None,
        auth: httpx.Auth | None = None,
        at_once: int = 256,
        workers: int = 1,
    ) -> None:
        self.retried = 0
        self._name = options.provider
        self._secrets = options.secrets
        self._tries = options.max_retries + 1
        self._timeout = options.timeout
        self._places = asyncio.Semaphore(at_once)
        self._calls, self._tokens = (
            Rate(each / workers) if each else None for each in (options.requests_per_minute, options.tokens_per_minute)
        )
        try:
            self._http = httpx.AsyncClient(headers=headers, params=params, auth=auth, **_network(options))
        except (ValueError, OSError, httpx.InvalidURL) as error:
            raise OptionError(f"{self._name} cannot be called this way: {self._mask(str(error))}") from None

    async def post(self, url: str, body: Any, read: Callable[[bytes], T], **more: Any) -> T:
        """What `read` makes of the answer; its ValueError means that the answer is none, and it is asked again.

        `body` is bytes, a value that is sent as JSON, or a function that makes one for each try.
        """

        async def whole(response: httpx.Response) -> T:
            content = await response.aread()
            try:
                return read(content)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                said = self._mask(content.decode(errors="replace"), 200)
                why = error if isinstance(error, Refused) else f"it is not what was asked for: {said!r}"
                raise _Again(
                    RequestError(f"{self._name}: {why}", status=502, code=BAD_RESPONSE, retry_after=0)
                ) from None

        return await self._send(url, body, whole, **more)

    @asynccontextmanager
    async def stream(self, url: str, body: Any, **more: Any) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of a streamed answer; RequestError if it breaks off."""
        async with self._opened(url, body, **more) as response:
            yield self._unbroken(alines(response.aiter_bytes()))

    @asynccontextmanager
    async def stream_bytes(self, url: str, body: Any, **more: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        """A streamed answer as it comes; RequestError if it breaks off."""
        async with self._opened(url, body, **more) as response:
            yield self._unbroken(response.aiter_bytes())

    @asynccontextmanager
    async def _opened(self, url: str, body: Any, **more: Any) -> AsyncIterator[httpx.Response]:
        response = await self._send(url, body, _open, **more)
        try:
            yield response
        finally:
            await response.aclose()

    async def _unbroken(self, pieces: AsyncIterator[P]) -> AsyncIterator[P]:
        try:
            async for piece in pieces:
                yield piece
        except httpx.TransportError as error:
            raise self.broke_off(str(error) or type(error).__name__) from None

    def broke_off(self, why: str) -> RequestError:
        """The error of a stream that ends in its middle."""
        return RequestError(
            f"{self._name} broke its answer off: {self._mask(why, 250)}", status=502, code="broken_stream"
        )

    def failed(self, message: str) -> RequestError:
        """An error that the provider reports within a stream."""
        return RequestError(f"{self._name}: {self._mask(message)}", status=502, code=PROVIDER_ERROR)

    def refused(self, message: str) -> RequestError:
        """An error that another try does not mend, although the answer's status is 200."""
        return RequestError(f"{self._name}: {self._mask(message)}", status=400)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def used(self, tokens: int) -> None:
        """Count tokens against the provider's limit."""
        if self._tokens:
            self._tokens.take(tokens)

    async def _send(
        self, url: str, body: Any, read: Callable[[httpx.Response], Awaitable[T]], method: str = "POST", **more: Any
    ) -> T:
        """Send until `read` has an answer; `read` closes the response, or hands it on."""
        delay, tries, bad = _FIRST_DELAY, 0, 0
        while True:
            tries += 1
            await self._turn()
            value = body() if callable(body) else body
            content = (
                {"content": orjson.dumps(value)} if isinstance(value, dict) else {"content": value} if value else {}
            )
            request = self._http.build_request(method, url, timeout=self._timeout, **content, **more)
            if isinstance(value, dict):
                request.headers["content-type"] = "application/json"
            try:
                return await self._try(request, read)
            except RequestError as error:
                error.attempts = tries
                raise
            except _Again as again:
                bad += again.error.code == BAD_RESPONSE
                if tries == self._tries or bad == _BAD_TRIES or again.error.retry_after > _LONGEST_DELAY:
                    again.error.attempts = tries
                    raise again.error from None
                self.retried += 1
                await asyncio.sleep(max(again.error.retry_after, delay) * random.uniform(1, 1.25))  # noqa: S311
                delay = min(2 * delay, _LONGEST_DELAY)

    async def _try(self, request: httpx.Request, read: Callable[[httpx.Response], Awaitable[T]]) -> T:
        row = sent.get(None) or Sent()
        async with self._places:
            row.under_way = True
            try:
                response = await self._http.send(request, stream=True)
                if response.status_code < 300:
                    row.answered += 1
                    try:
                        return await read(response)
                    finally:
                        if read is not _open:
                            await response.aclose()
                await response.aread()
                await response.aclose()
            except httpx.ReadTimeout:
                message = f"{self._name} gave no answer within {self._timeout:g} s"
                raise RequestError(message, status=504, code="provider_timeout") from None
            except httpx.TransportError as error:
                why = self._mask(str(error) or type(error).__name__)
                message = f"{self._name} cannot be reached at {request.url.copy_with(query=None)}: {why}"
                raise _Again(RequestError(message, status=502, code="unreachable", retry_after=0)) from None
            finally:
                row.under_way = False
        raise self._refusal(response)

    async def _turn(self) -> None:
        """Wait until the provider's limits allow a request."""
        for rate in filter(None, (self._calls, self._tokens)):
            while seconds := rate.wait():
                await asyncio.sleep(seconds)
        if self._calls:
            self._calls.take(1)

    def _refusal(self, response: httpx.Response) -> Exception:
        """What an error of HTTP means for the row: RequestError, within _Again if another try may help."""
        status = response.status_code
        message, param, code = _error(response)
        code = code or response.headers.get("x-amzn-errortype", "").partition(":")[0] or None
        said = f"{self._name} answers {status}: {self._mask(message, 500)}"
        told = f"{code} {message}".lower()
        if status in (401, 403):
            return RequestError(said, status=403, kind="permission_error", code=PROVIDER_REFUSED)
        if status == 402 or (status == 429 and any(word in told for word in _EMPTY)):
            return RequestError(said, status=403, kind="permission_error", code=INSUFFICIENT_QUOTA)
        if status == 404:
            return RequestError(said, status=404, param=param)
        if status in _AGAIN:
            wait = _retry_after(response)
            kept = 429 if status == 429 else 502
            error = RequestError(said, status=kept, code=RATE_LIMITED if status == 429 else PROVIDER_ERROR)
            error.retry_after = wait
            return _Again(error)
        if 400 <= status < 500:
            if any(word in told for word in (CONTEXT_LENGTH_EXCEEDED, *_TOO_LONG)):
                code = CONTEXT_LENGTH_EXCEEDED
            return RequestError(said, status=400, param=param, code=code)
        return RequestError(said, status=502, code=PROVIDER_ERROR)

    def _mask(self, text: str, most: int | None = None) -> str:
        """A limited number of characters, without secrets: half of one is no less a secret."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:most]


class Refused(ValueError):
    """An answer that is an error although its status is 200."""


class _Again(Exception):
    """A try that failed for a reason that may pass."""

    def __init__(self, error: RequestError) -> None:
        super().__init__(error)
        self.error = error


async def _open(response: httpx.Response) -> httpx.Response:
    return response


def _network(options: Options) -> dict[str, Any]:
    """How httpx gets there."""
    verify: Any = options.https_verify
    if isinstance(verify, str):
        import ssl

        verify = ssl.create_default_context(cafile=verify)
    local = None if options.local_address in ("", "0.0.0.0") else options.local_address  # noqa: S104 (Byzer-LLM's "any")
    if str(options.proxies or "").startswith("socks"):  # which aiohttp has not
        shared = {"verify": verify, "limits": httpx.Limits(max_connections=None)}
        return {"transport": httpx.AsyncHTTPTransport(proxy=options.proxies, local_address=local, **shared)}
    context = httpx.create_ssl_context(verify=verify)
    return {"transport": Connections(ssl=context, proxy=options.proxies or None, local_address=local)}


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the provider asks to wait; 0 if it does not say."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, float(response.headers.get(name, "")) * unit)
        except ValueError:  # absent, or a date: our own back-off is as good
            continue
    return 0.0


def _error(response: httpx.Response) -> tuple[str, str | None, str | None]:
    """Message, param and code of an error, in whatever shape the provider has."""
    try:
        body = response.json()
    except ValueError:
        return response.text.strip() or response.reason_phrase, None, None
    if isinstance(body, list) and body:  # Gemini's
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return str(error), None, None
    message = next((error[key] for key in ("message", "error_msg", "msg", "Message", "detail") if error.get(key)), None)
    code = error.get("code", error.get("error_code", error.get("type")))
    param = error.get("param")
    return str(message or orjson.dumps(error).decode()), param, None if code is None else str(code)
