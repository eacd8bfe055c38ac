"""--%chat: ask a deployed model. --%string: a text as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlllm.dialect.statements import Cell
from sqlllm.errors import ModelError, OptionError, suggest

from .. import options
from ..tables import Result, table_named

if TYPE_CHECKING:
    from ..session import Session

_FORMATS = ("markdown", "html")


def chat(session: Session, cell: Cell) -> Result:
    """The body is the instruction; every parameter but model, input, output and format goes to the model.

    The answers are column q of the table `output`, one to a row of `input`, whose own q is the conversation so far.
    The cell itself shows them as content and mime.
    """
    from pyspark.sql import functions as F  # noqa: N812 - Spark's own name for it

    params = cell.params.resolve(session.variables)
    model = params.pop("model", "")
    mime = options.choice(params, "format", _FORMATS)
    source, output = params.pop("input", ""), params.pop("output", "output")
    params.pop("format", None)
    if not model:
        raise OptionError("a chat cell needs a model", cure="Write --%model=... below --%chat.")
    if not session.spark.catalog.functionExists(model):
        cure = suggest(model, sorted(session.models), what="models") if session.models else "None is deployed yet."
        raise ModelError(f"there is no model {model}", cure=cure, place=cell.params["model"].value_place)
    asked = {"instruction": cell.body.resolve(session.variables), **params}
    question = F.call_function("llm_param", F.create_map(*(F.lit(word) for pair in asked.items() for word in pair)))
    if source:
        frame = table_named(session, cell.params["input"].value)
        question = F.call_function("llm_stack", F.col("q"), question)
    else:
        frame = session.spark.range(1)
    answers = frame.select(F.call_function(model, question).alias("q")).persist()  # a model answers once
    session.name_table(answers, output, cell.place)
    text = F.call_function("llm_response_predict", F.col("q")).alias("content")
    return Result(answers.select(text, F.lit(mime).alias("mime")), place=cell.place)


def string(session: Session, cell: Cell) -> Result:
    """The body as one row: content, mime."""
    params = cell.params.resolve(session.variables)
    options.check(params, ("output", "format"))
    row = {"content": cell.body.resolve(session.variables), "mime": options.choice(params, "format", _FORMATS)}
    frame = session.table([row], "content string, mime string")
    return session.name_table(frame, params["output"], cell.place) if "output" in params else Result(frame)
