"""Log probabilities in OpenAI's shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Scored(NamedTuple):
    """A token of an answer, and those that were most probable in its place, the best first: ids and logarithms."""

    token: int
    logprob: float
    best: Sequence[tuple[int, float]]


def chat(scored: Sequence[Scored], text: Callable[[int], bytes]) -> dict[str, Any]:
    """`logprobs` of a choice of chat; `text` gives a token's bytes."""

    def one(token: int, logprob: float) -> dict[str, Any]:
        raw = text(token)
        return {"token": raw.decode(errors="replace"), "logprob": logprob, "bytes": list(raw)}

    return {
        "content": [
            {**one(found.token, found.logprob), "top_logprobs": [one(*best) for best in found.best]} for found in scored
        ]
    }


def completion(tokens: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same tokens in the shape of plain completions."""
    texts = [token["token"] for token in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [{one["token"]: one["logprob"] for one in token["top_logprobs"]} for token in tokens],
        "text_offset": [sum(map(len, texts[:place])) for place in range(len(texts))],
    }
