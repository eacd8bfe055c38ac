"""The pages under docs/sql, and MORE: every example runs and gives what is said; nothing that there is goes untold.

A block ```sql key=value runs with that setting. A ```json block under it is the rows of its last table, a ```text block
the lines that its error holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sqlllm.dialect import If, Macro, Run, Statement, parse
from sqlllm.dialect.parser import STATEMENTS
from sqlllm.dialect.tokens import CELL_KINDS
from sqlllm.errors import SQLLLMError
from sqlllm.session import Session, registry
from sqlllm.session.commands.absent import ABSENT
from sqlllm.session.formats import FORMATS
from sqlllm.session.llm import ACTIONS
from sqlllm.session.modules.absent import ABSENT as MODULES
from sqlllm.settings import AllowSettings

from . import cases
from .cases import rows_of

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.glob("sql/*.md"))
MORE = [DOCS / "retrieval" / "documents.md", DOCS / "training" / "evaluate.md", DOCS / "retrieval" / "search.md"]
_BLOCK = re.compile(
    r"^```sql(?P<settings>[^\n]*)\n(?P<script>.*?)^```\n(?:```(?P<kind>json|text)\n(?P<expected>.*?)^```)?", re.M | re.S
)


class Example(NamedTuple):
    name: str
    settings: str
    script: str
    kind: str
    expected: str


def examples() -> list[Example]:
    return [
        Example(f"{page.stem}-{number}", match["settings"], match["script"], match["kind"], match["expected"])
        for page in [*PAGES, *MORE]
        for number, match in enumerate(_BLOCK.finditer(page.read_text()), 1)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_example_does_what_is_said(example: Example, session: Session, tmp_path: Path) -> None:
    for key, value in re.findall(r"([\w.]+)=(\S+)", example.settings):
        session.override(key, value)
    # Spark's folder is that of its start, so the examples' relative paths get ours.
    script = re.sub(r"([`\"])(people\.|out/)", rf"\1{tmp_path}/\2", example.script).replace('"."', f'"{tmp_path}"')
    if example.kind == "json":
        assert rows_of(session, script) == json.loads(example.expected)
        return
    with pytest.raises(SQLLLMError) as raised:
        rows_of(session, script)
    for line in example.expected.splitlines():
        assert line in str(raised.value)


def test_every_example_says_what_it_gives() -> None:
    assert len(examples()) > 25
    assert [example.name for example in examples() if example.kind is None] == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("commands", registry.commands().keys() - ABSENT.keys()),
        ("coming-from-byzer", [*ABSENT, *MODULES]),
        ("load", FORMATS),
        ("run", [*ACTIONS, *registry.modules()]),
        ("index", [f"allow.{key}" for key in AllowSettings.model_fields]),
        ("grammar", [*CELL_KINDS[3:7], *filter(str.isalpha, STATEMENTS)]),
    ],
)
def test_a_page_names_everything_there_is(page: str, names: list[str]) -> None:
    text = next(path for path in PAGES if path.stem == page).read_text().lower()
    assert [name for name in names if not re.search(rf"\b{re.escape(name.lower())}\b", text)] == []


def test_the_index_leads_to_every_page() -> None:
    index = next(path for path in PAGES if path.stem == "index").read_text()
    assert [page.name for page in PAGES if page.stem != "index" and f"({page.name})" not in index] == []


def statements(scripts: Iterable[str]) -> Iterator[Statement]:
    """All statements of scripts, those in branches too."""

    def inside(block: Iterable[Statement]) -> Iterator[Statement]:
        for statement in block:
            yield statement
            if isinstance(statement, If):
                for branch in statement.branches:
                    yield from inside(branch.statements)
                yield from inside(statement.otherwise)

    for script in scripts:
        yield from inside(parse(script).statements)


def test_every_statement_has_an_example_on_a_page() -> None:
    shown = {type(statement) for statement in statements(example.script for example in examples())}
    assert registry._STATEMENTS.keys() - shown == set()


def test_every_command_and_module_runs_in_a_case_or_an_example() -> None:
    scripts = [*(example.script for example in examples()), *(case.script for case in cases.load())]
    run = list(statements(scripts))
    commands = {statement.name.lower() for statement in run if isinstance(statement, Macro)}
    assert registry.commands().keys() - ABSENT.keys() - commands == set()
    modules = {statement.module.raw for statement in run if isinstance(statement, Run)}
    assert set(registry.modules()) - modules == set()
