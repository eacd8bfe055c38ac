"""Runs that fail: SQL says why and what to do, and nothing half-written is taken for a model."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import RunError, TrainingError
from sqlllm.session import Session
from tests.tiny import make_broken_model

from .cases import rows_of

pytestmark = [
    pytest.mark.slow,
    # Ray Train makes a Ray Data context, which sets its own deprecated fields.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

LESSONS = "select concat(id, ' plus 1') as instruction, cast(id + 1 as string) as output from range(64) as lessons;"
WHOLE = "and `sft.bool.use_peft`='false' and `sft.int.gradient_accumulation_steps`='1'"


def told(session: Session, name: str) -> dict[str, Any]:
    """What SQL shows of a run."""
    (row,) = rows_of(
        session, f"load llm.`runs` as runs; select state, reason, model, steps from runs where name = '{name}' as t;"
    )
    return row


@pytest.mark.parametrize(
    ("options", "reason", "advice"),
    [
        ("and localModelDir='BROKEN'", "the loss became ", "Lower `sft.float.learning_rate`"),
        ("and `sft.int.intermediate_size`='100000000000'", "out of memory: ", "halve per_device_train_batch_size"),
    ],
    ids=["a loss that is not a number", "no memory"],
)
def test_the_reason_and_what_to_do(session: Session, tmp_path: Path, options: str, reason: str, advice: str) -> None:
    if "BROKEN" in options:
        options = options.replace("BROKEN", str(make_broken_model(tmp_path / "broken")))
    with pytest.raises(TrainingError, match=reason) as raised:
        session.run(f"{LESSONS} run lessons as LLM.`` where name='bad' {options} as trained;")
    assert advice in raised.value.cure
    row = told(session, "bad")
    assert (row["state"], row["model"]) == ("failed", None)
    assert str(row["reason"]).startswith(reason)
    assert advice in str(row["reason"])
    with pytest.raises(RunError, match="run bad made no model: it is failed"):
        session.run("run lessons as LLM.`` where action='evaluate' and run='bad' as figures;")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB: one checkpoint fits, the next one does not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.rare
def test_a_full_disk_and_on_once_there_is_room(session: Session, tiny_model: Path, disk: Path) -> None:
    train = (
        f"{LESSONS} run lessons as LLM.`` where name='full' and localPathPrefix='{disk}' {WHOLE}"
        f" and localModelDir='{tiny_model}' and `sft.int.max_steps`='6' and `sft.int.save_steps`='2' as trained;"
    )
    with pytest.raises(TrainingError, match="the disk is full"):
        session.run(train)
    row = told(session, "full")
    assert (row["state"], row["model"]) == ("failed", None)
    assert "Make room in the run's folder" in str(row["reason"])
    folder = disk / "full" / "finetune_model"
    assert [path.parent.name for path in folder.glob("checkpoint-*/sqlllm.json")] == ["checkpoint-2"]
    assert not (folder / "final").exists()
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    session.run("run command as LLM.`` where action='resume' and name='full' and detached='false' as again;")
    assert told(session, "full") | {"reason": ""} == {
        "state": "succeeded", "reason": "", "model": str(folder / "final"), "steps": 6,
    }  # fmt: skip
