"""httpx's requests over aiohttp's connections: httpx's own pool looks at every connection for every request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies, proxy_bypass

import httpx

from ....protocol import RequestError

if TYPE_CHECKING:
    import aiohttp

_IDLE_SECONDS = 30.0  # that a connection is kept for the next request


class Connections(httpx.AsyncBaseTransport):
    """As many connections as there are requests under way; who sends bounds them."""

    def __init__(self, *, ssl: Any, proxy: str | None, local_address: str | None) -> None:
        """`ssl` is a context; without `proxy` the environment names one, or none."""
        self._ssl, self._proxy, self._local_address = ssl, proxy, local_address
        self._opened: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and give its response without its body."""
        from aiohttp import ClientTimeout
        from yarl import URL

        told: dict[str, float | None] = request.extensions.get("timeout", {})
        with _as_httpx(request):
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[(name.decode(), value.decode("latin-1")) for name, value in request.headers.raw],
                data=await request.aread(),
                timeout=ClientTimeout(total=None, sock_connect=told.get("connect"), sock_read=told.get("read")),
                allow_redirects=False,
                proxy=self._proxy or _of_environment(request.url.scheme, request.url.host),
            )
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Body(response, request),
            extensions={"reason_phrase": (response.reason or "").encode()},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._opened is not None:
            await self._opened.close()

    @property
    def _session(self) -> aiohttp.ClientSession:
        """It belongs to the event loop that sends."""
        if self._opened is None:
            from aiohttp import ClientSession, DummyCookieJar, TCPConnector

            local = (self._local_address, 0) if self._local_address else None
            connector = TCPConnector(ssl=self._ssl, limit=0, local_addr=local, keepalive_timeout=_IDLE_SECONDS)
            self._opened = ClientSession(
                connector=connector,
                auto_decompress=False,  # httpx does
                cookie_jar=DummyCookieJar(),
                trust_env=False,  # it would look for another key than ours in ~/.netrc, for each request
            )
        return self._opened


@lru_cache(maxsize=64)
def _of_environment(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for a host, as `HTTPS_PROXY` and `NO_PROXY` do."""
    if proxy_bypass(host):
        return None
    named = getproxies()
    found = named.get(scheme) or named.get("all")
    if found and found.startswith("socks"):
        raise RequestError("the environment names a SOCKS proxy; name it in saas.proxies", status=502)
    return found


class _Body(httpx.AsyncByteStream):
    """The body of a response, as it comes."""

    def __init__(self, response: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._response, self._request = response, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx(self._request):
            async for piece in self._response.content.iter_any():
                yield piece

    async def aclose(self) -> None:
        """Give the connection back; one whose body was not read is closed."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


@contextmanager
def _as_httpx(request: httpx.Request) -> Iterator[None]:
    """aiohttp's errors as httpx's."""
    import aiohttp

    try:
        yield
    except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
        raise httpx.ConnectError(str(error), request=request) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error), request=request) from error
    except aiohttp.InvalidURL as error:
        raise httpx.UnsupportedProtocol(f"{error} is not a valid URL", request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError(str(error) or type(error).__name__, request=request) from error
