"""What a run does: `job.json` beside its record.

    job = Job.of(spec, settings)
    job.write(run)
    run = execute(run, on_progress=print)

With the record, the job and the table, any process can do the run, now or again: `execute` here, `detached.start` in a
process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sqlllm.errors import OptionError, RunError
from sqlllm.settings import RaySettings, Settings

from . import training
from .conversion import convert
from .conversion.spec import ConvertSpec
from .files import write_whole
from .lineage import fingerprint, write_card
from .processes import Process
from .runs import RunRecord, noted
from .training import Progress, Resources, checkpoints, pretrain, resumed
from .training.pretrain_checkpoints import Checkpoints
from .training.pretrain_spec import PretrainSpec
from .training.tensorboard import events

_FILE = "job.json"


class Kind(NamedTuple):
    """A kind of run: its options, its record, its work, and the last whole checkpoint in its model's folder."""

    spec: Any
    new_run: Callable[[Any, Path], RunRecord]
    work: Callable[..., RunRecord]
    last_checkpoint: Callable[[Path], Path | None] = lambda _: None


KINDS: dict[str, Kind] = {
    "sft": Kind(training.FinetuneSpec, training.new_run, training.finetune, checkpoints.last),
    "dpo": Kind(training.FinetuneSpec, training.new_run, training.finetune, checkpoints.last),
    "sfft": Kind(PretrainSpec, pretrain.new_run, pretrain.pretrain, lambda folder: Checkpoints(folder).last()),
    "convert": Kind(ConvertSpec, convert.new_run, convert.convert),
    "merge": Kind(ConvertSpec, convert.new_run, convert.convert),
}
"""By the record's `kind`; of a training, that is the first part of pretrainedModelType."""


def kind_of(options: Mapping[str, str]) -> Kind:
    """The kind that a statement's options ask for; an unknown kind is reported by the options' own check."""
    return KINDS.get(options.get("pretrainedModelType", "").strip().partition("/")[0], KINDS["sft"])


class Job(BaseModel):
    """All that a process must know besides the run's record and its table. It holds no secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: dict[str, Any] = Field(description="fields of the kind's specification")
    workers: int = Field(1, ge=1, description="processes that train together, where there are no GPUs")
    gpus: int | None = Field(None, ge=0, description="GPUs, each with a worker; unset takes one if there is one")
    cpus: float = Field(1, gt=0, description="Ray's logical CPUs that each worker reserves")
    ray: RaySettings = Field(default_factory=RaySettings, description="how to reach or start Ray")
    queue: Path = Field(description="folder where the detached runs of this machine wait for their turn")

    @classmethod
    def of(cls, spec: BaseModel, settings: Settings, **resources: Any) -> Self:
        """The job of `spec` under these settings; `resources` are workers, gpus and cpus."""
        queue = settings.home.expanduser().absolute() / "queue" / Process.current().host
        return cls(
            spec=spec.model_dump(mode="json", exclude={"options"}),
            ray=settings.ray.model_copy(),
            queue=queue,
            **{name: value for name, value in resources.items() if value is not None},
        )

    @classmethod
    def read(cls, run: RunRecord) -> Self:
        """The job of a run; RunError if its folder holds none."""
        try:
            return cls.model_validate_json((run.folder / _FILE).read_bytes())
        except (OSError, ValidationError):
            raise RunError(
                f"run {run.name} cannot be done again: {run.folder} holds no whole {_FILE}",
                cure="Run its statement again.",
            ) from None

    def write(self, run: RunRecord) -> None:
        """Write it to the run's folder."""
        write_whole(run.folder / _FILE, self.model_dump_json(indent=2))


def changed(run: RunRecord, options: Mapping[str, str]) -> Job:
    """The run's job with a resumption's own options; OptionError for one that it cannot take."""
    job = Job.read(run)
    if not options:
        return job
    if KINDS[run.kind].spec is not training.FinetuneSpec:
        option = next(iter(options))
        raise OptionError(
            f"{option} cannot change when a run of the kind {run.kind} is resumed", cure="Delete it.", key=option
        )
    spec = training.FinetuneSpec.model_validate(job.spec, by_name=True, by_alias=False)
    spec = resumed.changed(spec, options)
    return job.model_copy(update={"spec": spec.model_dump(mode="json", exclude={"options"})})


def last_checkpoint(run: RunRecord) -> Path | None:
    """The checkpoint that `resume` goes on from; None if it starts anew."""
    return KINDS[run.kind].last_checkpoint(run.folder / "finetune_model")


def execute(
    run: RunRecord, *, on_progress: Callable[[Progress], None] | None = None, resume: bool = False
) -> RunRecord:
    """Do the run's job on a Ray that is already running, and return the record of the finished run.

    `resume` goes on from its last checkpoint, if it has one. Raises what the kind's work raises; the record then says
    why. `on_progress` is called from another thread.
    """
    job, kind = Job.read(run), KINDS[run.kind]
    run = run.update(process=Process.current(), reason="")
    with noted(run), run.beating(), events(run.folder / "tensorboard", run.started.timestamp()) as note:

        def tell(progress: Progress) -> None:
            note(progress)
            if on_progress:
                on_progress(progress)

        run = run.update(fingerprint=run.fingerprint or fingerprint(run.data))
        run = kind.work(
            kind.spec.model_validate(job.spec, by_name=True, by_alias=False),
            run,
            on_progress=tell,
            resources=_resources(job),
            resume=resume,
        )
        if run.model is not None and run.steps:  # a conversion has none
            write_card(run)
        return run


def _resources(job: Job) -> Resources:
    gpus = 0
    if has_gpu():
        gpus = 1 if job.gpus is None else job.gpus
    return Resources(num_workers=gpus or job.workers, use_gpu=gpus > 0, cpus_per_worker=job.cpus)


def has_gpu() -> bool:
    """Whether the running Ray has a GPU."""
    import ray

    return "GPU" in ray.cluster_resources()  # type: ignore[no-untyped-call]
