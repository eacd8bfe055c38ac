"""What is said when the process that asks a model ends badly."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from sqlllm.errors import PackageError, TrainingError
from sqlllm.jobs.training.evaluate import evaluate


@pytest.mark.parametrize(
    ("cause", "message", "cure"),
    [
        (TrainingError("answer 1 is too long", cure="Cut it."), "answer 1 is too long", "Cut it."),
        (PackageError("peft is not installed.", cure="Install it."), "peft is not installed.", "Install it."),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nstack"),
            "the model cannot be asked: RuntimeError: CUDA out of memory. Tried to allocate 2 GiB",
            "If memory ran out, lower batchSize.",
        ),
        (ValueError("header too large"), "the model cannot be asked: ValueError: header too large", ""),
        (None, "the model cannot be asked: WorkerCrashedError: ", "If memory ran out, lower batchSize."),
    ],
)
def test_a_process_that_ends_badly_is_one_clear_error(
    cause: Exception | None, message: str, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.exceptions import RayTaskError, WorkerCrashedError

    def get(_: object) -> None:
        if cause is None:
            raise WorkerCrashedError
        raise RayTaskError("_each", "the stack", cause, "ray::_each", 1, "127.0.0.1")

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr("ray.cluster_resources", dict)
    monkeypatch.setattr("ray.remote", lambda **_: lambda _: SimpleNamespace(remote=lambda *_, **__: None))
    monkeypatch.setattr("ray.get", get)
    with pytest.raises(TrainingError) as caught:
        evaluate([tmp_path], [])
    assert type(caught.value) is TrainingError
    assert caught.value.message.startswith(message)
    assert caught.value.cure == cure
    assert caught.value.__suppress_context__
