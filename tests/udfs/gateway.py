"""A real HTTP server that speaks vLLM's batch route and does what a test asks for."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class Gateway:
    """Answers each prompt in upper case; `bad` prompts get an error; `script` holds replies to give first, in order."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.script: deque[tuple[int, bytes, dict[str, str]]] = deque()
        self.seconds = 0.0  # what each request takes
        self.context = 1000  # characters of the longest prompt
        self.reports: list[dict[str, Any]] = []
        self.refuses_reports = False
        self.under_way = 0
        self.holds: dict[str, str] = {}  # a prompt that is not answered until another one has come
        self.most_under_way = 0
        self.url = ""

    @property
    def prompts(self) -> list[str]:
        return [conversation[-1]["content"] for request in self.requests for conversation in request["messages"]]

    async def batch(self, request: Request) -> Response:
        import asyncio

        body = orjson.loads(await request.body())
        self.requests.append(body)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.seconds)
            for messages in body["messages"]:
                other = self.holds.get(messages[-1]["content"])
                while other is not None and other not in self.prompts:
                    await asyncio.sleep(0.01)
            if self.script:
                status, content, headers = self.script.popleft()
                return Response(content, status, headers)
            choices = [self._choice(index, messages, body["model"]) for index, messages in enumerate(body["messages"])]
        finally:
            self.under_way -= 1
        return Response(orjson.dumps({"id": "r1", "choices": choices[::-1]}))  # order is by index, not by place

    async def report(self, request: Request) -> Response:
        if self.refuses_reports:
            return Response(orjson.dumps({"error": {"message": "not yours"}}), 403)
        self.reports.append(orjson.loads(await request.body()))
        return Response(b"{}")

    def _choice(self, index: int, messages: list[dict[str, str]], model: str) -> dict[str, Any]:
        prompt = messages[-1]["content"]
        if (prompt.startswith("bad") and model != "patient") or len(prompt) > self.context:
            error = {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}
            return {"index": index, "message": None, "finish_reason": "error", "error": error}
        return {
            "index": index,
            "message": {"role": "assistant", "content": prompt.upper()},
            "finish_reason": "stop",
            "usage": {"prompt_tokens": len(prompt), "completion_tokens": 1},
        }


@contextmanager
def serve() -> Iterator[Gateway]:
    gateway = Gateway()
    routes = [
        Route("/v1/chat/completions/batch", gateway.batch, methods=["POST"]),
        Route("/v1/usage", gateway.report, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_keep_alive=600))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    gateway.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield gateway
    server.should_exit = True
    thread.join()
    listener.close()
