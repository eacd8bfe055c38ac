"""--%chat: ask a deployed model. --%string: a text as a table."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlllm.dialect.statements import Cell
from sqlllm.errors import ModelError, OptionError, suggest

from .. import options
from ..tables import Result, quoted, table_named
from . import images

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sqlllm.udfs.transport import Endpoint

    from ..session import Session

_FORMATS = ("markdown", "html")


def chat(session: Session, cell: Cell) -> Result:
    """The body is the instruction; every parameter but model, input, output and format goes to the model.

    The answers are column q of the table `output`, one to a row of `input`, whose own q is the conversation so far.
    The cell itself shows them as content and mime. One answer of a deployed model is shown while it comes.
    """
    from pyspark.sql import functions as F  # noqa: N812 - Spark's own name for it

    params = cell.params.resolve(session.variables)
    model = params.pop("model", "")
    mime = options.choice(params, "format", _FORMATS)
    source, output = params.pop("input", ""), params.pop("output", "output")
    params.pop("format", None)
    if not model:
        raise OptionError("a chat cell needs a model", cure="Write --%model=... below --%chat.")
    if not session.spark.catalog.functionExists(quoted(model)):
        cure = suggest(model, sorted(session.models), what="models") if session.models else "None is deployed yet."
        raise ModelError(f"there is no model {model}", cure=cure, place=cell.params["model"].value_place)
    asked = {"instruction": cell.body.resolve(session.variables), **params}
    before = table_named(session, cell.params["input"].value) if source else None
    answers = _streamed(session, cell, model, asked, before, shown=mime == "markdown")
    if answers is None:
        question = F.call_function("llm_param", F.create_map(*(F.lit(word) for pair in asked.items() for word in pair)))
        if before is not None:
            question = F.call_function("llm_stack", F.col("q"), question)
        frame = before if before is not None else session.spark.range(1)
        session.meter.begin(cell.place.text, {model.lower()} & session.models.keys())
        answers = session.keep(frame.select(F.call_function(quoted(model), question).alias("q")))
    session.name_table(answers, output, cell.place)
    text = F.call_function("llm_response_predict", F.col("q")).alias("content")
    return Result(answers.select(text, F.lit(mime).alias("mime")), place=cell.place)


def _streamed(
    session: Session, cell: Cell, model: str, asked: dict[str, str], before: DataFrame | None, *, shown: bool
) -> DataFrame | None:
    """The only answer, asked for here and shown as it arrives; None if there are several, or it is asked like a row."""
    body = asked["instruction"]
    endpoint = session.meter.endpoint(model, cell.place.text)
    rows = before.select("q").take(2) if before is not None and endpoint else []
    several = before is not None and len(rows) != 1
    # An answer of another model, or to a prompt that was cut, is known for one only when it is whole.
    if endpoint is None or several or endpoint.fallback or endpoint.overlong == "truncate":
        if images.named(body):
            what = (
                "several conversations" if several else "llm.fallback, llm.overlong, or a function that is not a model"
            )
            raise OptionError(f"an image goes to one model in one conversation, not with {what}", place=cell.body.place)
        return None
    request = {**asked, **({"history": _history(cell, rows[0].q)} if rows else {})}
    answer = _ask(session, cell, endpoint, request, shown=shown)
    return session.spark.createDataFrame([([answer],)], "q array<string>")


def _ask(session: Session, cell: Cell, endpoint: Endpoint, request: dict[str, str], *, shown: bool) -> str:
    """The answer as a model function gives it."""
    from sqlllm.udfs import answers, requests
    from sqlllm.udfs.streaming import stream

    try:
        conversation = requests.parse(json.dumps(request), constrains=endpoint.constrains)
    except requests.RequestError as error:
        raise OptionError(error.message) from None
    assert conversation is not None
    parts = images.parts(session, conversation.prompt, cell.body.place)
    if parts is not None:
        last = {**conversation.messages[-1], "content": parts}
        conversation = replace(conversation, messages=[*conversation.messages[:-1], last])
    started = time.monotonic()
    choice = stream(endpoint, conversation, session.observer.answering if shown else lambda _: None)
    choice = answers.checked(conversation, answers.without_thoughts(choice))
    if "error" in choice:
        raise ModelError(f"model {endpoint.model}: {choice['error']['message']}", place=cell.place)
    return answers.answer(conversation, choice, milliseconds=(time.monotonic() - started) * 1000)


def _history(cell: Cell, answer: list[str] | None) -> str:
    """The conversation that an answer ends."""
    told: dict[str, Any] = json.loads(answer[0]) if answer and answer[0] else {"error": {"message": "it is NULL"}}
    if "error" in told:
        why = f"the chat to go on with has no answer: {told['error'].get('message')}"
        raise ModelError(why, place=cell.params["input"].value_place)
    return json.dumps(told["history"])


def string(session: Session, cell: Cell) -> Result:
    """The body as one row: content, mime."""
    params = cell.params.resolve(session.variables)
    options.check(params, ("output", "format"))
    row = {"content": cell.body.resolve(session.variables), "mime": options.choice(params, "format", _FORMATS)}
    frame = session.table([row], "content string, mime string")
    return session.name_table(frame, params["output"], cell.place) if "output" in params else Result(frame)
