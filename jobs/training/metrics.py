"""The trainer's logs, one JSON line for each logged step, and its checkpoints' marks. For workers only."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import rotate_checkpoints
from typing_extensions import override

from sqlllm.errors import TrainingError

from . import checkpoints, ranks
from .progress import Progress, memory, metrics_until


class Pace(TrainerCallback):
    """Has a resumed run take its own learning rate, where its checkpoint has the one before."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        scheduler: Any = kwargs.get("lr_scheduler")
        scheduler = getattr(scheduler, "scheduler", scheduler)  # Accelerate's holds PyTorch's
        groups = getattr(kwargs.get("optimizer"), "param_groups", [])
        known = getattr(scheduler, "base_lrs", None)
        if not known or not groups or all(rate == self.learning_rate for rate in known):
            return
        for group, before in zip(groups, known, strict=True):
            group["lr"] *= self.learning_rate / before
            group["initial_lr"] = self.learning_rate
        scheduler.base_lrs = [self.learning_rate] * len(known)


class Metrics(TrainerCallback):
    """Appends each log to `path`, stops a run whose loss is not a number, and declares checkpoints whole.

    `keep` is how many checkpoints stay. A run that goes on `after` a checkpoint counts on from it.
    """

    def __init__(self, path: Path, *, keep: int | None = None, after: Path | None = None) -> None:
        self.path = path
        self.keep = keep
        self.start = checkpoints.read_mark(after) if after else checkpoints.Mark(0, 0, 0.0, finished=False)
        self.tokens = self.start.tokens
        self.began = 0.0
        self.held: Progress | None = None

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.began = time.monotonic() - self.start.seconds
        if state.is_world_process_zero:
            metrics_until(self.path, self.start.step)

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        # The last step is logged whatever logging_steps says; so is a checkpoint's, and the next mean begins there.
        control.should_log |= control.should_evaluate or control.should_save or state.global_step >= state.max_steps

    @override
    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_log |= control.should_evaluate or control.should_save

    @override
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at step {state.global_step}",
                cure="Lower `sft.float.learning_rate`, or raise `sft.float.warmup_steps`.",
            )
        seconds, read = time.monotonic() - self.began, int(logs["num_tokens"])
        self.tokens = self.start.tokens + read
        progress = Progress(
            step=state.global_step,
            total_steps=state.max_steps,
            epoch=round(state.epoch or 0.0, 4),
            loss=loss,
            learning_rate=float(logs["learning_rate"]),
            tokens=self.tokens,
            tokens_per_second=round(read / (seconds - self.start.seconds), 1),
            seconds=round(seconds, 3),
            memory=memory(),
            reward_margin=logs.get("rewards/margins"),
        )
        if control.should_evaluate:
            self.held = progress  # one line for each step: that of an evaluation waits for it
        elif state.is_world_process_zero:
            self._write(progress)

    @override
    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.held and metrics and state.is_world_process_zero:
            self._write(replace(self.held, eval_loss=metrics["eval_loss"]))
        self.held = None

    @override
    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        ranks.barrier()  # every worker writes a part of it
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir or "")
        where = checkpoints.Mark(
            state.global_step,
            self.tokens,
            round(time.monotonic() - self.began, 3),
            finished=control.should_training_stop,
        )
        checkpoints.mark(folder / f"checkpoint-{state.global_step}", where)
        # After the mark, not as the trainer does before it: one whole checkpoint is there at any time.
        rotate_checkpoints(str(folder), self.keep, state.best_model_checkpoint)

    def _write(self, progress: Progress) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(progress)) + "\n")
