"""Fine-tuning on one table, from its first check to the model folder, on a Ray that is already running.

    spec = FinetuneSpec.from_options(options)
    run = new_run(spec, settings.home)              # its folder; the session writes the table to run.data
    run = finetune(spec, run, on_progress=print)
    run.model                                       # a Hugging Face folder

The work is in `worker.train`; here is what surrounds it: the record, the processes, the progress, the failure.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sqlllm.errors import OptionError, TrainingError
from sqlllm.jobs.runs import RunRecord, noted

from . import checkpoints, dpo, formats, resumed, template, tokens
from .launch import Resources, launch
from .progress import Progress, following
from .spec import FinetuneSpec

_LOG = logging.getLogger("sqlllm.run")


def new_run(spec: FinetuneSpec, home: Path) -> RunRecord:
    """Take a fresh folder for the run: `localPathPrefix`, or `runs` in `home`, and the run's name."""
    return RunRecord.create(
        spec.local_path_prefix or home / "runs",
        spec.name,
        kind=spec.kind,
        base=str(spec.local_model_dir or ""),
        seed=spec.training["seed"],
        options=spec.options,
        listed=home / "runs",
    )


def finetune(
    spec: FinetuneSpec,
    run: RunRecord,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    resources: Resources | None = None,
    resume: bool = False,
) -> RunRecord:
    """Train on the Parquet files in `run.data` and return the record of the finished run.

    `resume` goes on from the last whole checkpoint of a run that has ended without a model, if it has one: with one
    worker on the same machine to the same weights, bit for bit. Otherwise what is there is cleared.
    Blocks until the end; `on_progress` is called meanwhile, from another thread. TrainingError reports why there is no
    model; the record then says failed. Ctrl-C ends the workers, records cancelled and goes on as KeyboardInterrupt.
    """
    folder = run.folder / "finetune_model"
    if not resume:
        checkpoints.drop(folder)
        run.metrics.unlink(missing_ok=True)
    try:
        with noted(run):
            resources = resources or Resources()
            if "fsdp_config" in spec.training and resources.num_workers == 1 and not resources.use_gpu:
                raise OptionError(
                    "FSDP shares weights out over workers, and this run has one",
                    cure='Ask for more: !byzerllm setup "num_workers=2";',
                    key=f"{spec.kind}.dict.fsdp_config",
                )
            known = dpo.FORMATS if spec.kind == "dpo" else formats.FORMATS
            table = formats.check(run.data, known)
            if formats.files(run.eval_data):
                formats.check(run.eval_data, known, table="evalTable", key="evalTable")
            _check_template(spec, table)
            run = run.update(state="running", rows=table.rows, examples=table.examples)
            with following(run.metrics, on_progress):
                _fit(spec, run, resources)
            summary = json.loads((folder / "train_results.json").read_text())
            if not spec.keeps_checkpoints:
                checkpoints.drop(folder)
            return run.finish("succeeded", model=folder / "final", **summary)
    finally:
        shutil.rmtree(run.folder / "work", ignore_errors=True)


def _check_template(spec: FinetuneSpec, table: formats.Table) -> None:
    """Refuse rows that the model's chat template does not take, before a process starts.

    Plain questions and answers are known to every template: for them nothing is loaded here, which takes seconds.
    """
    if spec.local_model_dir and (table.shapes or spec.eos_token or spec.chat_template):
        from .worker import load_tokenizer

        tokenizer = load_tokenizer(spec.local_model_dir, spec)
        for _, example in table.shapes:
            tokens.check_template(tokenizer.chat_template, example)
        template.check(tokenizer, table.shapes, formats.LEARNED)


def _fit(spec: FinetuneSpec, run: RunRecord, resources: Resources) -> None:
    from .worker import train

    last_checkpoint = partial(checkpoints.last, run.folder / "finetune_model")
    while True:
        try:
            return launch(train, {"spec": spec}, run, resources, last_checkpoint=last_checkpoint)
        except TrainingError as error:
            smaller = resumed.halved(spec) if spec.on_oom and error.message.startswith("out of memory") else None
            if smaller is None:
                raise
            spec = smaller
            size = spec.training[resumed.BATCH]
            _LOG.warning("%s: memory ran out; it goes on with a batch of %d rows", run.name, size)
