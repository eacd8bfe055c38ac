"""Pages of other origins that may call the gateway from a browser (CORS)."""

from __future__ import annotations

from functools import cached_property

from ray import serve
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from sqlllm.settings import ServingSettings, listed


class Cors:
    """Starlette's middleware as the settings of the replica say, which are there after the app is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a browser's preflight; to other requests of such a page add the headers that it needs."""
        await (self._allowing if scope["type"] == "http" else self._app)(scope, receive, send)

    @cached_property
    def _allowing(self) -> ASGIApp:
        settings: ServingSettings = serve.get_replica_context().servable_object.settings  # type: ignore[attr-defined]
        return allowing(self._app, settings)


def allowing(app: ASGIApp, settings: ServingSettings) -> ASGIApp:
    """The app with the middleware; without it where no origin is allowed."""
    if not (origins := listed(settings.allowed_origins)):
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=listed(settings.allowed_methods),
        allow_headers=listed(settings.allowed_headers),
        allow_credentials=settings.allow_credentials,
    )
