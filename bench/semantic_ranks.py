"""What ranks, aggregates and estimates cost, for `bench.semantic`: made data, and a judge of stated error.

`python -m bench.semantic_ranks` measures how often the interval of an estimate misses the true value.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from sqlllm.session.operators.asking import Reply
from sqlllm.session.operators.estimating import Count, Interval, next_sample
from sqlllm.session.operators.folding import Folding, folded
from sqlllm.session.operators.listwise import listed
from sqlllm.session.operators.ranking import Listing, ranked, ranks
from sqlllm.session.operators.steps import Prompt, run

from . import report

CONTEXT = 8192
WORDS = (
    "parcel", "refund", "late", "broken", "kind", "helpful", "invoice", "again", "never", "thanks", "manager",
    "courier", "phone", "colour", "size",
)  # fmt: skip


def tokens(text: str) -> int:
    """Four characters a token, as the oracle counts."""
    return len(text) // 4 + 1


class Judge:
    """Orders texts by the number in them; `error` is the standard deviation of what it adds to a number each time."""

    def __init__(self, error: float = 0.0, answer: str = "") -> None:
        self._error, self._answer, self._chance = error, answer, random.Random(7)
        self.calls = self.tokens = 0

    def __call__(self, prompts: Sequence[Prompt]) -> list[Reply]:
        replies = [self._answer or self._order(prompt.text) for prompt in prompts]
        self.calls += len(prompts)
        self.tokens += sum(tokens(prompt.text) + tokens(reply) for prompt, reply in zip(prompts, replies, strict=True))
        return [Reply(reply, reply) for reply in replies]

    def _order(self, prompt: str) -> str:
        values = [int(re.findall(r"\d+", text)[0]) + self._chance.gauss(0, self._error) for text in listed(prompt)]
        return str(sorted(range(1, len(values) + 1), key=lambda number: -values[number - 1]))


def top_ten(error: float = 0.0, rows: int = 200, k: int = 10) -> dict[str, Any]:
    """The ten highest of 200 notes; with an exact judge precision is 1. The naive way is a score for each note."""
    chance = random.Random(1)
    numbers = chance.sample(range(rows), rows)
    texts = [f"Note {number}: {' '.join(chance.choices(WORDS, k=12))}." for number in numbers]
    judge = Judge(error)
    found = ranks(run(ranked(texts, [1] * rows, Listing("which is higher?", tokens, CONTEXT), k), judge), [1] * rows)
    hits = sum(rank <= k and numbers[index] >= rows - k for index, rank in found.items())
    return {"calls": judge.calls, "tokens": judge.tokens, "f1": round(hits / k, 3), "naive_calls": rows}


def summary(rows: int = 500) -> dict[str, Any]:
    """One summary of 500 reviews, which are longer than the context together. The naive way is one for each."""
    chance = random.Random(2)
    texts = [f"Review {row}: {' '.join(chance.choices(WORDS, k=22))}." for row in range(rows)]
    model = Judge(answer="word " * 100)
    done = run(folded(texts, Folding("Summarize the texts in at most 100 words.", tokens, CONTEXT)), model)
    read = 1 - len(done.failed) / rows
    return {"calls": model.calls, "tokens": model.tokens, "f1": read, "naive_calls": rows}


def approximate(rows: int = 100_000, share: float = 0.3, error: float = 0.02) -> dict[str, Any]:
    """How many of 100,000 rows are true, 2 % of the rows more or less, at a confidence of 0.95; `f1` is 1 - error."""
    found = _count(rows, round(rows * share), error, 0.95, seed=3)[-1]
    off = abs((found.value or 0) - rows * share) / rows
    return {"calls": found.asked, "tokens": found.asked * 40, "f1": round(1 - off, 3), "naive_calls": rows}


def _count(rows: int, true: int, error: float, confidence: float, seed: int) -> list[Interval]:
    """The intervals of a growing sample, until one is narrow enough."""
    values: list[float | None] = [float(row < true) for row in range(rows)]
    random.Random(seed).shuffle(values)
    known, seen = Count(rows, error, confidence), list[Interval]()
    while more := next_sample(seen[-1].asked if seen else 0, rows, known.off, error):
        asked = seen[-1].asked if seen else 0
        known.add(values[asked : asked + more])
        seen.append(known.interval)
    return seen


def coverage(tables: int = 1000, rows: int = 1000, confidence: float = 0.9) -> dict[str, Any]:
    """Tables for which some interval, at any size of the sample, misses the true count, and how many may."""
    misses = asked = 0
    for seed in range(tables):
        true = rows * (1, 6, 12)[seed % 3] // 20
        seen = _count(rows, true, 0.05, confidence, seed)
        asked += seen[-1].asked
        misses += any(not (one.low or 0) <= true <= (one.high or 0) for one in seen)
    return {"misses": misses, "allowed": round(tables * (1 - confidence)), "asked": round(asked / tables), "of": rows}


def main() -> None:
    found = coverage()
    report.table("Intervals of estimates", tuple(found), [tuple(found.values())])
    report.last_line(found)


if __name__ == "__main__":
    main()
