"""What surrounds the processes: when they start again, and what is said of their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import TrainingError
from sqlllm.jobs.runs import RunRecord
from sqlllm.jobs.training import Resources, launch


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    return RunRecord.create(tmp_path, "run", kind="sft")


@pytest.mark.parametrize(
    ("checkpoints", "starts", "fails"),
    [
        ([None, None], 1, True),  # it died before the first checkpoint
        ([None, 1, 1], 2, True),  # it went on, and died again at the same place
        ([None, 1, 2, 3], 4, False),  # it gets ahead each time, and then it ends
    ],
)
def test_dead_workers_start_again_as_long_as_they_get_ahead(
    run: RunRecord, monkeypatch: pytest.MonkeyPatch, checkpoints: list[int | None], starts: int, fails: bool
) -> None:
    found = [path and Path(f"checkpoint-{path}") for path in checkpoints]
    now = [0]

    def fit(*_: Any) -> None:
        now[0] += 1
        if fails or now[0] < starts:
            raise launch._WorkerDied("a training process ended unexpectedly", cure="less")

    monkeypatch.setattr(launch, "_fit", fit)

    def last_checkpoint() -> Path | None:
        return found[min(now[0], len(found) - 1)]

    def start() -> None:
        launch.launch(lambda _: None, {}, run, Resources(), last_checkpoint=last_checkpoint)

    if fails:
        with pytest.raises(TrainingError, match="ended unexpectedly") as caught:
            start()
        assert type(caught.value) is TrainingError
        assert caught.value.cure == "less"
    else:
        start()
    assert now[0] == starts


@pytest.mark.parametrize(
    ("cause", "message", "cure"),
    [
        (OSError(28, "No space left on device"), "the disk is full: ", "resume"),
        (MemoryError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "out of memory: ", "halve"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory: CUDA", "halve"),
        (
            TrainingError("the loss became nan at step 3", cure="Lower it."),
            "the loss became nan at step 3",
            "Lower it.",
        ),
        (ValueError("first line\nsecond"), "ValueError: first line", ""),
    ],
)
def test_the_reason_and_what_to_do(cause: Exception, message: str, cure: str) -> None:
    class Failed(Exception):
        worker_failures = {0: cause}  # noqa: RUF012

    error = launch._reason(Failed())  # type: ignore[arg-type]
    assert error.message.startswith(message)
    assert cure in error.cure


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.slow
def test_torch_on_a_full_disk() -> None:
    import torch

    with pytest.raises(Exception) as caught:  # noqa: PT011
        torch.save({"x": torch.zeros(1_000_000)}, "/dev/full")

    class Failed(Exception):
        worker_failures = {0: caught.value}  # noqa: RUF012

    assert launch._reason(Failed()).message.startswith("the disk is full")  # type: ignore[arg-type]


def test_what_the_models_leave_no_room_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.available_resources", lambda: {"CPU": 0.5})
    monkeypatch.setattr(launch, "_ROOM_SECONDS", 0.0)
    monkeypatch.setattr("sqlllm.jobs.cluster.is_embedded", lambda: False)
    launch._check_room(launch.Resources())  # of a cluster that is joined: it may grow
    monkeypatch.setattr("sqlllm.jobs.cluster.is_embedded", lambda: True)
    with pytest.raises(TrainingError, match=r"training needs 1 CPUs and 0\.5 are free"):
        launch._check_room(launch.Resources())


def test_a_node_without_the_folder_says_so(run: RunRecord, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    train = launch._where_the_folder_is(seen.append)
    train({"run": run})
    assert seen == [{"run": run}]
    with pytest.raises(TrainingError, match="does not see the run's folder") as caught:
        train({"run": run.model_copy(update={"folder": tmp_path / "elsewhere"})})
    assert "SQLLLM_HOME" in caught.value.cure
