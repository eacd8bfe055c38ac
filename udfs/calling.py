"""One batch of conversations to answers: too long ones cut, failed ones to another model, as the endpoint asks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import orjson

from sqlllm.errors import LimitError, ModelError

from . import answers, packing
from .requests import Choice, Conversation, Message, RequestError
from .transport import Client, Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_TOO_LONG = "context_length_exceeded"
_SHORTER = 0.75  # of a prompt that is too long is tried next


class Slots:
    """Lets requests in, first come first served and `most` at a time.

    Half as many when the gateway is busy, then one more with each success.
    """

    def __init__(self, most: int) -> None:
        self._most = self._limit = most
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a place, and hold it."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            await turn
            yield
            self._limit = min(self._most, self._limit + 1)
        finally:
            if turn.done() and not turn.cancelled():
                self._inside -= 1
            self._let_in()

    def shrink(self) -> None:
        """The gateway is busy."""
        self._limit = max(1, self._limit // 2)

    def _let_in(self) -> None:
        while self._waiting and self._inside < self._limit:
            turn = self._waiting.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                self._inside += 1


class Caller:
    """Answers the conversations of one task."""

    def __init__(self, client: Client, endpoint: Endpoint) -> None:
        self.retried = 0
        self._client, self._endpoint = client, endpoint
        self._slots = Slots(endpoint.in_flight)

    def check(self, error: RequestError) -> None:
        """ModelError if no row may fail."""
        if self._endpoint.fails:
            raise ModelError(
                f"a row has no answer: {error.kind}: {error.message}",
                cure='Rows without an answer are NULL, and llm_error says why, with: set llm.on_error = "null";',
            )

    async def answers(self, params: bytes, conversations: Sequence[Conversation]) -> list[tuple[str, bool]]:
        """For each conversation its answer, and whether that is an error.

        Raises ModelError or LimitError if the query is to stop.
        """
        endpoint = self._endpoint
        messages = [conversation.messages for conversation in conversations]
        task = conversations[0].task
        if task and endpoint.overlong == "truncate":  # an encoder cuts by itself
            params = orjson.dumps(orjson.loads(params) | {"truncate_prompt_tokens": -1})
        async with self._slots.slot():
            started = time.perf_counter()
            try:
                choices = await self._choices(messages, params)
                if endpoint.overlong == "truncate" and not task:
                    await self._shorten(endpoint.model, messages, params, choices)
            except LimitError:
                raise
            except ModelError as error:
                if not endpoint.fallback:
                    raise
                choices = [{"error": {"code": "unavailable", "message": error.message}} for _ in messages]
            choices = [answers.checked(*pair) for pair in zip(conversations, choices, strict=True)]
            if endpoint.fallback and (failed := _failed(choices)):
                others = await self._complete(endpoint.fallback, [messages[index] for index in failed], params)
                for index, choice in zip(failed, others, strict=True):
                    choices[index] = answers.checked(conversations[index], {**choice, "model": endpoint.fallback})
        milliseconds = (time.perf_counter() - started) * 1000
        told = []
        for conversation, choice in zip(conversations, choices, strict=True):
            if "error" in choice:
                failure = answers.error_of(choice)
                self.check(failure)
                told.append((answers.failure(failure), True))
            else:
                told.append((answers.answer(conversation, choice, milliseconds=milliseconds), False))
        return told

    async def _choices(self, messages: list[list[Message]], params: bytes) -> list[Choice]:
        if self._endpoint.rows_per_prompt == 1:
            return await self._complete(self._endpoint.model, messages, params)
        ask = partial(self._complete, self._endpoint.model)
        return await packing.choices(ask, messages, params, self._endpoint.rows_per_prompt)

    async def _complete(self, model: str, messages: list[list[Message]], params: bytes) -> list[Choice]:
        """A choice for each conversation; what is wrong with the request is wrong with each."""
        try:
            reply = await self._client.complete(self._endpoint, model, messages, params, self._slots.shrink)
        except RequestError as error:
            self.retried += error.attempts - 1
            told = {"code": error.kind, "message": error.message, "attempts": error.attempts}
            return [{"error": told} for _ in messages]
        self.retried += reply.tries - 1
        return [answers.without_thoughts({**choice, "request_id": reply.id}) for choice in reply.choices]

    async def _shorten(self, model: str, messages: list[list[Message]], params: bytes, choices: list[Choice]) -> None:
        """Ask again for what was too long, cut at the end of its last turn until it fits."""
        while cut := [
            index for index in _failed(choices, _TOO_LONG) if _is_longer_text(messages[index][-1]["content"])
        ]:
            for index in cut:
                *before, last = messages[index]
                text = last["content"]
                messages[index] = [*before, {**last, "content": text[: int(len(text) * _SHORTER)]}]
            others = await self._complete(model, [messages[index] for index in cut], params)
            for index, choice in zip(cut, others, strict=True):
                choices[index] = {**choice, "truncated": True}


def _is_longer_text(content: object) -> bool:
    """Whether some of it can be left out; not of images and sounds."""
    return isinstance(content, str) and len(content) > 1


def _failed(choices: Sequence[Choice], code: str = "") -> list[int]:
    """Where the choices are errors, of this code if it is given."""
    return [
        index
        for index, choice in enumerate(choices)
        if "error" in choice and (not code or choice["error"].get("code") == code)
    ]
