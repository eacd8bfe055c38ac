"""Pretraining against the script that one would write with Transformers and DeepSpeed: the same texts, model and steps.

Both run as processes of their own, in turns; start-up and saving are shown apart.
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

from tests.tiny import make_tiny_model

from . import report

LENGTH, BATCH, STEPS, ROUNDS = 256, 8, 40, 3
CONFIG = {
    "train_micro_batch_size_per_gpu": BATCH,
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "betas": [0.9, 0.95], "weight_decay": 0.1}},
    "zero_optimization": {"stage": 2},
    "gradient_clipping": 1.0,
}


def figures() -> dict[str, float]:
    """`pretrain_vs_plain`: our tokens per second over the plain script's, the median of the rounds."""
    with tempfile.TemporaryDirectory() as folder:
        _make(Path(folder))
        found: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
        for number in range(ROUNDS):
            for name in ("ours", "plain") if number % 2 == 0 else ("plain", "ours"):
                found[name].append(_run(name, folder))
    rates = {name: [one["tokens_per_second"] for one in rounds] for name, rounds in found.items()}
    around = {name: min(one["around"] for one in rounds) for name, rounds in found.items()}
    return {
        "pretrain_vs_plain": report.median_ratio(rates["ours"], rates["plain"]),
        "pretrain_tokens_per_second": max(rates["ours"]),
        "plain_tokens_per_second": max(rates["plain"]),
        "pretrain_startup_and_saving": around["ours"],
        "plain_startup": around["plain"],
    }


def _make(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    make_tiny_model(folder / "model", hidden=256, layers=4)
    texts = [f"{n} plus {n % 97} is {n + n % 97}, and a fox jumps over {n % 13} dogs. " * 8 for n in range(1500)]
    (folder / "data").mkdir()
    pq.write_table(pa.table({"text": texts}), folder / "data" / "texts.parquet")


def _run(name: str, folder: str) -> dict[str, float]:
    started = time.perf_counter()
    threads = str(os.cpu_count() or 1)
    shown = subprocess.run(
        [sys.executable, "-m", "bench._pretrain", name, folder], check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    figures: dict[str, float] = json.loads(shown.stdout.splitlines()[-1])
    figures["around"] = time.perf_counter() - started - figures["seconds"]
    return figures


def ours(folder: Path) -> dict[str, float]:
    from sqlllm.jobs import cluster
    from sqlllm.jobs.training import pretrain
    from sqlllm.jobs.training.pretrain_spec import PretrainSpec
    from sqlllm.settings import RaySettings

    spec = PretrainSpec.from_options(
        {
            "localModelDir": str(folder / "model"),
            "deepspeedConfig": json.dumps(CONFIG),
            "sfft.int.max_length": str(LENGTH),
            "sfft.int.max_steps": str(STEPS),
        }
    )
    run = pretrain.new_run(spec, folder)
    run.data.symlink_to(folder / "data")
    cluster.start(RaySettings())
    run = pretrain.pretrain(spec, run)
    cluster.stop()
    return {"tokens_per_second": run.tokens / run.train_seconds, "seconds": run.train_seconds}


def plain(folder: Path) -> dict[str, float]:
    import deepspeed
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    os.environ.setdefault("MASTER_PORT", "29533")
    deepspeed.ops.__compatible_ops__ = {}  # no compiler on either side
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    table = load_dataset("parquet", data_files=str(folder / "data" / "*.parquet"), split="train", cache_dir=str(folder))

    def pack(rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        ids = [token for text in rows["text"] for token in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
        return {"input_ids": [ids[at : at + LENGTH] for at in range(0, len(ids) - LENGTH + 1, LENGTH)]}

    blocks = table.map(pack, batched=True, remove_columns=["text"]).with_format("torch")
    loader = torch.utils.data.DataLoader(blocks, batch_size=BATCH, shuffle=True)
    config: dict[str, Any] = {**CONFIG, "zero_force_ds_cpu_optimizer": False}
    config["optimizer"] = {"type": "AdamW", "params": {**CONFIG["optimizer"]["params"], "torch_adam": True}}  # type: ignore[index]
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    engine = deepspeed.initialize(model=model, model_parameters=list(model.parameters()), config=config)[0]
    batches = iter(loader)
    started = time.perf_counter()
    for _ in range(STEPS):
        ids = next(batches)["input_ids"]
        engine.backward(engine(input_ids=ids, labels=ids).loss)
        engine.step()
    seconds = time.perf_counter() - started
    return {"tokens_per_second": STEPS * BATCH * LENGTH / seconds, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps({"ours": ours, "plain": plain}[sys.argv[1]](Path(sys.argv[2]))))
