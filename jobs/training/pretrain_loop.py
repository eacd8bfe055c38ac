"""A plain DeepSpeed loop over blocks of tokens, which can stop after any checkpoint and go on as if it had not."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.nn import functional

from sqlllm.errors import TrainingError
from sqlllm.jobs.runs import RunRecord

from . import pretrain_deepspeed
from .pretrain_blocks import IGNORED, Order, Stream
from .pretrain_checkpoints import Checkpoints, Position
from .pretrain_spec import PretrainSpec
from .progress import Progress, memory, metrics_until, read_metrics

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Loop:
    """The training of one model, in one of the workers that share it."""

    def __init__(self, spec: PretrainSpec, run: RunRecord, stream: Stream, order: Order, *, gpu: bool) -> None:
        keys = spec.training
        self.spec, self.run, self.stream, self.order, self.gpu = spec, run, stream, order, gpu
        self.first = dist.get_rank() == 0
        self.steps_per_epoch = min(order.steps, keys.steps_per_epoch or order.steps)
        self.steps = keys.max_steps or keys.epochs * self.steps_per_epoch
        self.checkpoints = Checkpoints(run.folder / "finetune_model", keys.save_total_limit)
        self.position = Position(workers=dist.get_world_size())

    def start(self, base: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Load the model from `base` into DeepSpeed, and go to the last checkpoint if there is one."""
        import deepspeed
        import deepspeed.ops
        from torch.utils.cpp_extension import CUDA_HOME

        deepspeed.utils.logger.setLevel(logging.ERROR)
        compiler = self.gpu and CUDA_HOME is not None and shutil.which("ninja") is not None
        if not compiler:
            deepspeed.ops.__compatible_ops__ = {}  # or it compiles one for its collectives
        config = pretrain_deepspeed.complete(
            self.spec.deepspeed, self.order.batch, steps=self.steps, bf16=self.gpu and torch.cuda.is_bf16_supported(),
            compiler=compiler, folder=self.run.folder,
        )  # fmt: skip
        self.dtype, self.tokenizer = dtype_of(config), tokenizer
        model = load_model(base, tokenizer, config, self.spec)
        self.engine: DeepSpeedEngine = deepspeed.initialize(
            model=model, model_parameters=list(model.parameters()), config=config
        )[0]
        if checkpoint := self.checkpoints.last():
            self._go_on(checkpoint)
        if self.first:
            metrics_until(self.run.metrics, self.position.step)
        self.counted = self.position.step, self.engine.skipped_steps

    def _go_on(self, checkpoint: Path) -> None:
        position = Position.read(checkpoint)
        if position.workers != dist.get_world_size():
            raise TrainingError(
                f"the run's checkpoint {checkpoint.name} is of {position.workers} workers, not {dist.get_world_size()}",
                cure=f"Set gpus (on CPUs workers) to {position.workers} in {self.run.folder}/job.json, and resume it.",
            )
        self.engine.load_checkpoint(str(checkpoint.parent), tag=checkpoint.name)
        if not self.first:  # which alone has what was counted since the last line of metrics
            position = position._replace(loss=0.0, targets=0)
        self.position = position

    def train(self) -> None:
        """Do the remaining steps, with metrics and checkpoints."""
        keys = self.spec.training
        self.began = time.monotonic() - self.position.seconds
        epoch, order = -1, self.order.epoch(0, 0)
        while self.position.step < self.steps:
            at, within = divmod(self.position.step, self.steps_per_epoch)
            if at != epoch:
                epoch, order = at, self.order.epoch(at, len(self.stream))
            learning_rate = self.engine.get_lr()[0]
            self._step(self.order.step(order, within))
            step = self.position.step
            end = step == self.steps
            epoch_ends = end or step % self.steps_per_epoch == 0
            saves = epoch_ends or (keys.save_steps and step % keys.save_steps == 0)
            logs = end or step % keys.logging_steps == 0
            if logs or saves:
                self._gather()
            if logs:
                self._log(learning_rate)
            if saves:
                self._save(f"Epoch-{at + 1}" if epoch_ends else f"Step-{step}")

    def _step(self, batches: list[list[int]]) -> None:
        """One step of the optimizer; every target of all workers weighs the same in it."""
        # What is random in a step, such as dropout, follows from its number: so a resumed run repeats it.
        torch.manual_seed(hash((self.spec.seed, self.position.step, dist.get_rank())))
        arrays = [self.stream.batch(blocks, self.order.batch.micro) for blocks in batches]
        count = sum(int((targets != IGNORED).sum()) for _, targets in arrays)
        device = self.engine.device
        whole = torch.tensor(count, device=device)
        dist.all_reduce(whole)
        # DeepSpeed takes the mean over workers and micro-batches: this makes a mean over targets of it.
        scale = dist.get_world_size() * len(arrays) / max(1, int(whole))
        learned = torch.zeros((), device=device)
        for inputs, targets in arrays:
            logits = self.engine(input_ids=torch.from_numpy(inputs).to(device), use_cache=False).logits
            aims = torch.from_numpy(targets).to(device).flatten()
            loss = functional.cross_entropy(
                logits.flatten(0, 1).float(), aims, ignore_index=IGNORED, reduction="sum"
            )  # fmt: skip
            learned += loss.detach()
            self.engine.backward(loss * scale)
            self.engine.step()
        position = self.position
        self.position = position._replace(
            step=position.step + 1, tokens=position.tokens + int(whole), targets=position.targets + count,
            loss=position.loss + learned.item(),
        )  # fmt: skip

    def _gather(self) -> None:
        """Bring what all workers counted to the first one, and see that the loss is a number."""
        position = self.position
        counted = torch.tensor([position.loss, position.targets], dtype=torch.float64, device=self.engine.device)
        dist.all_reduce(counted)
        loss, targets = counted.tolist()
        if not math.isfinite(loss):
            raise TrainingError(f"the loss became {loss} at step {position.step}", cure=_LOWER)
        (step, skipped), self.counted = self.counted, (position.step, self.engine.skipped_steps)
        # DeepSpeed does not step where a gradient is not a number. With fp16 it does so to find its loss scale.
        if self.dtype != torch.float16 and self.engine.skipped_steps - skipped >= position.step - step:
            raise TrainingError(f"the gradients became no numbers before step {position.step}", cure=_LOWER)
        mine = (loss, int(targets)) if self.first else (0.0, 0)
        seconds = time.monotonic() - self.began
        self.position = position._replace(loss=mine[0], targets=mine[1], seconds=seconds)

    def _log(self, learning_rate: float) -> None:
        position = self.position
        self.position = position._replace(loss=0.0, targets=0)
        if not self.first:
            return
        progress = Progress(
            step=position.step,
            total_steps=self.steps,
            epoch=round(position.step / self.steps_per_epoch, 4),
            loss=position.loss / max(1, position.targets),
            learning_rate=learning_rate,
            tokens=position.tokens,
            tokens_per_second=round(position.tokens / position.seconds, 1),
            seconds=round(position.seconds, 3),
            memory=memory(),
        )
        with self.run.metrics.open("a") as file:
            file.write(json.dumps(asdict(progress)) + "\n")

    def _save(self, name: str) -> None:
        started = time.monotonic()
        beside = self.run.folder / "work" / "checkpoint"
        self.engine.save_checkpoint(str(beside), tag=name, save_latest=False)
        dist.barrier()
        if self.first:
            # So the checkpoint says itself what model it is of.
            self.engine.module.config.save_pretrained(beside / name)
            self.tokenizer.save_pretrained(beside / name)
            self.position.write(beside / name)
            self.checkpoints.take(beside / name)
        dist.barrier()
        self.began += time.monotonic() - started  # the steps alone are timed

    def summary(self) -> dict[str, Any]:
        """The record's figures of the finished run; in the first worker."""
        return {
            "steps": self.steps,
            "total_steps": self.steps,
            "epochs": round(self.steps / self.steps_per_epoch, 4),
            "loss": read_metrics(self.run.metrics)[0][-1].loss,
            "tokens": self.position.tokens,
            "train_seconds": round(self.position.seconds, 3),
        }


_LOWER = "Lower the learning rate (`sfft.float.learning_rate`, or lr in deepspeedConfig)."


def dtype_of(config: pretrain_deepspeed.Config) -> torch.dtype:
    """The numbers that the model computes with."""
    if {**config.get("bfloat16", {}), **config.get("bf16", {})}.get("enabled"):
        return torch.bfloat16
    return torch.float16 if config.get("fp16", {}).get("enabled") else torch.float32


def load_model(
    base: Path, tokenizer: PreTrainedTokenizerBase, config: pretrain_deepspeed.Config, spec: PretrainSpec
) -> PreTrainedModel:
    """The model of `base` with room for every token; under ZeRO-3 each worker holds its part from the start."""
    from transformers import AutoModelForCausalLM
    from transformers.integrations.deepspeed import HfDeepSpeedConfig

    # Transformers looks for this object while it loads, and only while it lives.
    stage = config.get("zero_optimization", {}).get("stage", 0)
    sharing = HfDeepSpeedConfig(config) if stage == 3 else None  # type: ignore[no-untyped-call]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype_of(config))
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    del sharing
    if spec.training.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model
