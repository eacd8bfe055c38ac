"""`sqlllm console`: what it shows and what it hands to JupyterLab."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from sqlllm.console.cli import cli


class Started(Exception):
    """JupyterLab would run now."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[list[str], dict[str, str]]]:
    """The arguments and the environment of each JupyterLab that would run."""
    found: list[tuple[list[str], dict[str, str]]] = []

    def execve(path: str, arguments: list[str], environment: dict[str, str]) -> None:
        found.append((arguments, environment))
        raise Started

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setenv("SQLLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JUPYTER_TOKEN", raising=False)
    return found


@pytest.mark.parametrize(("given", "inherited"), [("", ""), ("chosen", ""), ("", "inherited")])
def test_the_address_has_the_token_and_the_process_list_has_not(
    started: list[tuple[list[str], dict[str, str]]], tmp_path: Path, given: str, inherited: str
) -> None:
    arguments = ["console", "--no-browser", f"--folder={tmp_path}", *([f"--token={given}"] if given else [])]
    shown = CliRunner().invoke(cli, arguments, env={"JUPYTER_TOKEN": inherited} if inherited else {})
    assert isinstance(shown.exception, Started)
    [(passed, environment)] = started
    token = environment["JUPYTER_TOKEN"]
    assert token == (given or inherited or token)
    assert len(token) > 5
    assert f"http://127.0.0.1:9002/lab/tree/sqlllm-notebooks/welcome.ipynb?token={token}\n" in shown.output
    assert not any(token in argument for argument in passed)


def test_each_start_has_a_token_of_its_own(started: list[tuple[list[str], dict[str, str]]], tmp_path: Path) -> None:
    for _ in range(2):
        CliRunner().invoke(cli, ["console", "--no-browser", f"--folder={tmp_path}"])
    first, second = (environment["JUPYTER_TOKEN"] for _, environment in started)
    assert first != second
