"""Tables, runs and one Ray for the training tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training import FinetuneSpec, new_run
from tests.tiny import make_tiny_model

Rows = list[dict[str, Any]]
MakeRun = Callable[..., tuple[FinetuneSpec, RunRecord]]

SUMS: Rows = [{"instruction": f"{a} plus {b}", "output": str(a + b)} for a in range(8) for b in range(8)]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Hugging Face folder."""
    return make_tiny_model(tmp_path_factory.mktemp("base"))


def prepare(home: Path, rows: Rows, **options: Any) -> tuple[FinetuneSpec, RunRecord]:
    """Read options (`__` for a dot) and write rows, as a session does before training."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    spec = FinetuneSpec.from_options({key.replace("__", "."): str(value) for key, value in options.items()})
    run = new_run(spec, home)
    run.data.mkdir()
    # Two files, as Spark writes them.
    for number, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
        pq.write_table(pa.Table.from_pylist(part), run.data / f"part-{number}.parquet")
    return spec, run


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    return partial(prepare, tmp_path)


@pytest.fixture(scope="session")
def ray_cluster() -> None:
    """Ray in this process; it ends with it, as other tests use it too."""
    from sqlllm.jobs import cluster
    from sqlllm.settings import RaySettings

    cluster.start(RaySettings(num_cpus=4))
