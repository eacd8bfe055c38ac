"""A model from deployment to answers, through SQL, HTTP and transformers, on real engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sqlllm.errors import ModelError, OptionError, SQLLLMError
from sqlllm.session import Session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytestmark = pytest.mark.slow

ENGINES = {"vllm": ' and num_workers="2" and cpus_per_worker="0.5"', "transformers": ""}  # as the tests of serving
PROMPTS = [
    "What is the capital of France?",
    "select 1",
    "a 'quoted' \"prompt\"\nof two lines",
    "你好",
    "12 34",
    "x " * 40,
]


@pytest.fixture(scope="module")
def session(spark: SparkSession, serving: Serving, tiny_model: Path) -> Iterator[Session]:
    """A session with the tiny model as `tiny_vllm` and `tiny_transformers`, which the tests of serving share."""
    with Session(spark=spark) as session:
        session.__dict__["serving"] = serving
        session.override("model", str(tiny_model))
        for engine, more in ENGINES.items():
            result = session.run(
                f'run command as LLM.`` where action="infer" and udfName="tiny_{engine}"'
                f' and localModelDir="${{model}}" and infer_backend="{engine}"{more};'
            )
            assert result is not None
            (row,) = result.rows()
            assert (row.name, row.backend, row.state, row.model) == (
                f"tiny_{engine}",
                engine,
                "RUNNING",
                str(tiny_model),
            )
            assert row.replicas == (2 if more else 1)
            assert row.endpoint.startswith("http://127.0.0.1:")
        yield session
        session.__dict__.pop("serving")  # others use it


@pytest.fixture(scope="module")
def reference(tiny_model: Path) -> dict[str, str]:
    """What transformers itself generates, greedily, one prompt at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    texts = {}
    for prompt in PROMPTS:
        messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": prompt}]
        tokens: Any = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        made = model.generate(**tokens, max_new_tokens=12, do_sample=False)
        texts[prompt] = tokenizer.decode(made[0][tokens["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def rows(session: Session, script: str) -> list[dict[str, Any]]:
    result = session.run(script)
    assert result is not None
    return [row.asDict() for row in result.rows()]


@pytest.mark.parametrize("engine", ENGINES)
def test_sql_http_and_transformers_give_the_same_greedy_text(
    session: Session, reference: dict[str, str], engine: str
) -> None:
    session.spark.createDataFrame([(prompt,) for prompt in PROMPTS], "prompt string").createOrReplaceTempView("prompts")
    found = rows(
        session,
        f"""select prompt, tiny_{engine}(llm_param(map("instruction", prompt, "system_msg", "be brief",
            "max_tokens", "12"))) as q from prompts as answers;
            select prompt, llm_result(q) as text, llm_error(q) as error from answers as flat;""",
    )
    assert {row["prompt"]: row["text"] for row in found} == reference
    for prompt in PROMPTS:
        body = {
            "model": f"tiny_{engine}",
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": prompt}],
            "max_tokens": 12,
            "temperature": 0,
        }
        reply = httpx.post(f"{session.serving.endpoint}/v1/chat/completions", json=body, timeout=60).json()
        assert reply["choices"][0]["message"]["content"] == reference[prompt]


@pytest.mark.parametrize("engine", ENGINES)
def test_two_thousand_rows_with_fifty_bad_ones(session: Session, engine: str) -> None:
    found = rows(
        session,
        f"""select id, case when id % 40 = 7
                      then element_at(array(null, '', repeat('12 ', 700)), 1 + cast(id / 40 as int) % 3)
                      else concat('p', id % 300) end as prompt from range(2000) as t;
            select id, prompt, tiny_{engine}(llm_param(map("instruction", prompt, "max_tokens", "4"))) as q
            from t as answers;
            select id, prompt, llm_result(q) as text, llm_error(q) as error,
                   get_json_object(q[0], '$.input') as asked from answers as flat;""",
    )
    assert sorted(row["id"] for row in found) == list(range(2000))
    bad = {row["id"]: row["error"] for row in found if row["text"] is None}
    assert set(bad) == {id_ for id_ in range(2000) if id_ % 40 == 7}
    assert all(row["asked"] == row["prompt"] for row in found if row["id"] not in bad)
    kinds = {str(error).partition(":")[0] for error in bad.values()}
    assert kinds == {"None", "empty_prompt", "context_length_exceeded"}


def test_a_row_holds_its_tokens(session: Session) -> None:
    (row,) = rows(
        session,
        """select tiny_vllm(llm_param(map("instruction", "hello", "max_tokens", "5"))) as q from range(1) as a;
           select get_json_object(q[0], '$.metadata.generated_tokens_count') as made,
                  get_json_object(q[0], '$.metadata.input_tokens_count') as read from a as b;""",
    )
    assert 1 <= int(row["made"]) <= 5
    assert int(row["read"]) > 1


@pytest.mark.parametrize(
    ("where", "kind", "said"),
    [
        ('localModelDir="/nowhere/model"', ModelError, "the model folder /nowhere/model does not exist"),
        ('localModelDir="${model}" and infer_backend="vlm"', OptionError, "vllm"),
        ('localModelDir="${model}" and `backend.max_model_length`="9"', OptionError, "max_model_len"),
        ('localModelDir="${model}" and `backend.max_model_len`="long"', SQLLLMError, "max_model_len"),
    ],
)
def test_a_wrong_deployment_is_one_clear_error(
    session: Session, where: str, kind: type[SQLLLMError], said: str
) -> None:
    with pytest.raises(kind) as raised:
        session.run(f'select 1 as a as t;\nrun command as LLM.`` where action="infer" and udfName="x" and {where};')
    assert said in str(raised.value)
    assert raised.value.place is not None
    assert raised.value.place.line == 2
    assert "x" not in {model.name for model in session.serving.models()}


def test_a_model_that_fails_to_load_says_why(session: Session, tiny_model: Path, tmp_path: Path) -> None:
    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(
        (tiny_model / "config.json").read_text().replace('hidden_layers": 2', 'hidden_layers": 3')
    )
    with pytest.raises(ModelError) as raised:
        session.run(
            f'run command as LLM.`` where action="infer" and udfName="broken" and localModelDir="{tmp_path}"'
            ' and infer_backend="transformers";'
        )
    message = str(raised.value)
    assert "model broken did not load" in message
    assert "lacks the weights" in message
    assert "Traceback" not in message
    assert len(raised.value.message.splitlines()) <= 3
