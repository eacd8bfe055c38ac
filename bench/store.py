"""What keeping answers costs: `python -m bench.store`.

Batches of 32 answers of 500 bytes go into the store and come out again, and go through what the gateway does with a
batch (keys, look-up, joining, keeping, counting) around a model that answers at once.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlllm.jobs.serving.gateway.answers import Answers, Choice
from sqlllm.jobs.serving.gateway.limits import Limits
from sqlllm.jobs.serving.gateway.store import Store, keys
from sqlllm.jobs.serving.gateway.store_redis import RedisStore
from sqlllm.jobs.serving.gateway.store_sqlite import SQLiteStore
from sqlllm.jobs.serving.gateway.usage import Query, UsageFile
from sqlllm.settings import QuotaSettings

from . import report

_BATCH = 32
_TEXT = "x" * 380


def main() -> None:
    parser = argparse.ArgumentParser(description="What keeping answers costs.")
    parser.add_argument("--answers", type=int, default=100_000)
    count = parser.parse_args().answers
    with tempfile.TemporaryDirectory() as name, _redis(Path(name)) as url:
        rows = [
            asyncio.run(
                _measure("sqlite", lambda: SQLiteStore(Path(name, "a.db"), max_bytes=2**32, ttl=0), name, count)
            )
        ]
        if url:
            rows.append(asyncio.run(_measure("redis", lambda: RedisStore(url, ttl=0), name, count)))
    report.table(
        "Stores", ("store", "writes/s", "look-ups/s", "us a new batch", "us a kept batch", "us a request"), rows
    )
    _, writes, reads, new, kept, one = rows[0]
    figures = {"writes": writes, "lookups": reads, "new_batch_us": new, "kept_batch_us": kept, "kept_request_us": one}
    report.last_line(figures)


async def _measure(
    kind: str, make: Callable[[], Store], folder: str, count: int
) -> tuple[str, int, int, int, int, float]:
    store = make()
    batches = [
        {f"{kind} {start + number}".encode(): _TEXT.encode() for number in range(_BATCH)}
        for start in range(0, count, _BATCH)
    ]
    begun = time.perf_counter()
    for batch in batches:
        await store.put(batch)
    written = time.perf_counter()
    for batch in batches:
        await store.get(list(batch))
    read = time.perf_counter()

    answers = Answers(store)
    limits = Limits(UsageFile(Path(folder, kind)), QuotaSettings())
    statement, account = await limits.account(Query(id=kind), "m")
    choice = {"message": {"role": "assistant", "content": _TEXT}, "usage": {"prompt_tokens": 9, "completion_tokens": 9}}

    async def model(places: list[int]) -> tuple[list[Choice], bool]:
        return [dict(choice) for _ in places], True

    async def through() -> float:
        started = time.perf_counter()
        for start in range(0, count // 5, _BATCH):
            messages = [[{"role": "user", "content": f"prompt {start + number}"}] for number in range(_BATCH)]
            found = keys("fingerprint", {"temperature": 0}, messages)
            await answers.choices(found, model, statement, account)
        return (time.perf_counter() - started) / (count // 5 / _BATCH) * 1e6

    new, kept = await through(), await through()
    await store.close()
    return kind, int(count / (written - begun)), int(count / (read - written)), round(new), round(kept), kept / _BATCH


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """The URL of a Redis server of its own; empty if there is none on this machine."""
    if shutil.which("redis-server") is None:
        yield ""
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(1)
    yield f"redis://127.0.0.1:{port}/0"
    server.terminate()
    server.wait()


if __name__ == "__main__":
    main()
