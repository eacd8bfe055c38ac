"""Answers on a Redis server (or one that speaks its protocol), shared by all gateways that know its URL.

How much it keeps is the server's own setting: `maxmemory` with `maxmemory-policy allkeys-lru`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlllm.errors import PackageError

from .store import Key, StoreError

_PREFIX = b"sqlllm:answer:"
_TIMEOUT = 5.0  # seconds; a store that is slower than a model is none


class RedisStore:
    """Keeps answers for `ttl` seconds (0: until the server needs the room)."""

    def __init__(self, url: str, ttl: float) -> None:
        try:
            import redis.asyncio
        except ImportError as error:
            raise PackageError.from_import_error(error, package="redis", extra="redis") from error
        self._failures = redis.RedisError, OSError
        self._client = redis.asyncio.Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
        self._ttl = int(ttl) or None

    async def get(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """The answers that are there."""
        if not keys:
            return {}
        try:
            values = await self._client.mget([_PREFIX + key for key in keys])
        except self._failures as error:
            raise StoreError(str(error)) from error
        return {key: value for key, value in zip(keys, values, strict=True) if isinstance(value, bytes)}

    async def put(self, answers: Mapping[Key, bytes]) -> None:
        """Keep answers."""
        if not answers:
            return
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                for key, value in answers.items():
                    pipe.set(_PREFIX + key, value, ex=self._ttl)
                await pipe.execute()
        except self._failures as error:
            raise StoreError(str(error)) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
