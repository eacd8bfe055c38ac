"""docs/training/index.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sqlllm.jobs.training import keys
from sqlllm.jobs.training.defaults import DEFAULTS
from sqlllm.jobs.training.spec import _FIXED, _PLAIN, FinetuneSpec

PAGE = (Path(__file__).parents[2] / "docs" / "training" / "index.md").read_text()
TABLES = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]


def test_every_option_is_described_in_its_own_words() -> None:
    described = {cells[0].strip("`"): cells[1] for cells in TABLES if len(cells) == 2}
    for option, field in _PLAIN.items():
        assert described[option] == FinetuneSpec.model_fields[field].description
    for option, (values, _) in _FIXED.items():
        assert any(f'{option}="{value}"' in PAGE for value in values)


def test_every_key_exists_and_every_default_is_listed() -> None:
    told: dict[str, dict[str, str]] = {"lora": {}, "full": {}, "scratch": {}}
    for cells in TABLES:
        if match := re.fullmatch(r"`sft\.(\w+)\.(\w+)`", cells[0]):
            kind, spelling = match.groups()
            name = keys.ALIASES.get(spelling, spelling)
            types = keys.owners()[name][1]
            assert kind in types or (kind == "int" and "float" in types)
            for method, cell in zip(told, cells[1:4], strict=True):
                if cell and name != "use_peft":
                    told[method][name] = cell
    for method, defaults in DEFAULTS.items():
        assert told[method] == {name: shown(value, told[method].get(name, "")) for name, value in defaults.items()}


def shown(value: object, cell: str) -> str:
    """`cell` if it means `value`, else `value` as the page should show it."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return cell if cell and float(cell) == value else f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("column", [1, 2, 3])
def test_the_tables_are_whole(column: int) -> None:
    keys_table = [cells for cells in TABLES if cells[0].startswith("`sft.")]
    assert len(keys_table) > 20
    assert all(len(cells) == 5 for cells in keys_table)
    assert any(cells[column] for cells in keys_table)
