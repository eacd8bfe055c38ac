"""ai_chunk and llm_split: functions of SQL from a text to an array of its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING

import pyarrow as pa  # PySpark evaluates the hints of the functions, so this import is needed at run time

from .chunks import chunks
from .counting import Counter

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CHUNK = "array<struct<chunk_id: int, content: string, start: int, end: int, headings: array<string>, tokens: int>>"
_CHUNK = pa.list_(
    pa.struct(
        [
            ("chunk_id", pa.int32()), ("content", pa.string()), ("start", pa.int32()), ("end", pa.int32()),
            ("headings", pa.list_(pa.string())), ("tokens", pa.int32()),
        ]
    )
)  # fmt: skip
SPLIT = "array<struct<content: string, content_id: int>>"


def register_chunk(spark: SparkSession, tokenizer: str, max_tokens: int, overlap: int, by: str) -> str:
    """Make a function of SQL that cuts a text so, and give its name; the same arguments have the same name.

    `tokenizer` is the text of a tokenizer.json; empty: tokens are estimated.
    """
    from pyspark.sql.pandas.functions import arrow_udf

    def call(texts: pa.Array) -> pa.Array:
        counter = Counter(tokenizer, letters=by == "characters")
        return pa.array([chunked(text.as_py(), counter, max_tokens, overlap, by) for text in texts], _CHUNK)

    key = sha256(repr((tokenizer, max_tokens, overlap, by)).encode()).hexdigest()[:12]
    name = f"sqlllm_chunk_{key}"
    spark.udf.register(name, arrow_udf(call, CHUNK))  # type: ignore[call-overload]
    return name


def chunked(
    text: str | None, counter: Counter, max_tokens: int, overlap: int, by: str
) -> list[dict[str, object]] | None:
    """The chunks of a text as rows; None for NULL."""
    if text is None:
        return None
    return [asdict(chunk) for chunk in chunks(text, counter, max_tokens, overlap, by)]


def register_split(spark: SparkSession) -> None:
    """Make Byzer-LLM's `llm_split(text, separators, limit)` a function of SQL."""

    def call(text: str | None, separators: list[str] | None, limit: int | None) -> list[tuple[str, int]] | None:
        if text is None:
            return None
        return [(part, number) for number, part in enumerate(split(text, separators or (), limit or len(text)))]

    spark.udf.register("llm_split", call, SPLIT)


def split(text: str, separators: Sequence[str], limit: int) -> list[str]:
    """Parts of up to `limit` characters, each cut after its last separator, or at the limit if it has none.

    The parts together are the text.
    """
    found, start, limit = [], 0, max(limit, 1)
    while len(text) - start > limit:
        ends = (text.rfind(one, start, start + limit) + len(one) for one in separators if one)
        end = max((one for one in ends if one > start), default=start + limit)
        found.append(text[start:end])
        start = end
    return [*found, text[start:]] if text[start:] else found
