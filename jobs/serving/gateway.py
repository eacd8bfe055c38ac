"""The gateway: OpenAI's HTTP API in front of the deployed models.

A body is looked into for the model's name only, and passed on as it came: one Serve call per request, also for a batch.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.schema import ApplicationStatus
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from .applications import MODEL_PREFIX
from .protocol import RequestError, parse_body

_REFRESH_SECONDS = 2.0
_FAILURES = (RayServeException, RayActorError, RayTaskError)  # of a call to a model

app = FastAPI(title="SQLLLM", docs_url=None, redoc_url=None, openapi_url=None)


@app.exception_handler(RequestError)
async def refuse(_: Request, error: RequestError) -> Response:
    """An error in OpenAI's shape."""
    headers = {"Retry-After": "1"} if error.status in (429, 503) else None
    return Response(error.to_json(), error.status, headers, "application/json")


# Above the class: `serve.ingress` pickles its methods, with the globals that exist by then.
async def _stream(handle: Any, name: str, route: str, body: bytes) -> Response:
    """Wait for the first event: until then a refusal can still have its own status."""
    events = handle.options(stream=True).stream.remote(route, body)
    status, first = await anext(events)
    if status != 200:
        return Response(first, status, media_type="application/json")

    async def rest() -> AsyncIterator[bytes]:
        yield first
        try:
            async for status, event in events:
                # The response has begun: an error is an event, as OpenAI's clients expect it.
                yield event if status == 200 else b"data: " + event + b"\n\n"
        except _FAILURES as error:
            yield b"data: " + _unavailable(name, error).to_json() + b"\n\n"

    return StreamingResponse(rest(), media_type="text/event-stream")


def _unavailable(name: str, error: Exception) -> RequestError:
    if isinstance(error, BackPressureError):
        return RequestError(f"the queue of model {name} is full; send the request again later", status=429)
    if isinstance(error, RayTaskError):
        return RequestError(f"model {name} failed: {error.cause!r}", status=500, kind="server_error")
    return RequestError(f"model {name} is not available at the moment", status=503)


@serve.ingress(app)
class Gateway:
    """One replica of the gateway."""

    def __init__(self, api_key: str | None = None) -> None:
        self._api_key = api_key
        self._models: dict[str, tuple[Any, int]] = {}  # handle, seconds since 1970
        self._refreshed = 0.0
        self._refreshing = asyncio.Lock()

    @app.get("/health")
    async def health(self) -> Response:
        """200 while the gateway is up."""
        return Response(b'{"status":"ok"}', media_type="application/json")

    @app.get("/v1/models")
    async def models(self, request: Request) -> Response:
        """The models that can be called."""
        self._authorize(request)
        await self._refresh(older_than=0)
        data = [
            {"id": name, "object": "model", "created": created, "owned_by": "sqlllm"}
            for name, (_, created) in sorted(self._models.items())
        ]
        return Response(orjson.dumps({"object": "list", "data": data}), media_type="application/json")

    @app.post("/v1/chat/completions")
    async def chat(self, request: Request) -> Response:
        """One conversation, plain or as a stream."""
        return await self._forward(request, "chat")

    @app.post("/v1/chat/completions/batch")
    async def chat_batch(self, request: Request) -> Response:
        """Many conversations, one choice each."""
        return await self._forward(request, "chat_batch")

    @app.post("/v1/completions")
    async def completions(self, request: Request) -> Response:
        """Raw prompts, plain or as a stream."""
        return await self._forward(request, "completions")

    async def _forward(self, request: Request, route: str) -> Response:
        self._authorize(request)
        body = await request.body()
        fields = parse_body(body)
        handle = await self._handle(fields.get("model"))
        try:
            if fields.get("stream") and route != "chat_batch":
                return await _stream(handle, fields["model"], route, body)
            status, answer = await handle.call.remote(route, body)
        except _FAILURES as error:
            raise _unavailable(fields["model"], error) from error
        headers = {"Retry-After": "1"} if status in (429, 503) else None
        return Response(answer, status, headers, "application/json")

    def _authorize(self, request: Request) -> None:
        if self._api_key is not None:
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {self._api_key}".encode()):
                raise RequestError("the API key is missing or wrong; send `Authorization: Bearer KEY`", status=401)

    async def _handle(self, name: Any) -> Any:
        if not isinstance(name, str) or not name:
            raise RequestError("model is missing: send the name of a deployed model", param="model")
        if name not in self._models:
            await self._refresh(older_than=0.2)
        elif time.monotonic() - self._refreshed > _REFRESH_SECONDS and not self._refreshing.locked():
            self._background = asyncio.create_task(self._refresh(older_than=_REFRESH_SECONDS))
        if name not in self._models:
            deployed = ", ".join(sorted(self._models)) or "none"
            raise RequestError(f"model {name} is not deployed; deployed: {deployed}", status=404, param="model")
        return self._models[name][0]

    async def _refresh(self, older_than: float) -> None:
        """Ask Serve for the deployed models, unless it was asked less than `older_than` seconds ago."""
        async with self._refreshing:
            if time.monotonic() - self._refreshed < older_than:
                return
            applications = (await asyncio.to_thread(serve.status)).applications
            found = {}
            for application, status in applications.items():
                name = application.removeprefix(MODEL_PREFIX)
                known = self._models.get(name)
                # One that is being updated still answers with its old workers.
                answers = status.status == ApplicationStatus.RUNNING or (
                    known and status.status == ApplicationStatus.DEPLOYING
                )
                if application == name or not answers:
                    continue
                try:
                    handle = known[0] if known else serve.get_app_handle(application)
                except RayServeException:  # deleted since
                    continue
                found[name] = handle, int(status.last_deployed_time_s)
            self._models = found
            self._refreshed = time.monotonic()
