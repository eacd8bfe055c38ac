from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sqlllm.errors import RunError, SetupError
from sqlllm.jobs import runs
from sqlllm.jobs.processes import Process
from sqlllm.jobs.queueing import turn
from sqlllm.jobs.runs import RunRecord, find_run, list_runs, noted
from sqlllm.jobs.training.progress import Progress, following, metrics_until, read_metrics

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
    with pytest.raises(SetupError, match="is not a record of a run"):
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


def test_a_run_whose_process_is_gone_reads_as_interrupted(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        run = RunRecord.create(tmp_path, "mine", kind="sft").update(state="running", process=Process.of(process.pid))
        run.metrics.write_text(json.dumps(LINE) + "\n" + json.dumps({**LINE, "step": 4})[:20])
        assert (read := RunRecord.read(run.folder)).state == "running"
        assert (read.steps, read.total_steps, read.loss) == (2, 10, 1.5)  # the half line waits
        process.kill()
        process.wait()
    read = RunRecord.read(run.folder)
    assert (read.state, read.steps) == ("interrupted", 2)
    assert "its process is gone" in read.reason
    # The same number, of a process that began later.
    assert run.process
    other = run.process.model_copy(update={"pid": os.getpid()})
    assert RunRecord.read(run.update(process=other).folder).state == "interrupted"
    assert RunRecord.read(run.finish("succeeded").folder).state == "succeeded"


def test_an_ended_child_that_nobody_waited_for_is_gone() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        process = Process.of(child.pid)
        assert process.alive
        process.send(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still a zombie
        assert not process.alive


def test_a_run_on_another_machine_lives_as_long_as_it_beats(tmp_path: Path) -> None:
    elsewhere = Process.current().model_copy(update={"host": "elsewhere"})
    run = RunRecord.create(tmp_path, "mine", kind="sft").update(process=elsewhere)
    record = run.folder / "run.json"
    os.utime(record, (0, 0))
    assert RunRecord.read(run.folder).state == "queued"
    run = run.update(state="running")
    assert RunRecord.read(run.folder).state == "running"
    os.utime(record, (0, 0))
    assert RunRecord.read(run.folder).state == "interrupted"


def test_a_job_that_waits_for_its_cluster_is_queued_however_long(tmp_path: Path) -> None:
    run = RunRecord.create(tmp_path, "mine", kind="sft").update(process=None, submission="mine-1")
    os.utime(run.folder / "run.json", (0, 0))
    assert RunRecord.read(run.folder).state == "queued"
    run.update(state="running")
    os.utime(run.folder / "run.json", (0, 0))
    assert RunRecord.read(run.folder).state == "interrupted"


def test_two_changes_at_once_keep_both(tmp_path: Path) -> None:
    run = RunRecord.create(tmp_path, "mine", kind="sft")
    run.update(rows=5)
    run.update(tokens=7)  # by a process that read the record before the other one wrote it
    found = RunRecord.read(run.folder)
    assert (found.rows, found.tokens) == (5, 7)


def test_of_two_resumptions_one_starts(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from sqlllm.jobs import detached
    from sqlllm.jobs.job import Job
    from sqlllm.jobs.training import FinetuneSpec
    from sqlllm.settings import Settings

    run = RunRecord.create(tmp_path, "mine", kind="sft").finish("failed", reason="no memory")
    Job.of(FinetuneSpec.from_options({}), Settings(home=tmp_path)).write(run)

    def resume(_: int) -> str:
        try:
            return detached.resumable(run).state
        except RunError as error:
            return error.message

    with ThreadPoolExecutor(8) as pool:
        told = sorted(pool.map(resume, range(8)))
    assert told == ["queued", *["run mine is queued"] * 7]
    assert RunRecord.read(run.folder).resumed == 1


def test_a_run_that_was_cancelled_does_not_succeed_later(tmp_path: Path) -> None:
    run = RunRecord.create(tmp_path, "mine", kind="sft").update(state="running")
    run.end("cancelled", "stopped by the user")
    with pytest.raises(RunError, match="run mine is cancelled"):
        run.finish("succeeded")
    assert RunRecord.read(run.folder).state == "cancelled"


def test_a_pointer_to_a_checkpoint_that_is_gone(tmp_path: Path) -> None:
    from sqlllm.jobs.training.pretrain_checkpoints import Checkpoints, Position

    checkpoints = Checkpoints(tmp_path / "model")
    assert checkpoints.last() is None
    for step, name in ((3, "Epoch-1"), (5, "Step-5")):
        (tmp_path / name).mkdir()
        Position(step=step).write(tmp_path / name)
        checkpoints.take(tmp_path / name)
    (tmp_path / "model" / "latest").write_text("Epoch-2")
    assert checkpoints.last() == tmp_path / "model" / "Step-5"
    (tmp_path / "model" / "latest").write_text("")
    assert checkpoints.last() == tmp_path / "model" / "Step-5"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlllm.jobs import files

    files.write_whole(tmp_path / "a", "one")
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync", synced.append)
    files.write_whole(tmp_path / "a", "two")
    assert synced == [tmp_path]
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        files.write_whole(tmp_path / "a", "three")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["two"]


def test_a_cancelled_job_survives_pickling() -> None:
    import pickle

    from sqlllm.console.engine.jobs import Cancelled

    error = pickle.loads(pickle.dumps(Cancelled("its time was over", status=408)))
    assert (type(error), error.message, error.status) == (Cancelled, "its time was over", 408)


def test_the_heart_beats_until_the_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_BEAT", 0.01)
    run = RunRecord.create(tmp_path, "mine", kind="sft")
    record = run.folder / "run.json"
    with run.beating():
        os.utime(record, (0, 0))
        while record.stat().st_mtime == 0:
            time.sleep(0.01)
        record.rename(run.folder / "away")
        time.sleep(0.05)
        assert not record.exists()
        (run.folder / "away").rename(record)
        os.utime(record, (0, 0))
        while record.stat().st_mtime == 0:
            time.sleep(0.01)
    assert "run-heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_a_folder_elsewhere_is_listed_under_one_name(tmp_path: Path) -> None:
    listed = tmp_path / "home" / "runs"
    here = RunRecord.create(listed, "mine", kind="sft", listed=listed)
    there = RunRecord.create(tmp_path / "jobs", "mine", kind="sft", listed=listed)
    assert (here.name, there.name) == ("mine", "mine-2")
    assert there.folder == tmp_path / "jobs" / "mine-2"
    assert list_runs(listed) == [here, there]
    assert find_run(listed, "mine-2") == there
    shutil.rmtree(there.folder)  # the user's right
    assert list_runs(listed) == [here]
    assert RunRecord.create(tmp_path / "jobs", "mine", kind="sft", listed=listed).name == "mine-3"


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (SetupError("no cluster", cure="Start it."), "failed", "no cluster. Start it."),
        (OSError(28, "No space left on device"), "failed", "OSError: [Errno 28] No space left on device"),
        (SystemExit(1), "failed", "SystemExit: 1"),
        (KeyboardInterrupt(), "cancelled", "stopped by the user"),
    ],
)
def test_the_record_says_why_a_run_failed_once(error: BaseException, state: str, reason: str, tmp_path: Path) -> None:
    run = RunRecord.create(tmp_path, "mine", kind="sft")
    for raised in (error, ValueError("of another end")):
        with pytest.raises(type(raised)), noted(run):
            raise raised
        run = RunRecord.read(run.folder)
        assert (run.state, run.reason) == (state, reason)


def test_a_record_that_cannot_be_read_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = RunRecord.create(tmp_path, "mine", kind="sft")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    assert list_runs(tmp_path) == list_runs(tmp_path) == [run]
    (told,) = caplog.messages  # once
    assert told.startswith(f"{tmp_path}/bad/run.json is not a record of a run")
    with pytest.raises(SetupError, match="is not a record of a run"):
        find_run(tmp_path, "bad")


def test_a_run_that_is_removed_meanwhile_is_not_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = (RunRecord.create(tmp_path, name, kind="sft") for name in ("mine", "gone"))
    read = RunRecord.read

    def read_late(folder: Path) -> RunRecord:
        if folder.name == "gone":
            shutil.rmtree(folder)
        return read(folder)

    monkeypatch.setattr(RunRecord, "read", read_late)
    assert list_runs(tmp_path) == [run]
    assert caplog.messages == []


def test_a_misspelt_run_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run dates") as caught:
        find_run(tmp_path, "dates")
    assert caught.value.cure == "There is none yet."
    RunRecord.create(tmp_path, "due-dates", kind="sft")
    with pytest.raises(RunError, match="there is no run dates") as caught:
        find_run(tmp_path, "dates")
    assert "Did you mean due-dates?" in caught.value.cure


def test_a_model_names_the_run_that_made_it(tmp_path: Path) -> None:
    first = RunRecord.create(tmp_path, "first", kind="sft")
    model = first.folder / "finetune_model" / "final"
    assert RunRecord.create(tmp_path, "second", kind="sft", base=str(model)).parent == "first"
    (tmp_path / "run.json").write_text("{}")  # another program's
    assert RunRecord.create(tmp_path, "third", kind="sft", base=str(tmp_path / "elsewhere")).parent == ""


def test_a_full_disk_leaves_room_for_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunRecord.create(tmp_path, "mine", kind="sft").update(state="running")
    half_made = [run.folder / "work" / "ray", run.data / "_temporary", run.folder / "finetune_model" / ".final.part"]
    for folder in half_made:
        folder.mkdir(parents=True)
    write = Path.write_text

    def on_a_full_disk(path: Path, text: str) -> int:
        if any(folder.exists() for folder in half_made):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", on_a_full_disk)
    run.finish("failed", reason="No space left on device")
    assert RunRecord.read(run.folder).state == "failed"


def test_turns_are_served_by_age_and_the_dead_stand_in_nobodys_way(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from sqlllm.jobs.queueing import turn\n"
    code += "with turn(Path(sys.argv[1])): print('in', flush=True); sys.stdin.readline()"
    waiting: list[subprocess.Popen[str]] = []
    for number in range(3):
        waiting.append(
            subprocess.Popen(
                [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        while len(list(tmp_path.glob("[0-9]*"))) <= number:
            time.sleep(0.02)
    first, second, third = waiting
    assert first.stdout
    assert second.stdout
    assert third.stdout
    assert first.stdout.readline() == "in\n"
    with turn(tmp_path, at_once=4):  # more may work at once where one says so
        assert second.poll() is None
    second.kill()
    second.communicate()
    assert second.returncode == -signal.SIGKILL
    first.communicate("\n")
    assert third.stdout.readline() == "in\n"
    third.communicate("\n")
    assert list(tmp_path.iterdir()) == []


def test_lines_taken_back_are_followed_past(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    texts = [json.dumps({**LINE, "step": step, "loss": step / 7}) + "\n" for step in range(1, 9)]
    path.write_text("".join(texts) + texts[0][:30])  # cut short by a kill
    seen, offset = read_metrics(path)
    assert [progress.step for progress in seen] == list(range(1, 9))
    metrics_until(path, 3)
    assert path.read_text() == "".join(texts[:3])
    assert read_metrics(path, offset) == ([], len("".join(texts[:3])))
    longer = [text.replace("0.5", "0.5250001") for text in texts[3:]] * 2
    path.write_text("".join(texts[:3] + longer))  # grown past the offset before anyone looked
    nothing, offset = read_metrics(path, offset)
    assert nothing == []
    with path.open("a") as file:
        file.write(texts[7])
    assert [progress.step for progress in read_metrics(path, offset)[0]] == [8]
