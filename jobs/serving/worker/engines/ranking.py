"""`/v1/rerank`, in the shape that Jina, Cohere and vLLM share."""

from __future__ import annotations

import orjson
from pydantic import BaseModel, ConfigDict, Field

from ...protocol import new_id


class RerankRequest(BaseModel):
    """The fields of a request for a ranking, as Jina and Cohere have them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    query: str
    documents: list[str] = Field(min_length=1)
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = True
    truncate_prompt_tokens: int | None = Field(None, ge=-1, le=-1, description="-1: cut what is too long")


def ranking(model: str, request: RerankRequest, scores: list[float], tokens: int) -> bytes:
    """The documents by their scores, best first; `tokens` is what was read."""
    order = sorted(range(len(scores)), key=lambda place: -scores[place])[: request.top_n]
    results = [
        {"index": place, "relevance_score": scores[place]}
        | ({"document": {"text": request.documents[place]}} if request.return_documents else {})
        for place in order
    ]
    counts = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"id": new_id("rerank"), "model": model, "usage": counts, "results": results})
