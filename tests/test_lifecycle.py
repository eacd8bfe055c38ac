"""examples/sql/lifecycle.sql from its first statement to its last, with fewer steps than it takes to learn the task."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sqlllm.jobs.runs import list_runs

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.rare
def test_the_lifecycle_runs_and_its_runs_know_where_they_come_from(tmp_path: Path) -> None:
    shown = subprocess.run(
        [
            *(sys.executable, "-m", "sqlllm.console.cli", "run", "examples/sql/lifecycle.sql"),
            *("--set", "pretrain_steps=20", "--set", "steps=60"),
        ],
        cwd=ROOT,
        env={**os.environ, "SQLLLM_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert "Traceback" not in shown.stderr
    assert re.fullmatch(r"exact=[01]\.\d+ before=[01]\.\d+ seconds=\d+", shown.stdout.splitlines()[-1])

    pretrained, tuned = list_runs(tmp_path / "runs")
    assert [(run.kind, run.state, run.steps) for run in (pretrained, tuned)] == [
        ("sfft", "succeeded", 20), ("sft", "succeeded", 60),
    ]  # fmt: skip
    assert (pretrained.parent, tuned.parent, tuned.base) == ("", "notes", str(pretrained.model))
    for run in (pretrained, tuned):
        assert run.model
        assert run.fingerprint in (run.model / "README.md").read_text()
