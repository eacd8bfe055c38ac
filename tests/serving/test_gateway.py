"""Single calls at the gateway: who may make them, and what is counted of them; a model's handle is a stand-in here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.requests import Request

from sqlllm.jobs.serving.gateway.app import Gateway
from sqlllm.jobs.serving.gateway.models import Model, Models
from sqlllm.jobs.serving.gateway.usage import Query
from sqlllm.jobs.serving.protocol import SSE_DONE, RequestError, sse
from sqlllm.settings import QuotaSettings, ServingSettings, StoreSettings

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
USED = {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}
USERS = {"al": {"key": "al's own key", "models": ["m"]}}


class Worker:
    """Answers as soon as it may, with `status`."""

    def __init__(self) -> None:
        self.asked, self.status = 0, 200
        self.answering = asyncio.Event()

    def for_turn(self, _: dict[str, Any]) -> Worker:
        return self

    async def identity(self) -> tuple[str, dict[str, Any]]:
        raise AssertionError("its fingerprint is known")

    async def count_tokens(self, batch: list[list[dict[str, Any]]]) -> list[int]:
        return [1 for _ in batch]

    async def ask(self, *_: Any) -> tuple[int, bytes, str, str]:
        self.asked += 1
        await self.answering.wait()
        choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
        body = orjson.dumps({"choices": [choice], **USED})
        body = body if self.status == 200 else RequestError("no", status=self.status).to_json()
        return self.status, body, "application/json", "f"

    async def stream(self, *_: Any) -> AsyncIterator[tuple[int, bytes]]:
        self.asked += 1
        if self.status != 200:
            yield self.status, RequestError("no", status=self.status).to_json()
            return
        yield 200, sse({"choices": [{"delta": {"content": "x"}}]})
        await self.answering.wait()
        yield 200, sse({"choices": [], **USED})
        yield 200, SSE_DONE


class OneModel(Models):
    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self.model = Model("m", worker, 0, fingerprint="f")

    async def deployed(self, before: dict[str, Model]) -> dict[str, Model]:
        return {"m": self.model}

    def spec(self, name: str) -> None:
        return None


class House:
    """A gateway without Serve, and its only model."""

    def __init__(self, folder: Path, quota: QuotaSettings | None = None, **serving: Any) -> None:
        self.worker = Worker()
        settings = ServingSettings(**serving)
        self.models = OneModel(self.worker)
        self.gateway = Gateway(folder, StoreSettings(), quota or QuotaSettings(), settings, self.models)

    async def chat(self, query: dict[str, Any], **fields: Any) -> Any:
        return await self.gateway.chat(request(orjson.dumps({**BODY, **fields}), query))

    async def usage(self) -> list[Any]:
        found: list[Any] = await self.gateway._usage.find("true")
        return found


def request(body: bytes, query: dict[str, Any], key: str = "") -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    headers = [(b"x-sqlllm-query", orjson.dumps(query)), (b"authorization", f"Bearer {key}".encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}, receive)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


@pytest.mark.parametrize(
    ("query", "quota", "words"),
    [
        ({"id": "q", "max_calls": 2}, QuotaSettings(), "llm.max_calls is 2"),
        ({"user": "al"}, QuotaSettings(calls_per_day=2), "user al has a quota of 2 calls a day"),
    ],
)
def test_single_calls_at_once_keep_a_limit(
    tmp_path: Path, query: dict[str, Any], quota: QuotaSettings, words: str
) -> None:
    async def check() -> None:
        house = House(tmp_path, quota)
        await house.gateway._limits.account(Query(**query), "m")  # the first one waits for the file
        calls = [asyncio.create_task(house.chat(query, stream=number == 1)) for number in range(4)]
        while house.worker.asked < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        house.worker.answering.set()
        _, stream, *refused = await asyncio.gather(*calls, return_exceptions=True)
        assert house.worker.asked == 2
        assert [words in str(error) for error in refused] == [True, True]
        with pytest.raises(RequestError, match=words):  # the stream has not ended
            await house.chat(query)
        async for _ in stream.body_iterator:
            pass
        with pytest.raises(RequestError, match=f"{words}.*2 prompts are answered"):
            await house.chat(query)
        (used,) = await house.usage()
        assert (used.calls, used.prompt_tokens, used.answer_tokens) == (2, 14, 6)
        assert used.seconds >= 0.04

    run(check())


def test_a_call_that_fails_uses_nothing_up(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        house.worker.answering.set()
        query = {"id": "q", "user": "al", "max_calls": 1}
        house.worker.status = 400
        with pytest.raises(RequestError, match="no"):
            await house.chat(query, stream=True)
        assert (await house.chat(query)).status_code == 400
        house.worker.status = 200
        stream = await house.chat(query, stream=True)
        async for event in stream.body_iterator:
            if event == SSE_DONE:  # its client may send the next one now
                assert house.gateway._limits._users["al"].reserved == 0
        with pytest.raises(RequestError, match="1 prompts are answered"):
            await house.chat(query)
        assert house.worker.asked == 3

    run(check())


def test_a_price_that_has_changed_is_that_of_the_next_call(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        house.worker.answering.set()
        model = house.models.model
        for price in (1.0, 5.0):
            model.price = price, 0.0
            await house.chat({"user": "al"})
        (used,) = await house.usage()
        assert used.cost == pytest.approx((7 * 1 + 7 * 5) / 1e6)

    run(check())


def test_a_user_s_session_reports_its_own_rows(tmp_path: Path) -> None:
    def report(model: str) -> Request:
        told = {"model": model, "part": (0, 0), "rows": 4, "failed": 1, "retried": 2}
        return request(orjson.dumps(told), {"id": "session-1", "user": "bo"}, "al's own key")

    async def check() -> None:
        house = House(tmp_path, api_key="open sesame", users=USERS)
        await house.gateway.report(report("m"))
        with pytest.raises(RequestError, match="user al may not use model other"):
            await house.gateway.report(report("other"))
        (used,) = await house.usage()
        assert (used.query, used.user, used.rows, used.failed, used.retried) == ("al/session-1", "al", 4, 1, 2)

    run(check())


@pytest.mark.parametrize("route", ["chat", "chat_batch", "anthropic", "count_tokens", "report", "transcriptions"])
def test_without_a_key_the_body_is_not_checked(tmp_path: Path, route: str) -> None:
    async def check() -> None:
        house = House(tmp_path, api_key="open sesame", users=USERS)
        with pytest.raises(RequestError) as caught:
            await getattr(house.gateway, route)(request(b"{", {}))
        assert caught.value.status == 401

    run(check())
