"""Direct preference optimization: of two answers to a question, the model learns which one is better.

The model that training starts from is the reference. The margin in the metrics is by how much more than it the
model prefers the better answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.jobs.runs import RunRecord

from . import formats, tokens, worker
from .spec import FinetuneSpec

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer


def _preference(row: Mapping[str, Any]) -> list[formats.Example]:
    asked = {"system": row.get("system"), "prompt": row["prompt"]}
    pair = {name: formats.prompt_completion({**asked, "completion": row[name]}) for name in ("chosen", "rejected")}
    if pair["chosen"] == pair["rejected"]:
        raise formats.WrongRow("chosen and rejected are the same")
    (better,), (worse,) = pair.values()
    return [{"prompt": better["prompt"], "chosen": better["completion"], "rejected": worse["completion"]}]


FORMATS = (formats.Format("preferences", ("prompt", "chosen", "rejected"), ("system",), _preference),)


def build_trainer(
    spec: FinetuneSpec, run: RunRecord, base: Path, *, gpu: bool = False, checkpoint: Path | None = None
) -> Trainer:
    """TRL's trainer on the table's pairs."""
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    tokenizer = worker.load_tokenizer(base, spec, run)
    model = worker.load_model(spec, base, gpu=gpu, vocabulary=len(tokenizer))
    rows = _pairs(run.data, run, tokenizer)
    held_out = _pairs(run.eval_data, run, tokenizer) if formats.files(run.eval_data) else None
    if held_out is None and spec.val_size is not None:
        rows, held_out = worker.split(rows, spec.val_size, seed=spec.training["seed"])
    args = DPOConfig(**worker.arguments(spec, run, model, gpu=gpu))
    worker.let_fsdp(args)
    longest = args.max_length or math.inf

    class Pairs(DPOTrainer):
        """Takes the tokens as they are: TRL's own would give calls of tools the fields of all rows, as nulls."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset.filter(lambda pair: len(pair["prompt_ids"]) < longest)

    trainer: Trainer = Pairs(
        model=model,
        args=args,
        train_dataset=rows.remove_columns("row"),
        eval_dataset=held_out.remove_columns("row") if held_out is not None else None,
        processing_class=tokenizer,
        peft_config=worker.adapter(spec),
        callbacks=worker.callbacks(spec, run, checkpoint),
    )
    worker.quiet(trainer)
    return trainer


def _pairs(data: Path, run: RunRecord, tokenizer: Any) -> Dataset:
    table = tokens.rows(data, run.folder / "work")
    columns = table.column_names
    return table.map(
        _convert, with_indices=True, batched=True, remove_columns=columns,
        fn_kwargs={"columns": columns, "tokenizer": tokenizer},
    )  # fmt: skip


def _convert(
    batch: dict[str, list[Any]], indices: list[int], columns: list[str], tokenizer: Any
) -> dict[str, list[Any]]:
    made: dict[str, list[Any]] = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": [], "row": []}
    for place, index in enumerate(indices):
        (example,) = FORMATS[0].examples({name: batch[name][place] for name in columns}, index + 1)
        (better, learned), (worse, other) = (
            tokens.rendered(tokenizer, {"prompt": example["prompt"], "completion": example[name]}, index + 1)
            for name in ("chosen", "rejected")
        )
        start = min(labels.count(tokens.IGNORED) for labels in (learned, other))
        made["prompt_ids"].append(better[:start])
        made["chosen_ids"].append(better[start:])
        made["rejected_ids"].append(worse[start:])
        made["row"].append(index)
    return made
