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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rare,
    # Ray Train makes a Ray Data context, which sets its own deprecated fields.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

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


@pytest.fixture(autouse=True)
def _alone(session: Session) -> Iterator[None]:
    """The models of one script leave before the next: together they would fill the machine."""
    yield
    for name in session.models:
        session.serving.undeploy(name)
        session.models.drop(name)


def script(name: str, **replaced: object) -> str:
    """The script without GPUs, with the folders of `replaced` in place of its own."""
    text = re.sub(r"num_gpus=\d+", "num_gpus=0", (SCRIPTS / f"byzer_{name}.sql").read_text())
    for folder, other in replaced.items():
        text, found = re.subn(rf'(?<=["`])[^"`\n]*{folder}[^"`\n]*(?=["`])', str(other), text)
        assert found, folder
    return text


def ended(session: Session, row: dict[str, object]) -> dict[str, object]:
    """The row of a detached run when it has ended."""
    while row["state"] in ("queued", "running"):
        time.sleep(0.5)
        (row,) = rows_of(session, f"load llm.`runs` as runs; select * from runs where name = '{row['name']}' as t;")
    return row


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


def test_finetune_and_deploy_the_result(session: Session, tiny_model: Path, tmp_path: Path) -> None:
    lessons = tmp_path / "lessons.jsonl"
    rows = [
        {"instruction": f"{n} and 1", "input": "", "output": str(n + 1), "history": [["hi", "ho"]]} for n in range(8)
    ]
    lessons.write_text("\n".join(map(json.dumps, rows)))
    text = script("finetune", dummy_data=lessons, Llama=tiny_model, jobs=tmp_path / "jobs")
    (row,) = rows_of(session, text + "select * from llama2_300 as t;")
    assert row["state"] == "queued"
    assert str(row["folder"]).startswith(str(tmp_path / "jobs"))
    row = ended(session, row)
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


def test_pretrain_convert_and_deploy(session: Session, tiny_model: Path, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"text {number}\nof two lines. " * 20)
    text = script("pretrain", raw_data=f"file://{tmp_path}/*", Llama=tiny_model, jobs=tmp_path / "jobs")
    (row,) = rows_of(session, text + "select * from llama2_cn as t;")
    assert session.spark.table("finalTrainData").rdd.getNumPartitions() == 12
    assert str(row["folder"]).startswith(str(tmp_path / "jobs"))
    row = ended(session, row)
    assert (row["state"], row["reason"], row["rows"]) == ("succeeded", "", 3)
    checkpoints = Path(str(row["model"])).parent
    converted = tmp_path / "converted"
    text = script("convert", base_model=tiny_model, checkpoints=checkpoints, my_3b_test2=converted)
    (row,) = rows_of(session, text)
    assert (row["kind"], row["state"], row["model"]) == ("convert", "succeeded", str(converted))
    setup = '!byzerllm setup "infer_backend=transformers";'
    (deployed,) = rows_of(session, setup + script("deploy_converted", my_3b_test2=converted))
    assert (deployed["name"], deployed["state"], deployed["model"]) == ("my_3b_chat", "RUNNING", str(converted))
    ask = """select llm_result(my_3b_chat(llm_param(map("instruction", "text", "max_tokens", "4")))) as a as t;"""
    assert rows_of(session, ask)[0]["a"] is not None


def test_merge(session: Session, tiny_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config).save_pretrained(tmp_path / "final")
    text = script("merge", **{"final/pretrained_model": tiny_model, "finetune_model/final": tmp_path / "final"})
    text = re.sub(r'savePath="[^"]*', f'savePath="{tmp_path}/merge', text)
    (row,) = rows_of(session, text)
    assert (row["kind"], row["state"], row["model"]) == ("merge", "succeeded", str(tmp_path / "merge"))
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merge").num_parameters() > 0


def test_a_conversion_that_fails_says_so_at_its_place(session: Session, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "Epoch-1").mkdir()
    text = script("convert", base_model=tiny_model, checkpoints=tmp_path, my_3b_test2=tmp_path / "converted")
    with pytest.raises(SQLLLMError, match="is not a DeepSpeed checkpoint") as raised:
        session.run(text)
    assert raised.value.place is not None
    assert not (tmp_path / "converted").exists()
    with pytest.raises(SQLLLMError, match="is not a folder") as raised:
        session.run(script("convert", base_model=tiny_model, my_3b_test2=tmp_path / "converted"))
    assert raised.value.place is not None
    assert raised.value.place.text == "checkpointDir"
