"""What runs in each training process: TRL's SFTTrainer on the worker's share of the rows."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import TrainingError
from sqlllm.jobs.runs import RunRecord

from . import formats, scratch
from .spec import FinetuneSpec

if TYPE_CHECKING:
    from datasets import Dataset
    from trl.trainer.sft_trainer import SFTTrainer


def train(config: dict[str, Any]) -> None:
    """Fine-tune as `config["spec"]` says, in the folder of `config["run"]`; runs in every Ray Train worker."""
    import datasets
    import torch
    from ray.train import get_context

    spec: FinetuneSpec = config["spec"]
    run: RunRecord = config["run"]
    first = get_context().get_world_rank() == 0
    datasets.disable_progress_bars()
    if not config["gpu"]:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(int(config["threads"] or max(1, cores // get_context().get_local_world_size())))
    rows = load(run)
    base = spec.local_model_dir
    if base is None:
        base = run.folder / "work" / "base"
        if first:
            context, seed = spec.training["max_length"], spec.training["seed"]
            with written_whole(base) as folder:
                scratch.build(folder, _texts(rows), spec.llama, context=context, seed=seed)
        torch.distributed.barrier()
    trainer = build_trainer(spec, run, rows, base, gpu=config["gpu"])
    started = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    if first:
        save(trainer, spec, run, seconds)


def load(run: RunRecord) -> Dataset:
    """The training table as prompts and completions, read from Parquet by `datasets`."""
    from datasets import load_dataset

    paths = [str(path) for path in formats.files(run.data)]
    cache = str(run.folder / "work" / "cache")
    table = load_dataset("parquet", data_files=paths, split="train", cache_dir=cache)
    return table.map(
        _convert, with_indices=True, batched=True, remove_columns=table.column_names,
        fn_kwargs={"columns": table.column_names},
    )  # fmt: skip


def _convert(batch: dict[str, list[Any]], indices: list[int], columns: list[str]) -> dict[str, list[Any]]:
    table_format = formats.detect(columns)
    examples = [
        example
        for place, index in enumerate(indices)
        for example in table_format.examples({name: batch[name][place] for name in columns}, index + 1)
    ]
    return {part: [example[part] for example in examples] for part in ("prompt", "completion")}


def _texts(rows: Dataset) -> Iterator[str]:
    for row in rows:
        yield from (message["content"] for message in [*row["prompt"], *row["completion"]])


def build_trainer(spec: FinetuneSpec, run: RunRecord, rows: Dataset, base: Path, *, gpu: bool = False) -> SFTTrainer:
    """TRL's trainer with the rows tokenized: only the completions' tokens carry loss."""
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.trainer_callback import PrinterCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from .metrics import Metrics

    bf16 = gpu and torch.cuda.is_bf16_supported() and not spec.training.get("fp16", False)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = scratch.PLAIN_TEMPLATE
    # Adapters learn beside frozen weights, which may be small; weights that learn themselves need all their digits.
    dtype = torch.bfloat16 if bf16 and spec.method == "lora" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    longest = min(spec.training["max_length"], getattr(model.config, "max_position_embeddings", math.inf))
    args = SFTConfig(
        **{
            "bf16": bf16,
            "dataloader_pin_memory": gpu,
            "report_to": "none",
            # A loss that is no number must be seen, not averaged away.
            "logging_nan_inf_filter": False,
            **spec.training,
            "max_length": longest,
        },
        use_cpu=not gpu,
        disable_tqdm=True,
        completion_only_loss=True,
        output_dir=str(run.folder / "finetune_model"),
    )
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=LoraConfig(task_type="CAUSAL_LM", **spec.lora) if spec.method == "lora" else None,
        callbacks=[Metrics(run.metrics)],
    )
    trainer.remove_callback(PrinterCallback)
    if not trainer.train_dataset:
        raise TrainingError(
            f"every question alone fills the {longest} tokens of max_length, so nothing of an answer is left",
            cure="Raise `sft.int.max_seq_length`, or shorten the questions.",
        )
    return trainer


def save(trainer: SFTTrainer, spec: FinetuneSpec, run: RunRecord, seconds: float) -> None:
    """Write `final`, after LoRA also `adapter`, and the run's figures."""
    folder = run.folder / "finetune_model"
    model = trainer.accelerator.unwrap_model(trainer.model)
    tokenizer = trainer.processing_class
    assert tokenizer is not None
    if spec.method == "lora":
        with written_whole(folder / "adapter") as adapter:
            model.save_pretrained(adapter)
            tokenizer.save_pretrained(adapter)
        if not spec.skip_copy_pretrained_model:
            model = model.merge_and_unload()
    with written_whole(folder / "final") as final:
        model.save_pretrained(final)
        tokenizer.save_pretrained(final)
    state = trainer.state
    last = next(log for log in reversed(state.log_history) if "loss" in log)
    args: Any = trainer.args
    rows: Any = trainer.train_dataset
    whole = sum(len(ids) < args.max_length for ids in rows["input_ids"])
    summary = {
        "truncated": None if args.packing else run.examples - whole,
        "steps": state.global_step,
        "total_steps": state.max_steps,
        "epochs": round(state.epoch, 4),
        "loss": last["loss"],
        "tokens": int(last["num_tokens"]),
        "train_seconds": round(seconds, 3),
    }
    (folder / "train_results.json").write_text(json.dumps(summary, indent=2))


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write into that becomes `folder` only when the block ends well."""
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    yield beside
    beside.rename(folder)
