"""`sqlllm runs`, over records as runs write them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sqlllm.console import curve
from sqlllm.console.cli import cli
from sqlllm.jobs.processes import Process
from sqlllm.jobs.runs import RunRecord, State
from sqlllm.jobs.training import Progress


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SQLLLM_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(home: Path, name: str, state: State, logged: int = 0, **fields: object) -> RunRecord:
    run = RunRecord.create(home / "runs", name, kind="sft", options={"name": name})
    for step in range(5, logged + 1, 5):
        log(run, step)
    return run.update(state=state, steps=logged, total_steps=100, loss=5 / logged if logged else None, **fields)


def log(run: RunRecord, step: int) -> None:
    progress = Progress(step, 100, 0.1 * step, 5 / step, 1e-3, 60 * step, 30.0, 0.5 * step, eval_loss=6 / step)
    with run.metrics.open("a") as file:
        file.write(json.dumps(asdict(progress)) + "\n")


def runs(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["runs", *arguments], catch_exceptions=False)


def test_ls(home: Path) -> None:
    assert "no runs" in runs("ls").output
    made(home, "first", "succeeded", 100)
    made(home, "second", "failed", 20, reason="out of memory: " + "x" * 100)
    made(home, "third", "running", 40, process=Process.current().model_copy(update={"pid": 1, "started": "gone"}))
    table = runs("ls").output
    for words in ("● succeeded", "100/100", "● failed", "out of memory: xxx", "● interrupted", "0.1250"):
        assert words in table
    listed = json.loads(runs("ls", "--format", "json").output)
    assert [(run["name"], run["state"], run["steps"]) for run in listed] == [
        ("first", "succeeded", 100), ("second", "failed", 20), ("third", "interrupted", 40),
    ]  # fmt: skip
    assert [row["loss"] for row in csv.DictReader(runs("ls", "--format", "csv").output.splitlines())] == [
        "0.05", "0.25", "0.125",
    ]  # fmt: skip


def test_show(home: Path) -> None:
    run = made(home, "first", "succeeded", 100, rows=5000, fingerprint="abc", reason="")
    shown = runs("show", "first").output
    for words in ("5,000 rows, fingerprint abc", "100/100", "from scratch", "name = first", "loss over 100 steps", "⠉"):
        assert words in shown
    assert RunRecord.model_validate_json(runs("show", "first", "--format", "json").output) == run


def test_logs(home: Path) -> None:
    run = made(home, "first", "failed", 10, reason="out of memory")
    assert runs("logs", "first", "-n", "1").output.splitlines() == [
        run.metrics.read_text().splitlines()[-1], "out of memory",
    ]  # fmt: skip
    run.log.write_text("10:00:00  queued\n")
    assert runs("logs", "first").output == "10:00:00  queued\nout of memory\n"


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("interrupted", 1), ("cancelled", 130)])
def test_follow_ends_with_the_runs_end(home: Path, state: State, code: int) -> None:
    run = made(home, "first", "running", 5)

    def go_on() -> None:
        for step in (10, 15):
            time.sleep(0.1)
            log(run, step)
        run.finish(state, reason="" if code == 0 else "so it was")

    thread = threading.Thread(target=go_on)
    thread.start()
    shown = runs("follow", "first")
    thread.join()
    assert shown.exit_code == code
    lines = shown.stderr.splitlines()
    assert lines[0] == "first: running"
    assert [line.split()[1] for line in lines if line.startswith("step")] == ["5/100", "10/100", "15/100"]
    assert lines[-1] == ("first: succeeded" if code == 0 else "first: so it was")


def test_plot(home: Path) -> None:
    made(home, "first", "succeeded", 100)
    made(home, "second", "running", 50)
    assert runs("plot", "first", "second", "-o", "loss.svg").exit_code == 0
    picture = ET.parse(home / "loss.svg").getroot()
    assert len(picture.findall("{*}polyline")) == 4  # each with its held-out loss
    first, held_out, *_ = picture.findall("{*}polyline")
    places = [tuple(map(float, point.split(","))) for point in first.attrib["points"].split()]
    assert len(places) == 20
    assert places == sorted(places)  # to the right and, as the loss falls, down
    assert held_out.attrib["class"] == "line eval"
    assert {"first", "second held out", "100", "0"} <= {text.text for text in picture.findall("{*}text")}
    made(home, "third", "queued")
    assert "run third has logged no step yet" in runs("plot", "third").output


def test_a_curve_of_one_level_and_of_one_point_is_drawn() -> None:
    assert "".join(curve.braille([(1, 2.0)])).strip("⠀")
    assert len(curve.braille([(1, 2.0), (9, 2.0)], width=10, height=3)) == 3
    assert "polyline" in curve.svg([curve.Curve("one", [(1, 2.0)])], "Loss & more")


def sqlllm(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from sqlllm.console.cli import main; main()"
    return subprocess.run([sys.executable, "-X", "importtime", "-c", code, *arguments], capture_output=True, text=True)


def test_a_mistake_is_one_sentence_and_nothing_heavy_is_loaded(home: Path) -> None:
    made(home, "first", "succeeded")
    listed = sqlllm("runs", "ls")
    assert listed.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in listed.stderr.splitlines()}
    assert not loaded & {"torch", "ray", "pyspark", "transformers", "pyarrow", "pandas"}
    for action, message in {
        "show firts": "there is no run firts\nDid you mean first?",
        "cancel first": "run first has ended: it is succeeded",
        "resume first": "run first has succeeded: there is nothing to resume",
    }.items():
        shown = sqlllm("runs", *action.split())
        assert shown.returncode == 1
        assert message in shown.stderr
        assert "Traceback" not in shown.stderr


def test_a_script_that_only_starts_background_runs_needs_no_ray() -> None:
    from sqlllm.console.script import needs_ray
    from sqlllm.dialect import parse

    def asked(text: str) -> list[bool]:
        return [needs_ray(statement) for statement in parse(text, "a.sql").statements]

    assert asked('select 1 as a as t; run t as LLM.`` where detached="TRUE" as r;') == [False, False]
    assert asked('run t as LLM.`` where name="detached"; run command as LLM.`` where action="infer";') == [True, True]
