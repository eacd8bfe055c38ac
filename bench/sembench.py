"""The ten movie questions of SemBench as SQL: `python -m bench.sembench --data FOLDER [--model FOLDER]`.

FOLDER holds Reviews.csv (github.com/SemBench/SemBench, files/movie/data/sf_2000). Without a model the oracle answers
from the labels: calls and tokens are then those of a perfect model, and correctness is the engine's alone. The prompts
are our own; published token counts, by systems with longer ones, stand beside ours.
"""

from __future__ import annotations

import argparse
import csv
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from sqlllm.session import Session
from sqlllm.settings import Settings

from . import report
from .tally import Tally

QUESTIONS = Path(__file__).with_name("sembench_movie.sql")
SENTIMENT = "Is this film review positive or negative? Answer with one word, POSITIVE or NEGATIVE.\\nReview: {}"
SCORE = (
    "How much did the critic like the film, from 1 (not at all) to 5 (very much)? Answer with one digit.\\nReview: {}"
)
# The fewest tokens of LOTUS, Palimpzest, ThalamusDB and BigQuery with Gemini 2.5 Flash, as SemBench published them.
PUBLISHED = {"Q1": 1_245, "Q2": 4_451, "Q3": 6_034, "Q5": 2_483, "Q7": 347_910, "Q9": 49_274, "Q10": 358_204}
GRADES = {"A": 4.5, "B": 3.5, "C": 2.5, "D": 1.5, "F": 1.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of Reviews.csv")
    parser.add_argument("--model", type=Path, help="model folder; without it the oracle answers from the labels")
    given = parser.parse_args()
    if given.data is None:
        print("bench.sembench needs --data FOLDER, SemBench's files/movie/data/sf_2000")
        report.last_line({"queries": 0})
        return
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        settings = Settings.load(
            home=home, spark={"master": "local[2]", "driver_memory": "1g"}, llm={"store": "off"}, allow={"folders": "/"}
        )
        tally = Tally()
        with Session(settings, observer=tally) as session:
            _prepare(session, given.data / "Reviews.csv", home, given.model)
            rows = [_ask(session, tally, *question) for question in questions()]
    report.table(
        "SemBench, movies" if given.model else "SemBench, movies, answered from the labels",
        ("question", "calls", "tokens", "seconds", "correct", "measure", "fewest tokens published"),
        rows,
    )
    report.last_line(
        {
            "queries": len(rows),
            "calls": sum(row[1] for row in rows),
            "tokens": sum(row[2] for row in rows),
            "worst_correct": min(row[4] for row in rows),
        }
    )


def questions() -> list[tuple[str, str]]:
    """Name and SQL."""
    return re.findall(r"^--- (.+)\n([^-]+)", QUESTIONS.read_text(), re.MULTILINE)


def _prepare(session: Session, reviews: Path, folder: Path, model: Path | None) -> None:
    with reviews.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    labels = {row["reviewId"]: row for row in rows}.values()
    texts = [(row["id"], row["reviewId"], row["reviewText"]) for row in rows]
    right = [(row["reviewId"], row["scoreSentiment"], _score(row)) for row in labels]
    for name, values, schema in (
        ("reviews", texts, "id string, reviewId string, reviewText string"),
        ("labels", right, "reviewId string, sentiment string, score int"),
    ):
        session.spark.createDataFrame(values, schema).createOrReplaceTempView(name)
    table = folder / "answers.csv"
    with table.open("w", newline="") as lines:
        answers: dict[str, str] = {}
        for row in labels:
            answers.setdefault(_prompt(SENTIMENT, row), row["scoreSentiment"])
            answers.setdefault(_prompt(SCORE, row), str(_score(row)))
        csv.writer(lines).writerows([("prompt", "answer"), *answers.items()])
    kind = f'localModelDir="{model}"' if model else f'pretrainedModelType="oracle/table" and localModelDir="{table}"'
    session.run(f'run command as LLM.`` where action="infer" and udfName="judge" and {kind};')


def _prompt(template: str, row: dict[str, str]) -> str:
    return template.replace("\\n", "\n").replace("{}", row["reviewText"])


def _score(row: dict[str, str]) -> int:
    """1 to 5, from the critic's own score where there is one, else from the sentiment."""
    given = row["originalScore"]
    if fraction := re.fullmatch(r"([\d.]+)/([\d.]+)", given):
        return 1 + round(4 * min(1.0, float(fraction[1]) / float(fraction[2])))
    if given[:1] in GRADES:
        return round(GRADES[given[:1]] + {"+": 0.4, "-": -0.4}.get(given[1:], 0))
    return 4 if row["scoreSentiment"] == "POSITIVE" else 2


def _ask(session: Session, tally: Tally, title: str, sql: str) -> tuple[str, int, int, float, float, str, str]:
    judge = 'llm_result(judge(llm_param(map("instruction", llm_prompt("{}", array(reviewText)), "max_tokens", "8"))))'
    judged = (
        f"with judged as (select *, {judge.replace('{}', SENTIMENT, 1)} as sentiment,"
        f" cast({judge.replace('{}', SCORE, 1)} as int) as score from reviews) {sql}"
    )
    labelled = (
        "with judged as (select r.*, l.sentiment, l.score from reviews r join labels l on r.reviewId = l.reviewId) "
        + re.sub(r"\blimit \d+", "", sql)
    )
    tally.take(session)
    result = session.run(judged + ";")
    assert result is not None
    found = [tuple(row) for row in result.rows()]
    result.frame.unpersist()
    used = tally.take(session)
    assert used.calls, f"{title} called no model"
    right = [tuple(row) for row in session.spark.sql(labelled).collect()]
    name = title.split()[0]
    correct, measure = _correct(name, found, right, re.search(r"limit (\d+)", sql))
    published = f"{PUBLISHED[name]:,}" if name in PUBLISHED else "-"
    return title[:58], used.calls, used.prompt_tokens + used.answer_tokens, used.seconds, correct, measure, published


def _correct(name: str, found: list[Any], right: list[Any], limit: re.Match[str] | None) -> tuple[float, str]:
    """1 is right: F1 of rows, 1 - relative error of numbers, rank correlation of scores."""
    if name in ("Q3", "Q4"):
        return max(0.0, 1 - abs((found[0][0] or 0) - right[0][0]) / right[0][0]), "1 - error"
    if name == "Q8":
        said, true = dict(found), dict(right)
        wrong = sum(abs(said.get(key, 0) - count) for key, count in true.items())
        return max(0.0, 1 - wrong / sum(true.values())), "1 - error"
    if name in ("Q9", "Q10"):
        said, true = dict(found), dict(right)
        return _spearman([said[key] or 0 for key in true], list(true.values())), "Spearman"
    hits = sum((Counter(found) & Counter(right)).values())
    wanted = min(int(limit[1]), len(right)) if limit else len(right)
    precision, recall = hits / max(1, len(found)), hits / wanted
    return 2 * precision * recall / max(1e-9, precision + recall), "F1"


def _spearman(one: list[float], other: list[float]) -> float:
    x, y = _ranks(one), _ranks(other)
    mean = (len(x) - 1) / 2
    covariance = sum((a - mean) * (b - mean) for a, b in zip(x, y, strict=True))
    spread = [sum((a - mean) ** 2 for a in ranks) ** 0.5 for ranks in (x, y)]
    return covariance / (spread[0] * spread[1]) if all(spread) else 0.0


def _ranks(values: list[float]) -> list[float]:
    """Ranks from 0; equal values share the mean of theirs."""
    ordered = sorted(values)
    first = {value: ordered.index(value) for value in set(values)}
    counts = Counter(values)
    return [first[value] + (counts[value] - 1) / 2 for value in values]


if __name__ == "__main__":
    main()
