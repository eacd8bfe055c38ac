"""Published Byzer scripts run: those of tests/dialect/scripts, with a tiny model in place of theirs.

What they need that is not here (GPUs, other folders) is replaced; the statements stay as they were.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqlllm.errors import SQLLLMError
from sqlllm.session import Session

from .cases import rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[1] / "dialect" / "scripts"


@pytest.fixture(scope="module")
def session(
    spark: SparkSession, serving: Serving, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    with Session(spark=spark) as session:
        session.__dict__["serving"] = serving
        session.override("home", str(tmp_path_factory.mktemp("home")))
        yield session
        session.__dict__.pop("serving")  # others use it
        for name in session.models:
            serving.undeploy(name)


def script(name: str, **replaced: object) -> str:
    """The script without GPUs, with the folders of `replaced` in place of its own."""
    text = re.sub(r"num_gpus=\d+", "num_gpus=0", (SCRIPTS / f"byzer_{name}.sql").read_text())
    for folder, other in replaced.items():
        text, found = re.subn(rf'(?<=["`])[^"`\n]*{folder}[^"`\n]*(?=["`])', str(other), text)
        assert found, folder
    return text


def test_deploy_and_chat(session: Session, tiny_model: Path) -> None:
    (row,) = rows_of(session, script("deploy_llama2", openbuddy=tiny_model))
    assert (row["name"], row["backend"], row["state"]) == ("llama2_chat", "transformers", "RUNNING")
    (asked,) = rows_of(session, script("chat") + "select q[0] as q, llm_result(q) as text from q1 as t;")
    answer = json.loads(str(asked["q"]))
    assert asked["text"] == answer["output"]
    assert asked["text"]
    assert answer["input"] == "\nMy name is Zhu William              \n"
    assert [turn["role"] for turn in answer["history"]] == ["system", "user", "assistant"]
    assert answer["history"][0]["content"] == "Answer in one word."


def test_finetune_and_deploy_what_came_of_it(session: Session, tiny_model: Path, tmp_path: Path) -> None:
    lessons = tmp_path / "lessons.jsonl"
    rows = [
        {"instruction": f"{n} and 1", "input": "", "output": str(n + 1), "history": [["hi", "ho"]]} for n in range(8)
    ]
    lessons.write_text("\n".join(map(json.dumps, rows)))
    text = script("finetune", dummy_data=lessons, Llama=tiny_model, jobs=tmp_path / "jobs")
    (row,) = rows_of(session, text + "select * from llama2_300 as t;")
    assert row["state"] == "queued"
    assert str(row["folder"]).startswith(str(tmp_path / "jobs"))
    while row["state"] in ("queued", "running"):
        time.sleep(0.5)
        (row,) = rows_of(session, f"load llm.`runs` as runs; select * from runs where name = '{row['name']}' as t;")
    assert (row["state"], row["rows"], row["reason"]) == ("succeeded", 8, "")
    setup = '!byzerllm setup single; !byzerllm setup "infer_backend=transformers";'
    deploy = script("deploy_finetuned", final=row["model"]).replace("!byzerllm setup single;", setup)
    (deployed,) = rows_of(session, deploy)
    assert (deployed["state"], deployed["model"]) == ("RUNNING", row["model"])
    (asked,) = rows_of(
        session,
        """select llm_result(fintune_llama2_chat(llm_param(map("instruction", "3 + 1", "max_tokens", "4")))) as a
        as t;""",
    )
    assert asked["a"] is not None


def test_pretraining_data(session: Session, tmp_path: Path) -> None:
    """Up to the action itself, which is not here yet."""
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"text {number}\nof two lines")
    text = script("pretrain", raw_data=f"file://{tmp_path}/*").partition("-- the run")[0]
    found = rows_of(session, text + "select file, text from finalTrainData order by file as t;")
    assert found == [
        {"file": f"file:{tmp_path}/{number}.txt", "text": f"text {number}\nof two lines"} for number in range(3)
    ]
    assert session.spark.table("finalTrainData").rdd.getNumPartitions() == 12
    assert session.setup == {"gpus": "0"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convert", "unknown action convert"),
        ("merge", "unknown action convert"),
        ("deploy_azure", "unknown option saas.api_type"),
        ("deploy_minimax", "unknown option saas.api_key"),
        ("deploy_sparkdesk", "unknown option saas.appid"),
    ],
)
def test_what_is_not_here_yet_is_said_at_its_place(session: Session, name: str, message: str) -> None:
    with pytest.raises(SQLLLMError, match=message) as raised:
        session.run(script(name))
    assert raised.value.place is not None
