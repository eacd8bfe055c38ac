"""A server of the wire format on this machine that answers as a test has written, and breaks where it says so."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Asked:
    """One request that came."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)

    @property
    def last(self) -> Any:
        """The content of the last message."""
        return self.body["messages"][-1]["content"]


Reply = Callable[[BaseHTTPRequestHandler, Asked], None]


@dataclass
class Server:
    """Where it answers, what it was asked, what it says next, and what it says when nothing is left to say."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    next: deque[Reply] = field(default_factory=deque)
    always: Reply = field(default=lambda handler, asked: text("ok")(handler, asked))

    def say(self, *replies: Reply | str) -> None:
        self.next.extend(text(one) if isinstance(one, str) else one for one in replies)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [one.body for one in self.asked]


def usage(prompt: int = 10, completion: int = 5) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def whole(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": usage(), **more}


def text(content: str | None, finish: str | None = "stop", **message: Any) -> Reply:
    """An answer, whole or as a stream of its characters, as it is asked for."""

    def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        if not asked.body.get("stream"):
            return send(handler, 200, whole({"content": content, **message}, finish))
        chunks: list[Any] = [delta(content=piece) for piece in content or ""]
        if message:
            chunks.append(delta(**message))
        events([*chunks, delta(finish=finish), {"choices": [], "usage": usage()}, "[DONE]"])(handler, asked)
        return None

    return reply


def calls(*wanted: tuple[str, str], finish: str = "tool_calls", content: str | None = None) -> Reply:
    """An answer that wants tools: (name, arguments) each."""
    listed = [
        {"index": i, "id": f"c{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(wanted)
    ]
    return text(content, finish, tool_calls=listed)


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def events(chunks: Iterable[Any], end: bytes = b"\n\n", size: int = 0, pause: float = 0) -> Reply:
    """A stream of events; strings are sent as they are, `size` bytes at a time, then the connection closes."""

    def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        handler.close_connection = True
        for chunk in chunks:
            data = chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False)
            raw = b"data: " + data.encode() + end
            for start in range(0, len(raw), size or len(raw)):
                handler.wfile.write(raw[start : start + (size or len(raw))])
                handler.wfile.flush()
            time.sleep(pause)

    return reply


def sends(status: int, body: Any = b"", **headers: str) -> Reply:
    """A response as it is."""

    def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        send(handler, status, body, **headers)

    return reply


def silent(seconds: float) -> Reply:
    """No answer for a while."""

    def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return reply


def hangs_up(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    """No answer at all."""
    handler.close_connection = True


def drips(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    """A body that comes a byte at a time and has no end."""
    handler.send_response(200)
    handler.send_header("content-length", "10000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)


def send(handler: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in {"content-type": "application/json", **named}.items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


@contextmanager
def serve() -> Iterator[Server]:
    """The server, listening on a free port."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, raw)
            server.asked.append(asked)
            (server.next.popleft() if server.next else server.always)(self, asked)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    listening.block_on_close = False
    listening.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that left
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.url = f"http://127.0.0.1:{listening.server_port}/v1"
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
