"""`sqlllm serve`: models behind OpenAI's API, without SQL."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click
import httpx
from pydantic import SecretStr

from sqlllm import tls
from sqlllm.errors import OptionError, SetupError
from sqlllm.jobs import cluster
from sqlllm.jobs.serving.deploy.ports import reachable
from sqlllm.session import Session

from . import flags

# Flags of `byzerllm serve` for what is settled elsewhere here: the value that changes nothing, why, and the cure.
_TEMPLATE = (
    "auto",
    "a model's chat template comes with the model",
    "Put it into the model's folder as chat_template.jinja; of a GGUF file, --infer_params chat_template=... has it.",
)
_SETTLED = {
    "prompt_template": _TEMPLATE,
    "template": _TEMPLATE,
    "response_role": ("assistant", "the role of an answer is assistant in OpenAI's protocol", "Leave it out."),
    "uvicorn_log_level": (
        "",
        "there is no log line per request to choose",
        "Leave it out; GET /metrics counts requests.",
    ),
}


def _settled(_: click.Context, option: click.Parameter, value: str | None) -> None:
    assert option.name
    usual, why, cure = _SETTLED[option.name]
    if value not in (None, usual):
        raise OptionError(f"--{option.name} {value} has no effect: {why}", cure=cure)


def _all_settled(command: Any) -> Any:
    for name in _SETTLED:
        command = click.option(f"--{name}", hidden=True, expose_value=False, callback=_settled)(command)
    return command


@click.command()
@click.option("--host", help="Interface to listen on; 127.0.0.1, on a cluster by address its head's, if none is given.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--api_key", envvar="SQLLLM_SERVING__API_KEY", help="What clients must send as their bearer key.")
@click.option("--ssl_certfile", help="PEM file of a certificate: the API is at https:// then.")
@click.option("--ssl_keyfile", help="PEM file of its key.")
@click.option("--allowed_origins", help="Whose pages may call the API from a browser: `https://a.com, https://b.com`, "
              "`*`; none if none is given.")  # fmt: skip
@click.option("--allowed_methods", help="Their HTTP methods; all if none is given.")
@click.option("--allowed_headers", help="Headers that they may send; all if none is given.")
@click.option("--allow_credentials", is_flag=True, default=None, help="They may send cookies and the like.")
@click.option("--served_model_name", help="Other names of the file's one model: `gpt-4o, gpt-4`.")
@flags.ray_address
@flags.file
@_all_settled
def command(
    port: int, api_key: str | None, served_model_name: str | None, ray_address: str, path: Path | None, **given: Any
) -> None:
    """OpenAI's API for models: those of the file, and all that are deployed on the cluster.

    On a cluster (that of `sqlllm up`, or at an address) the API and the models live on when the command ends.
    Without one they end with it, which is at Ctrl-C.
    """
    models = [flags.options(model) for model in flags.read(path)] if path else []
    if served_model_name:
        if len(models) != 1:
            raise OptionError("--served_model_name is of one model", cure="Name a --file with that one alone.")
        models[0]["served_model_name"] = served_model_name
    with flags.session(ray_address, anywhere=True) as session:
        ours = session.settings.serving
        ours.port = port
        if api_key:  # else that of sqlllm.toml stays
            ours.api_key = SecretStr(api_key)
        for name, value in given.items():
            if value is not None:
                setattr(ours, name, value)
        known = bool(ours.api_key)
        if not session.serving.start():
            _check(session, port, given)
        if ours.api_key and not known:
            click.echo(f"key: {ours.api_key.get_secret_value()}", err=True)
        flags.deploy(session, models)
        click.echo(f"{session.serving.endpoint}/v1")
        if not cluster.address(session.settings.ray):
            while True:
                signal.pause()


def _check(session: Session, port: int, given: dict[str, Any]) -> None:
    """A gateway that was there already keeps what it began with: SetupError for anything else."""
    there = httpx.URL(session.serving.endpoint)
    verify = tls.context(session.serving.certificate)
    keyed = httpx.get(f"{there}/v1/models", timeout=30, verify=verify, trust_env=False).status_code == 401
    host = given["host"]
    if (
        (host and there.host != reachable(host))
        or (port and there.port != port)
        or keyed != bool(session.settings.serving.api_key)
    ):
        raise SetupError(
            f"the cluster has its API at {there} already, {'with' if keyed else 'without'} a key",
            cure="Give --host, --port and --api_key as they are there, or start the cluster anew.",
        )
    if late := next((name for name, value in given.items() if name.startswith("allow") and value is not None), None):
        raise SetupError(
            f"the cluster has its API at {there} already: --{late} is for one that starts",
            cure=f"Leave out --{late}, or start the cluster anew.",
        )
