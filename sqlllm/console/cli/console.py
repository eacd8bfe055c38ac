"""`sqlllm console`: JupyterLab with the kernel, its own token, a welcome page and the example notebooks."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import sys
from pathlib import Path

import click

from sqlllm.errors import PackageError, SetupError
from sqlllm.settings import Settings

FOLDER = "sqlllm-notebooks"  # in the folder of the notebooks, with what is in console/jupyter/notebooks
WELCOME = "welcome.ipynb"


@click.command("console")
@click.option("--port", default=9002, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option(
    "--token",
    default="",
    envvar="JUPYTER_TOKEN",
    show_envvar=True,
    help="What a browser must know to get in; without one, a new token each time.",
)
@click.option(
    "--folder",
    default=".",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder of the notebooks.",
)
@click.option("--browser/--no-browser", default=True, help="Open it in a browser.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="A setting for the notebooks' sessions.")
@click.option("--install", is_flag=True, help="Only register the kernel of this environment with Jupyter.")
def command(
    port: int, host: str, token: str, folder: Path, browser: bool, assignments: tuple[str, ...], install: bool
) -> None:
    """JupyterLab with SQLLLM's kernel, in this machine's browser."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise PackageError("jupyterlab is not installed.", cure="Run: pip install 'sqlllm[console]'")
    from sqlllm.console import jupyter

    if install:
        click.echo(f"installed {jupyter.install(sys.prefix)}")
        return
    settings = Settings.load()
    home = settings.home.expanduser().absolute() / "jupyter"
    try:
        welcome = _put_notebooks(folder)
    except OSError as error:
        raise SetupError(f"cannot write {error.filename}: {error.strerror}", cure="Take another --folder.") from None
    arguments = [
        sys.executable, "-m", "jupyterlab", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.ip={host}", "--ServerApp.log_level=WARN", "--LabApp.log_level=WARN",
        f"--ServerApp.root_dir={folder.absolute()}", f"--LabApp.default_url=/lab/tree/{welcome}",
        f"--ServerApp.open_browser={browser}", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    if hasattr(os, "getuid") and os.getuid() == 0:
        arguments.append("--allow-root")
    token = token or secrets.token_urlsafe(24)
    # In the environment: any user of the machine can read the arguments of a process.
    environment = {**_environment(home, assignments), "JUPYTER_TOKEN": token}
    click.echo(f"SQLLLM's notebooks: http://{host}:{port}/lab/tree/{welcome}?token={token}\nCtrl-C, twice, ends them.")
    sys.stdout.flush()
    try:
        os.execve(sys.executable, arguments, environment)  # noqa: S606 - it becomes JupyterLab
    except OSError as error:
        raise SetupError(f"JupyterLab does not start: {error.strerror}") from None


def _put_notebooks(folder: Path) -> str:
    """Put the notebooks into a folder of their own, if it is not there; gives the path of the welcome page."""
    from sqlllm.console import jupyter

    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    for source in Path(jupyter.__file__).with_name("notebooks").iterdir():
        if source.suffix in {".ipynb", ".csv"} and not (target / source.name).exists():
            shutil.copyfile(source, target / source.name)
    return f"{FOLDER}/{WELCOME}"


def _environment(home: Path, assignments: tuple[str, ...]) -> dict[str, str]:
    """Where Jupyter finds the kernel and our configuration, and the settings of the sessions."""
    from sqlllm.console import jupyter

    jupyter.install(home)
    config = home / "etc" / "labconfig" / "page_config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    # It asks whether to fetch news from the network.
    config.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    found = dict(os.environ)
    for name, path in {"JUPYTER_PATH": home / "share" / "jupyter", "JUPYTER_CONFIG_PATH": home / "etc"}.items():
        found[name] = os.pathsep.join(filter(None, [str(path), found.get(name)]))
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not Settings.has(key):
            raise click.UsageError(f"--set {assignment}: write --set setting=value")
        found["SQLLLM_" + key.upper().replace(".", "__")] = value
    return found
