"""The script that the first page of the README runs: from a CSV file to a labelled CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sqlllm.jobs.serving import Serving
    from sqlllm.session import Session

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_ticket_has_the_label_that_a_person_would_give_it(
    session: Session, serving: Serving, tmp_path: Path
) -> None:
    script = (ROOT / "examples" / "sql" / "classify.sql").read_text()
    script = script.replace("examples/data", str(ROOT / "examples" / "data"))
    script = script.replace("labelled.csv", str(tmp_path / "labelled.csv"))
    session.__dict__["serving"] = serving
    try:
        session.run(script)
    finally:
        serving.undeploy("chat")
        session.__dict__.pop("serving")  # others use it
    with (
        (tmp_path / "labelled.csv").open(newline="") as labelled,
        (ROOT / "examples" / "data" / "tickets.csv").open(newline="") as tickets,
    ):
        found = {row["text"]: row["label"] for row in csv.DictReader(labelled)}
        assert found == {row["text"]: row["topic"] for row in csv.DictReader(tickets)}
    assert len(found) == 300
