"""Training through our runs against the plain scripts: `python -m bench.training`.

Each side is a process of its own with the same rows, model, settings and threads. What counts is tokens per second over
the steps; start-up, in which ours has Ray, is shown apart. The sides take turns, and the median of the rounds' ratios
counts, for the machine is shared: what else runs on it is shown as its load.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import _pretrain, report

STEPS, BATCH, ROUNDS = 60, 16, 3
SHAPE = {"hidden": 256, "layers": 4}
OPTIONS = {
    "sft.bool.use_peft": "false", "sft.int.max_steps": str(STEPS), "sft.int.per_device_train_batch_size": str(BATCH),
    "sft.int.gradient_accumulation_steps": "1", "sft.str.save_strategy": "no", "sft.int.logging_steps": "20",
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    """Questions and answers of about 60 tokens."""
    return [
        {"prompt": f"What is {a} times {b}, and what is the capital of France? Answer with one sentence, please.",
         "completion": f"{a} times {b} is {a * b}, and the capital of France is Paris."}
        for a in range(40) for b in range(25)
    ]  # fmt: skip


def main() -> None:
    # The same on both sides, and what our runs set for themselves.
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory() as home:
        from tests.tiny import make_tiny_model

        make_tiny_model(Path(home, "base"), **SHAPE)
        sides: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
        for number in range(ROUNDS):
            for side in ("ours", "plain") if number % 2 == 0 else ("plain", "ours"):
                sides[side].append(_child(side, home))
    columns = ("sft", "round", "tokens/s", "seconds of steps", "start-up and saving", "last loss", "load")
    table = [
        (
            name,
            number,
            one["tokens_per_second"],
            one["seconds"],
            one["whole"] - one["seconds"],
            one["loss"],
            one["load"],
        )
        for side, name in (("ours", "run ... as LLM"), ("plain", "plain TRL script"))
        for number, one in enumerate(sides[side], 1)
    ]
    report.table(f"Fine-tuning, {STEPS} steps of {BATCH} rows", columns, table)
    figures = _pretrain.figures()
    report.table("Pretraining", ("figure", "value"), [*figures.items()])
    ratio = report.median_ratio(*([one["tokens_per_second"] for one in sides[side]] for side in ("ours", "plain")))
    report.last_line({"sft_vs_trl": round(ratio, 3), **{name: round(value, 3) for name, value in figures.items()}})


def ours(home: Path) -> dict[str, float]:
    """A run as the session does it, its Ray included."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sqlllm.jobs import cluster
    from sqlllm.jobs.training import FinetuneSpec, finetune, new_run
    from sqlllm.settings import RaySettings

    cluster.start(RaySettings())
    spec = FinetuneSpec.from_options({"name": "bench", "localModelDir": str(home / "base"), **OPTIONS})
    run = new_run(spec, home)
    run.data.mkdir()
    pq.write_table(pa.Table.from_pylist(rows()), run.data / "rows.parquet")
    run = finetune(spec, run)
    cluster.stop()
    return {"tokens": run.tokens, "seconds": run.train_seconds, "loss": run.loss or 0.0}


def plain(home: Path) -> dict[str, float]:
    """What a TRL script does: load, train, save."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    def message(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    table = [
        {"prompt": message("user", row["prompt"]), "completion": message("assistant", row["completion"])}
        for row in rows()
    ]
    trainer: Any = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(home / "base"),
        args=SFTConfig(
            max_steps=STEPS, per_device_train_batch_size=BATCH, gradient_accumulation_steps=1, learning_rate=2e-5,
            lr_scheduler_type="cosine", warmup_steps=0.05, weight_decay=0.0, max_length=1024, logging_steps=20,
            save_strategy="no", gradient_checkpointing=False, seed=42, bf16=False, use_cpu=True, report_to="none",
            dataloader_pin_memory=False, disable_tqdm=True, output_dir=str(home / "plain"),
        ),
        train_dataset=Dataset.from_list(table),
        processing_class=AutoTokenizer.from_pretrained(home / "base"),
    )  # fmt: skip
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    trainer.save_model(str(home / "plain" / "final"))
    last = next(log for log in reversed(trainer.state.log_history) if "loss" in log)
    return {"tokens": last["num_tokens"], "seconds": seconds, "loss": last["loss"]}


def _child(side: str, home: str) -> dict[str, float]:
    started = time.perf_counter()
    shown = subprocess.run(
        [sys.executable, "-m", "bench.training", side, home], check=True, stdout=subprocess.PIPE, text=True
    )
    figures: dict[str, float] = json.loads(shown.stdout.splitlines()[-1])
    figures["tokens_per_second"] = figures["tokens"] / figures["seconds"]
    return figures | {"whole": time.perf_counter() - started, "load": os.getloadavg()[0]}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.environ["HF_HUB_OFFLINE"] = "1"
        print(json.dumps({"ours": ours, "plain": plain}[sys.argv[1]](Path(sys.argv[2]))))
    else:
        main()
