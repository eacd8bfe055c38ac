"""docs/training/runs.md does what it says, on a run that really goes on in the background."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlllm.jobs import detached
from sqlllm.jobs.runs import ACTIVE, list_runs
from sqlllm.session import Session

from .cases import rows_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
START, LOOK = re.findall(r"^```sql\n(.*?)^```", (ROOT / "docs/training/runs.md").read_text(), re.M | re.S)


@pytest.fixture
def background(session: Session) -> Iterator[Session]:
    """The session; what it leaves running ends with the test."""
    yield session
    for run in list_runs(session.settings.home / "runs"):
        if run.state in ACTIVE:
            detached.cancel(run)


def test_the_page_of_runs(background: Session) -> None:
    session = background
    session.run(f"load csv.`{ROOT}/examples/data/orders.csv` where header='true' as orders;")
    (row,) = rows_of(session, START)
    assert (row["name"], row["state"], row["model"]) == ("due-dates", "queued", None)
    status = 'run command as LLM.`` where action="status" and name="due-dates" as status;'
    while "loss" not in str((at := rows_of(session, status)[0])["detail"]):
        assert at["state"] in ACTIVE, at
        time.sleep(0.5)
    assert re.fullmatch(r"step \d+ of 1000  loss \d\.\d{4}  [\d,]+ tok/s  .* left", str(at["detail"]))

    (resumed,) = rows_of(session, LOOK)
    assert (resumed["name"], resumed["state"]) == ("due-dates", "queued")
    table = {name: rows_of(session, f"select * from {name} as t;") for name in ("mine", "curve", "lines", "cancelled")}
    assert table["mine"][0]["total_steps"] == 1000
    assert table["curve"][0]["step"] == 5
    assert float(str(table["curve"][0]["memory"])) > 0
    assert any("step 5/1000" in str(row["line"]) for row in table["lines"])
    assert (table["cancelled"][0]["state"], table["cancelled"][0]["kind"]) == ("cancelled", "sft")
    (run,) = list_runs(session.settings.home / "runs")
    assert (run.rows, run.resumed, len(run.fingerprint)) == (5000, 1, 32)
