from __future__ import annotations

from pathlib import Path

import pytest

from sqlllm.jobs.training import Progress, tensorboard


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the reader's own
def test_what_tensorboard_reads_is_what_the_run_wrote(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for last in (2, 4):  # the second time as a resumed run, which writes all again
        with tensorboard.events(tmp_path / "events", 1000.0) as write:
            for step in range(1, last + 1):
                write(Progress(step, 9, 0.1, 1 / step, 1e-3, 10 * step, 5.0, 2.0 * step))
    read = accumulator.EventAccumulator(str(tmp_path / "events"))
    read.Reload()
    assert [(at.step, at.value) for at in read.Scalars("train/loss")] == [
        (step, pytest.approx(1 / step)) for step in range(1, 5)
    ]
    assert read.Scalars("train/loss")[-1].wall_time == 1008.0
    assert "train/eval_loss" not in read.Tags()["scalars"]


def test_without_the_package_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with tensorboard.events(tmp_path / "events", 0.0) as write:
        write(Progress(1, 9, 0.1, 1.0, 1e-3, 10, 5.0, 2.0))
    assert not (tmp_path / "events").exists()
