from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqlllm.errors import SetupError
from sqlllm.jobs.runs import RunRecord, list_runs
from sqlllm.jobs.training.progress import Progress, following, read_metrics

LINE = {
    "step": 2, "total_steps": 10, "epoch": 0.5, "loss": 1.5, "learning_rate": 0.1, "tokens": 100,
    "tokens_per_second": 50.0, "seconds": 2.0,
}  # fmt: skip


def test_a_used_name_gets_a_fresh_folder(tmp_path: Path) -> None:
    names = [RunRecord.create(tmp_path / "runs", "mine", kind="sft").name for _ in range(3)]
    assert names == ["mine", "mine-2", "mine-3"]
    assert [run.folder.name for run in list_runs(tmp_path / "runs")] == names


def test_update_writes_the_whole_record(tmp_path: Path) -> None:
    run = RunRecord.create(tmp_path, "mine", kind="sft", options={"name": "mine"})
    run = run.update(state="running", rows=7)
    assert RunRecord.read(run.folder) == run
    done = run.finish("succeeded", model=run.folder / "m", loss=0.5)
    assert RunRecord.read(run.folder) == done
    assert done.seconds > 0
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]


def test_secrets_are_masked(tmp_path: Path) -> None:
    run = RunRecord.create(tmp_path, "mine", kind="sft", options={"saas.api_key": "sk-123", "sft.int.seed": "1"})
    assert run.options == {"saas.api_key": "***", "sft.int.seed": "1"}
    assert "sk-123" not in (run.folder / "run.json").read_text()


def test_a_folder_without_a_record(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no run in"):
        RunRecord.read(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(SetupError, match="is no record of a run"):
        RunRecord.read(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot make the run's folder") as caught:
        RunRecord.create(tmp_path / "file", "mine", kind="sft")
    assert "localPathPrefix" in caught.value.cure


def test_a_half_written_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == ([], 0)
    line = json.dumps(LINE) + "\n"
    path.write_text(line + line[:20])
    lines, offset = read_metrics(path)
    assert lines == [Progress(**LINE)]
    assert lines[0].eta == 8.0
    with path.open("a") as file:
        file.write(line[20:])
    assert read_metrics(path, offset) == ([Progress(**LINE)], 2 * len(line))


def test_following_delivers_every_line_in_order(tmp_path: Path) -> None:
    path, seen = tmp_path / "metrics.jsonl", []
    with following(path, lambda progress: seen.append(progress.step), every=0.01), path.open("a") as file:
        for step in range(50):
            file.write(json.dumps({**LINE, "step": step}) + "\n")
    assert seen == list(range(50))
