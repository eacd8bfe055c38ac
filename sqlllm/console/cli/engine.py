"""`sqlllm engine`: scripts over HTTP."""

from __future__ import annotations

import logging
import secrets
import signal

import click

from sqlllm.errors import PackageError
from sqlllm.session import Session
from sqlllm.settings import Settings


@click.command("engine")
@click.option("--port", default=9003, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option("--key", "keys", metavar="[OWNER=]KEY", multiple=True, envvar="SQLLLM_ENGINE_KEY",
              help="What a request must bring; with an owner, that owner's. None given: a new one.")  # fmt: skip
@click.option("--jobs", "at_once", default=4, show_default=True, type=click.IntRange(1), help="Scripts run at once.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="A setting for all scripts.")
def command(port: int, host: str, keys: tuple[str, ...], at_once: int, assignments: tuple[str, ...]) -> None:
    """Scripts over HTTP: POST /run/script and /model/predict, for schedulers and other tools."""
    try:
        import uvicorn

        from sqlllm.console.engine import Engine, application
    except ImportError as error:
        raise PackageError.from_import_error(error, package="uvicorn", extra="ray") from error
    owners = _owners(keys)
    if not owners:
        made = secrets.token_urlsafe(24)
        owners[made] = "*"
        click.echo(f"key: {made}", err=True)
    settings = Settings.load()
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--set {assignment}: write --set setting=value")
        settings.assign(key, value)
    # Py4J logs the stack of what a cancelled job was at, to the root logger.
    logging.getLogger().addFilter(lambda record: "py4j" not in record.pathname)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # a polite kill is as Ctrl-C
    with Session(settings) as session:
        session.warm_up()
        engine = Engine(settings, session.spark, at_once=at_once)
        click.echo(f"listening on http://{host}:{port}", err=True)
        try:
            uvicorn.run(
                application(engine, owners), host=host, port=port, log_level="warning", timeout_graceful_shutdown=5
            )
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
            engine.close()


def _owners(keys: tuple[str, ...]) -> dict[str, str]:
    """Owner by key."""
    found = {}
    for given in keys:
        owner, equals, key = given.rpartition("=")
        if len(key) < 8 or (equals and not owner):
            raise click.UsageError("--key: write KEY or OWNER=KEY, the key of 8 characters or more")
        found[key] = owner or "*"
    return found
