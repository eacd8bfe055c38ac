"""What the gateway costs, and how many streams it carries: `python -m bench.gateway`, `--no-serve` without Ray.

Three servers, one after the other, each in a process of its own: a bare uvicorn application that sends fixed bytes, the
gateway in a session's process, and the gateway on Ray Serve. The two gateways have the oracle behind them, which
answers at once; the bare one sends what they sent. Asked is one conversation after the other, then by all clients at
the same time for streams. `events_per_s` counts the server-sent events that all clients get, `first_word_s` is the
median over the clients.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from . import report

_ANSWER = "word " * 60
_CHAT = "/v1/chat/completions"


def main() -> None:
    parser = argparse.ArgumentParser(description="What the gateway costs.")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3, help="of streams by all clients; the best counts")
    parser.add_argument("--no-serve", action="store_true", help="leave out Ray Serve")
    parser.add_argument("--be", choices=("bare", "light", "serve"), help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.be:
        _be(arguments.be, arguments.home)
        return
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for kind in ("light", "bare", *(() if arguments.no_serve else ("serve",))):
            with _server(kind, Path(name)) as url:
                if kind == "light":
                    _record(url, Path(name))
                found[kind] = asyncio.run(_measure(url, arguments))
    rows = [(kind, *(found[kind][name] for name in ("chat_ms", "first_word_s", "events_per_s"))) for kind in found]
    report.table(
        "One answer, and streams to all clients at once", ("server", "chat ms", "first word s", "events/s"), rows
    )
    light, bare, serve = (found.get(kind, {}) for kind in ("light", "bare", "serve"))
    figures = {
        "chat_ms": light["chat_ms"],
        "bare_chat_ms": bare["chat_ms"],
        "streams": light["streams"],
        "failed": sum(int(one["failed"]) for one in found.values()),
        "first_word_s": light["first_word_s"],
        "events_per_s": light["events_per_s"],
        "bare_events_per_s": bare["events_per_s"],
        "serve_chat_ms": serve.get("chat_ms"),
        "serve_events_per_s": serve.get("events_per_s"),
    }
    report.last_line({name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()})


@contextmanager
def _server(kind: str, home: Path) -> Iterator[str]:
    """One of the servers in a process of its own; gives its address."""
    command = [sys.executable, "-m", "bench.gateway", "--be", kind, "--home", str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield next(line.split()[1] for line in process.stdout if line.startswith("READY "))
        finally:
            process.stdin.close()
            process.wait(60)


def _be(kind: str, home: Path) -> None:
    """Serve until standard input ends."""
    if kind == "bare":
        _bare(home)
        return
    from sqlllm.jobs import cluster
    from sqlllm.jobs.serving import Autoscale, ModelSpec, Serving
    from sqlllm.settings import Settings

    table = home / "answers.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("prompt", "answer"), ("none", "none")])
    options, scale = {"default": _ANSWER}, Autoscale() if kind == "serve" else None  # which only Ray has
    spec = ModelSpec(
        name="m", engine="oracle", model_path=str(table), engine_options=options, concurrency=1000, autoscale=scale
    )
    serving = Serving(Settings.load(home=str(home / kind)))
    print("READY", serving.deploy(spec).endpoint, flush=True)
    sys.stdin.read()
    serving.close()
    if kind == "serve":
        cluster.stop()


def _bare(home: Path) -> None:
    """The least that an ASGI server can do: the recorded bytes, an event at a time."""
    import threading

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    whole = (home / "whole").read_bytes()
    events = [event + b"\n\n" for event in (home / "events").read_bytes().split(b"\n\n") if event]

    async def stream() -> Any:
        for event in events:
            yield event

    async def chat(request: Request) -> Response:
        if json.loads(await request.body()).get("stream"):
            return StreamingResponse(stream(), media_type="text/event-stream")
        return Response(whole, media_type="application/json")

    app = Starlette(routes=[Route(_CHAT, chat, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    print("READY", f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", flush=True)
    sys.stdin.read()


def _record(url: str, home: Path) -> None:
    """Keep what the gateway sends, for the bare server."""
    with httpx.Client(base_url=url, timeout=60) as http:
        (home / "whole").write_bytes(http.post(_CHAT, json=_body("record")).content)
        (home / "events").write_bytes(http.post(_CHAT, json={**_body("record it"), "stream": True}).content)


async def _measure(url: str, arguments: argparse.Namespace) -> dict[str, float]:
    import aiohttp

    took: list[float] = []
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as http:
        for number in range(arguments.requests):
            started = time.perf_counter()
            async with http.post(_CHAT, json=_body(f"c{number}")) as reply:
                await reply.read()
            took.append(time.perf_counter() - started)
        rounds = [await _streams(http, arguments.clients, number) for number in range(arguments.rounds)]
    best = max(rounds, key=lambda one: one["events_per_s"])
    return {
        "chat_ms": statistics.median(took) * 1e3,
        "streams": len(rounds) * arguments.clients,
        "failed": sum(one["failed"] for one in rounds),
        "first_word_s": best["first_word_s"],
        "events_per_s": best["events_per_s"],
    }


async def _streams(http: Any, clients: int, number: int) -> dict[str, float]:
    """All clients at once."""
    first: list[float] = []
    events = failed = 0

    async def client(place: int) -> None:
        nonlocal events, failed
        started, pieces = time.perf_counter(), []
        async with http.post(_CHAT, json={**_body(f"s{number}-{place}"), "stream": True}) as reply:
            async for piece in reply.content.iter_any():
                if not pieces:
                    first.append(time.perf_counter() - started)
                pieces.append(piece)
        lines = [line for line in b"".join(pieces).split(b"\n\n") if line]
        events += len(lines)
        texts = [json.loads(line[6:])["choices"][0]["delta"].get("content") or "" for line in lines[:-1]]
        failed += lines[-1] != b"data: [DONE]" or "".join(texts) != _ANSWER

    started = time.perf_counter()
    await asyncio.gather(*map(client, range(clients)))
    took = time.perf_counter() - started
    return {"first_word_s": statistics.median(first), "events_per_s": events / took, "failed": failed}


def _body(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


if __name__ == "__main__":
    main()
