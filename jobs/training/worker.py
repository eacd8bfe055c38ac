"""What runs in each training process: TRL's trainer on the worker's share of the rows."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import TrainingError
from sqlllm.jobs.files import write_whole
from sqlllm.jobs.runs import RunRecord

from . import checkpoints, formats, ranks, results, scratch, template, tokens
from .checkpoints import written_whole
from .spec import FinetuneSpec

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PreTrainedModel, Trainer, TrainingArguments


def train(config: dict[str, Any]) -> None:
    """Fine-tune as `config["spec"]` says, in the folder of `config["run"]`; runs in every Ray Train worker.

    Goes on from the run's last whole checkpoint, if there is one.
    """
    import datasets
    from ray.train import get_context

    spec: FinetuneSpec = config["spec"]
    run: RunRecord = config["run"]
    context = get_context()
    first = context.get_world_rank() == 0
    datasets.disable_progress_bars()
    group = context.get_world_size() > 1 or "deepspeed" in spec.training
    ranks.setup(gpu=config["gpu"], threads=config["threads"], group=group)
    folder = run.folder / "finetune_model"
    checkpoint = checkpoints.last(folder)
    if first:
        checkpoints.drop(folder, whole=False)
    base = spec.local_model_dir or checkpoint
    if base is None:
        base = run.folder / "work" / "base"
        if first:
            texts = tokens.texts(tokens.rows(run.data, run.folder / "work"))
            with written_whole(base) as beside:
                scratch.build(
                    beside, texts, spec.llama, context=spec.training["max_length"], seed=spec.training["seed"]
                )
    ranks.barrier()
    if spec.kind == "dpo":
        from . import dpo

        trainer = dpo.build_trainer(spec, run, base, gpu=config["gpu"], checkpoint=checkpoint)
    else:
        trainer = build_trainer(spec, run, base, gpu=config["gpu"], checkpoint=checkpoint)
    seconds = learn(trainer, checkpoint)
    save(trainer, spec, run, seconds, first=first)


def learn(trainer: Trainer, checkpoint: Path | None) -> float:
    """Train to the end, from `checkpoint` if there is one; gives the seconds it took in all."""
    mark = checkpoints.read_mark(checkpoint) if checkpoint else None
    if mark and mark.finished:
        # Transformers would do one step more. It only has to load what is there.
        trainer._run_epoch = lambda **_: None  # type: ignore[method-assign]
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return (mark.seconds if mark else 0.0) + time.monotonic() - started


def build_trainer(
    spec: FinetuneSpec, run: RunRecord, base: Path, *, gpu: bool = False, checkpoint: Path | None = None
) -> Trainer:
    """TRL's trainer with the rows tokenized: only the answers' tokens carry loss."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    tokenizer = load_tokenizer(base, spec, run)
    model = load_model(spec, base, gpu=gpu, vocabulary=len(tokenizer))
    args = SFTConfig(**arguments(spec, run, model, gpu=gpu), completion_only_loss=True)
    let_fsdp(args)
    rows, held_out = examples(spec, run, tokenizer)
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=rows,
        eval_dataset=held_out,
        processing_class=tokenizer,
        peft_config=adapter(spec),
        callbacks=callbacks(spec, run, checkpoint),
    )
    quiet(trainer)
    if not trainer.train_dataset:
        raise TrainingError(
            f"every question alone fills the {args.max_length} tokens of max_length, so nothing of an answer is left",
            cure="Raise `sft.int.max_seq_length`, or shorten the questions.",
        )
    return trainer


def examples(spec: FinetuneSpec, run: RunRecord, tokenizer: Any) -> tuple[Dataset, Dataset | None]:
    """What is learned, and what is held out to measure on."""
    import torch

    def load(data: Path) -> Dataset:
        return tokens.tokenized(data, tokenizer, cache=_cache(run), work=run.folder / "work")

    if torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
        torch.distributed.barrier()  # the first worker tokenizes
    rows = load(run.data)
    held_out = load(run.eval_data) if formats.files(run.eval_data) else None
    if torch.distributed.is_initialized() and torch.distributed.get_rank() == 0:
        torch.distributed.barrier()
    if held_out is None and spec.val_size is not None:
        rows, held_out = split(rows, spec.val_size, seed=spec.training["seed"])
    return rows.remove_columns("row"), held_out.remove_columns("row") if held_out is not None else None


def split(examples: Dataset, size: float, *, seed: int) -> tuple[Dataset, Dataset]:
    """Hold out the examples of `size` rows: all answers of a dialogue stay on one side."""
    import numpy as np

    of_row = np.asarray(examples.with_format("numpy")["row"])
    order = np.random.default_rng(seed).permutation(of_row.max() + 1)
    number = size if isinstance(size, int) else max(1, round(size * len(order)))
    if number >= len(order):
        raise TrainingError(
            f"val_size holds out {number} of {len(order)} rows, so none is left to learn from", cure="Lower val_size."
        )
    held_out = np.isin(of_row, order[:number])
    return examples.select(np.flatnonzero(~held_out)), examples.select(np.flatnonzero(held_out))


def load_tokenizer(base: Path, spec: FinetuneSpec | None = None, run: RunRecord | None = None) -> Any:
    """The model's own tokenizer with the statement's template and end; without a chat template it gets a plain one.

    A template that has no place for the system messages of the run's table gets one.
    """
    from transformers import AutoTokenizer

    tokenizer = template.prepare(AutoTokenizer.from_pretrained(base), spec)
    if run and (formats.has_system(run.data) or formats.has_system(run.eval_data)):
        template.fold_system(tokenizer)
    return tokenizer


def load_model(spec: FinetuneSpec, base: Path, *, gpu: bool, vocabulary: int = 0) -> PreTrainedModel:
    """The weights that learn, or those that an adapter learns beside: these may be small, or even in 4 bits.

    A model with fewer rows than the tokenizer has tokens gets rows for them.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if _bf16(spec, gpu=gpu) and spec.method == "lora" else torch.float32
    if spec.load_in_4bit:
        from .quantized import load_in_4bit

        return load_in_4bit(base, dtype)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    if vocabulary > int(model.get_input_embeddings().num_embeddings):  # type: ignore[arg-type]
        model.resize_token_embeddings(vocabulary, mean_resizing=False)
    return model


def _bf16(spec: FinetuneSpec, *, gpu: bool) -> bool:
    import torch

    return gpu and torch.cuda.is_bf16_supported() and not spec.training.get("fp16", False)


def arguments(spec: FinetuneSpec, run: RunRecord, model: PreTrainedModel, *, gpu: bool) -> dict[str, Any]:
    """The arguments of every trainer."""
    if "deepspeed" in spec.training and not gpu:
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__ = {}  # or the workers compile one for their collectives, and wait for it
    longest = min(spec.training["max_length"], getattr(model.config, "max_position_embeddings", math.inf))
    return {
        "bf16": _bf16(spec, gpu=gpu),
        "dataloader_pin_memory": gpu,
        "report_to": "none",
        # A loss that is not a number must be seen, not averaged away.
        "logging_nan_inf_filter": False,
        **spec.training,
        "fsdp": "fsdp_config" in spec.training or None,
        "max_length": longest,
        "save_total_limit": None,  # Metrics counts them
        "use_cpu": not gpu,
        "disable_tqdm": True,
        "output_dir": str(run.folder / "finetune_model"),
    }


def let_fsdp(args: TrainingArguments) -> None:
    """Let FSDP run on CPUs, too: Accelerate takes its configuration on GPUs alone, else it trains without, unsaid."""
    if args.fsdp and args.use_cpu:
        from accelerate.state import PartialState  # type: ignore[import-untyped]
        from accelerate.utils import DistributedType  # type: ignore[import-untyped]

        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def adapter(spec: FinetuneSpec) -> LoraConfig | None:
    """PEFT's configuration, if an adapter learns."""
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", **spec.lora) if spec.method == "lora" else None


def callbacks(spec: FinetuneSpec, run: RunRecord, checkpoint: Path | None) -> list[Any]:
    """What listens to every trainer."""
    from transformers import EarlyStoppingCallback

    from .metrics import Metrics, Pace

    found: list[Any] = [
        Pace(spec.training["learning_rate"]),
        Metrics(run.metrics, keep=spec.training.get("save_total_limit"), after=checkpoint),
    ]
    if spec.early_stopping_patience:
        found.append(EarlyStoppingCallback(spec.early_stopping_patience, spec.early_stopping_threshold))
    return found


def quiet(trainer: Trainer) -> None:
    """Print nothing: the record and the progress show the same, and better."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def save(trainer: Any, spec: FinetuneSpec, run: RunRecord, seconds: float, *, first: bool = True) -> None:
    """Write `final`, after LoRA also `adapter`, and the run's figures. Every worker calls it; the `first` writes."""
    folder = run.folder / "finetune_model"
    model = trainer.accelerator.unwrap_model(trainer.model)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # gathers what is shared out
    if not first:
        return
    for name in model.all_tied_weights_keys:
        weights.pop(name, None)  # of FSDP it is a tensor of its own, no longer the other one
    tokenizer = trainer.processing_class
    stops = template.ends(tokenizer, model)
    if spec.method == "lora":
        with written_whole(folder / "adapter") as beside:
            results.write_adapter(model, beside, weights)
            results.complete(beside, tokenizer, stops)
        if not spec.skip_copy_pretrained_model:
            shared = trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled
            if spec.local_model_dir and (spec.load_in_4bit or shared):
                model = results.beside(spec.local_model_dir, folder / "adapter")
            model, weights = model.merge_and_unload(), None
    dtype = results.dtype(spec.dtype, spec.local_model_dir)
    with written_whole(folder / "final") as beside:
        if spec.method == "lora" and spec.skip_copy_pretrained_model:
            results.write_adapter(model, beside, weights)
        else:
            results.write(model, beside, weights, dtype)
        results.complete(beside, tokenizer, stops)
    summary = _summary(trainer, spec, run, seconds)
    write_whole(folder / "train_results.json", json.dumps(summary, indent=2))


def _summary(trainer: Any, spec: FinetuneSpec, run: RunRecord, seconds: float) -> dict[str, Any]:
    state = trainer.state
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    measured = [line for line in lines if line["eval_loss"] is not None]
    kept = state.best_global_step if trainer.args.load_best_model_at_end else None
    best = next((line for line in measured if line["step"] == kept), measured[-1] if measured else {})
    return {
        **(_cut(trainer, run) if spec.kind == "sft" else {}),
        "steps": state.global_step,
        "total_steps": state.max_steps,
        "epochs": round(state.epoch, 4),
        "loss": lines[-1]["loss"],
        "eval_loss": best.get("eval_loss"),
        "best_step": kept,
        "tokens": lines[-1]["tokens"],
        "train_seconds": round(seconds, 3),
    }


def _cut(trainer: Any, run: RunRecord) -> dict[str, int]:
    """Examples whose answer is cut at max_length, and those left out because their question alone fills it."""
    import numpy as np

    table = tokens.tokenized(run.data, trainer.processing_class, cache=_cache(run), work=run.folder / "work")
    longest = trainer.args.max_length
    long = table.select(np.flatnonzero(np.fromiter(map(len, table["labels"]), int) > longest))
    dropped = sum(all(label == tokens.IGNORED for label in labels[:longest]) for labels in long["labels"])
    return {"truncated": len(long) - dropped, "dropped": dropped}


def _cache(run: RunRecord) -> Path:
    return run.folder.parent / ".cache" / "tokens"
