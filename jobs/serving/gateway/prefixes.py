"""Which worker has seen how much of a prompt: so that prompts with one beginning meet in one worker's prefix cache.

A prompt has these keys: a digest of its first piece, of its first two pieces, and so on. A piece is `_PIECE` bytes
of a message's JSON, or what is left of it; so the keys of a conversation go on where those of its last turn end.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import orjson

_PIECE = 64  # bytes; of English text 16 tokens, vLLM's usual block
_PIECES = 64  # of a prompt that are looked at
_REMEMBERED = 32_768  # keys of a worker

W = TypeVar("W", bound=Hashable)


def keys_of(request: dict[str, Any]) -> list[str]:
    """The keys of a request's prompt; none of a request that has no prompt."""
    messages = request.get("messages") or ([request["prompt"]] if "prompt" in request else [])
    digest, keys = blake2b(digest_size=8), list[str]()
    for message in messages if isinstance(messages, list) else ():
        text = orjson.dumps(message)
        for start in range(0, len(text), _PIECE):
            digest.update(text[start : start + _PIECE])
            keys.append(digest.hexdigest())
            if len(keys) == _PIECES:
                return keys
    return keys


class Prefixes(Generic[W]):
    """What each worker has seen lately, as far as it is remembered."""

    def __init__(self) -> None:
        self._seen: dict[W, OrderedDict[str, None]] = {}

    def keep(self, workers: Iterable[W]) -> None:
        """Forget the workers that are not among these."""
        self._seen = {worker: self._seen.get(worker, OrderedDict()) for worker in workers}

    def ranked(self, keys: list[str], loads: Mapping[W, int]) -> list[W]:
        """Workers, the best one first: it knows most of the prompt, unless it has more to do than others.

        `loads` are requests under way; a worker may have as many more than the idlest as there are on average.
        """
        most = min(loads.values()) + max(1, sum(loads.values()) / len(loads))

        def worth(worker: W) -> tuple[bool, int, int, float]:
            load = loads[worker]
            return load > most, -self._known(worker, keys), load, random.random()  # noqa: S311

        return sorted(loads, key=worth)

    def saw(self, worker: W, keys: list[str]) -> None:
        """A worker gets a prompt."""
        seen = self._seen.setdefault(worker, OrderedDict())
        for key in reversed(keys):  # the end of a prompt is forgotten before its beginning
            seen[key] = None
            seen.move_to_end(key)
        while len(seen) > _REMEMBERED:
            seen.popitem(last=False)

    def _known(self, worker: W, keys: list[str]) -> int:
        """How many of the first keys a worker has seen."""
        seen = self._seen.get(worker, ())
        return next((count for count, key in enumerate(keys) if key not in seen), len(keys))
