"""The oracle's own: where answers come from, what it refuses, what it counts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sqlllm.errors import ModelError, OptionError
from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.protocol import RequestError
from sqlllm.jobs.serving.worker.engines.oracle import Oracle, OracleModel

from .conftest import user

ROWS = [{"prompt": "Is it good? id=1.", "answer": "yes"}, {"prompt": "Is it good? id=2.", "answer": "no"}]


def load(path: Path | str, **options: str) -> OracleModel:
    spec = ModelSpec(name="oracle", engine="oracle", model_path=str(path), engine_options=options)
    parsed = Oracle.parse(options)
    Oracle.check(spec, parsed)
    return asyncio.run(Oracle.load(spec, parsed, 0))


def table(folder: Path, kind: str) -> Path:
    """ROWS as a file of that kind."""
    path = folder / f"answers.{kind}"
    lines = [json.dumps(row) for row in ROWS]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "csv":
        path.write_text("prompt,answer\n" + "".join(f"{row['prompt']},{row['answer']}\n" for row in ROWS))
    else:
        path.write_text("[" + ",".join(lines) + "]" if kind == "json" else "\n".join(lines))
    return path


def ask(model: OracleModel, *texts: str, **more: Any) -> list[dict[str, Any]]:
    request = {"model": "oracle", "messages": [user(text) for text in texts], **more}
    return json.loads(asyncio.run(model.chat_batch(request)))["choices"]


def said(choices: list[dict[str, Any]]) -> list[str | None]:
    return [choice["message"]["content"] if choice["message"] else choice["error"]["code"] for choice in choices]


@pytest.mark.parametrize("kind", ["parquet", "csv", "json", "jsonl"])
def test_a_table_of_each_kind_and_a_folder_of_them(tmp_path: Path, kind: str) -> None:
    for path in (table(tmp_path, kind), tmp_path):
        choices = ask(load(path), ROWS[1]["prompt"], "what?", ROWS[0]["prompt"])
        assert said(choices) == ["no", "no_answer", "yes"]


def test_a_key_is_found_in_the_prompt(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,label\n1,POSITIVE\n2,NEGATIVE\n")
    model = load(path, prompt="id", answer="label", key=r"id=(\d+)", default="UNKNOWN")
    assert said(ask(model, "anything, id=2.", "id=1", "id=3", "no key")) == [
        "NEGATIVE",
        "POSITIVE",
        "UNKNOWN",
        "UNKNOWN",
    ]


def test_a_function_answers_and_its_exception_is_one_rows_error() -> None:
    model = load("", function="json:loads")
    choices = ask(model, '{"a": 1}', "{", '"text"')
    assert said(choices) == ["{'a': 1}", "oracle_function", "text"]
    assert "JSONDecodeError" in choices[1]["error"]["message"]


def test_calls_and_tokens_are_counted(tmp_path: Path) -> None:
    model = load(table(tmp_path, "csv"))
    choices = ask(model, ROWS[0]["prompt"], "what?", max_tokens=1)
    assert choices[0]["usage"] == {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    assert model.counts() == {"requests": 1, "calls": 2, "failed": 1, "prompt_tokens": 5, "completion_tokens": 1}


def test_a_tokenizer_counts_as_its_model_does(tmp_path: Path, tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    prompt = ROWS[0]["prompt"]
    (choice,) = ask(load(table(tmp_path, "csv"), tokenizer=str(tiny_model)), prompt)
    ids = tokenizer.apply_chat_template(user(prompt), add_generation_prompt=True, return_dict=False)
    assert choice["usage"]["prompt_tokens"] == len(ids)
    assert choice["usage"]["completion_tokens"] == len(tokenizer("yes")["input_ids"])


def test_the_same_prompts_fail_each_time() -> None:
    model = load("", function="builtins:str", failure_rate="0.1")
    prompts = [f"prompt {number}" for number in range(2000)]
    first, again = said(ask(model, *prompts)), said(ask(model, *prompts))
    assert first == again
    assert 0.07 < first.count("oracle_failure") / len(prompts) < 0.13


def test_what_a_fixed_answer_cannot_follow_is_taken(tmp_path: Path) -> None:
    model = load(table(tmp_path, "csv"))
    more = {"temperature": 1.0, "seed": 3, "ignore_eos": True, "response_format": {"type": "json_object"}}
    assert said(ask(model, ROWS[0]["prompt"], **more)) == ["yes"]
    with pytest.raises(RequestError, match="did you mean temperature"):
        ask(model, ROWS[0]["prompt"], tempature=1)


@pytest.mark.parametrize(
    ("options", "key"),
    [({"latency": "-1"}, "latency"), ({"key": "("}, "key"), ({"anser": "a"}, "anser"), ({"function": "f"}, "function")],
)
def test_a_wrong_option_is_named(options: dict[str, str], key: str) -> None:
    with pytest.raises(OptionError) as raised:
        Oracle.parse(options)
    assert raised.value.key == f"backend.{key}"


def test_a_table_that_does_not_serve_says_why(tmp_path: Path) -> None:
    path = table(tmp_path, "csv")
    for options, reason in (({"answer": "anser"}, "Did you mean answer"), ({"function": "json:laods"}, "json:laods")):
        with pytest.raises(ModelError) as raised:
            load(path, **options)
        assert reason in str(raised.value)
    with pytest.raises(ModelError, match="does not exist"):
        load(tmp_path / "absent.csv")
    path.write_text("prompt,answer\na,1\na,2\n")
    with pytest.raises(ModelError, match="two answers to 'a'"):
        load(path)
