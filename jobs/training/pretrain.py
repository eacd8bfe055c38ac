"""Pretraining on a table of texts, from its first check to the model folder, on a Ray that is already running.

    spec = PretrainSpec.from_options(options)
    run = new_run(spec, settings.home)              # its folder; the session writes the table to run.data
    run = pretrain(spec, run, on_progress=print)
    run.model                                       # a Hugging Face folder

The work is in `pretrain_worker` and `pretrain_loop`; what a record, a launch or a resumed run is, is as in `sft`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from sqlllm.errors import OptionError, TrainingError
from sqlllm.jobs.runs import RunRecord, noted

from . import pretrain_blocks, pretrain_deepspeed
from .launch import Resources, launch
from .pretrain_checkpoints import Checkpoints
from .pretrain_spec import PretrainSpec
from .progress import Progress, following


def new_run(spec: PretrainSpec, home: Path) -> RunRecord:
    """Take a fresh folder for the run: `localPathPrefix`, or `runs` in `home`, and the run's name."""
    return RunRecord.create(
        spec.local_path_prefix or home / "runs",
        spec.name,
        kind="sfft",
        base=str(spec.local_model_dir or ""),
        seed=spec.seed,
        options=spec.options,
        listed=home / "runs",
    )


def pretrain(
    spec: PretrainSpec,
    run: RunRecord,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    resources: Resources | None = None,
    resume: bool = False,
) -> RunRecord:
    """Train on the texts in `run.data`, or in `localDataDir`, and return the record of the finished run.

    `resume` goes on from the last whole checkpoint of a run that has ended without a model, if it has one: with one
    worker on the same machine to the same weights, bit for bit. Otherwise what is there is cleared.
    Blocks until the end; `on_progress` is called meanwhile, from another thread. TrainingError reports why there is no
    model; the record then says failed. Ctrl-C ends the workers, records cancelled and goes on as KeyboardInterrupt.
    """
    folder = run.folder / "finetune_model"
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
        run.metrics.unlink(missing_ok=True)
    try:
        with noted(run):
            resources = resources or Resources()
            _check(spec, run, resources.num_workers)
            run = run.update(state="running", reason="")
            with following(run.metrics, on_progress):
                _launch(spec, run, resources)
            summary = json.loads((folder / "train_results.json").read_text())
            return RunRecord.read(run.folder).finish("succeeded", model=folder / "final", **summary)
    finally:
        shutil.rmtree(run.folder / "work", ignore_errors=True)


def _check(spec: PretrainSpec, run: RunRecord, workers: int) -> None:
    """Check what can be checked before anything starts."""
    sources = pretrain_blocks.sources(spec.local_data_dir or run.data)
    if not sources:
        raise TrainingError("the training table has no rows", cure="Check the select that makes it.")
    if sources[0].suffix == ".parquet":
        import pyarrow.parquet as pq

        pretrain_blocks.text_column(pq.read_schema(sources[0]).names)
    if spec.keep_partition_num and len(sources) % workers:
        raise OptionError(
            f"keepPartitionNum: {len(sources)} partitions cannot be shared out among {workers} workers",
            cure='Repartition the table (run t as TableRepartition.`` where partitionNum="N"), or change num_gpus.',
            key="keepPartitionNum",
        )
    pretrain_deepspeed.batch(spec.deepspeed, workers)


def _launch(spec: PretrainSpec, run: RunRecord, resources: Resources) -> None:
    from .pretrain_worker import train

    checkpoints = Checkpoints(run.folder / "finetune_model")
    launch(train, {"spec": spec}, run, resources, last_checkpoint=checkpoints.last)
