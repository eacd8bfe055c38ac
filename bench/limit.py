"""What a LIMIT over a model's condition costs: `python -m bench.limit`.

5,000 rows, a provider that answers each prompt after 20 ms, and `where ai_filter(...) limit k` for k = 5, 20, 100 at a
selectivity of 74 %, 10 % and 1 %. `calls` are the requests that reached the provider, `least` those of a client that
asks row by row and stops; `after_return` counts those that arrived, or were not answered, after the statement's end.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sqlllm.session import Session
from sqlllm.settings import Settings

from . import report

ROWS = 5000
SHARES = (0.74, 0.1, 0.01)
LIMITS = (5, 20, 100)
LATENCY = 0.02  # seconds
QUIET = 0.5  # seconds after a statement in which nothing may come
SQL = "select id from rows where ai_filter(concat('Is ', id, ' one of them? {share}')) limit {k}"


class Provider:
    """Answers yes about the rows in `members`, by share."""

    def __init__(self) -> None:
        chance = random.Random(7)
        self.members = {share: {n for n in range(ROWS) if chance.random() < share} for share in SHARES}
        self.calls = self.under_way = 0

    async def chat(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        _, number, *_, share = body["messages"][-1]["content"].split()
        self.calls += 1
        self.under_way += 1
        await asyncio.sleep(LATENCY)
        self.under_way -= 1
        said = "true" if int(number) in self.members[float(share)] else "false"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
        return Response(orjson.dumps({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}))

    def least(self, share: float, k: int) -> int:
        """Rows that are asked about one by one."""
        found = sorted(self.members[share])
        return found[k - 1] + 1 if len(found) >= k else ROWS


@contextmanager
def serve(provider: Provider) -> Iterator[str]:
    """The provider's address."""
    app = Starlette(routes=[Route("/v1/chat/completions", provider.chat, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()


def main() -> None:
    provider = Provider()
    with tempfile.TemporaryDirectory() as home, serve(provider) as url:
        settings = Settings.load(
            home=Path(home), spark={"master": "local[2]", "driver_memory": "1g"}, llm={"store": "off"}
        )
        with Session(settings) as session:
            session.run(
                'run command as LLM.`` where action="infer" and udfName="judge" and pretrainedModelType="saas/openai"'
                f' and `saas.base_url`="{url}" and `saas.api_key`="none" and `saas.model`="judge";'
                f"select id from range({ROWS}) as rows;"
            )
            rows = [_measure(session, provider, share, k) for share in SHARES for k in LIMITS]
    report.table("LIMIT over ai_filter", ("selectivity", "k", "calls", "least", "after return", "seconds"), rows)
    worst = max(rows, key=lambda row: row[2] - 1.5 * row[3])
    report.last_line({"worst_calls": worst[2], "least": worst[3], "after_return": max(row[4] for row in rows)})


def _measure(session: Session, provider: Provider, share: float, k: int) -> tuple[float, int, int, int, int, float]:
    before, started = provider.calls, time.perf_counter()
    result = session.run(SQL.format(share=share, k=k) + " as found;")
    assert result is not None
    rows = result.rows()
    seconds, calls, under_way = time.perf_counter() - started, provider.calls, provider.under_way
    time.sleep(QUIET)
    assert {row.id for row in rows} <= provider.members[share]
    assert len(rows) == min(k, len(provider.members[share]))
    after = provider.calls - calls + under_way
    return share, k, calls - before, provider.least(share, k), after, seconds


if __name__ == "__main__":
    main()
