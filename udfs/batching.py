"""From row batches to request batches and back: distinct prompts once, many requests in flight, rows in order.

A request of the batch before is not made again: in sorted rows each is made once, however many batches it fills.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from . import requests
from .requests import Conversation, RequestError
from .transport import Client

Answers = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch of rows, the answers that are known, and the requests that bring the others."""

    rows: list[str | None]
    distinct: dict[str | None, None]
    known: Answers
    before: Answers  # what the batch before knows once it is finished
    futures: list[Future[Answers]]

    def under_way(self) -> int:
        return sum(not future.done() for future in self.futures)

    def finish(self) -> list[str | None]:
        for future in self.futures:
            self.known.update(future.result())
        for request in self.distinct:
            if request is not None and request not in self.known:
                self.known[request] = self.before[request]
        return [None if request is None else self.known[request] for request in self.rows]


class Window:
    """Keeps `in_flight` requests of `batch_size` conversations under way, reading ahead across row batches."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(client.endpoint.in_flight)
        # Enough requests wait behind the window that it never drains while rows are left, and no more answers pile up
        # behind a slow one than memory can hold.
        self._ahead = 2 * client.endpoint.in_flight
        self._behind = 32 * client.endpoint.in_flight

    def answers(self, batches: Iterable[list[str | None]]) -> Iterator[list[str | None]]:
        """The answers of each batch of requests, batch by batch, row by row; None for None."""
        pending: deque[_Batch] = deque()
        last: _Batch | None = None
        try:
            for rows in batches:
                last = self._start(rows, last)
                pending.append(last)
                while pending and (pending[0].under_way() == 0 or self._full(pending)):
                    yield pending.popleft().finish()
            while pending:
                yield pending.popleft().finish()
        finally:  # the query was stopped, or a batch failed: nothing is left running
            for batch in pending:
                for future in batch.futures:
                    future.cancel()

    def _full(self, pending: Iterable[_Batch]) -> bool:
        return (
            sum(batch.under_way() for batch in pending) >= self._ahead
            or sum(len(batch.futures) for batch in pending) >= self._behind
        )

    def _start(self, rows: list[str | None], last: _Batch | None) -> _Batch:
        """Send the distinct requests of `rows` that `last` has not; what needs no model is answered at once."""
        known: Answers = {}
        groups: defaultdict[bytes, list[tuple[str, Conversation]]] = defaultdict(list)
        distinct = dict.fromkeys(rows)
        for request in distinct:
            if request is None or (last is not None and request in last.distinct):
                continue
            try:
                conversation = requests.parse(request)
            except RequestError as error:
                known[request] = requests.failure(error.kind, error.message)
                continue
            if conversation is None:
                known[request] = None
            else:
                groups[conversation.params].append((request, conversation))
        size = self._client.endpoint.batch_size
        return _Batch(
            rows,
            distinct,
            known,
            {} if last is None else last.known,
            [
                asyncio.run_coroutine_threadsafe(self._send(params, group[start : start + size]), self._client.loop)
                for params, group in groups.items()
                for start in range(0, len(group), size)
            ],
        )

    async def _send(self, params: bytes, batch: list[tuple[str, Conversation]]) -> Answers:
        async with self._slots:
            started = time.perf_counter()
            try:
                reply = await self._client.complete([conversation.messages for _, conversation in batch], params)
            except RequestError as error:
                failed = requests.failure(error.kind, error.message, error.attempts)
                return {request: failed for request, _ in batch}
        milliseconds = (time.perf_counter() - started) * 1000
        return {
            request: requests.answer(conversation, choice, request_id=reply["id"], milliseconds=milliseconds)
            for (request, conversation), choice in zip(batch, reply["choices"], strict=True)
        }
