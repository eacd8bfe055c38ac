from __future__ import annotations

from pathlib import Path

import pytest

from sqlllm.dialect import format_script, parse
from sqlllm.dialect.tokens import Kind, Tokenizer
from sqlllm.places import Source

from .dump import SCRIPTS, dump


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
class TestScripts:
    """The files under scripts/: published Byzer scripts, and one for each part of the grammar."""

    def test_parses_to_what_is_expected(self, path: Path) -> None:
        script = parse(path.read_text())
        assert not script.errors
        assert dump(script) == path.with_suffix(".txt").read_text()

    def test_its_sql_is_sound(self, path: Path) -> None:
        assert not parse(path.read_text()).warnings

    def test_formatting_keeps_its_meaning_and_its_comments(self, path: Path) -> None:
        text = path.read_text()
        formatted = format_script(text)
        assert parse(formatted).statements == parse(text).statements
        assert format_script(formatted) == formatted
        assert _comments(formatted) == _comments(text)


def _comments(text: str) -> list[str]:
    tokenizer, comments = Tokenizer(Source(text)), list[str]()
    while tokens := tokenizer.statement(comments=True):
        comments += [token.text.rstrip() for token in tokens if token.kind is Kind.COMMENT]
    return comments


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 20
