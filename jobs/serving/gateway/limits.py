"""Limits of statements and quotas of users: what may be sent to a model now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from sqlllm.wire import LIMIT_REACHED, RATE_LIMITED

from ..protocol import RequestError
from ..rate import Rate
from .usage import Account, Query, Report, Usage, UsageFile, made

if TYPE_CHECKING:
    from sqlllm.settings import QuotaSettings, UserSettings

_DAY = 86_400  # seconds
_PAUSE = 10.0  # seconds; a busy machine takes some to end the Python of a cancelled task
_IDLE = 3600.0  # seconds after which a statement is looked up in the file again


class Rates:
    """Calls and tokens a minute; 0: any number."""

    def __init__(self, calls: int, tokens: int) -> None:
        self._calls = Rate(calls) if calls else None
        self._tokens = Rate(tokens) if tokens else None

    def check(self, whose: str) -> None:
        """RequestError 429 if it is too early for a call."""
        for rate, what in ((self._calls, "calls"), (self._tokens, "tokens")):
            if rate and (seconds := rate.wait()):
                message = f"{whose} may use no more {what} for {seconds:.1f} s"
                raise RequestError(message, status=429, code=RATE_LIMITED, retry_after=seconds)

    def take(self, calls: int = 0, tokens: int = 0) -> None:
        """Count what is used."""
        if self._calls:
            self._calls.take(calls)
        if self._tokens:
            self._tokens.take(tokens)


class User:
    """What a user has used today."""

    def __init__(self, name: str, quota: QuotaSettings) -> None:
        self.name, self.quota = name, quota
        self.rates = Rates(quota.calls_per_minute, quota.tokens_per_minute)
        self.day = 0
        self.reading = asyncio.Lock()
        self.calls, self.tokens, self.cost = 0, 0, 0.0
        self.reserved = 0  # calls under way


class Statement:
    """The accounts of a statement, one per model, and what they may still use."""

    def __init__(self, query: Query, user: User, day: Statement | None = None) -> None:
        """`day` has what all requests of the user without a statement use; then `query` limits this request alone."""
        self.accounts: dict[str, Account] = {}
        self.used = time.monotonic()
        self._query, self._user, self._quota = query, user, user.quota
        self._rates = Rates(query.calls_per_minute, query.tokens_per_minute)
        self._resumes = 0.0
        self._day = day

    def allow(self, calls: int) -> int:
        """How many of the wanted calls may be made now; RequestError: 429 if it is too early, 403 if none are left."""
        self.used = time.monotonic()
        if (seconds := self._resumes - self.used) > 0:
            message = "the statement was cancelled just now"
            raise RequestError(message, status=429, code=RATE_LIMITED, retry_after=seconds)
        accounts = self.accounts.values()
        usages = [account.usage for account in accounts]
        query, quota, user = self._query, self._quota, self._user
        made = sum(account.usage.calls + account.reserved for account in accounts)
        of_user = [account.usage for account in self._day.accounts.values()] if self._day else usages
        over_all = f"user {user.name or '(none)'} has a quota of {{}} a day"
        for limit, used, what, who in (
            (query.max_tokens, sum(usage.tokens for usage in usages), "tokens", "llm.max_tokens is {}"),
            (query.max_cost, sum(usage.cost for usage in usages), "cost", "llm.max_cost is {}"),
            (query.max_seconds, sum(account.seconds for account in accounts), "seconds", "llm.max_seconds is {}"),
            (quota.tokens_per_day, user.tokens, "tokens", over_all),
            (quota.cost_per_day, user.cost, "cost", over_all),
        ):
            if limit and used >= limit:
                if who is over_all:
                    raise _reached(who.format(f"{limit:,} {what}"), of_user)
                raise _reached(who.format(f"{limit:,}"), usages)
        allowed = calls
        if query.max_calls:
            allowed = min(allowed, query.max_calls - made)
            if allowed <= 0:
                raise _reached(f"llm.max_calls is {query.max_calls:,}", usages)
        if quota.calls_per_day:
            allowed = min(allowed, quota.calls_per_day - user.calls - user.reserved)
            if allowed <= 0:
                raise _reached(over_all.format(f"{quota.calls_per_day:,} calls"), of_user)
        self._rates.check("this statement")
        user.rates.check(f"user {user.name or '(none)'}")
        self._rates.take(calls=allowed)
        user.rates.take(calls=allowed)
        return allowed

    @contextmanager
    def calling(self, account: Account, calls: int) -> Iterator[None]:
        """Calls that were allowed are under way: enter it before anybody else is allowed some."""
        self._user.reserved += calls
        try:
            with account.calling(calls), self._own(account).calling(calls) if self._day else nullcontext():
                yield
        finally:
            self._user.reserved -= calls

    def _own(self, account: Account) -> Account:
        """What a request without a statement has used of a model."""
        name = account.usage.model
        if name not in self.accounts:
            self.accounts[name] = Account(Usage("", name), self._query, lambda _: None, time.time)
        return self.accounts[name]

    @property
    def busy(self) -> bool:
        """Whether calls are under way."""
        return any(account.reserved for account in self.accounts.values())

    def pause(self) -> None:
        """Let no call be made until Spark has ended who asks; later its table may be read again."""
        self._resumes = time.monotonic() + _PAUSE

    def spent(self, account: Account, choices: list[dict[str, object]]) -> None:
        """Count answered calls."""
        tokens, cost = account.spent(choices, self._query if self._day else None)
        if self._day:
            self._own(account).spent(choices)
        self._rates.take(tokens=tokens)
        self._user.rates.take(tokens=tokens)
        self._user.calls += made(choices)
        self._user.tokens += tokens
        self._user.cost += cost


def _reached(limit: str, usages: list[Usage]) -> RequestError:
    calls, tokens = sum(usage.calls for usage in usages), sum(usage.tokens for usage in usages)
    answered = sum(usage.calls + usage.cached + usage.joined for usage in usages)
    cost = f", cost {total:,.4g}" if (total := sum(usage.cost for usage in usages)) else ""
    message = f"{limit}: {answered:,} prompts are answered, {calls:,} of them by the model ({tokens:,} tokens{cost})"
    return RequestError(message, status=403, kind="limit_error", code=LIMIT_REACHED)


class Limits:
    """Every statement with a recent request."""

    def __init__(
        self,
        file: UsageFile,
        quota: QuotaSettings,
        users: Mapping[str, UserSettings] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`users` have quotas of their own, in place of `quota`."""
        self._file, self._quota, self._own, self._clock = file, quota, users or {}, clock
        self._statements: dict[str, Statement] = {}
        self._users: dict[str, User] = {}

    async def account(self, query: Query, model: str) -> tuple[Statement, Account]:
        """The statement of a call and its account for the model, with the price that the call has."""
        statement, account = await self._known(query, model)
        if not query.id:
            return Statement(query, await self._user(query.user), day=statement), account
        account.query = query  # the model may have been deployed anew since
        return statement, account

    async def report(self, query: Query, told: Report) -> None:
        """Count what a task says of its rows."""
        _, account = await self._known(query, told.model)
        account.reported(told)

    async def _known(self, query: Query, model: str) -> tuple[Statement, Account]:
        """What requests said of a statement, and what the file holds of it."""
        name = query.id or f"http-{query.user}-{self._clock() // _DAY:.0f}"
        user = await self._user(query.user)
        statement = self._statements.get(name)
        if statement is None:
            self._forget()
            statement = Statement(query, user)
            known = await self._file.find("query = ?", name)
            statement = self._statements.setdefault(name, statement)
            for usage in known:
                statement.accounts.setdefault(usage.model, Account(usage, query, self._file.save, self._clock))
        statement.used = time.monotonic()  # else a request of a user's day could count in an account that was forgotten
        if model not in statement.accounts:
            usage = Usage(name, model, query.user, query.statement, started=self._clock())
            statement.accounts[model] = Account(usage, query, self._file.save, self._clock)
        return statement, statement.accounts[model]

    def cancel(self, session: str) -> list[Statement]:
        """Pause the statements of a session: their ids are its own and a number."""
        found = [statement for name, statement in self._statements.items() if name.rpartition("-")[0] == session]
        for statement in found:
            statement.pause()
        return found

    async def _user(self, name: str) -> User:
        today = int(self._clock() // _DAY)
        user = self._users.setdefault(name, User(name, self._own.get(name, self._quota)))
        async with user.reading:  # nobody goes on with what is not read yet
            if user.day != today:
                user.calls, user.tokens, user.cost = await self._file.total(name, since=today * _DAY)
                user.day = today
        return user

    def _forget(self) -> None:
        late = time.monotonic() - _IDLE
        idle = [name for name, one in self._statements.items() if one.used < late and not one.busy]
        for name in idle:
            del self._statements[name]
