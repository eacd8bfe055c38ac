"""`sqlllm deploy`, `undeploy`, `query`, `stat`, `serve`: the models of a cluster, without SQL."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import httpx
from pydantic import SecretStr
from rich import box
from rich.console import Console
from rich.table import Table

from sqlllm.console import progress
from sqlllm.errors import ModelError, OptionError, PackageError, SetupError, suggest
from sqlllm.jobs import cluster
from sqlllm.jobs.serving.ports import reachable
from sqlllm.session import Session
from sqlllm.session.llm.infer import deploy as deploy_options
from sqlllm.settings import Settings

_SOUNDS = (".mp3", ".wav")
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
}
_PREFIXES = ("saas.", "backend.", "autoscale.", "resource.")

_ray_address = click.option(
    "--ray_address", default="auto", show_default=True,
    help="Of a Ray cluster; auto: RAY_ADDRESS, ray.address, or that of `sqlllm up`.",
)  # fmt: skip
_file = click.option(
    "--file", "path", type=click.Path(dir_okay=False, exists=True, path_type=Path), help="YAML: these flags of one "
    "model, or a list of several; `ENV {{NAME}}` is a variable of the environment.",
)  # fmt: skip
_model = click.option("--model", required=True, help="Its name.")


@click.command("deploy")
@click.option("--model", help="Its name: the function in SQL, the model in requests.")
@click.option("--model_path", help="The model's folder.")
@click.option("--pretrained_model_type", help="saas/NAME for a provider's model, oracle/table for answers of a table.")
@click.option("--infer_backend", help="vllm, transformers or another engine.")
@click.option("--num_workers", type=click.IntRange(1), help="Workers, each with a whole copy.")
@click.option("--worker_concurrency", type=click.IntRange(1), help="Requests that one takes at once.")
@click.option("--gpus_per_worker", type=click.FloatRange(0), help="GPUs of one; fractions share a GPU.")
@click.option("--cpus_per_worker", type=click.FloatRange(0), help="CPUs of one.")
@click.option("--infer_params", metavar="KEY=VALUE [KEY=VALUE]...", multiple=True, help="Options of the engine or the "
              "provider, as in SQL, with or without `backend.` or `saas.`.")  # fmt: skip
@click.argument("more_params", metavar="", nargs=-1)
@_ray_address
@_file
def deploy(ray_address: str, path: Path | None, infer_params: tuple[str, ...], more_params: tuple[str, ...],
           **flags: Any) -> None:  # fmt: skip
    """Deploy a model on the cluster and wait until it answers; the options are those of action="infer" in SQL."""
    given = {name: value for name, value in flags.items() if value is not None}
    if path is not None:
        if given or infer_params or more_params:
            raise click.UsageError("the flags stand in the file, or on the command line, not in both")
        models = _read(path)
    else:
        if more_params and not infer_params:
            raise click.UsageError(f"{more_params[0]} is no flag; --infer_params {more_params[0]} is one")
        models = [{**given, "infer_params": dict(_pair(text) for text in infer_params + more_params)}]
    options = [_options(model) for model in models]
    with _session(ray_address) as session:
        _deploy(session, options)


@click.command("undeploy")
@_model
@click.option("--force", is_flag=True, help="Also where there is no such model: then nothing is done.")
@_ray_address
def undeploy(model: str, force: bool, ray_address: str) -> None:
    """Remove a model; its workers end what they have begun."""
    with _session(ray_address) as session:
        if not force:
            _find(session, model)
        session.serving.undeploy(model)
    click.echo(f"{model}: removed")


@click.command("query")
@_model
@click.option("--query", "text", required=True, help="What to ask, or the text to say.")
@click.option("--output_file", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the answer there: as speech if it ends in .mp3 or .wav, and the model speaks.")  # fmt: skip
@_ray_address
def query(model: str, text: str, output_file: Path | None, ray_address: str) -> None:
    """Ask a model once."""
    with _session(ray_address) as session, _http(session) as http:
        if output_file is not None and output_file.suffix in _SOUNDS:
            spoken = {"model": model, "input": text, "response_format": output_file.suffix[1:]}
            answer = _post(http, "/v1/audio/speech", spoken).content
        else:
            asked = {"model": model, "messages": [{"role": "user", "content": text}]}
            answer = _post(http, "/v1/chat/completions", asked).json()["choices"][0]["message"]["content"].encode()
    if output_file is not None:
        output_file.write_bytes(answer)
    else:
        click.echo(answer.decode())


@click.command("stat")
@click.option("--model", help="The workers of this one; else all models.")
@click.option("--interval", default=0.0, show_default=True, type=click.FloatRange(0),
              help="Seconds until it is shown again, until Ctrl-C; 0: once.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="How to show it.")
@_ray_address
def stat(model: str | None, interval: float, form: str, ray_address: str) -> None:
    """What is deployed, and what the workers of a model do."""
    out = Console(width=None if sys.stdout.isatty() else 160)
    with _session(ray_address) as session:
        while True:
            rows = _workers(session, model) if model else [asdict(one) for one in session.serving.models()]
            if form == "json":
                click.echo(json.dumps(rows))
            else:
                out.print(_table(rows, "no workers" if model else "no models"))
            if not interval:
                return
            time.sleep(interval)


@click.command("serve")
@click.option("--host", help="Interface to listen on; 127.0.0.1, on a cluster by address its head's, if none is given.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--api_key", envvar="SQLLLM_SERVING__API_KEY", help="What clients must send as their bearer key.")
@_ray_address
@_file
def serve(host: str | None, port: int, api_key: str | None, ray_address: str, path: Path | None) -> None:
    """OpenAI's API for models: those of the file, and all that are deployed on the cluster.

    On a cluster (that of `sqlllm up`, or at an address) the API and the models live on when the command ends.
    Without one they end with it, which is at Ctrl-C.
    """
    options = [_options(model) for model in _read(path)] if path else []
    with _session(ray_address, anywhere=True) as session:
        ours = session.settings.serving
        ours.host, ours.port = host or ours.host, port
        if api_key:  # else that of sqlllm.toml stays
            ours.api_key = SecretStr(api_key)
        known = bool(ours.api_key)
        session.serving.start()
        if ours.api_key and not known:
            click.echo(f"key: {ours.api_key.get_secret_value()}", err=True)
        _check_gateway(session, host, port)
        _deploy(session, options)
        click.echo(f"{session.serving.endpoint}/v1")
        if not cluster.address(session.settings.ray):
            while True:
                signal.pause()


@contextmanager
def _session(ray_address: str, *, anywhere: bool = False) -> Iterator[Session]:
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


def _deploy(session: Session, models: list[dict[str, str]]) -> None:
    for options in models:
        found = deploy_options(session, options)
        click.echo(f"{found.name}: {found.state}, {found.replicas} x {found.backend}, {found.endpoint}/v1")


def _options(flags: dict[str, Any]) -> dict[str, str]:
    """A model's flags as options of a statement; OptionError for one that is not known."""
    flags = dict(flags)
    params = flags.pop("infer_params", None) or {}
    for name in flags:
        if name not in _OPTIONS:
            raise OptionError(f"unknown flag {name}", cure=suggest(name, [*_OPTIONS, "infer_params"], what="flags"))
    if not flags.get("model"):
        raise OptionError("--model is missing", cure="Give the model a name.")
    kind = str(flags.get("pretrained_model_type", ""))
    if not kind.startswith(("saas/", "oracle/")) and "infer_backend" not in flags:
        raise OptionError("--infer_backend is missing", cure="Write --infer_backend vllm, for example.")
    options = {_OPTIONS[name]: str(value) for name, value in flags.items()}
    for key, value in params.items():
        prefix = "" if key.startswith(_PREFIXES) else "saas." if kind.startswith("saas/") else "backend."
        options[prefix + key] = str(value)
    return {"action": "infer", **options}


def _read(path: Path) -> list[dict[str, Any]]:
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
    if not all(isinstance(model, dict) and isinstance(model.get("infer_params", {}), dict) for model in models):
        raise OptionError(f"{path} holds no model", cure="Write `model: NAME` and its flags, one a line.")
    return [_with_variables(model) for model in models]


def _with_variables(values: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        if isinstance(value, dict):
            value = _with_variables(value)
        elif isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, str) and (match := _VARIABLE.fullmatch(value)):
            if match[1] not in os.environ:
                raise OptionError(f"{key}: there is no variable {match[1]} in the environment")
            value = os.environ[match[1]]
        found[str(key)] = value
    return found


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--infer_params {text}: there is no `=`")
    return key, value


def _find(session: Session, model: str) -> None:
    names = [one.name for one in session.serving.models()]
    if model not in names:
        raise ModelError(f"there is no model {model}", cure=suggest(model, names, what="models") if names else "")


def _workers(session: Session, model: str) -> list[dict[str, Any]]:
    _find(session, model)
    return [
        {
            "worker": load.worker,
            "pid": load.pid,
            "state": "busy" if load.under_way else "idle",
            "under_way": load.under_way,
            "requests": load.requests,
            "last": datetime.fromtimestamp(load.last).astimezone().isoformat(timespec="seconds") if load.last else "",
        }
        for load in session.serving.workers(model)
    ]


def _table(rows: list[dict[str, Any]], none: str) -> Table:
    made = Table(*(rows[0] if rows else ()), box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(str(value) for value in row.values()))
    if not rows:
        made.caption = none
    return made


def _http(session: Session) -> httpx.Client:
    """The gateway."""
    session.serving.start()
    key = session.settings.serving.api_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    return httpx.Client(
        base_url=session.serving.endpoint, headers=headers, timeout=session.settings.llm.timeout, trust_env=False
    )


def _post(http: httpx.Client, route: str, body: dict[str, Any]) -> httpx.Response:
    """The reply, if it is one; else a ModelError with the gateway's words, or with those of whatever answers there."""
    try:
        reply = http.post(route, json=body)
    except httpx.TransportError as error:
        raise ModelError(f"{http.base_url} does not answer: {error or type(error).__name__}") from None
    if reply.status_code == 200:
        return reply
    try:
        reason = str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        reason = f"{http.base_url} is no gateway of ours: HTTP {reply.status_code}: {reply.text[:200].strip()}"
    raise ModelError(reason)


def _check_gateway(session: Session, host: str | None, port: int) -> None:
    """A gateway that was there already keeps its port and key: SetupError if they are not those asked for."""
    there = httpx.URL(session.serving.endpoint)
    keyed = httpx.get(f"{there}/v1/models", timeout=30, trust_env=False).status_code == httpx.codes.UNAUTHORIZED
    if (
        (host and there.host != reachable(host))
        or (port and there.port != port)
        or keyed != bool(session.settings.serving.api_key)
    ):
        raise SetupError(
            f"the cluster has its API at {there} already, {'with' if keyed else 'without'} a key",
            cure="Give --host, --port and --api_key as they are there, or start the cluster anew.",
        )
