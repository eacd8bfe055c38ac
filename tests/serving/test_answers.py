"""Batches at the gateway: kept, joined, limited, counted. The model is a function here; the files are real."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from sqlllm.jobs.serving.gateway.answers import Answers, Choice
from sqlllm.jobs.serving.gateway.limits import Limits
from sqlllm.jobs.serving.gateway.store import Key, StoreError
from sqlllm.jobs.serving.gateway.store_sqlite import SQLiteStore
from sqlllm.jobs.serving.gateway.streams import Shared
from sqlllm.jobs.serving.gateway.usage import Query, Report, Usage, UsageFile, read
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.rate import Rate
from sqlllm.settings import QuotaSettings


class House:
    """A gateway without HTTP: a store, limits, and a model that says what it was asked."""

    def __init__(self, folder: Path, quota: QuotaSettings | None = None) -> None:
        self.asked: list[bytes] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.store = SQLiteStore(folder / "answers.db", max_bytes=2**20, ttl=0)
        self.answers = Answers(self.store)
        self.file = UsageFile(folder)
        self.limits = Limits(self.file, quota or QuotaSettings(), clock=lambda: 1e9)
        self.refusal: RequestError | None = None

    async def ask(self, keys: str, query: Query | None = None, *, keep: bool = True, model: str = "m") -> list[Choice]:
        """One batch, a key per letter; capitals are not kept, `!` fails."""
        statement, account = await self.limits.account(query or Query(id="q"), model)
        batch = [None if key.isupper() else key.encode() for key in keys]

        async def call(places: list[int]) -> tuple[list[Choice], bool]:
            self.asked += [keys[place].encode() for place in places]
            await self.answering.wait()
            if self.refusal is not None:
                raise self.refusal
            return [self._choice(keys[place]) for place in places], keep

        return await self.answers.choices(batch, call, statement, account)

    @staticmethod
    def _choice(key: str) -> Choice:
        if key == "!":
            return {"message": None, "finish_reason": "error", "error": {"message": "no", "code": "no_answer"}}
        return {"message": {"content": key}, "usage": {"prompt_tokens": 10, "completion_tokens": 2}}

    async def usage(self, name: str = "q") -> Usage:
        (found,) = await self.file.find("query = ?", name)
        return found


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def said(choices: list[Choice]) -> str:
    """The answers; `=` after one from the store, `~` after one that was joined."""
    marks = ("=" if "cached" in choice else "~" if "joined" in choice else "" for choice in choices)
    texts = ((choice["message"] or {"content": "!"})["content"] for choice in choices)
    return "".join(text + mark for text, mark in zip(texts, marks, strict=True))


def test_a_request_is_made_once(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        assert said(await house.ask("aba")) == "aba~"
        assert said(await house.ask("bca")) == "b=ca="
        assert house.asked == [b"a", b"b", b"c"]
        await house.usage()  # it is written by now
        again = House(tmp_path)  # after a restart
        assert said(await again.ask("abc")) == "a=b=c="
        usage = await again.usage()
        assert (usage.calls, usage.cached, usage.joined, usage.prompt_tokens, usage.answer_tokens) == (3, 5, 1, 30, 6)

    run(check())


def test_what_is_not_kept_is_asked_each_time_and_errors_are_not_kept(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        assert said(await house.ask("AAA!")) == "AAA!"
        assert said(await house.ask("A!")) == "A!"
        assert len(house.asked) == 6
        await house.ask("x", keep=False)  # the model was replaced under way
        assert said(await house.ask("x")) == "x"

    run(check())


def test_equal_requests_under_way_are_joined(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        house.answering.clear()
        batches = [asyncio.create_task(house.ask("abc", Query(id=f"q{number}"))) for number in range(20)]
        await asyncio.sleep(0.1)
        house.answering.set()
        texts = [said(await batch) for batch in batches]
        assert sorted(texts) == ["abc", *["a~b~c~"] * 19]
        assert house.asked == [b"a", b"b", b"c"]
        assert (await house.usage("q7")).joined == 3

    run(check())


def test_a_kept_answer_to_two_equal_prompts_is_counted_once_for_each(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        await house.ask("a")
        assert said(await house.ask("aa", Query(id="two"))) == "a=a="
        usage = await house.usage("two")
        assert (usage.calls, usage.cached, usage.joined) == (0, 2, 0)

    run(check())


def test_a_stream_that_ends_before_its_first_event_is_not_what_another_reads(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)

        async def read(query: Query, refused: asyncio.Event | None = None) -> tuple[list[bytes], str]:
            statement, account = await house.limits.account(query, "m")

            async def pump(shared: Shared) -> None:
                if refused is not None:
                    await refused.wait()
                    raise RequestError("user al has a quota of 1 calls a day", status=403)
                shared.add(b"an answer")

            events, mark = await house.answers.stream(b"k", pump, statement, account, with_usage=False, model="m")
            return [piece async for piece in events], mark

        over = asyncio.Event()
        first = asyncio.create_task(read(Query(id="one", user="al"), over))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(read(Query(id=f"two-{n}", user="bo"))) for n in range(3)]
        await asyncio.sleep(0.05)
        over.set()
        with pytest.raises(RequestError, match="quota"):
            await first
        told = [await other for other in others]
        assert [pieces for pieces, _ in told] == [[b"an answer"]] * 3
        assert sorted(mark for _, mark in told) == ["", "joined", "joined"]

    run(check())


def test_who_waits_for_a_request_that_fails_makes_it(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        house.answering.clear()
        first = asyncio.create_task(house.ask("ab"))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(house.ask("ba"))
        await asyncio.sleep(0.05)
        assert house.asked == [b"a", b"b"]
        house.refusal = RequestError("gone", status=503)
        house.answering.set()
        for batch in (first, second):
            with pytest.raises(RequestError, match="gone"):
                await batch
        assert sorted(house.asked) == [b"a", b"a", b"b", b"b"]
        house.refusal = None
        assert said(await house.ask("ba")) == "ba"

    run(check())


def test_what_was_begun_is_kept_when_its_client_has_gone(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        house.answering.clear()
        client = asyncio.create_task(house.ask("ab"))
        await asyncio.sleep(0.05)
        client.cancel()
        await asyncio.sleep(0.05)
        again = asyncio.create_task(house.ask("abc"))
        await asyncio.sleep(0.05)
        house.answering.set()
        assert said(await again) == "a~b~c"
        assert house.asked == [b"a", b"b", b"c"]
        assert (await house.usage()).calls == 3

    run(check())


def test_a_cancelled_statement_s_calls_end_and_who_waited_for_them_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlllm.jobs.serving.gateway.limits._PAUSE", 1.0)

    async def check() -> None:
        house = House(tmp_path)
        house.answering.clear()
        first = asyncio.create_task(house.ask("ab", Query(id="session-1")))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(house.ask("b", Query(id="another-1")))
        await asyncio.sleep(0.05)
        assert house.limits.cancel("sess") == []
        cancelled = house.limits.cancel("session")
        assert len(cancelled) == 1
        house.answers.cancel(cancelled)
        with pytest.raises(asyncio.CancelledError):
            await first
        house.answering.set()
        assert said(await second) == "b"
        assert house.asked == [b"a", b"b", b"b"]
        with pytest.raises(RequestError, match="cancelled just now") as raised:
            await house.ask("c", Query(id="session-1"))
        assert raised.value.retry_after is not None
        await asyncio.sleep(raised.value.retry_after)
        assert said(await house.ask("a", Query(id="session-1"))) == "a"  # its table may be read again
        assert said(await house.ask("c", Query(id="session-2"))) == "c"

    run(check())


def test_a_call_that_is_cancelled_before_it_begins_is_left_to_others(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        await house.limits.account(Query(id="session-1"), "m")
        first = asyncio.create_task(house.ask("a", Query(id="session-1")))
        await asyncio.sleep(0)  # its call is there, and has its first turn after this one
        house.answers.cancel(house.limits.cancel("session"))
        with pytest.raises(asyncio.CancelledError):
            await first
        assert house.asked == []
        assert said(await house.ask("a", Query(id="another-1"))) == "a"

    run(check())


def test_a_store_that_is_down_does_not_stop_the_answers(tmp_path: Path) -> None:
    class Down:
        async def get(self, keys: list[Key]) -> dict[Key, bytes]:
            raise StoreError("down")

        async def put(self, answers: dict[Key, bytes]) -> None:
            raise StoreError("down")

        async def close(self) -> None: ...

    async def check() -> None:
        house = House(tmp_path)
        house.answers = Answers(Down())  # type: ignore[arg-type]
        assert said(await house.ask("ab")) == "ab"
        assert said(await house.ask("ab")) == "ab"

    run(check())


def test_a_limit_of_calls_is_exact_and_a_rerun_goes_on(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        with pytest.raises(RequestError, match=r"llm.max_calls is 3: 3 prompts are answered, 3 of them") as caught:
            await house.ask("abcde", Query(id="one", max_calls=3))
        assert (caught.value.status, caught.value.code) == (403, "limit_reached")
        with pytest.raises(RequestError, match=r"llm.max_calls is 3"):
            await house.ask("a" + "f", Query(id="one", max_calls=3))
        assert said(await house.ask("abc", Query(id="one", max_calls=3))) == "a=b=c="  # what is there costs nothing
        assert said(await house.ask("abcde", Query(id="two", max_calls=3))) == "a=b=c=de"
        assert len(house.asked) == 5

    run(check())


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_tokens": 20}, "llm.max_tokens is 20"),
        ({"max_cost": 1e-6, "prices": {"*": (0.1, 1.0)}}, "llm.max_cost is 1e-06"),
        ({"max_seconds": 1e-9}, "llm.max_seconds is 1e-09"),
    ],
)
def test_other_limits_stop_after_the_batch_that_reached_them(
    tmp_path: Path, limits: dict[str, Any], words: str
) -> None:
    async def check() -> None:
        house = House(tmp_path)
        query = Query(id="q", **limits)
        assert said(await house.ask("ab", query)) == "ab"
        with pytest.raises(RequestError, match=words):
            await house.ask("cd", query)
        await house.usage("q")  # it is written by now
        restarted = House(tmp_path)
        with pytest.raises(RequestError, match=words):
            await restarted.ask("cd", query)
        assert restarted.asked == []

    run(check())


def test_a_quota_is_a_user_s_over_all_statements_of_a_day(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path, QuotaSettings(calls_per_day=3))
        await house.ask("ab", Query(id="one", user="al"))
        with pytest.raises(RequestError, match="user al has a quota of 3 calls a day"):
            await house.ask("cd", Query(id="two", user="al"))
        assert said(await house.ask("abcd", Query(id="three", user="bo"))) == "a=b=c=d"
        restarted = House(tmp_path, QuotaSettings(calls_per_day=3))
        at_once = (restarted.ask(key, Query(id=key, user="al")) for key in "ef")
        for refused in await asyncio.gather(*at_once, return_exceptions=True):
            assert "user al has a quota" in str(refused)

    run(check())


def test_a_quota_counts_what_a_user_s_other_statements_have_under_way(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path, QuotaSettings(calls_per_day=3))
        house.answering.clear()
        first = asyncio.create_task(house.ask("ab", Query(id="one", user="al")))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(house.ask("cd", Query(id="two", user="al")))
        other = asyncio.create_task(house.ask("ef", Query(id="three", user="bo")))
        await asyncio.sleep(0.05)
        house.answering.set()
        assert said(await first) == "ab"
        with pytest.raises(RequestError, match="user al has a quota of 3 calls a day"):
            await second
        assert said(await other) == "ef"
        assert house.asked == [b"a", b"b", b"c", b"e", b"f"]

    run(check())


def test_a_price_is_that_of_the_newest_call(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        for price in (1.0, 2.0):
            query = Query(user="al", prices={"m": (price, 0.0)})
            await house.ask("A", query)
            await house.limits.report(Query(user="al"), Report(model="m", part=(0, 0), rows=1, failed=0, retried=0))
        usage = await house.usage("http-al-11574")
        assert usage.cost == pytest.approx((10 * 1 + 10 * 2) / 1e6)
        assert usage.rows == 1

    run(check())


def test_the_account_of_a_day_that_is_in_use_is_not_forgotten(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        await house.ask("A", Query(user="al"))
        day = house.limits._statements["http-al-11574"]
        day.used -= 4000  # seconds
        _, account = await house.limits.account(Query(user="al"), "m")  # a request that has not called yet
        await house.ask("B", Query(id="another"))
        _, again = await house.limits.account(Query(user="al"), "m")
        assert again is account

    run(check())


def test_too_many_a_minute_are_asked_to_wait(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        query = Query(id="q", calls_per_minute=60)
        await house.ask("abc", query)
        with pytest.raises(RequestError, match="no more calls for") as caught:
            await house.ask("d", query)
        assert caught.value.status == 429
        assert 0 < caught.value.retry_after <= 2.1
        assert said(await house.ask("abc", query)) == "a=b=c="

    run(check())


def test_a_rate_is_a_debt_that_time_pays() -> None:
    rate = Rate(per_minute=60)
    rate.take(100)
    assert 98 < rate.wait() < 100


def test_cost_and_rows_are_those_of_the_statement(tmp_path: Path) -> None:
    async def check() -> None:
        house = House(tmp_path)
        query = Query(id="q", user="al", statement="select ...", prices={"m": (1.0, 5.0), "*": (9.0, 9.0)})
        await house.ask("ab!", query)
        await house.ask("ab", query)
        await house.limits.report(query, Report(model="m", part=(1, 0), rows=10, failed=1, retried=0))
        await house.limits.report(query, Report(model="m", part=(1, 1), rows=20, failed=0, retried=2))
        again = Report(model="m", part=(1, 0), rows=10, failed=2, retried=1)  # Spark ran this task again
        await house.limits.report(query, again)
        usage = await house.usage()
        assert (usage.user, usage.statement) == ("al", "select ...")
        assert (usage.calls, usage.cached, usage.rows, usage.failed, usage.retried) == (3, 2, 30, 2, 3)
        assert usage.cost == pytest.approx((20 * 1 + 4 * 5) / 1e6)
        assert usage.seconds > 0

    run(check())
    (row,) = read(tmp_path)
    assert row["rows"] == 30
    assert read(tmp_path / "none") == []
