"""`sqlllm prepare`: what makes every later start faster."""

from __future__ import annotations

import click


@click.command("prepare")
def command() -> None:
    """Make every later start of Spark faster, once for each installation.

    Keeps the classes that Spark loads, about 150 MB, beside the installed packages. After another Java or PySpark is
    installed, call it again; until then Spark starts as before.
    """
    from sqlllm.session import spark_archive

    size = spark_archive.make()
    click.echo(f"Spark's classes are in {spark_archive.PATH} ({size / 1e6:.0f} MB).", err=True)
