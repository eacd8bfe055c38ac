"""One conversion, from its options to the model it writes, on a Ray that is already running.

    spec = ConvertSpec.from_options(options)
    run = convert(spec, new_run(spec, settings.home))
    run.model                                       # spec.save_path

The model is loaded in a worker of Ray, on the CPU, so it takes as much memory as its weights and gives it back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import ModelError
from sqlllm.jobs.runs import RunRecord, noted
from sqlllm.jobs.training.launch import Resources, launch

from . import adapters
from .spec import ConvertSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def new_run(spec: ConvertSpec, home: Path) -> RunRecord:
    """Take a fresh folder for the run's record: `localPathPrefix`, or `runs` in `home`, and the run's name."""
    return RunRecord.create(
        spec.local_path_prefix or home / "runs",
        spec.name,
        kind=spec.kind,
        base=str(spec.base or spec.checkpoint or ""),
        options=spec.options,
        listed=home / "runs",
    )


def convert(
    spec: ConvertSpec,
    run: RunRecord,
    *,
    on_progress: object = None,
    resources: Resources | None = None,
    resume: bool = False,
) -> RunRecord:
    """Write the model to `spec.save_path`, and return the record of the finished run.

    Nothing is at `save_path` before it is whole. TrainingError reports why there is no model; the record is then
    failed. A conversion has no steps to show and begins afresh when it is resumed.
    """
    del on_progress, resources, resume  # as every kind of run takes them
    try:
        with noted(run):
            run = run.update(state="running")
            launch(_work, {"spec": spec}, run, Resources())
            return run.finish("succeeded", model=spec.save_path)
    finally:
        shutil.rmtree(run.folder / "work", ignore_errors=True)


def _work(config: dict[str, Any]) -> None:
    """Runs in the worker."""
    write(config["spec"])


def write(spec: ConvertSpec) -> None:
    """Load the source and write the result, here."""
    model, tokenizer = load(spec)
    with beside(spec.save_path) as to:
        if spec.format == "gguf":
            from . import gguf_file

            gguf_file.write(model, tokenizer, to, dtype=spec.dtype, quantization=spec.quantization)
        elif spec.quantization:
            from . import bits

            bits.save(model, tokenizer, to, spec.quantization, spec.max_shard_size)
        else:
            model.save_pretrained(to, max_shard_size=spec.max_shard_size)
            tokenizer.save_pretrained(to)


def load(spec: ConvertSpec) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model that the source makes, in `spec.dtype`, and its tokenizer."""
    import torch
    from transformers import AutoTokenizer

    if spec.source == "deepspeed":
        from . import zero

        checkpoint = spec.checkpoint_folder
        model, home = zero.load(checkpoint, spec.model), zero.home(checkpoint, spec.model)
        stored = zero.dtype(home)
    else:
        from transformers import AutoModelForCausalLM

        assert spec.base is not None
        model, home = AutoModelForCausalLM.from_pretrained(spec.base, dtype="auto"), spec.base
        stored = model.dtype
        if spec.adapter:
            # Summed with all digits: a small adapter gets lost in 16 bits.
            model = adapters.merged(model.to(dtype=torch.float32), spec.adapter)  # type: ignore[call-arg]
            home = spec.adapter if (spec.adapter / "tokenizer_config.json").is_file() else home
    tokenizer = AutoTokenizer.from_pretrained(home)
    wanted = stored if spec.dtype == "auto" else getattr(torch, spec.dtype)
    return model.to(dtype=wanted), tokenizer  # type: ignore[call-arg]


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A folder or file to write that becomes `path` only when the block ends well."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        if path.exists():
            raise ModelError(f"{path} was made meanwhile", cure="Nothing is overwritten: name another savePath.")
        part.rename(path)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)
