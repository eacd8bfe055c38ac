"""Asking model functions from here, and the judge: a model that grades the answers of another."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from sqlllm.errors import ModelError, OptionError, suggest

from .. import queries
from ..tables import quoted

if TYPE_CHECKING:
    from ..session import Session

PROMPT = """You grade answers.

Question:
{question}

Reference answer:
{reference}

Answer to grade:
{answer}

Reply with one whole number from 1 (wrong) to 5 (as good as the reference), and with nothing else."""


class Case(NamedTuple):
    """One answer to grade; the fields are the placeholders of a judge's prompt."""

    question: str
    reference: str
    answer: str | None


def check_function(session: Session, key: str, function: str) -> None:
    """OptionError if there is no function of that name."""
    if not session.spark.catalog.functionExists(quoted(function)):
        raise OptionError(
            f"{key}: there is no function {function}",
            cure=suggest(function, sorted(session.models), what="models"),
            key=key,
        )


def check_prompt(template: str) -> None:
    """OptionError if a judge would not see the answer."""
    if "{answer}" not in template:
        raise OptionError(
            "judgePrompt has no {answer}", cure="Write {answer}, {question} and {reference} in it.", key="judgePrompt"
        )


def ask(session: Session, key: str, function: str, requests: list[str]) -> list[str | None]:
    """The answers of a model function, in order; None for those that failed."""
    check_function(session, key, function)
    session.observer.step(f"asking {function}")
    asked = session.spark.createDataFrame(list(enumerate(requests)), "number int, request string")
    call = f"get({quoted(function)}(array(request)), 0)"
    with queries.errors_at(None):
        answers = asked.selectExpr("number", f"{call} as answer").collect()
    said = [json.loads(row.answer) if row.answer else {} for row in sorted(answers, key=lambda row: row.number)]
    return [answer.get("output") for answer in said]


def judge(session: Session, function: str, cases: list[Case], template: str) -> list[float | None]:
    """The grade of each answer, 1 to 5; None where the judge gave none, or where there is no answer."""
    answered = [number for number, case in enumerate(cases) if case.answer]
    prompts = [_filled(template, cases[number]) for number in answered]
    requests = [json.dumps({"instruction": text, "temperature": "0"}, ensure_ascii=False) for text in prompts]
    grades: list[float | None] = [None] * len(cases)
    for number, text in zip(answered, ask(session, "judge", function, requests), strict=True):
        if grade := re.search(r"(?<![\d.])[1-5](?![\d.]*\d)", text or ""):
            grades[number] = float(grade[0])
    missing = sum(grades[number] is None for number in answered)
    if answered and missing == len(answered):
        raise ModelError(
            f"the judge {function} graded no answer: it did not reply with a number from 1 to 5",
            cure="Choose a model that follows instructions, or write judgePrompt for this one.",
        )
    if missing:
        session.observer.warned(f"the judge {function} gave no grade to {missing} of {len(answered)} answers")
    return grades


def _filled(template: str, case: Case) -> str:
    values = {name: value or "" for name, value in case._asdict().items()}
    # In one pass: an answer that holds a placeholder stays as it is.
    return re.sub(r"\{(question|reference|answer)\}", lambda match: values[match[1]], template)
