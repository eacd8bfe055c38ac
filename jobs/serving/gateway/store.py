"""Answers that are kept, so that no request is paid for twice. Embedded in a file, or on a server for a cluster.

A key is a digest of everything that an answer follows from: the model's files, engine, version and options, the
parameters, the messages. Values are choices of OpenAI's protocol as JSON, without their index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

if TYPE_CHECKING:
    from sqlllm.settings import StoreSettings

Key = bytes


class StoreError(Exception):
    """The store cannot be read or written; the models still answer."""


class Store(Protocol):
    """Where answers are kept. Both calls take a batch and do not block the event loop; both may raise StoreError."""

    async def get(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """The answers that are there."""

    async def put(self, answers: Mapping[Key, bytes]) -> None:
        """Keep answers; they are safe from a kill of this process when it returns."""

    async def close(self) -> None:
        """Release what it holds."""


def open_store(settings: StoreSettings, folder: Path) -> Store:
    """The store at `settings.url`, or the file `answers.db` in `folder`."""
    if settings.url:
        from .store_redis import RedisStore

        return RedisStore(settings.url.get_secret_value(), settings.ttl)
    from .store_sqlite import SQLiteStore

    folder.mkdir(parents=True, exist_ok=True)
    return SQLiteStore(folder / "answers.db", max_bytes=settings.max_bytes, ttl=settings.ttl)


def keys(fingerprint: str, params: Mapping[str, Any], conversations: Sequence[Any]) -> list[Key]:
    """One key per conversation; `params` are the other fields of the request."""
    shared = hashlib.blake2b(fingerprint.encode(), digest_size=16)
    shared.update(orjson.dumps(params, option=orjson.OPT_SORT_KEYS))
    found = []
    for messages in conversations:
        digest = shared.copy()
        digest.update(orjson.dumps(messages, option=orjson.OPT_SORT_KEYS))
        found.append(digest.digest())
    return found


def is_deterministic(params: Mapping[str, Any]) -> bool:
    """Whether the same request gives the same answer: temperature 0, or a seed."""
    return params.get("temperature") == 0 or params.get("seed") is not None
