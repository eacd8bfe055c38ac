"""A training table as tokens and labels: only what the model is to say carries loss. For workers only.

Tokenizing is done once: the result lies beside the runs, keyed by the content of the table and of the tokenizer.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import TrainingError

from . import formats, template

if TYPE_CHECKING:
    from datasets import Dataset

IGNORED = -100
"""The label of a token without loss, in every library."""
_KEPT = 8
"""Tokenized tables that stay for later runs; the least recently used goes first."""


def rows(data: Path, work: Path) -> Dataset:
    """The Parquet files of `data` as they are, memory-mapped."""
    from datasets import load_dataset

    paths = [str(path) for path in formats.files(data)]
    return load_dataset("parquet", data_files=paths, split="train", cache_dir=str(work / "cache"))


def texts(table: Dataset) -> Iterator[str]:
    """Every text that a model would read or write in the rows."""
    table_format = formats.detect(table.column_names)
    for number, row in enumerate(table, 1):
        for example in table_format.examples(row, number):
            if "text" in example:
                yield example["text"]
            else:
                yield from (message["content"] for message in [*example["prompt"], *example["completion"]])


def tokenized(data: Path, tokenizer: Any, *, cache: Path, work: Path) -> Dataset:
    """One example per answer: `input_ids`, `labels`, and in `row` the number of its row, from 0.

    Whole, not yet cut at max_length. Made in `cache` unless it is there already.
    """
    from datasets import load_from_disk

    folder = cache / _key(data, tokenizer)
    if not folder.exists():
        table = rows(data, work)
        columns = table.column_names
        made = table.map(
            _tokenize, with_indices=True, batched=True, batch_size=256, remove_columns=columns,
            fn_kwargs={"columns": columns, "tokenizer": tokenizer},
        )  # fmt: skip
        made.save_to_disk(work / folder.name)
        cache.mkdir(parents=True, exist_ok=True)
        try:
            (work / folder.name).rename(folder)
        except OSError:
            if not folder.exists():  # another run was quicker
                raise
        _evict(cache)
    os.utime(folder)
    return load_from_disk(str(folder))


def render(tokenizer: Any, example: formats.Example) -> tuple[list[int], list[int]]:
    """The tokens of one example and their labels."""
    if "text" in example:
        ids = [*tokenizer(example["text"])["input_ids"]]
        ids += [] if ids[-1:] == [tokenizer.eos_token_id] else [tokenizer.eos_token_id]
        return ids, [*ids]
    tools = example.get("tools")
    asked = template.render(tokenizer, example["prompt"], tools, generation=True)
    ids = template.answered(tokenizer, [*example["prompt"], *example["completion"]], tools)
    # A template may render the prompt alone otherwise than with its answer: the answer starts where they part.
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(asked, ids, strict=False)))
    return ids, [IGNORED] * start + ids[start:]


def check_template(text: str, example: formats.Example) -> None:
    """Refuse a table whose tools the model's chat template would leave out without a word."""
    asked = [word for word in ("tools", "tool_calls") if word in example]
    asked += [
        "tool_calls" for message in example.get("prompt", []) + example.get("completion", []) if "tool_calls" in message
    ]
    for word in asked:
        if word not in text:
            raise TrainingError(
                f"the table has {word}, but the model's chat template has no place for them",
                cure="Start from a model that was made for tools, or leave them out of the table.",
            )


def rendered(tokenizer: Any, example: formats.Example, number: int) -> tuple[list[int], list[int]]:
    """`render` a row of the training table; a TrainingError names its `number`."""
    check_template(tokenizer.chat_template, example)
    try:
        return render(tokenizer, example)
    except TrainingError as error:
        raise TrainingError(f"row {number} of {formats.LEARNED}: {error.message}", cure=error.cure) from None


def _tokenize(
    batch: dict[str, list[Any]], indices: list[int], columns: list[str], tokenizer: Any
) -> dict[str, list[Any]]:
    table_format = formats.detect(columns)
    made: dict[str, list[Any]] = {"input_ids": [], "labels": [], "row": []}
    for place, index in enumerate(indices):
        for example in table_format.examples({name: batch[name][place] for name in columns}, index + 1):
            ids, labels = rendered(tokenizer, example, index + 1)
            made["input_ids"].append(ids)
            made["labels"].append(labels)
            made["row"].append(index)
    return made


def _key(data: Path, tokenizer: Any) -> str:
    """Equal for equal rows in an equal order, read by an equal tokenizer."""
    digest = hashlib.sha256()
    for code in (__file__, formats.__file__, template.__file__):  # other code, other tokens
        digest.update(Path(code).read_bytes())
    for path in formats.files(data):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(tokenizer.backend_tokenizer.to_str().encode() if tokenizer.is_fast else repr(tokenizer).encode())
    digest.update(repr((type(tokenizer).__name__, tokenizer.chat_template, tokenizer.eos_token)).encode())
    return digest.hexdigest()[:32]


def _evict(cache: Path) -> None:
    for old in sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
