"""`sqlllm deploy`, `undeploy`, `query`, `stat`: the models of a cluster, without SQL."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import httpx
from rich import box
from rich.console import Console
from rich.table import Table

from sqlllm.errors import ModelError, suggest
from sqlllm.session import Session

from . import flags
from .run import write

_SOUNDS = (".mp3", ".wav")
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
@click.option("--served_model_name", help="Other names of it in requests: `gpt-4o, gpt-4`.")
@click.option("--infer_params", metavar="KEY=VALUE [KEY=VALUE]...", multiple=True, help="Options of the engine or the "
              "provider, as in SQL, with or without `backend.` or `saas.`.")  # fmt: skip
@click.argument("more_params", metavar="", nargs=-1)
@flags.ray_address
@flags.file
def deploy(ray_address: str, path: Path | None, infer_params: tuple[str, ...], more_params: tuple[str, ...],
           **values: Any) -> None:  # fmt: skip
    """Deploy a model on the cluster and wait until it answers; the options are those of action="infer" in SQL."""
    given = {name: value for name, value in values.items() if value is not None}
    if path is not None:
        if given or infer_params or more_params:
            raise click.UsageError("the flags stand in the file, or on the command line, not in both")
        models = flags.read(path)
    else:
        if more_params and not infer_params:
            raise click.UsageError(f"{more_params[0]} is not a flag; --infer_params {more_params[0]} is one")
        models = [{**given, "infer_params": dict(flags.pair(text) for text in infer_params + more_params)}]
    options = [flags.options(model) for model in models]
    with flags.session(ray_address) as session:
        flags.deploy(session, options)


@click.command("undeploy")
@_model
@click.option("--force", is_flag=True, help="Also where there is no such model: then nothing is done.")
@flags.ray_address
def undeploy(model: str, force: bool, ray_address: str) -> None:
    """Remove a model; its workers end what they have begun."""
    with flags.session(ray_address) as session:
        if not force:
            _find(session, model)
        session.serving.undeploy(model)
    click.echo(f"{model}: removed")


@click.command("query")
@_model
@click.option("--query", "text", required=True, help="What to ask, or the text to say.")
@click.option("--output_file", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the answer there: as speech if it ends in .mp3 or .wav, and the model speaks.")  # fmt: skip
@flags.ray_address
def query(model: str, text: str, output_file: Path | None, ray_address: str) -> None:
    """Ask a model once."""
    with flags.session(ray_address) as session, _http(session) as http:
        if output_file is not None and output_file.suffix in _SOUNDS:
            spoken = {"model": model, "input": text, "response_format": output_file.suffix[1:]}
            answer = _post(http, "/v1/audio/speech", spoken).content
        else:
            asked = {"model": model, "messages": [{"role": "user", "content": text}]}
            answer = _post(http, "/v1/chat/completions", asked).json()["choices"][0]["message"]["content"].encode()
    if output_file is not None:
        write(output_file, answer)
    else:
        click.echo(answer.decode())


@click.command("stat")
@click.option("--model", help="The workers of this one; else all models.")
@click.option("--interval", default=0.0, show_default=True, type=click.FloatRange(0),
              help="Seconds until it is shown again, until Ctrl-C; 0: once.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="How to show it.")
@flags.ray_address
def stat(model: str | None, interval: float, form: str, ray_address: str) -> None:
    """What is deployed, and what the workers of a model do."""
    out = Console(width=None if sys.stdout.isatty() else 160)
    with flags.session(ray_address) as session:
        while True:
            rows = _workers(session, model) if model else [asdict(one) for one in session.serving.models()]
            if form == "json":
                click.echo(json.dumps(rows))
            else:
                out.print(_table(rows, "no workers" if model else "no models"))
            if not interval:
                return
            time.sleep(interval)


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
    return session.serving.client(timeout=session.settings.llm.timeout)


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
        reason = f"{http.base_url} is not a gateway of ours: HTTP {reply.status_code}: {reply.text[:200].strip()}"
    raise ModelError(reason)
