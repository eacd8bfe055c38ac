"""The record of every run: one folder, one `run.json`.

The SQL table of runs, the command line and the console read these records and nothing else:

    for run in list_runs(settings.home / "runs"):
        print(run.name, run.state, run.loss)

A record is replaced as a whole, so a reader never sees half a record. It is right even for a process that can no longer
write: a run whose process is gone reads as interrupted.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sqlllm.errors import OptionError, RunError, SetupError, SQLLLMError, suggest
from sqlllm.places import SECRET_KEY

from .files import locked, write_whole
from .processes import Process

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]
ACTIVE = ("queued", "running")
STOPPED = "stopped by the user"
_CURES = {
    "queued": "Follow it, or cancel it first.",
    "running": "Follow it, or cancel it first.",
    "succeeded": "Its model is there: nothing is left to do.",
    "cancelled": "Resume it, or run its statement again.",
    "failed": "Resume it, or run its statement again.",
}

_LOG = logging.getLogger(__name__)
_FILE = "run.json"
_PACKAGES = ("sqlllm", "torch", "transformers", "trl", "peft", "deepspeed", "ray")
_BEAT = 20.0  # seconds between two signs of life of a running run
_SILENCE = 120.0  # seconds without one after which a run on another machine counts as interrupted


def _check_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise OptionError(
            f"name {name!r} is not a folder name", cure="Use letters, digits, `-`, `_` and `.`.", key="name"
        )
    return name


RunName = Annotated[str, AfterValidator(_check_name)]
"""A run's name in a statement: the name of a folder, and no path."""


class RunRecord(BaseModel):
    """One run as it stands; changes go through `update`, which writes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="the run's name; the folder has the same")
    kind: str = Field(description="what the run does: sft")
    state: State = Field("queued", description="queued, running, succeeded, failed, cancelled or interrupted")
    folder: Path = Field(description="the run's folder")
    model: Path | None = Field(None, description="the model folder that `action=infer` takes; set on success")
    base: str = Field("", description="the model it started from; empty means from scratch")
    rows: int = Field(0, description="rows of the training table")
    examples: int = Field(0, description="answers learned from; a dialogue row holds several")
    truncated: int | None = Field(None, description="examples whose answer is cut at max_length; unknown for dpo")
    dropped: int | None = Field(
        None, description="examples left out because their question alone fills max_length; unknown for dpo"
    )
    steps: int = Field(0, description="optimizer steps done")
    total_steps: int = Field(0, description="optimizer steps planned")
    epochs: float = Field(0, description="passes over the table done")
    loss: float | None = Field(None, description="last logged training loss, per answer token")
    eval_loss: float | None = Field(None, description="loss of the kept model on the rows held out")
    best_step: int | None = Field(None, description="step of the checkpoint that was kept as the best")
    tokens: int = Field(0, description="tokens read in training, prompts included")
    started: datetime = Field(description="when the run was made, UTC")
    seconds: float = Field(0, description="from `started` to the end")
    train_seconds: float = Field(0, description="the optimizer steps alone, without start-up and saving")
    seed: int = Field(0, description="seed of weights and order")
    options: dict[str, str] = Field(default_factory=dict, description="the statement's options, secrets masked")
    versions: dict[str, str] = Field(default_factory=dict, description="versions of the packages that did it")
    reason: str = Field("", description="why it failed, was cancelled or was interrupted, and what to do")
    fingerprint: str = Field("", description="of the training table's rows, whatever their order")
    parent: str = Field("", description="the run that made the model it started from")
    resumed: int = Field(0, description="how often it was resumed")
    process: Process | None = Field(None, description="the process that the run lives in")
    submission: str = Field("", description="Ray's submission id, if it runs as a job of a cluster")

    @classmethod
    def create(
        cls,
        root: Path,
        name: str,
        *,
        kind: str,
        base: str = "",
        seed: int = 0,
        options: Mapping[str, str] | None = None,
        listed: Path | None = None,
    ) -> Self:
        """Take a fresh folder under `root` and write the record there, queued.

        A name used before gets `-2`, `-3` and so on: no run overwrites another. A folder outside `listed`, where
        `list_runs` looks, is linked from there.
        """
        folder = _fresh_folder(root.expanduser().absolute(), name, listed and listed.expanduser().absolute())
        run = cls(
            name=folder.name,
            kind=kind,
            folder=folder,
            base=base,
            parent=_maker(base),
            process=Process.current(),
            seed=seed,
            started=datetime.now(UTC),
            options={key: "***" if SECRET_KEY.search(key) else value for key, value in (options or {}).items()},
            versions=_versions(),
        )
        run._write()
        return run

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The record in `folder`, as far as its last logged step; SetupError if there is none or it cannot be read.

        A run that says it is under way reads as interrupted if its process is gone.
        """
        path = folder / _FILE
        try:
            run, written = cls.model_validate_json(path.read_bytes()), path.stat().st_mtime
        except OSError as error:
            raise SetupError(f"no run in {folder}: {error.strerror}") from None
        except ValidationError as error:
            raise SetupError(f"{path} is not a record of a run: {error.errors()[0]['msg']}") from None
        return run._seen(written)

    @property
    def data(self) -> Path:
        """Where the training table goes, as Parquet files."""
        return self.folder / "finetune_data"

    @property
    def eval_data(self) -> Path:
        """Where the table goes that is measured on and not learned from, if there is one."""
        return self.folder / "eval_data"

    @property
    def metrics(self) -> Path:
        """One JSON line per log: step, loss, learning_rate, tokens, tokens_per_second, seconds."""
        return self.folder / "metrics.jsonl"

    def update(self, *, among: Collection[State] = (), **fields: Any) -> Self:
        """The record with `fields` changed, written to its folder: the one place where a run's state moves.

        It is read, changed and written under a lock, so two processes never lose what the other one wrote.

        Raises: RunError if `among` names the states that the run may be in, and it is in another one.
        """
        with locked(self.folder.resolve().parent / ".cache" / "locks" / f"{self.folder.name}.lock"):
            stored = self._stored()
            now = stored._seen(self._written())
            if among and now.state not in among:
                raise RunError(f"run {self.name} is {now.state}", cure=_CURES.get(now.state, "See its reason."))
            run = self.model_validate({**stored.model_dump(), **fields})
            run._write()
        return run

    def finish(self, state: State, **fields: Any) -> Self:
        """The record in its last state, with the seconds it took; RunError if the run is no longer under way."""
        seconds = (datetime.now(UTC) - self.started).total_seconds()
        return self.update(among=("queued", "running", "interrupted"), state=state, seconds=seconds, **fields)

    def end(self, state: State, reason: str) -> Self:
        """The record, finished so unless it has ended already in another way."""
        try:
            return self.finish(state, reason=reason)
        except RunError:
            return self.read(self.folder)

    def _stored(self) -> Self:
        try:
            return self.model_validate_json((self.folder / _FILE).read_bytes())
        except (OSError, ValidationError):  # not there yet, or damaged: this process knows it
            return self

    def _written(self) -> float:
        try:
            return (self.folder / _FILE).stat().st_mtime
        except OSError:
            return time.time()

    @property
    def log(self) -> Path:
        """What a detached run writes: its steps, and the stack of an error that nobody foresaw."""
        return self.folder / "run.log"

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Touch the record every 20 s until the block ends: those on other machines cannot see the process."""
        ended = Event()

        def beat() -> None:
            while not ended.wait(_BEAT):
                with suppress(OSError):  # a file system that hangs for a moment, or a folder that is removed
                    os.utime(self.folder / _FILE)

        thread = Thread(target=beat, name="run-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _seen(self, written: float) -> Self:
        """The record as it stands, of a file that was last touched at `written`."""
        if self.state not in ACTIVE:
            return self
        seen: dict[str, Any] = self._last_logged() if self.state == "running" else {}
        if not self._lives(written):
            seen |= {"state": "interrupted", "reason": "its process is gone: killed, or the machine stopped"}
        return self.model_copy(update=seen)

    def _lives(self, written: float) -> bool:
        if self.process is not None and self.process.here:
            return self.process.alive
        # A queued run on another machine, or of a cluster, says nothing until its turn, which may come late.
        waits = self.state == "queued" and (self.process is not None or bool(self.submission))
        return waits or time.time() - written < _SILENCE

    def _last_logged(self) -> dict[str, Any]:
        """How far it is, by the last whole line of its metrics."""
        try:
            with self.metrics.open("rb") as file:
                file.seek(max(0, self.metrics.stat().st_size - 4096))
                lines = file.read().split(b"\n")[:-1]
        except OSError:
            return {}
        for line in reversed(lines):
            if b'"loss"' in line and line.startswith(b"{"):  # the first of the lines may be cut
                logged = json.loads(line)
                known = ("total_steps", "loss", "tokens")
                return {"steps": logged["step"]} | {key: logged[key] for key in known if key in logged}
        return {}

    def _write(self) -> None:
        path, text = self.folder / _FILE, self.model_dump_json(indent=2)
        try:
            write_whole(path, text)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # The disk is full: what the run has half made goes, so that the record can say so.
            for half_made in (self.folder / "work", self.data / "_temporary", *self.folder.glob("*/.*.part")):
                shutil.rmtree(half_made, ignore_errors=True)
            write_whole(path, text)


def why(error: BaseException) -> str:
    """The error that ended a run, in one line: what it was, and what to do."""
    if isinstance(error, SQLLLMError):
        return f"{error.message.rstrip('.')}. {error.cure}" if error.cure else error.message
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


@contextmanager
def noted(run: RunRecord) -> Iterator[None]:
    """Have the record say how the block failed, unless it says so already: cancelled by Ctrl-C, or failed and why."""
    try:
        yield
    except KeyboardInterrupt:
        run.end("cancelled", STOPPED)
        raise
    except BaseException as error:
        run.end("failed", why(error))
        raise


def list_runs(root: Path) -> list[RunRecord]:
    """Every run under `root`, the oldest first; a record that cannot be read is reported and left out."""
    runs = []
    for path in root.expanduser().glob(f"*/{_FILE}"):
        try:
            runs.append(RunRecord.read(path.parent))
        except SetupError as error:
            if path.exists():  # else it was removed meanwhile
                _warn(error.message)
    return sorted(runs, key=lambda run: run.started)


@cache
def _warn(text: str) -> None:
    """Once: who watches the runs lists them every second."""
    _LOG.warning("%s; it is left out", text)


def find_run(root: Path, name: str) -> RunRecord:
    """The run of that name under `root`; RunError with the nearest one if there is none."""
    if name and "/" not in name and (root.expanduser() / name / _FILE).exists():
        return RunRecord.read(root.expanduser() / name)
    known = [run.name for run in list_runs(root)]
    raise RunError(f"there is no run {name}", cure=suggest(name, known, what="runs") if known else "There is none yet.")


def _maker(base: str) -> str:
    """The name of the run whose result `base` is; empty if none made it."""
    for folder in Path(base).parents if base else ():
        if (folder / _FILE).is_file():
            with suppress(SetupError):  # another program's
                return RunRecord.read(folder).name
    return ""


def _fresh_folder(root: Path, name: str, listed: Path | None) -> Path:
    try:
        root.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            folder = root / (name if number == 1 else f"{name}-{number}")
            number += 1
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            if listed is None or listed == root:
                return folder
            listed.mkdir(parents=True, exist_ok=True)
            try:
                (listed / folder.name).symlink_to(folder)
            except FileExistsError:
                folder.rmdir()
            else:
                return folder
    except OSError as error:
        raise SetupError(
            f"cannot make the run's folder {root / name}: {error.strerror}", cure="Choose another localPathPrefix."
        ) from None


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
