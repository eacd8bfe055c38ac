"""What is light stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "ray", "pyspark", "transformers", "vllm", "pandas", "pyarrow"}


def loaded(code: str) -> set[str]:
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in shown.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    "code",
    [
        "import sqlllm",
        "import sqlllm.dialect",
        "import sqlllm.session",
        "import sqlllm.jobs.serving, sqlllm.jobs.training, sqlllm.jobs.cluster",
        "from sqlllm.console.cli import cli\ncli.main(['--help'], standalone_mode=False)",
    ],
)
def test_neither_torch_nor_ray_nor_pyspark_is_loaded(code: str) -> None:
    assert not HEAVY & loaded(code)
