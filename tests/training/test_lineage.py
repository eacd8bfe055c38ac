"""The same rows have one fingerprint however they lie; a model says where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from sqlllm.jobs.lineage import fingerprint, write_card
from sqlllm.jobs.runs import RunRecord

ROWS: list[dict[str, Any]] = [
    {"id": n, "turns": [{"role": "user", "content": f"text {n}"}], "note": None if n % 3 else "ü"} for n in range(10)
]


def stored(folder: Path, *files: list[dict[str, Any]], **how: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    for number, rows in enumerate(files):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"part-{number}.parquet", **how)
    return folder


def test_order_files_columns_and_compression_do_not_matter(tmp_path: Path) -> None:
    one = fingerprint(stored(tmp_path / "one", ROWS))
    assert len(one) == 32
    turned = [dict(reversed(row.items())) for row in reversed(ROWS)]
    assert fingerprint(stored(tmp_path / "two", turned[:3], turned[3:], compression="zstd", row_group_size=2)) == one


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[:-1],
        [*ROWS, ROWS[0]],  # twice is not once
        [*ROWS[:-2], ROWS[0], ROWS[0]],
        [{**ROWS[0], "id": 99}, *ROWS[1:]],
        [{**row, "id": str(row["id"])} for row in ROWS],
        [{"other": row["id"], **row} for row in ROWS],
    ],
    ids=["fewer", "doubled", "replaced", "changed", "typed", "wider"],
)
def test_other_rows_have_another(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    assert fingerprint(stored(tmp_path / "other", rows)) != fingerprint(stored(tmp_path / "one", ROWS))


def test_no_rows_have_none(tmp_path: Path) -> None:
    assert fingerprint(tmp_path / "nothing") == ""


def test_the_card_is_one_that_hugging_face_reads(tmp_path: Path) -> None:
    options = {"name": "dates", "config": '{"a":\n 1}', "saas.api_key": "sk-123"}
    first = RunRecord.create(tmp_path, "base", kind="sfft")
    run = RunRecord.create(tmp_path, "dates", kind="sft", base=str(first.folder / "final"), options=options)
    model = run.folder / "final"
    model.mkdir()
    write_card(run.finish("succeeded", model=model, rows=5000, fingerprint="abc", loss=0.25, steps=1000))
    card = ModelCard.load(model / "README.md")
    assert (card.data.library_name, card.data.tags) == ("transformers", ["sqlllm", "sft"])
    for words in ("5,000 rows, fingerprint `abc`", "| base made by the run | `base` |", '`{"a": 1}`', "| torch |"):
        assert words in card.text
    assert "sk-123" not in card.text
