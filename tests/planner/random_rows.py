"""Random selects as written and as rewritten, on DuckDB: `python -m tests.planner.random_rows --count 100000`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import duckdb

from sqlllm import planner

from .duck import Duck
from .random_selects import MODELS, Selects


@dataclass
class Found:
    """How many selects were tried, refused as written, and rewritten; the seeds of those that went wrong."""

    tried: int = 0
    skipped: int = 0
    rewritten: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    dearer: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        return self.different + self.refused + self.dearer


_CHUNK = 100


def compare(seeds: range, duck: Duck, found: Found | None = None) -> Found:
    """The selects of `seeds` as written and as rewritten, added to `found`."""
    found = found or Found()
    for seed in seeds:
        sql = Selects(seed).statement()
        found.tried += 1
        try:
            expected = duck.rows(sql)
        except duckdb.Error as error:
            found.skipped += 1
            found.reasons[f"skipped: {str(error)[:90]}"] += 1
            continue
        before = Counter(duck.asked)
        better = planner.rewrite(sql, MODELS, duck.columns)
        if better.reason.startswith("columns: "):
            found.refused.append(f"-- seed {seed}\n{sql}\n-- {better.reason}")
        elif better.reason:
            found.reasons[better.reason] += 1
        if better.text == sql:
            continue
        found.rewritten += 1
        shown = f"-- seed {seed}\n{sql}\n-- becomes\n{better.text}"
        try:
            rows = duck.rows(better.text)
        except duckdb.Error as error:
            found.refused.append(f"{shown}\n-- {error}")
            continue
        if Counter(rows) != Counter(expected):
            found.different.append(f"{shown}\n-- {expected}\n-- {rows}")
        elif (
            (extra := set(duck.asked) - set(before))
            and (extra := extra - duck.literally(sql))
            and (
                extra := extra & duck.literally(better.text)  # the optimizer asks for constants ahead of time
            )
        ):
            found.dearer.append(f"{shown}\n-- {extra}")
    return found


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--show", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after about so many")
    arguments = parser.parse_args()
    duck, found, start = Duck(), Found(), time.monotonic()
    for first in range(arguments.first, arguments.first + arguments.count, _CHUNK):
        if time.monotonic() - start > arguments.seconds:
            break
        compare(range(first, min(first + _CHUNK, arguments.first + arguments.count)), duck, found)
    for reason, count in found.reasons.most_common(30):
        _say(f"{count:6} {reason}")
    for kind in ("different", "refused", "dearer"):
        for text in sorted(getattr(found, kind), key=len)[: arguments.show]:
            _say(f"\n== {kind}\n{text}")
    _say(
        f"{found.tried} tried, {found.skipped} skipped, {found.rewritten} rewritten, {len(found.different)} different, "
        f"{len(found.refused)} refused, {len(found.dearer)} dearer"
    )


if __name__ == "__main__":
    main()
