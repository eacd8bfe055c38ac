"""Rerank with transformers: cross-encoders, which read query and text together (BGE reranker, MiniLM ...)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from sqlllm.errors import ModelError

from ...protocol import RequestError, new_id
from ...spec import ModelSpec
from .encoding import Encoder, load_encoder
from .ranking import RerankRequest, ranking
from .requests import parse_fields

if TYPE_CHECKING:
    import torch

    from .transformers import Options


class ScoreRequest(BaseModel):
    """The fields of a request for scores, as vLLM has them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    text_1: str | list[str]
    text_2: str | list[str]
    truncate_prompt_tokens: int | None = Field(None, ge=-1, le=-1, description="-1: cut what is too long")


class RankingModel:
    """A cross-encoder behind `/v1/rerank` and `/v1/score`; scores are from 0 to 1."""

    def __init__(self, name: str, encoder: Encoder) -> None:
        self._name, self._encoder = name, encoder

    async def rerank(self, request: dict[str, Any]) -> bytes:
        """The documents, best first."""
        typed = parse_fields(request, RerankRequest)
        pairs = [(typed.query, document) for document in typed.documents]
        scores, tokens = await self._scores(pairs, typed.truncate_prompt_tokens)
        return ranking(self._name, typed, scores, tokens)

    async def score(self, request: dict[str, Any]) -> bytes:
        """A score for each pair; one text stands for as many as there are on the other side."""
        typed = parse_fields(request, ScoreRequest)
        first = [typed.text_1] if isinstance(typed.text_1, str) else typed.text_1
        second = [typed.text_2] if isinstance(typed.text_2, str) else typed.text_2
        if len(first) == 1:
            first = first * len(second)
        if not first or len(first) != len(second):
            raise RequestError(f"text_1 has {len(first)} texts and text_2 {len(second)}", param="text_2")
        scores, tokens = await self._scores(list(zip(first, second, strict=True)), typed.truncate_prompt_tokens)
        data = [{"index": index, "object": "score", "score": score} for index, score in enumerate(scores)]
        counts = {"prompt_tokens": tokens, "total_tokens": tokens}
        return orjson.dumps(
            {"id": new_id("score"), "object": "list", "model": self._name, "data": data, "usage": counts}
        )

    async def check_health(self) -> None:
        """Nothing of it can die alone."""

    async def _scores(self, pairs: list[tuple[str, str]], truncate: int | None) -> tuple[list[float], int]:
        rows, tokens = await self._encoder.run(pairs, _score, truncate is not None)
        return [float(row) for row in rows], tokens


def _score(output: Any, mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
    """The sigmoid of the only logit."""
    scores: torch.Tensor = output.logits.float()[:, 0].sigmoid()
    return scores


def load(spec: ModelSpec, options: Options, device: str) -> RankingModel:
    """Read a cross-encoder's folder."""
    from transformers import AutoModelForSequenceClassification

    encoder = load_encoder(AutoModelForSequenceClassification, Path(spec.model_path), options, device)
    labels = encoder.model.config.num_labels
    if labels != 1:
        raise ModelError(f"a model that ranks has one label; {spec.model_path} has {labels}: it classifies")
    return RankingModel(spec.name, encoder)
