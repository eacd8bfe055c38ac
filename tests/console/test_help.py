from __future__ import annotations

from pathlib import Path

from . import help as help_page


def test_the_page_of_the_command_line_is_what_help_says() -> None:
    written = Path(__file__).parents[2] / "docs" / "cli.md"
    assert written.read_text() == help_page.page(), help_page.__doc__
