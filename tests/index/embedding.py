"""A provider whose model gives vectors: texts that share words are near each other."""

from __future__ import annotations

import json
import math
import re
from http.server import BaseHTTPRequestHandler
from zlib import crc32

from tests.serving.provider import Asked, Reply, send

SIZE = 32


def vector(text: str) -> list[float]:
    """Of length one; each word adds to some of its numbers."""
    found = [0.0] * SIZE
    for word in re.findall(r"\w+", text.lower()):
        for seed in range(3):
            code = crc32(f"{seed}{word}".encode())
            found[code % SIZE] += 1 if code & 1024 else -1
    length = math.sqrt(sum(one * one for one in found)) or 1.0
    return [one / length for one in found]


def embeds(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    """What OpenAI's embeddings route answers, and a route that ranks: a text that holds "first" is the best one."""
    if asked.path.endswith("/rerank"):
        scores = [float("first" in text) for text in asked.body["documents"]]
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        send(handler, 200, {"results": [{"index": place, "relevance_score": scores[place]} for place in order]})
        return
    given = asked.body["input"]
    texts = [given] if isinstance(given, str) else given
    data = [{"index": place, "object": "embedding", "embedding": vector(text)} for place, text in enumerate(texts)]
    send(handler, 200, {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}})


def texts(asked: list[Asked]) -> list[str]:
    """All that was asked for."""
    found = []
    for one in asked:
        if one.path.endswith("/rerank"):
            continue
        given = json.loads(one.raw)["input"]
        found += [given] if isinstance(given, str) else given
    return found


def refuses(word: str) -> Reply:
    """A model that refuses each request with a text that holds `word`."""

    def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        if any(word in text for text in texts([asked])):
            send(handler, 400, {"error": {"message": f"{word} is refused", "type": "invalid_request_error"}})
        else:
            embeds(handler, asked)

    return reply
