"""`sqlllm up` and `sqlllm down`: a cluster of this machine that several scripts share."""

from __future__ import annotations

import os

import click

from sqlllm.errors import OptionError
from sqlllm.jobs import local
from sqlllm.settings import Settings


@click.command("up")
@click.option(
    "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="A setting: ray.num_cpus=8, for example."
)
def up(assignments: tuple[str, ...]) -> None:
    """Start a Ray cluster on this machine that goes on when the command ends.

    Every script, shell and notebook of this user joins it, unless RAY_ADDRESS or ray.address says otherwise ("local":
    a Ray of its own), so they share its models. `sqlllm down` ends it.
    """
    settings = Settings.load()
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise OptionError(f"--set {assignment}: there is no `=`", cure="Write --set key=value.")
        settings.assign(key, value)
    if elsewhere := settings.ray.address or os.environ.get("RAY_ADDRESS"):
        raise OptionError(
            f"scripts here join the Ray at {elsewhere}, so no script would join a cluster started here",
            cure="Unset ray.address and RAY_ADDRESS, or use that cluster.",
        )
    found, started = local.up(settings.ray)
    click.echo(f"{'up' if started else 'up already'}: {found.address}, token and logs in {found.folder}")


@click.command("down")
def down() -> None:
    """End the cluster that `sqlllm up` started, with its models; nothing else is touched."""
    found = local.down()
    click.echo(f"down: {found.address}" if found else "down already")
