"""The example a stranger runs first, as `make demo` runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.rare
def test_the_quickstart_reads_the_dates_of_unseen_notes_and_leaves_no_process(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    environment = {**os.environ, "SQLLLM_HOME": str(tmp_path), "SQLLLM_TEST": mark}
    environment.pop("OMP_NUM_THREADS", None)
    shown = subprocess.run(
        [sys.executable, "-m", "sqlllm.console.cli", "run", "examples/sql/quickstart.sql"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    last = shown.stdout.splitlines()[-1]
    found = re.fullmatch(r"exact=(0\.\d+|1\.0) rows=500 seconds=(\d+)", last)
    assert found, last
    assert float(found[1]) >= 0.95
    assert "Traceback" not in shown.stderr
    assert not _processes_with(mark)


def _processes_with(mark: str) -> list[str]:
    """Command lines of the processes that inherited the mark."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it ended meanwhile
            continue
    return found
