"""action="evaluate" with an index: whether its search finds what is right, and answers keep to what it finds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from sqlllm.dialect.statements import Run
from sqlllm.errors import OptionError
from sqlllm.retrieval.dataset import About
from sqlllm.retrieval.search import KINDS
from sqlllm.udfs import literals

from .. import options as checks
from .. import queries
from ..llm import grading
from ..tables import Result, table_named
from . import places

if TYPE_CHECKING:
    from ..session import Session

_OPTIONS = (
    "action", "index", "inputTable", "outputTable", "answersTable", "k", "queryType", "udfName", "judge", "judgePrompt",
)  # fmt: skip
_PROMPT = """You check whether an answer keeps to its sources.

Question:
{question}

Sources:
{reference}

Answer:
{answer}

Reply with one whole number from 1 (the sources say none of it) to 5 (they say all of it), and with nothing else."""
_SCHEMA = (
    "name string, questions bigint, k int, recall double, mrr double, answered double, faithfulness double,"
    " seconds double"
)
_EACH = (
    "question string, recall double, rank int, found array<string>, answer string, answered boolean,"
    " faithfulness double"
)
_names = count(1)


def check(options: Mapping[str, str]) -> None:
    """OptionError for what the options alone show to be wrong."""
    checks.check(options, _OPTIONS)
    checks.count({"k": "10", **options}, "k")
    checks.choice({"queryType": "hybrid", **options}, "queryType", KINDS)
    if options.get("judge"):
        checks.require(options, ["udfName"], "judge")
    if options.get("judgePrompt"):
        checks.require(options, ["judge"], "judgePrompt")
        grading.check_prompt(options["judgePrompt"])


def evaluate(session: Session, run: Run, options: Mapping[str, str]) -> Result:
    """Search for each question of the table, with `udfName` also answer it, with `judge` also grade the answer.

    A hit is right if its key is in the column `relevant`, a text or an array. Without that column it is right if it
    agrees with the question's row in each column that both have, such as `page`.
    """
    table = run.options["inputTable"].value if options.get("inputTable") else run.table
    started = time.monotonic()
    frame = table_named(session, table)
    _, dataset = places.existing(session, options["index"])
    about = About.of(dataset.schema)
    shared = [name for name in frame.columns if name in dataset.schema.names and name != about.text]
    if "question" not in frame.columns or not ("relevant" in frame.columns or shared):
        raise OptionError(
            "the table needs a column question, and one that says what is right",
            cure=f"Name the keys ({', '.join(about.key)}) in a column relevant, or give it a column of the index.",
        )
    for key in ("udfName", "judge"):
        if options.get(key):
            grading.check_function(session, key, options[key])
    with queries.errors_at(table.place):
        rows = [row.asDict(recursive=True) for row in frame.collect()]
    if not rows:
        raise OptionError("the table has no rows", cure="Check the select that makes it.", key="inputTable")
    asked = _asked(session, [row["question"] for row in rows], options)
    each = [
        {"question": row["question"], **_found(row, hits, about.key, shared), **_said(answer)}
        for row, (hits, answer) in zip(rows, asked, strict=True)
    ]
    grades = [None] * len(each) if not options.get("judge") else _graded(session, options, each, asked, about.text)
    for one, grade in zip(each, grades, strict=True):
        one["faithfulness"] = grade
    if name := options.get("answersTable"):
        session.name_table(session.table(each, _EACH), name, run.options["answersTable"].value_place)
    whole = {
        "name": options["index"],
        "questions": len(each),
        "k": checks.count({"k": "10", **options}, "k"),
        "recall": _mean([one["recall"] for one in each]),
        "mrr": _mean([1 / one["rank"] if one["rank"] else 0.0 for one in each]),
        "answered": _mean([float(one["answered"]) for one in each if one["answered"] is not None]),
        "faithfulness": _mean([grade for grade in grades if grade is not None]),
        "seconds": round(time.monotonic() - started, 3),
    }
    result = session.table([whole], _SCHEMA)
    if options.get("outputTable"):
        return session.name_table(result, options["outputTable"], run.place)
    return Result(result, place=run.place)


def _asked(
    session: Session, questions: Sequence[str | None], options: Mapping[str, str]
) -> list[tuple[list[dict[str, Any]], dict[str, Any] | None]]:
    """The hits of each question, and its answer if a model is named."""
    name = f"llm_evaluated_{next(_names)}"
    rows = [{"n": number, "question": question} for number, question in enumerate(questions)]
    session.table(rows, "n int, question string").createOrReplaceTempView(name)
    index, limit = literals.text(options["index"]), checks.count({"k": "10", **options}, "k")
    kind = options.get("queryType", "hybrid")
    search = f"ai_search(index => {index}, query => question, num_results => {limit}, query_type => '{kind}')"
    model = options.get("udfName")
    answer = (
        f"ai_answer(index => {index}, question => question, query_type => '{kind}', model => {literals.text(model)})"
        if model
        else "null"
    )
    try:
        script = f"select n, {search} as hits, {answer} as said from {name};"  # noqa: S608 (literals and our names)
        result = session.run(script, "<evaluate>")
        assert result is not None
        found = sorted((row.asDict(recursive=True) for row in result.rows()), key=lambda row: row["n"])
    finally:
        session.spark.catalog.dropTempView(name)
    return [(row["hits"] or [], row["said"]) for row in found]


def _found(
    row: Mapping[str, Any], hits: Sequence[Mapping[str, Any]], key: Sequence[str], shared: Sequence[str]
) -> dict[str, Any]:
    """How much of what is right was found, and the rank of the first right hit."""
    keys = ["/".join(str(hit[name]) for name in key) for hit in hits]
    if "relevant" in row:
        given = row["relevant"]
        wanted = {str(one) for one in (given if isinstance(given, list) else [given]) if one is not None}
        right = [one in wanted for one in keys]
        share = len(wanted & set(keys)) / len(wanted) if wanted else None
    else:
        right = [all(hit[name] == row[name] for name in shared) for hit in hits]
        share = float(any(right))
    rank = right.index(True) + 1 if any(right) else None
    return {"recall": share, "rank": rank, "found": keys}


def _said(answer: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"answer": answer and answer["answer"], "answered": answer and answer["answered"]}


def _graded(
    session: Session,
    options: Mapping[str, str],
    each: Sequence[Mapping[str, Any]],
    asked: Sequence[tuple[list[dict[str, Any]], Any]],
    text: str,
) -> list[float | None]:
    """The judge's grade of each answer; None for a question that the documents do not answer."""
    cases = [
        grading.Case(str(one["question"]), "\n\n".join(str(hit[text]) for hit in hits), one["answer"])
        if one["answered"]
        else grading.Case(str(one["question"]), "", None)
        for one, (hits, _) in zip(each, asked, strict=True)
    ]
    return grading.judge(session, options["judge"], cases, options.get("judgePrompt") or _PROMPT)


def _mean(values: Sequence[float | None]) -> float | None:
    given = [one for one in values if one is not None]
    return sum(given) / len(given) if given else None
