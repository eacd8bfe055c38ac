"""A provider of models on this machine: a real HTTP server that speaks OpenAI's protocol, and fails on demand."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import quote
from zlib import crc32

from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.worker.engines import get_engine

KEY = "sk-hunter2-hunter2"


@dataclass
class Asked:
    """One request that came."""

    path: str  # with its query
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)


Reply = Callable[[BaseHTTPRequestHandler, Asked], None]


@dataclass
class Provider:
    """Where it answers, what it was asked, and what it says next instead of an answer."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    next: deque[Reply] = field(default_factory=deque)
    answers: Reply = field(default=lambda handler, asked: answer(handler, asked))

    def say(self, *replies: Reply) -> None:
        self.next.extend(replies)


def says(text: str) -> str:
    """Its model's answer to the last message."""
    return f"you said {text}, which has {len(text)} characters"


def fails(status: int, body: Any = b"", **headers: str) -> Reply:
    """An HTTP error."""

    def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        send(handler, status, body, **headers)

    return reply


def garbage(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    """Status 200, and no JSON."""
    send(handler, 200, b"<html>maintenance</html>")


def hangs_up(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    """No answer at all."""
    handler.close_connection = True


def half(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    """Half an answer, or half a stream, and no more."""
    if asked.body.get("stream"):
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        for event in events(asked)[:3]:
            handler.wfile.write(event)
    else:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"id": "chatcmpl-1", "choices": [')
    handler.close_connection = True


def answer(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    """What OpenAI's chat route answers."""
    if asked.body.get("stream"):
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        handler.close_connection = True
        for event in [*events(asked), b"data: [DONE]\n\n"]:
            handler.wfile.write(event)
        return
    text = says(_text(asked))
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked.body["model"]}
    send(handler, 200, {**whole, "choices": [choice], "usage": usage(text)})


def events(asked: Asked) -> list[bytes]:
    text = says(_text(asked))
    pieces = [{"role": "assistant", "content": ""}, *({"content": f"{word} "} for word in text.split(" ")[:-1])]
    pieces.append({"content": text.rpartition(" ")[2]})
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": piece, "finish_reason": None}]} for piece in pieces
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if (asked.body.get("stream_options") or {}).get("include_usage"):
        chunks.append({"choices": [], "usage": usage(text)})
    shared = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": asked.body["model"]}
    return [b"data: " + json.dumps({**shared, **chunk}).encode() + b"\n\n" for chunk in chunks]


def usage(text: str) -> dict[str, int]:
    words = len(text.split())
    return {"prompt_tokens": 10, "completion_tokens": words, "total_tokens": 10 + words}


def send(handler: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def _text(asked: Asked) -> str:
    content = asked.body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "<image>") for part in content)


def frame(kind: str, value: Any, **headers: str) -> bytes:
    """One event in AWS's framing: lengths, headers, JSON, and a checksum of each."""
    named = {":event-type": kind, ":message-type": "event", **headers}
    head = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + len(text).to_bytes(2, "big") + text.encode()
        for name, text in named.items()
    )
    payload = json.dumps(value).encode()
    prelude = (16 + len(head) + len(payload)).to_bytes(4, "big") + len(head).to_bytes(4, "big")
    prelude += crc32(prelude).to_bytes(4, "big")
    whole = prelude + head + payload
    return whole + crc32(whole).to_bytes(4, "big")


def signature(asked: Asked, method: str, secret: str) -> str:
    """AWS's signature, version 4, of a request as it came, from its own description of the algorithm."""
    _, scope, signed, _ = re.split(r" Credential=[^/]+/|, SignedHeaders=|, Signature=", asked.headers["authorization"])
    path, _, query = asked.path.partition("?")
    headers = "".join(f"{name}:{asked.headers[name].strip()}\n" for name in signed.split(";"))
    parts = (method, quote(path, safe="/~"), query, headers, signed, sha256(asked.raw).hexdigest())
    canonical = sha256("\n".join(parts).encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{asked.headers['x-amz-date']}\n{scope}\n{canonical}"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


@contextmanager
def serve() -> Iterator[Provider]:
    """The provider, listening on a free port."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, raw)
            provider.asked.append(asked)
            reply = provider.next.popleft() if provider.next else provider.answers
            reply(self, asked)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that left: its own affair
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    provider.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@asynccontextmanager
async def loaded(spec: ModelSpec) -> AsyncIterator[Any]:
    engine = get_engine("remote")
    model: Any = await engine.load(spec, engine.parse(spec.options), 0)
    try:
        yield model
    finally:
        await model.close()


def call(spec: ModelSpec, method: str, *arguments: Any) -> Any:
    """Load the model in this process, and call it; a stream's events as a list."""

    async def run() -> Any:
        async with loaded(spec) as model:
            if method == "stream":
                return [event async for event in model.stream(*arguments)]
            return json.loads(await getattr(model, method)(*arguments))

    return asyncio.run(run())


def ask(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}
