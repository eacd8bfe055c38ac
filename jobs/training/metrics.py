"""The trainer's logs, one JSON line each, in the run's metrics file. Imports transformers: for workers only."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from sqlllm.errors import TrainingError

from .progress import Progress


class Metrics(TrainerCallback):
    """Appends each log to `path`, and stops a run whose loss is no number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.started = 0.0

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.started = time.monotonic()

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        # The last step is logged whatever logging_steps says.
        control.should_log = control.should_log or state.global_step >= state.max_steps

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
        if not state.is_world_process_zero:
            return
        seconds, tokens = time.monotonic() - self.started, int(logs["num_tokens"])
        progress = Progress(
            step=state.global_step,
            total_steps=state.max_steps,
            epoch=round(state.epoch or 0.0, 4),
            loss=loss,
            learning_rate=float(logs["learning_rate"]),
            tokens=tokens,
            tokens_per_second=round(tokens / seconds, 1),
            seconds=round(seconds, 3),
        )
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(progress)) + "\n")
