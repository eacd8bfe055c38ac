"""Documents in Spark: files to pages, and the bytes of a column to a document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa  # PySpark evaluates the hints of the functions, so this import is needed at run time

from .parsing import process
from .parsing.pages import Limits, Page

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = "path string, page int, text string, title string, links array<string>, needs_ocr boolean, error string"
_ARROW = pa.schema(
    [
        ("path", pa.string()), ("page", pa.int32()), ("text", pa.string()), ("title", pa.string()),
        ("links", pa.list_(pa.string())), ("needs_ocr", pa.bool_()), ("error", pa.string()),
    ]
)  # fmt: skip
_IMAGE = pa.field("image", pa.binary())
_ROWS, _BYTES = 256, 4 * 2**20  # of a batch of pages on its way to Spark
PARSE = "sqlllm_parse_document"
"""The function of SQL behind `ai_parse_document`: bytes to JSON."""


def pages(files: DataFrame, limits: Limits, *, only: str = "", password: str = "", images: bool = False) -> DataFrame:
    """The pages of files, by SCHEMA: a file that cannot be read is a row with an `error`.

    `files` has `path`, `length` and `content`; a `content` of NULL was too large to be read. `only` is the one kind
    that is meant. `images` adds a column `image`: a PNG of each page that needs OCR.
    """

    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        schema = _ARROW.append(_IMAGE) if images else _ARROW
        yield from _batches(_parsed(batches, limits, only, password, images), schema)

    # The batches that Spark sends may hold many files: a few are enough.
    return files.mapInArrow(parse, f"{SCHEMA}, image binary" if images else SCHEMA)


def _parsed(
    batches: Iterator[pa.RecordBatch], limits: Limits, only: str, password: str, images: bool
) -> Iterator[tuple[str, Page]]:
    for batch in batches:
        paths, sizes, contents = (batch.column(name) for name in ("path", "length", "content"))
        for index in range(len(batch)):
            path = shown(paths[index].as_py())
            content = contents[index].as_py()
            if content is None:
                error = f"the file has {sizes[index].as_py()} bytes; at most {limits.bytes} are read"
                yield path, Page(error=error)
                continue
            found = process.read(content, path, limits, only=only, password=password, images=images)
            for page in found:
                yield path, page


def shown(path: str) -> str:
    """A path as a script writes it: Spark gives one of this machine as `file:/...`, with its letters encoded."""
    local = re.fullmatch(r"file:/*(/.*)", path)
    return unquote(local[1]) if local else path


def _batches(found: Iterator[tuple[str, Page]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    size = 0
    for path, page in found:
        rows.append(
            {
                "path": path, "page": page.number, "text": page.text, "title": page.title, "links": page.links,
                "needs_ocr": page.needs_ocr, "error": page.error, "image": page.image,
            }
        )  # fmt: skip
        size += 4 * len(page.text or "") + len(page.image or b"")
        if len(rows) >= _ROWS or size > _BYTES:
            yield pa.RecordBatch.from_pylist(rows, schema)
            rows, size = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema)


def register(spark: SparkSession) -> None:
    """Make PARSE a function of SQL."""
    from pyspark.sql.pandas.functions import arrow_udf

    def call(contents: pa.Array) -> pa.Array:
        return pa.array([None if one is None else document(one.as_py()) for one in contents], pa.string())

    spark.udf.register(PARSE, arrow_udf(call, "string"))  # type: ignore[call-overload]


def document(content: bytes | None) -> str | None:
    """A document as JSON in the shape of Databricks' `ai_parse_document`, version 2.0; NULL gives NULL."""
    if content is None:
        return None
    found = list(process.read(content, "", Limits()))
    elements: list[dict[str, Any]] = []
    listed, errors = [], []
    for page in found:
        index = (page.number or 1) - 1
        if page.error is not None:
            errors.append({"error_message": page.error, "page_id": index if page.number else None})
            continue
        listed.append({"id": index, "content": page.text, "links": page.links, "needs_ocr": page.needs_ocr})
        for kind, text in elements_of(page.text or ""):
            elements.append({"id": len(elements), "type": kind, "content": text, "bbox": [{"page_id": index}]})
    title = next((page.title for page in found if page.title), None)
    return json.dumps(
        {
            "document": {"title": title, "pages": listed, "elements": elements} if listed else None,
            "error_status": errors or None,
            "metadata": {"version": "2.0"},
        },
        ensure_ascii=False,
    )


def elements_of(text: str) -> Sequence[tuple[str, str]]:
    """The parts of a page between empty lines, each with its kind: section_header, table or text."""
    parts = filter(str.strip, re.split(r"\n[ \t]*\n", text))
    return [(_kind(part), part.strip()) for part in parts]


def _kind(part: str) -> str:
    if re.match(r"\s*#{1,6}\s", part):
        return "section_header"
    return "table" if re.match(r"\s*\|.*\|\s*\n\s*\|[ :|-]+\|", part) else "text"
