"""The hooks for pre-commit are commands that there are, and their patterns are those of the lexer."""

from __future__ import annotations

import re
from pathlib import Path

import click
import yaml

from sqlllm.console.cli import cli
from sqlllm.console.language.lexer import SqlllmLexer

ROOT = Path(__file__).parents[2]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())


def test_each_hook_is_a_command_over_scripts() -> None:
    assert [hook["id"] for hook in HOOKS] == ["sqlllm-check", "sqlllm-fmt"]
    for hook in HOOKS:
        program, command = hook["entry"].split()
        assert program == "sqlllm"
        assert command in cli.list_commands(click.Context(cli))
        for pattern in SqlllmLexer.filenames:
            assert re.search(hook["files"], pattern.replace("*", "a/script"))
        assert not re.search(hook["files"], "a.sql")


def test_the_page_names_every_hook() -> None:
    page = (ROOT / "docs/console/editors.md").read_text()
    assert [hook["id"] for hook in HOOKS if f"id: {hook['id']}" not in page] == []
