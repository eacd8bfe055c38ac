"""The flags of commands that deploy models, on the command line or in a file, and the session that they run in."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sqlllm.console import progress
from sqlllm.errors import OptionError, PackageError, SetupError, suggest
from sqlllm.jobs import cluster
from sqlllm.session import Session
from sqlllm.session.llm.infer import deploy as deploy_options
from sqlllm.settings import Settings

_VARIABLE = re.compile(r"\s*ENV\s*\{\{\s*(\w+)\s*\}\}\s*")  # in a file: a value of the environment
# What the flags are called as options of a statement.
_OPTIONS = {
    "model": "udfName",
    "model_path": "localModelDir",
    "pretrained_model_type": "pretrainedModelType",
    "infer_backend": "inferBackend",
    "num_workers": "num_workers",
    "worker_concurrency": "worker_concurrency",
    "gpus_per_worker": "gpus_per_worker",
    "cpus_per_worker": "cpus_per_worker",
    "served_model_name": "served_model_name",
}
_PREFIXES = ("saas.", "backend.", "autoscale.", "resource.")

ray_address = click.option(
    "--ray_address", default="auto", show_default=True,
    help="Of a Ray cluster; auto: RAY_ADDRESS, ray.address, or that of `sqlllm up`.",
)  # fmt: skip
file = click.option(
    "--file", "path", type=click.Path(dir_okay=False, exists=True, path_type=Path), help="YAML: these flags of one "
    "model, or a list of several; `ENV {{NAME}}` is a variable of the environment.",
)  # fmt: skip


@contextmanager
def session(ray_address: str, *, anywhere: bool = False) -> Iterator[Session]:
    """A session on a cluster; `anywhere`: on a Ray of its own where there is none."""
    settings = Settings.load()
    if ray_address != "auto":
        settings.ray.address = ray_address
    if not anywhere and not cluster.address(settings.ray):
        raise SetupError(
            "there is no cluster: a model would end with this command",
            cure="Start one with `sqlllm up`, or name one with --ray_address.",
        )
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # a polite kill is as Ctrl-C
    observer = progress.observer(Console(), Console(stderr=True))
    session = Session(settings, observer=observer)
    try:
        yield session
    finally:
        observer.stop()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
        session.close()


def deploy(session: Session, models: list[dict[str, str]]) -> None:
    """Deploy models, by the options of their statements, and say what they are."""
    for options in models:
        found = deploy_options(session, options)
        click.echo(f"{found.name}: {found.state}, {found.replicas} x {found.backend}, {found.endpoint}/v1")


def options(flags: dict[str, Any]) -> dict[str, str]:
    """A model's flags as options of a statement; OptionError for an unknown flag."""
    flags = {name: value for name, value in flags.items() if value is not None}
    params = flags.pop("infer_params", {})
    if isinstance(names := flags.get("served_model_name"), list):
        flags["served_model_name"] = ", ".join(map(str, names))
    for name in flags:
        if name not in _OPTIONS:
            raise OptionError(f"unknown flag {name}", cure=suggest(name, [*_OPTIONS, "infer_params"], what="flags"))
    if not flags.get("model"):
        raise OptionError("--model is missing", cure="Give the model a name.")
    kind = str(flags.get("pretrained_model_type", ""))
    if not kind.startswith(("saas/", "oracle/")) and "infer_backend" not in flags:
        raise OptionError("--infer_backend is missing", cure="Write --infer_backend vllm, for example.")
    options = {_OPTIONS[name]: _written(value) for name, value in flags.items()}
    for key, value in params.items():
        prefix = "" if key.startswith(_PREFIXES) else "saas." if kind.startswith("saas/") else "backend."
        if value is not None:
            options[prefix + key] = _written(value)
    return {"action": "infer", **options}


def _written(value: Any) -> str:
    """As an option's value, which is text: anything else becomes JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def read(path: Path) -> list[dict[str, Any]]:
    """The models of a YAML file."""
    try:
        import yaml
    except ImportError as error:
        raise PackageError.from_import_error(error, package="pyyaml", extra="ray") from error
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(f"cannot read {path}: {error}") from None
    models = read if isinstance(read, list) else [read]
    if not all(isinstance(model, dict) and isinstance(model.get("infer_params") or {}, dict) for model in models):
        raise OptionError(f"{path} holds no model", cure="Write `model: NAME` and its flags, one a line.")
    return [_with_variables(model) for model in models]


def _with_variables(values: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            value = _with_variables(value)
        elif isinstance(value, str) and (match := _VARIABLE.fullmatch(value)):
            if match[1] not in os.environ:
                raise OptionError(f"{key}: there is no variable {match[1]} in the environment")
            value = os.environ[match[1]]
        found[str(key)] = value
    return found


def pair(text: str) -> tuple[str, str]:
    """The two sides of KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--infer_params {text}: there is no `=`")
    return key, value
