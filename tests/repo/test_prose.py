"""The prose check finds what it is for, and leaves code, quotations and the field's words alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prose() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prose", ROOT / "scripts" / "prose.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.md", "A frame is no table.\n", ["'is no t'"]),
        ("a.md", "There is no table, it is no longer here, and one more is no other.\n", []),
        ("a.md", "The run tells `told` its loss.\n```sql\nselect told\n```\nIt came to 5.\n", ["'tells'", "'came to'"]),
        ("a.py", '"""A user has his key."""\n', ["'his'"]),
        ("a.py", 'told = f"{told} and more words"  # so many rows\n', ["'so many'"]),
        ("a.py", 'raise ValueError("it tells no format")\n', ["'tells'"]),
        ("a.py", "def test_it_is_no_list() -> None:\n    x = 'it tells no format'\n", ["'is no l'", "'tells'"]),
        ("tests/a.py", "def test_it_is_no_list() -> None:\n    x = 'it tells no format'\n", ["'is no l'"]),
        ("a.sql", "-- in vain\nselect 'in vain' as x;\n", ["'in vain'"]),
        ("tests/a.sql", "-- case: in vain\n-- [{'a': 'in vain'}]\n", ["'in vain'"]),
    ],
)
def test_phrases_that_stumble_are_found(
    prose: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, found: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text)
    shown = list(prose.faults(Path(name)))
    assert [one.split(": ")[1] for one in shown] == found
    assert prose.main([name]) == bool(found)
