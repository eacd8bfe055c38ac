from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import OptionError, TrainingError
from sqlllm.jobs.training import finetune, formats

from .conftest import SUMS, MakeRun

CASES = [json.loads(line) for line in (Path(__file__).with_name("formats.jsonl")).read_text().splitlines()]


def flat(example: formats.Example) -> list[str]:
    if "text" in example:
        return [example["text"]]
    tools = [tool["function"]["name"] for tool in example.get("tools", [])]
    asked = [f"{' '.join(filter(None, [m['role'], m.get('name')]))}: {said(m)}" for m in example["prompt"]]
    (answer,) = example["completion"]
    assert answer["role"] == "assistant"
    return [*([f"tools: {json.dumps(tools)}"] if tools else []), *asked, said(answer)]


def said(message: formats.Message) -> str:
    calls = [call["function"] for call in message.get("tool_calls", [])]
    return " ".join(f"{call['name']} {json.dumps(call['arguments'])}" for call in calls) or message["content"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_row(case: dict[str, Any]) -> None:
    row = case["row"]
    if "error" in case:
        with pytest.raises((TrainingError, OptionError)) as caught:
            formats.choose(list(row)).examples(row, 7)
        assert caught.value.message == case["error"]
        assert case.get("cure", "") in caught.value.cure
        assert caught.value.cure
    else:
        assert [flat(example) for example in formats.detect(list(row)).examples(row, 7)] == case["examples"]


def test_check_counts_rows_and_answers(make_run: MakeRun) -> None:
    _, run = make_run([{"conversation": [{"human": "q", "assistant": "a"}] * 3}] * 10)
    assert formats.check(run.data) == formats.Table(format="conversation", rows=10, examples=30)


def test_check_numbers_rows_over_all_files(make_run: MakeRun) -> None:
    rows = [*SUMS, {"instruction": "Q", "output": ""}]
    _, run = make_run(rows)
    with pytest.raises(TrainingError, match=rf"^row {len(rows)} of the training table: output is empty"):
        formats.check(run.data)


def test_a_wrong_row_or_column_of_the_other_table_names_that_table(make_run: MakeRun) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    spec, run = make_run(SUMS)
    run.eval_data.mkdir()
    pq.write_table(pa.Table.from_pylist([{"instruction": "Q", "output": ""}]), run.eval_data / "part.parquet")
    with pytest.raises(TrainingError, match=r"^row 1 of evalTable: output is empty"):
        finetune(spec, run)
    pq.write_table(pa.Table.from_pylist([{"question": "Q"}]), run.eval_data / "part.parquet")
    with pytest.raises(OptionError, match=r"^evalTable has the columns question, which are no") as caught:
        finetune(spec, run)
    assert caught.value.key == "evalTable"


def test_the_wrong_row_is_shown_shortened() -> None:
    row = {"instruction": "long " * 100, "output": None}
    with pytest.raises(TrainingError) as caught:
        formats.detect(list(row)).examples(row, 1)
    assert "long long" in caught.value.cure
    assert "output=None" in caught.value.cure
    assert len(caught.value.cure) < 150


def test_a_table_without_rows(make_run: MakeRun) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _, run = make_run(SUMS)
    for path in formats.files(run.data):
        pq.write_table(pa.table({"instruction": pa.array([], pa.string()), "output": pa.array([], pa.string())}), path)
    with pytest.raises(TrainingError, match="no rows"):
        formats.check(run.data)
