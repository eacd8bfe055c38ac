"""The estimates of `explain llm` against what the run then uses: `python -m bench.explain`.

The queries of tests/planner/queries.sql, with an oracle whose answers have different lengths. First each model has
answered something else, as in a session that is under way; answers are not kept, so that no query helps another. The
error is that of calls, prompt tokens and answer tokens, the worst of the three; a query whose conditions depend on
answers gets the most that it can ask, and is listed apart.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from sqlllm.session import Session
from sqlllm.settings import Settings
from tests.planner.cases import TABLES, load

from . import report
from .tally import Tally

WARM = (
    "select count(ask) as n from (select llm_result(up(llm_param(map('instruction', concat('w', id))))) as ask from t)"
)
_FIELDS = ("calls", "prompt_tokens", "answer_tokens")


def answer(prompt: str) -> str:
    """Six to ten words and the start of the prompt."""
    return prompt[:8].upper() + " word" * (6 + sum(map(ord, prompt)) % 5)


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.load(
            home=Path(home),
            spark={"master": "local[2]", "driver_memory": "1g"},
            llm={"store": "off"},
            allow={"python": True},
        )
        tally = Tally()
        with Session(settings, observer=tally) as session:
            session.run(
                'run command as LLM.`` where action="infer" and pretrainedModelType="oracle/function"'
                f' and `backend.function`="bench.explain:answer" and udfName="up";{TABLES}{WARM};'
            ).rows()  # type: ignore[union-attr]
            rows = [_compare(session, tally, case.name, case.sql) for case in load()]
    report.table(
        "Estimated and used", ("query", *(f"{f} {x}" for f in _FIELDS for x in ("told", "used")), "error"), rows
    )
    certain = [row for row in rows if not row[0].endswith("*")]
    report.last_line(
        {
            "queries": len(rows),
            "worst_error": max(row[-1] for row in certain),
            "at_most": len(rows) - len(certain),
            "told_too_little": sum(row[1] < row[2] for row in rows),
        }
    )


def _compare(session: Session, tally: Tally, name: str, sql: str) -> tuple[str | int | float, ...]:
    told = session.run(f"explain llm {sql};")
    assert told is not None
    total = told.rows()[-1]
    tally.take(session)
    result = session.run(f"{sql};")
    assert result is not None
    result.rows()
    result.frame.unpersist()
    used = tally.take(session)
    pairs = [(total[field] or 0, getattr(used, field)) for field in _FIELDS]
    errors = [abs(said - was) / max(was, 1) for said, was in pairs]
    at_most = "*" if total["at_most"] else ""
    return (name[:38] + at_most, *(value for pair in pairs for value in pair), max(errors))


if __name__ == "__main__":
    main()
