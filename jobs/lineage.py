"""Where a model comes from: the fingerprint of its table, and the model card beside its weights."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from .runs import RunRecord

_BITS = 128


def fingerprint(data: Path) -> str:
    """A number, in hex, for the rows of a folder's Parquet files; empty if there are none.

    The same rows give the same one whatever their order, their files and the order of their columns, for Spark keeps
    none of these. A row that is there twice counts twice.
    """
    import orjson
    import pyarrow.parquet as pq

    total = rows = 0
    for path in sorted(data.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    text = orjson.dumps(row, default=repr, option=orjson.OPT_SORT_KEYS)
                    total += int.from_bytes(blake2b(text, digest_size=_BITS // 8).digest())
                    rows += 1
    return f"{total % 2**_BITS:0{_BITS // 4}x}" if rows else ""


def write_card(run: RunRecord) -> None:
    """Write README.md into the model folder of a run that succeeded, in the form that Hugging Face reads."""
    from huggingface_hub import ModelCardData

    assert run.model is not None
    adapter = (run.model / "adapter_config.json").exists()
    head = ModelCardData(
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["sqlllm", run.kind],
    ).to_yaml()
    base = f"`{run.base}`" if run.base else "random weights"
    facts = {
        "learned from": f"{run.rows:,} rows, fingerprint `{run.fingerprint}`" if run.fingerprint else "",
        "run": f"`{run.folder}`",
        "base made by the run": f"`{run.parent}`" if run.parent else "",
        "steps": f"{run.steps:,}",
        "tokens": f"{run.tokens:,}",
        "loss at the end": "" if run.loss is None else f"{run.loss:.4f}",
        "held-out loss": "" if run.eval_loss is None else f"{run.eval_loss:.4f}",
        "seed": str(run.seed),
        "made": f"{run.started:%Y-%m-%d}",
    }
    parts = [
        f"---\n{head}\n---\n",
        f"# {run.name}\n",
        f"A language model trained from {base} with `run ... as LLM` of SQLLLM ({run.kind}).\n",
        _table({name: fact for name, fact in facts.items() if fact}),
        "## Options of the statement\n",
        _table({f"`{key}`": f"`{_one_line(value)}`" for key, value in run.options.items()}),
        "## Versions\n",
        _table(run.versions),
    ]
    (run.model / "README.md").write_text("\n".join(parts), encoding="utf-8")


def _table(rows: dict[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), ""])


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
