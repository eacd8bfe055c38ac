"""Who may knock: web pages of other origins, and names that another machine gave to this one.

A browser sends a page's requests to this machine, too. A gateway without a key knows a page from a program by what a
browser cannot leave out: the `Origin` of the page, and the `Host` that its address names.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sqlllm.settings import ServingSettings, listed
from sqlllm.wire import FOREIGN_PAGE, JSON

from ..protocol import RequestError

_OWN_NAMES = frozenset({"localhost", "ip6-localhost", "host.docker.internal"})
# What a page may send to any address without asking it first.
_SIMPLE = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
_FORMS = frozenset({"/v1/audio/transcriptions"})


def guarded(app: ASGIApp, settings: ServingSettings) -> ASGIApp:
    """The app behind the checks that its settings need, and open to the pages that they allow."""
    origins = listed(settings.allowed_origins)
    if not settings.api_key:
        app = Doors(app, settings.host, origins)
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=listed(settings.allowed_methods),
        allow_headers=listed(settings.allowed_headers),
        allow_credentials=settings.allow_credentials,
    )


class Doors:
    """Refuses what only a web page sends, unless its origin is allowed. For a gateway that asks for no key."""

    def __init__(self, app: ASGIApp, host: str, origins: list[str]) -> None:
        self._app, self._host, self._origins = app, host.lower(), frozenset(origins)
        self._machine = socket.gethostname().lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or pass on."""
        if scope["type"] == "http" and (error := self._refusal(scope)):
            await Response(error.to_json(), error.status, media_type=JSON)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> RequestError | None:
        """Why a request is refused; None if it is not."""
        headers = Headers(scope=scope)
        host = _name(headers.get("host", ""))
        if not self._is_own(host):
            return _forbidden(
                f"the name {host} in the header Host is not this gateway's; call it by its address, or set a key"
            )
        origin = headers.get("origin")
        if origin is not None and not self._origins & {origin, "*"} and not _same(origin, headers.get("host", "")):
            return _forbidden(
                f"pages of {origin} may not call this gateway; name the origin in serving.allowed_origins"
            )
        if "*" in self._origins or (origin is not None and origin in self._origins):
            return None
        if headers.get("sec-fetch-site") == "cross-site":
            return _forbidden("a page of another site may not call this gateway; set a key")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind in _SIMPLE and scope["path"] not in _FORMS:
            why = f"a body of type {kind} is not taken without a key; send application/json"
            return RequestError(why, status=415, kind="invalid_request_error")
        return None

    def _is_own(self, host: str) -> bool:
        """Whether it is an address, a name of this machine, or the one that the settings give."""
        if host in _OWN_NAMES or host in ("", self._host, self._machine) or host.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True


def _forbidden(why: str) -> RequestError:
    return RequestError(why, status=403, kind="permission_error", code=FOREIGN_PAGE)


def _name(host: str) -> str:
    """The name in a `Host` header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return host


def _same(origin: str, host: str) -> bool:
    """Whether a page comes from the gateway itself."""
    return urlsplit(origin).netloc.lower() == host.lower()
