"""The record of every run: one folder, one `run.json`.

The SQL table of runs, the command line and the console read these records and nothing else:

    for run in list_runs(settings.home / "runs"):
        print(run.name, run.state, run.loss)

A record is replaced as a whole, so a reader never meets half of one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sqlllm.errors import SetupError
from sqlllm.places import SECRET_KEY

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]

_FILE = "run.json"
_PACKAGES = ("sqlllm", "torch", "transformers", "trl", "peft", "ray")


class RunRecord(BaseModel):
    """One run as it stands; changes go through `update`, which writes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="the run's name; the folder has the same")
    kind: str = Field(description="what the run does: sft")
    state: State = Field("queued", description="queued, running, succeeded, failed or cancelled")
    folder: Path = Field(description="the run's folder")
    model: Path | None = Field(None, description="the model folder that `action=infer` takes; set on success")
    base: str = Field("", description="the model it started from; empty means from scratch")
    rows: int = Field(0, description="rows of the training table")
    examples: int = Field(0, description="answers learned from; a dialogue row holds several")
    truncated: int | None = Field(
        None, description="examples cut at max_length, or left out as their question alone fills it; unknown if packed"
    )
    steps: int = Field(0, description="optimizer steps done")
    total_steps: int = Field(0, description="optimizer steps planned")
    epochs: float = Field(0, description="passes over the table done")
    loss: float | None = Field(None, description="last logged training loss, per answer token")
    tokens: int = Field(0, description="tokens read in training, prompts included")
    started: datetime = Field(description="when the run was made, UTC")
    seconds: float = Field(0, description="from `started` to the end")
    train_seconds: float = Field(0, description="the optimizer steps alone, without start-up and saving")
    seed: int = Field(0, description="seed of weights and order")
    options: dict[str, str] = Field(default_factory=dict, description="the statement's options, secrets masked")
    versions: dict[str, str] = Field(default_factory=dict, description="versions of the packages that did it")
    reason: str = Field("", description="why it failed")

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
    ) -> Self:
        """Take a fresh folder under `root` and write the record there, queued.

        A name used before gets `-2`, `-3` and so on: no run overwrites another.
        """
        folder = _fresh_folder(root.expanduser().absolute(), name)
        run = cls(
            name=folder.name,
            kind=kind,
            folder=folder,
            base=base,
            seed=seed,
            started=datetime.now(UTC),
            options={key: "***" if SECRET_KEY.search(key) else value for key, value in (options or {}).items()},
            versions=_versions(),
        )
        run._write()
        return run

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The record in `folder`; SetupError if there is none or it cannot be read."""
        try:
            return cls.model_validate_json((folder / _FILE).read_bytes())
        except OSError as error:
            raise SetupError(f"no run in {folder}: {error.strerror}") from None
        except ValidationError as error:
            raise SetupError(f"{folder / _FILE} is no record of a run: {error.errors()[0]['msg']}") from None

    @property
    def data(self) -> Path:
        """Where the training table goes, as Parquet files."""
        return self.folder / "finetune_data"

    @property
    def metrics(self) -> Path:
        """One JSON line per log: step, loss, learning_rate, tokens, tokens_per_second, seconds."""
        return self.folder / "metrics.jsonl"

    def update(self, **fields: Any) -> Self:
        """The record with `fields` changed, written to its folder."""
        run = self.model_validate({**self.model_dump(), **fields})
        run._write()
        return run

    def finish(self, state: State, **fields: Any) -> Self:
        """The record in its last state, with the seconds it took."""
        return self.update(state=state, seconds=(datetime.now(UTC) - self.started).total_seconds(), **fields)

    def _write(self) -> None:
        beside = self.folder / f".{_FILE}.{os.getpid()}"
        beside.write_text(self.model_dump_json(indent=2))
        beside.replace(self.folder / _FILE)


def list_runs(root: Path) -> list[RunRecord]:
    """Every run under `root`, the oldest first."""
    runs = [RunRecord.read(path.parent) for path in root.expanduser().glob(f"*/{_FILE}")]
    return sorted(runs, key=lambda run: run.started)


def _fresh_folder(root: Path, name: str) -> Path:
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder, number = root / name, 1
        while True:
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
                folder = root / f"{name}-{number}"
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
