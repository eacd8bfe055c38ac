"""action="evaluate": how good a model's answers to a table are, in one row; before and after a run, side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlllm.dialect import Text
from sqlllm.dialect.statements import Run
from sqlllm.errors import OptionError, RunError
from sqlllm.jobs.runs import RunRecord, find_run
from sqlllm.jobs.training import formats, scores

from .. import options as checks
from .. import queries
from ..tables import Result, table_named
from . import grading

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from ..session import Session

_OPTIONS = (
    "action", "inputTable", "outputTable", "answersTable", "udfName", "localModelDir", "run", "base", "judge",
    "judgePrompt", "maxTokens", "batchSize",
)  # fmt: skip
_SIZES = {"maxTokens": "256", "batchSize": "16"}
_SOURCES = ("udfName", "localModelDir", "run")
_FIGURES = ("exact_match", "f1", "rouge_l", "perplexity", "judge")
_SCHEMA = ", ".join([
    "name string", "answers bigint", "errors bigint", *(f"{name} double" for name in _FIGURES),
    *(f"base_{name} double" for name in _FIGURES), "seconds double",
])  # fmt: skip
_ANSWERS = (
    "question string, reference string, answer string, exact_match double, f1 double, rouge_l double, judge double"
)


class Answers(NamedTuple):
    """What one model said; `None` where it failed, no texts if only its perplexity was asked for."""

    texts: list[str | None]
    perplexity: float | None = None


def check(run: Run, options: dict[str, str]) -> None:
    """OptionError for what the options alone show to be wrong."""
    if _table(run, options).raw.lower() == "command":
        raise OptionError("evaluate needs a table", cure='Write: run my_table as LLM, or inputTable="my_table"')
    if options.get("index"):
        from ..indexes import evaluate as retrieval

        retrieval.check(options)
        return
    checks.check(options, _OPTIONS)
    for key in _SIZES:
        checks.count({**_SIZES, **options}, key)
    given = [key for key in _SOURCES if options.get(key)]
    if len(given) > 1:
        raise OptionError(f"evaluate takes one of {', '.join(_SOURCES)}, not {' and '.join(given)}", key=given[1])
    if options.get("judgePrompt"):
        checks.require(options, ["judge"], "judgePrompt")
        grading.check_prompt(options["judgePrompt"])


def evaluate(session: Session, run: Run, options: dict[str, str]) -> Result:
    """Answer every question of the table, and score the answers against the table's own.

    The answers come from the function `udfName`, from the model in `localModelDir`, from the model that `run` made, or
    from the table's column `prediction`. With `base`, and for a run that had one, the base model is scored too. With
    `index`, the search of that index is scored.
    """
    if options.get("index"):
        from ..indexes import evaluate as retrieval

        return retrieval.evaluate(session, run, options)
    table = _table(run, options)
    frame = table_named(session, table)
    if not any(options.get(key) for key in _SOURCES) and "prediction" not in frame.columns:
        raise OptionError(
            "evaluate needs answers",
            cure='Write udfName="...", localModelDir="..." or run="...", or give the table a column prediction.',
        )
    if options.get("judge"):
        grading.check_function(session, "judge", options["judge"])
    started = time.monotonic()
    with queries.errors_at(table.place):
        rows = [row.asDict(recursive=True) for row in frame.collect()]
    examples = _examples(frame.columns, rows)
    found, base, name = _answers(session, run, options, rows, examples)
    judged = _judged(session, options, examples, found.texts)
    row: dict[str, Any] = {
        "name": name,
        "answers": len(examples),
        "errors": sum(text is None for text in found.texts),
        **_figures(examples, found, judged),
    }
    before: Mapping[str, float | None] = dict.fromkeys(_FIGURES)
    if base is not None:
        before = _figures(examples, base, _judged(session, options, examples, base.texts))
    row |= {f"base_{figure}": value for figure, value in before.items()}
    if answers := options.get("answersTable"):
        session.name_table(_each(session, examples, found, judged), answers, run.options["answersTable"].value_place)
    result = session.table([{**row, "seconds": round(time.monotonic() - started, 3)}], _SCHEMA)
    if options.get("outputTable"):
        return session.name_table(result, options["outputTable"], run.place)
    return Result(result, place=run.place)


def _table(run: Run, options: Mapping[str, str]) -> Text:
    return run.options["inputTable"].value if options.get("inputTable") else run.table


def _examples(columns: Sequence[str], rows: list[dict[str, Any]]) -> list[formats.Example]:
    table_format = formats.detect(columns, table="the table")
    found = [
        example for number, row in enumerate(rows, 1) for example in table_format.examples(row, number, "the table")
    ]
    if not found:
        raise OptionError("the table has no rows", cure="Check the select that makes it.", key="inputTable")
    return found


def _answers(
    session: Session, run: Run, options: Mapping[str, str], rows: list[dict[str, Any]], examples: list[formats.Example]
) -> tuple[Answers, Answers | None, str]:
    """What the model said, what its base said, and the model's name."""
    base = options.get("base", "")
    folders: dict[str, str] = {}  # by the option that names each
    if options.get("udfName"):
        name = options["udfName"]
        found = Answers(grading.ask(session, "udfName", name, [_request(one, options) for one in examples]))
    elif options.get("run"):
        try:
            record = find_run(session.settings.home / "runs", options["run"])
        except RunError as error:
            raise error.at(run.options["run"].value_place) from None
        if record.model is None:
            raise RunError(f"run {record.name} made no model: it is {record.state}", cure="Resume it, or run it again.")
        name, base = record.name, base or _base(session, record)
        folders["run"] = str(record.model)
    elif options.get("localModelDir"):
        name = Path(options["localModelDir"]).name
        folders["localModelDir"] = options["localModelDir"]
    else:
        name = "prediction"
        if _has_calls(examples):
            raise OptionError(
                "a prediction is text, but answers of the table are calls of tools",
                cure="Name the model's folder in localModelDir instead, which measures its perplexity.",
            )
        if len(rows) != len(examples):
            raise OptionError(
                "a prediction answers one question, but the table's dialogues have several",
                cure="Make one row for each question in a select.",
            )
        found = Answers([_said(row["prediction"]) for row in rows])
    measured = _measure(session, options, folders | ({"base": base} if base else {}), examples)
    return measured[next(iter(folders))] if folders else found, measured.get("base"), name


def _base(session: Session, record: RunRecord) -> str:
    """The model that a run started from; empty if there was none, or none that can be asked."""
    if record.base and not (Path(record.base) / "config.json").is_file():  # DeepSpeed's checkpoints, or it is gone
        session.observer.warned(
            f"{record.base}, which {record.name} was made of, is not a model folder: it is not scored"
        )
        return ""
    return record.base


def _has_calls(examples: list[formats.Example]) -> bool:
    """Whether answers are calls of tools: each model writes them in its own way, so texts cannot be compared."""
    return any("tool_calls" in message for example in examples for message in example.get("completion", ()))


def _said(prediction: Any) -> str | None:
    if prediction is None or isinstance(prediction, str):
        return prediction
    raise OptionError(
        f"prediction is {type(prediction).__name__}, not text", cure="Write: cast(prediction as string) as prediction."
    )


def _measure(
    session: Session, options: Mapping[str, str], folders: Mapping[str, str], examples: list[formats.Example]
) -> dict[str, Answers]:
    """What the model of each folder said, by the option that names it."""
    if not folders:
        return {}
    from sqlllm.jobs.training.evaluate import evaluate as measure

    paths = {key: Path(folder).expanduser().absolute() for key, folder in folders.items()}
    session.start_ray()
    session.observer.step(f"asking {' and '.join(folders.values())}")
    if calls := _has_calls(examples):
        session.observer.warned("answers of the table are calls of tools: the perplexity alone is measured")
    generates = "text" not in examples[0] and not calls
    if options.get("judge") and not generates:
        session.observer.warned(f"judge has no effect: nothing is answered that {options['judge']} could grade")
    try:
        measured = measure(
            [*paths.values()],
            examples,
            generate=generates,
            max_tokens=checks.count({**_SIZES, **options}, "maxTokens"),
            batch_size=checks.count({**_SIZES, **options}, "batchSize"),
        )
    except OptionError as error:
        error.key = next(key for key, path in paths.items() if str(path) == error.key)
        raise
    return {key: Answers([*each.answers], each.perplexity) for key, each in zip(paths, measured, strict=True)}


def _request(example: formats.Example, options: Mapping[str, str]) -> str:
    """An example as the request of a model function."""
    said = [*example.get("prompt", ()), *example.get("completion", ())]
    if "text" in example or "tools" in example or any("tool_calls" in message for message in said):
        raise OptionError(
            "a function answers questions, not plain text or tools",
            cure="Name the model's folder in localModelDir instead.",
            key="udfName",
        )
    *before, question = example["prompt"]
    system = [before.pop(0)["content"]] if before and before[0]["role"] == "system" else []
    request = {
        "instruction": question["content"],
        "temperature": "0",
        "max_tokens": options.get("maxTokens", _SIZES["maxTokens"]),
    }
    if system:
        request["system_msg"] = system[0]
    if before:
        request["history"] = json.dumps(before, ensure_ascii=False)
    return json.dumps(request, ensure_ascii=False)


def _figures(examples: list[formats.Example], answers: Answers, judged: list[float | None]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {**dict.fromkeys(_FIGURES), "perplexity": answers.perplexity}
    if answers.texts:
        each = [
            scores.score(text or "", _reference(example)) for example, text in zip(examples, answers.texts, strict=True)
        ]
        figures |= scores.mean(each)._asdict()
    given = [grade for grade in judged if grade is not None]
    return figures | {"judge": sum(given) / len(given) if given else None}


def _judged(
    session: Session, options: Mapping[str, str], examples: list[formats.Example], texts: list[str | None]
) -> list[float | None]:
    if not options.get("judge") or not texts:
        return [None] * len(examples)
    questions, references = map(_question, examples), map(_reference, examples)
    cases = [grading.Case(*case) for case in zip(questions, references, texts, strict=True)]
    return grading.judge(session, options["judge"], cases, options.get("judgePrompt") or grading.PROMPT)


def _each(session: Session, examples: list[formats.Example], answers: Answers, judged: list[float | None]) -> DataFrame:
    """Every question with its answer and scores."""
    rows = []
    for example, text, grade in zip(examples, answers.texts or [None] * len(examples), judged, strict=True):
        of_text = scores.score(text, _reference(example))._asdict() if text is not None else {}
        rows.append({
            "question": _question(example), "reference": _reference(example), "answer": text,
            **dict.fromkeys(("exact_match", "f1", "rouge_l")), **of_text, "judge": grade,
        })  # fmt: skip
    return session.table(rows, _ANSWERS)


def _question(example: formats.Example) -> str:
    return str(example["prompt"][-1]["content"]) if "prompt" in example else ""


def _reference(example: formats.Example) -> str:
    return str(example["completion"][0]["content"]) if "completion" in example else str(example["text"])
