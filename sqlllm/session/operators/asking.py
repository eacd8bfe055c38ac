"""Asks a model from the driver: for the operators whose next request depends on the answers before.

The requests take the road of a model function's: its window, its transport, the gateway's one answer path. So each
distinct prompt is asked once, many are in flight, answers are kept, and limits, prices, keys, the error policy and
`cancel` hold as they do for rows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from sqlllm.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sqlllm.udfs.transport import Endpoint

_CHUNK = 2048  # prompts between two lines of progress
_parts = count(1)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one prompt, or its error.

    `text` is what the model wrote, or what `returns` asked for, as Spark casts it from a text: `true`, `0.5`, a JSON
    array. `value` is the JSON value where a `schema` was asked for, else the text. `logprobs` has for each token of the
    answer OpenAI's `{"token", "logprob", "top_logprobs"}`; empty where the engine gives none.
    """

    text: str | None
    value: Any = None
    error: str = ""
    logprobs: tuple[dict[str, Any], ...] = ()

    @property
    def failed(self) -> bool:
        return bool(self.error)


@dataclass
class Asker:
    """One model as a statement asks it. `asked` counts the requests that were made, repeated ones once."""

    endpoint: Endpoint
    progress: Callable[[str], None] = lambda _: None
    asked: int = 0
    failed: int = 0
    _window: Any = field(default=None, repr=False)
    _part: int = field(default_factory=lambda: next(_parts), repr=False)

    @property
    def model(self) -> str:
        return self.endpoint.model

    def ask(
        self,
        prompts: Sequence[str],
        *,
        system: str = "",
        returns: str = "",
        schema: dict[str, Any] | None = None,
        max_tokens: int = 0,
        logprobs: int = 0,
        labels: Sequence[str] = (),
        what: str = "",
    ) -> list[Reply]:
        """The reply to each prompt, in order.

        `returns` is a type in Spark's DDL, `schema` a JSON schema; the answer is held to it where the engine can.
        `logprobs`: alternatives for each token. `labels`: the answer is one of them. `what` names the work in
        the progress.
        Raises ModelError or LimitError if the statement is to stop; a prompt that fails alone is a reply with an error.
        """
        fields: dict[str, str] = {"system_msg": system, "returns": returns}
        if labels:
            fields["labels"] = json.dumps(list(labels), ensure_ascii=False)
        if schema is not None:
            form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
            fields["response_format"] = orjson.dumps(form).decode()
        if max_tokens:
            fields["max_tokens"] = str(max_tokens)
        if logprobs:
            fields |= {"logprobs": "true", "top_logprobs": str(logprobs)}
        fields = {key: text for key, text in fields.items() if text}
        requests = [orjson.dumps({"instruction": prompt} | fields).decode() for prompt in prompts]
        read = orjson.loads if schema is not None else None
        return [_reply(answer, read) for answer in self._answers(requests, what)]

    def embed(self, texts: Sequence[str], *, unit: bool = True) -> NDArray[np.float32]:
        """A vector for each text, as rows, of unit length unless not; zeros for a text without one, as a blank text."""
        requests = [orjson.dumps({"instruction": text, "embedding": "true"}).decode() for text in texts]
        found = [_reply(answer).value for answer in self._answers(requests, "embedding")]
        size = max((len(one) for one in found if one is not None), default=1)
        vectors = np.zeros((len(texts), size), np.float32)
        for row, one in zip(vectors, found, strict=True):
            if one is not None:
                row[:] = one
        if not unit:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.where(lengths == 0, 1, lengths)
        return vectors

    def _answers(self, requests: Sequence[str], what: str) -> Iterator[str]:
        from sqlllm.udfs.batching import Window
        from sqlllm.udfs.transport import client

        caller = client(self.endpoint.url, self.endpoint.api_key, self.endpoint.certificate)
        self._window = self._window or Window(caller, self.endpoint)
        distinct = list(dict.fromkeys(requests))
        chunks = [distinct[at : at + _CHUNK] for at in range(0, len(distinct), _CHUNK)]
        known: dict[str, str] = {}
        try:
            for answers in self._window.answers(iter(chunks)):
                for answer in answers:
                    known[distinct[len(known)]] = answer
                self.progress(f"{what or 'asking'} {self.model}: {len(known):,} of {len(distinct):,}")
        finally:
            self.asked, self.failed = self._window.rows, self._window.failed
            if self.endpoint.query:
                self._report(caller)
        return (known[request] for request in requests)

    def _report(self, caller: Any) -> None:
        """Count the rows for the statement, in a part of their own: no task of Spark's has a negative stage."""
        fields = {
            "model": self.model,
            "part": (-self._part, 0),
            "rows": self._window.rows,
            "failed": self._window.failed,
            "retried": self._window.retried,
        }
        asyncio.run_coroutine_threadsafe(caller.report(self.endpoint, fields), caller.loop).result()


def _reply(answer: str | None, read: Callable[[str], Any] | None = None) -> Reply:
    """An answer of the model function. `read` reads its text, and fails with ValueError."""
    if answer is None:
        return Reply(None, error="invalid_request: NULL is not a prompt")
    told = orjson.loads(answer)
    if error := told.get("error"):
        return Reply(None, error=f"{error['kind']}: {error['message']}")
    value = told["output"]
    if read is not None:
        try:
            value = read(value)
        except ValueError as error:
            return Reply(None, error=f"unreadable_answer: {error}")
    text = value if isinstance(value, str) else told.get("raw") or orjson.dumps(value).decode()
    return Reply(text, value, logprobs=tuple((told.get("logprobs") or {}).get("content") or ()))


def only(replies: Sequence[Reply]) -> Reply:
    """The one reply that a step cannot go on without. ModelError if it failed."""
    (reply,) = replies
    if reply.failed:
        raise ModelError(f"a step of this statement has no answer: {reply.error}")
    return reply
