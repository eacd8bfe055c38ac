"""What the gateway costs, and how many streams it carries: `python -m bench.gateway`.

The oracle answers at once. Its model is called directly in this process, and through the gateway: one conversation a
request, batches of 32 distinct prompts (kept and not), and 200 clients that stream at the same time, in rounds, with
the memory of the gateway's processes before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from sqlllm.jobs import cluster
from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.jobs.serving.worker.engines import get_engine
from sqlllm.settings import Settings

from . import report

_BATCH = 32
_ANSWER = "word " * 60


def main() -> None:
    parser = argparse.ArgumentParser(description="What the gateway costs.")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10, help="of streams by all clients")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        table = Path(name, "answers.csv")
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("prompt", "answer"), ("none", "none")])
        spec = ModelSpec(
            name="oracle", engine="oracle", model_path=str(table), engine_options={"default": _ANSWER}, concurrency=1000
        )
        with Serving(Settings.load(home=name)) as serving:
            serving.deploy(spec)
            figures = asyncio.run(_measure(serving.endpoint, spec, arguments))
        cluster.stop()
    report.table(
        "The gateway in front of the oracle",
        ("what", "ms"),
        [(name.replace("_", " "), value) for name, value in figures.items() if name.endswith("_ms")],
    )
    report.last_line(figures)


async def _measure(url: str, spec: ModelSpec, arguments: argparse.Namespace) -> dict[str, Any]:
    engine = get_engine(spec.engine)
    model: Any = await engine.load(spec, engine.parse(spec.options), 0)
    count = arguments.requests
    figures: dict[str, Any] = {}
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=None)) as http:

        async def post(path: str, body: dict[str, Any]) -> None:
            (await http.post(path, json=body)).raise_for_status()

        async def one_by_one(call: Callable[[int], Awaitable[Any]], times: int) -> float:
            """Milliseconds of a call."""
            await call(-1)
            started = time.perf_counter()
            for number in range(times):
                await call(number)
            return (time.perf_counter() - started) / times * 1e3

        async def at_once(call: Callable[[int], Awaitable[Any]], times: int, most: int) -> float:
            places = asyncio.Semaphore(most)

            async def one(number: int) -> None:
                async with places:
                    await call(number)

            started = time.perf_counter()
            await asyncio.gather(*map(one, range(times)))
            return (time.perf_counter() - started) / times * 1e3

        chat = "/v1/chat/completions"
        figures["direct_chat_ms"] = await one_by_one(lambda n: model.chat(_chat(f"c{n}")), count)
        figures["gateway_chat_ms"] = await one_by_one(lambda n: post(chat, _chat(f"c{n}")), count)
        figures["gateway_chat_32_at_once_ms"] = await at_once(lambda n: post(chat, _chat(f"c{n}")), count, 32)
        batches = max(count // 8, 1)
        figures["direct_row_ms"] = await one_by_one(lambda n: model.chat_batch(_batch(f"d{n}")), batches) / _BATCH
        for name, mark, more in (
            ("gateway_row_ms", "x", {}),
            ("gateway_new_row_ms", "b", {"temperature": 0}),
            ("gateway_kept_row_ms", "b", {"temperature": 0}),
        ):
            call = lambda n, mark=mark, more=more: post(f"{chat}/batch", _batch(f"{mark}{n}") | more)  # noqa: E731
            figures[name] = await one_by_one(call, batches) / _BATCH
        figures |= await _streams(http, arguments)
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}


async def _streams(http: httpx.AsyncClient, arguments: argparse.Namespace) -> dict[str, Any]:
    """All clients at once, in rounds."""
    first: list[float] = []
    whole: list[float] = []
    memory: list[int] = []
    failed = 0

    async def client(number: int) -> None:
        nonlocal failed
        started, text = time.perf_counter(), ""
        body = _chat(f"s{number}") | {"stream": True}
        async with http.stream("POST", "/v1/chat/completions", json=body) as reply:
            async for line in reply.aiter_lines():
                if line.startswith("data: {"):
                    if not text:
                        first.append(time.perf_counter() - started)
                    text += json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content") or ""
        whole.append(time.perf_counter() - started)
        failed += text != _ANSWER

    for _ in range(arguments.rounds):
        await asyncio.gather(*map(client, range(arguments.clients)))
        memory.append(_memory())
    return {
        "clients": arguments.clients,
        "streams": len(whole),
        "failed": failed,
        "stream_first_event_median_ms": statistics.median(first) * 1e3,
        "stream_whole_median_ms": statistics.median(whole) * 1e3,
        "memory_mib_by_round": [size // 2**20 for size in memory],
    }


def _memory() -> int:
    """Bytes that the processes of gateway, proxy and model hold."""
    names = ("ServeReplica", "ProxyActor")
    return sum(
        process.memory_info().rss
        for process in psutil.Process().children(recursive=True)
        if any(name in " ".join(process.cmdline()) for name in names)
    )


def _chat(text: str) -> dict[str, Any]:
    return {"model": "oracle", "messages": [{"role": "user", "content": text}]}


def _batch(text: str) -> dict[str, Any]:
    return {"model": "oracle", "messages": [[{"role": "user", "content": f"{text}-{row}"}] for row in range(_BATCH)]}


if __name__ == "__main__":
    main()
