"""load pdf.`path` and load documents.`path`: a row for each page, parsed in the executors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError, suggest
from sqlllm.udfs.parsing import process
from sqlllm.udfs.parsing.pages import Limits

from . import options as checks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from .formats import Request
    from .session import Session

OPTIONS = ("maxBytes", "maxPages", "ocr", "ocrPrompt", "password", "timeout")
_PROMPT = "Transcribe all the text of this page in its reading order, tables as Markdown. Answer with the text alone."
_SIZE = re.compile(r"(\d+)\s*([kmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_MOST = 2**31 - 2**20  # bytes: a value of Spark's can be no larger


def pdf(ask: Request) -> DataFrame:
    """The pages of PDFs; another file is a row with an error."""
    return _read(ask, only="pdf")


def documents_of(ask: Request) -> DataFrame:
    """The pages of PDFs, slides and sheets; one row for each document of another kind."""
    return _read(ask, only="")


def _read(ask: Request, *, only: str) -> DataFrame:
    from pyspark.sql import functions as f

    process.require_packages()
    session, given = ask.session, ask.options
    limits, ocr = _limits(given), given.get("ocr", "")
    model = _model(session, ocr) if ocr else ""
    reader = session.spark.read.format("binaryFile")
    files = reader.options(**{key: value for key, value in given.items() if key not in OPTIONS}).load(ask.paths)
    # Spark stops at a file that is larger than a value can be: such a file's bytes are not asked for.
    read = files.where(f.col("length") <= limits.bytes).select("path", "length", "content")
    large = files.where(f.col("length") > limits.bytes).select(
        "path", "length", f.lit(None).cast("binary").alias("content")
    )
    from sqlllm.udfs import documents  # it brings pyarrow

    frame = documents.pages(
        read.union(large), limits, only=only, password=given.get("password", ""), images=bool(model)
    )
    if model:
        frame = _with_ocr(session, frame, model, given.get("ocrPrompt", _PROMPT))
    return session.keep(frame)


def _limits(given: dict[str, str]) -> Limits:
    """Raises OptionError."""
    found = Limits()
    size = _SIZE.fullmatch(given.get("maxBytes", str(found.bytes)).strip())
    if size is None or not 0 < (count := int(size[1]) * _UNITS[size[2].lower()]) <= _MOST:
        raise OptionError("maxBytes is a size up to 2g, such as 64m", key="maxBytes")
    pages = checks.count({"maxPages": str(found.pages), **given}, "maxPages")
    seconds = checks.count({"timeout": str(round(found.seconds)), **given}, "timeout")
    return Limits(bytes=count, pages=pages, seconds=float(seconds))


def _model(session: Session, name: str) -> str:
    model = session.models.find(name)
    if model is None:
        cure = suggest(name, sorted(session.models), what="models") if len(session.models) else "Deploy it first."
        raise OptionError(f"there is no model {name}", cure=cure, key="ocr")
    return model.name


def _with_ocr(session: Session, frame: DataFrame, model: str, prompt: str) -> DataFrame:
    """`frame` with the text that the model reads from each page's image; its error is the page's."""
    from pyspark.sql import functions as f

    from .tables import quoted

    session.meter.begin(f"load ... where ocr={model}", [model.lower()])
    request = f.map_from_arrays(
        f.array(f.lit("instruction"), f.lit("image")), f.array(f.lit(prompt), f.base64(f.col("image")))
    )
    asked = f.when(f.col("image").isNotNull(), f.array(f.to_json(request)))
    # The images are parsed out once, and each is asked about once.
    answered = session.keep(frame.withColumn("answer", f.call_function(quoted(model), asked)).drop("image"))
    text = f.expr("llm_result(answer)")
    return answered.select(
        "path", "page", f.coalesce(text, f.col("text")).alias("text"), "title", "links",
        (f.col("needs_ocr") & text.isNull()).alias("needs_ocr"),
        f.coalesce(f.col("error"), f.expr("llm_error(answer)")).alias("error"),
    )  # fmt: skip
