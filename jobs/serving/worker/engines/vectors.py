"""`/v1/embeddings`, in OpenAI's shape."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field

from ...protocol import RequestError, check_input

Input = str | list[int]
"""A text, or the tokens of one."""


class EmbeddingRequest(BaseModel):
    """The fields of a request for embeddings."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    truncate_prompt_tokens: int | None = Field(None, ge=-1, le=-1, description="-1: cut what is too long")

    @property
    def inputs(self) -> list[Input]:
        """Texts, or lists of the model's tokens; RequestError if there are none, or an empty one."""
        check_input(self.input)
        if isinstance(self.input, str):
            return [self.input]
        tokens = [one for one in self.input if isinstance(one, int)]
        return [tokens] if tokens else [one for one in self.input if not isinstance(one, int)]

    def check_size(self, size: int) -> None:
        """Refuse dimensions that are not the model's."""
        if self.dimensions not in (None, size):
            raise RequestError(f"the model's vectors have {size} dimensions, and no others", param="dimensions")


def vectors(model: str, request: EmbeddingRequest, rows: Sequence[Any], tokens: int) -> bytes:
    """A vector for each input, in order; `tokens` is what was read."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": row
            if request.encoding_format == "float"
            else b64encode(np.asarray(row, "<f4").tobytes()).decode(),
        }
        for index, row in enumerate(rows)
    ]
    counts = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps(
        {"object": "list", "data": data, "model": model, "usage": counts}, option=orjson.OPT_SERIALIZE_NUMPY
    )
