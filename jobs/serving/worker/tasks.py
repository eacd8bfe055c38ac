"""What a batch may ask for instead of chat: vectors of texts, texts in the order of their fit to a query, or media.

A batch of conversations is the shape that is kept, joined, limited and counted; with the field `task` each of them is
`[user: the text]` or `[user: the query, document: a text, ...]`, and its choice's content a vector (base64 of
little-endian float32, or a list) or a list of `{"index", "score"}`, the best first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import orjson

from ..protocol import RequestError, batch_response, conversations, failed_choice, usage
from . import media, rows

_OF_ALL = frozenset({403, 404, 500, 503})  # statuses that every text would get
_OF_ONE = frozenset({400, 413, 422})


@dataclass(frozen=True)
class Task:
    """The method of a model that does it, and how a batch is done with it."""

    route: str
    run: Callable[[Any, dict[str, Any]], Awaitable[bytes]]


async def _embed(model: Any, request: dict[str, Any]) -> bytes:
    """Vectors of all texts, as few calls as there are bad ones allow."""
    texts = [_texts(messages, "user", 1) for messages in conversations(request)]
    shared = {"encoding_format": "base64", **{name: value for name, value in request.items() if name != "task"}}
    choices: list[dict[str, Any]] = [failed_choice(place, _WRONG) for place in range(len(texts))]

    async def ask(places: list[int]) -> None:
        inputs = [text[0] for place in places if (text := texts[place])]
        try:
            answer = orjson.loads(await model.embeddings({**shared, "input": inputs}))
        except RequestError as error:
            if error.status in _OF_ALL:
                if all("error" in choice for choice in choices):
                    raise
                for place in places:  # others are answered, and paid for
                    choices[place] = {**failed_choice(place, error), "calls": 0}
                return
            if error.status in _OF_ONE and len(places) > 1:  # which one is it?
                half = len(places) // 2
                await ask(places[:half])
                await ask(places[half:])
                return
            for place in places:
                choices[place] = failed_choice(place, error)
            return
        total = (answer.get("usage") or {}).get("prompt_tokens", 0)
        for place, found, tokens in zip(places, answer["data"], _shares(total, inputs), strict=True):
            choices[place] = _choice(place, found["embedding"], tokens)

    if good := [place for place, text in enumerate(texts) if text]:
        await ask(good)
    return batch_response(request["model"], choices)


async def _rerank(model: Any, request: dict[str, Any]) -> bytes:
    """The documents of each conversation by their fit to its query."""
    batch = conversations(request)
    shared = {"return_documents": False, **{name: value for name, value in request.items() if name != "task"}}

    async def ask(place: int, messages: Any) -> dict[str, Any]:
        query, documents = _texts(messages[:1], "user", 1), _texts(messages[1:], "document")
        if not query or not documents:
            return failed_choice(place, _WRONG)
        answer = orjson.loads(await model.rerank({**shared, "query": query[0], "documents": documents}))
        found = [{"index": one["index"], "score": one["relevance_score"]} for one in answer["results"]]
        counted = answer.get("usage") or {}
        return _choice(place, found, counted.get("prompt_tokens") or counted.get("total_tokens") or 0)

    return batch_response(request["model"], await rows.choices(ask, batch))


TASKS = {
    "embed_batch": Task("embeddings", _embed),
    "rerank_batch": Task("rerank", _rerank),
    "transcribe_batch": Task("transcriptions", media.batch(media.transcribe)),
    "speak_batch": Task("speech", media.batch(media.speak)),
    "draw_batch": Task("images", media.batch(media.draw)),
}
"""By the name that a request has for it, and `_batch`."""


def meant(route: str, routes: list[str]) -> str:
    """What a batch of chat means to a model that has no chat but can hear, speak or draw; else the same."""
    if route != "chat_batch" or "chat_batch" in routes:
        return route
    return next(
        (name for name in ("speak_batch", "transcribe_batch", "draw_batch") if TASKS[name].route in routes), route
    )


_WRONG = RequestError("each conversation is a user's text, and for rerank documents after it", param="messages")


def _texts(messages: Any, role: str, count: int | None = None) -> list[str]:
    """The texts of messages that all have this role; none if a message has another role, or their number differs."""
    if not isinstance(messages, list) or (count is not None and len(messages) != count):
        return []
    texts = [message.get("content") for message in messages if isinstance(message, dict) if message.get("role") == role]
    found = [text for text in texts if isinstance(text, str)]
    return found if len(found) == len(messages) else []


def _choice(place: int, content: Any, tokens: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {"index": place, "message": message, "finish_reason": "stop", "usage": usage(tokens, 0)}


def _shares(total: int, texts: list[str]) -> list[int]:
    """The tokens of each text, of which only the sum is known: by their lengths."""
    ends = list(accumulate((len(text) for text in texts), initial=0))
    marks = [round(total * end / max(ends[-1], 1)) for end in ends]
    return [end - start for start, end in pairwise(marks)]
