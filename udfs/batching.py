"""From row batches to request batches and back: distinct prompts once, many requests in flight, rows in order.

What a task asked before, as far as memory is set aside for it, is not asked again.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from . import answers, requests
from .calling import Caller
from .ordering import prefix_order
from .requests import Conversation, RequestError
from .transport import Client, Endpoint

_REMEMBERED = 8 * 2**20  # characters of requests whose answers a task remembers; with the answers a few times as much
_BEHIND = 16  # times what is in flight: the number of rows that may wait for a slow row before them


@dataclass(slots=True)
class _Slot:
    """The answer to one request, for all rows that make it."""

    answer: str | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class _Batch:
    """The rows of a batch, and the requests that it was the first to make."""

    slots: list[_Slot | None]
    futures: list[Future[None]] = field(default_factory=list)

    def is_done(self) -> bool:
        return all(future.done() for future in self.futures)

    def finish(self) -> list[str | None]:
        for future in self.futures:
            future.result()
        return [None if slot is None else slot.answer for slot in self.slots]


class Window:
    """Keeps `in_flight` requests of `batch_size` conversations under way, reading ahead across row batches.

    `rows`, `failed` and `retried` count what it has given so far.
    """

    def __init__(self, client: Client, endpoint: Endpoint) -> None:
        self.rows = self.failed = 0
        self._endpoint = endpoint
        self._loop = client.loop
        self._caller = Caller(client, endpoint)
        self._known: OrderedDict[str, _Slot] = OrderedDict()
        self._known_size = 0
        self._changed = threading.Condition()
        self._outstanding = 0
        self._error: BaseException | None = None

    @property
    def retried(self) -> int:
        """Requests that were sent again."""
        return self._caller.retried

    def answers(self, batches: Iterable[list[str | None]]) -> Iterator[list[str | None]]:
        """The answers of each batch of requests, batch by batch, row by row; None for None.

        Where few rows may do (`first`), a batch is read only after the one before is answered, until a window is full.
        """
        pending: deque[_Batch] = deque()
        # Enough requests wait behind those in flight that the model never idles while rows are left.
        ahead = 2 * self._endpoint.in_flight
        window = self._endpoint.in_flight * self._endpoint.batch_size
        behind = _BEHIND * window
        try:
            for rows in batches:
                pending.append(self._start(rows))
                careful = self._endpoint.first and self.rows < window
                while pending:
                    waiting = sum(len(batch.slots) for batch in pending) - len(pending[0].slots)
                    if careful or pending[0].is_done() or waiting >= behind:
                        yield self._finish(pending)
                    elif not self._wait(ahead):
                        break
            while pending:
                yield self._finish(pending)
        finally:  # the query was stopped, or a batch failed: nothing is left running
            for batch in pending:
                for future in batch.futures:
                    future.cancel()

    def _finish(self, pending: deque[_Batch]) -> list[str | None]:
        answers = pending[0].finish()
        batch = pending.popleft()
        self.rows += len(answers)
        self.failed += sum(slot is not None and slot.failed for slot in batch.slots)
        return answers

    def _wait(self, ahead: int) -> bool:
        """Wait for a request to end, if `ahead` are outstanding; whether there were that many."""
        with self._changed:
            full = self._outstanding >= ahead
            if full and self._error is None:
                before = self._outstanding
                self._changed.wait_for(lambda: self._outstanding != before)
            if self._error is not None:
                raise self._error
            return full

    def _start(self, rows: list[str | None]) -> _Batch:
        """Send the requests of `rows` that are not known yet; what needs no model is answered at once."""
        groups: defaultdict[bytes, list[tuple[_Slot, Conversation]]] = defaultdict(list)
        slots: list[_Slot | None] = []
        for request in rows:
            slot = self._known.get(request) if request is not None else None
            if request is None:
                slots.append(None)
                continue
            if slot is None:
                slot = self._remember(request)
                try:
                    conversation = requests.parse(request, constrains=self._endpoint.constrains)
                except RequestError as error:
                    self._caller.check(error)
                    slot.answer, slot.failed = answers.failure(error), True
                else:
                    if conversation is not None:
                        groups[conversation.params].append((slot, conversation))
            else:
                self._known.move_to_end(request)
            slots.append(slot)
        batch = _Batch(slots)
        size = self._endpoint.batch_size
        for params, group in groups.items():
            order = prefix_order([conversation.messages for _, conversation in group])
            for start in range(0, len(group), size):
                batch.futures.append(self._send(params, [group[place] for place in order[start : start + size]]))
        return batch

    def _remember(self, request: str) -> _Slot:
        slot = self._known[request] = _Slot()
        self._known_size += len(request)
        while self._known_size > _REMEMBERED and len(self._known) > 1:
            forgotten, _ = self._known.popitem(last=False)
            self._known_size -= len(forgotten)
        return slot

    def _send(self, params: bytes, group: list[tuple[_Slot, Conversation]]) -> Future[None]:
        async def send() -> None:
            answers = await self._caller.answers(params, [conversation for _, conversation in group])
            for (slot, _), (answer, failed) in zip(group, answers, strict=True):
                slot.answer, slot.failed = answer, failed

        with self._changed:
            self._outstanding += 1
        future = asyncio.run_coroutine_threadsafe(send(), self._loop)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Future[None]) -> None:
        with self._changed:
            self._outstanding -= 1
            if not future.cancelled() and self._error is None:
                self._error = future.exception()
            self._changed.notify()
