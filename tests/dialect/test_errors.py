from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from sqlllm.dialect import parse
from sqlllm.errors import ScriptError

BAD = Path(__file__).parent / "errors.txt"


def cases() -> list[tuple[str, list[str]]]:
    """Bad scripts, each after its errors: `--- line:column message | cure`."""
    found: list[tuple[list[str], list[str]]] = []
    for line in BAD.read_text().splitlines():
        if line.startswith("--- "):
            if not found or found[-1][0]:
                found.append(([], []))
            found[-1][1].append(line[4:])
        else:
            found[-1][0].append(line)
    return [("\n".join(script), expected) for script, expected in found]


def shown(error: ScriptError) -> str:
    assert error.place is not None
    line, column = error.place.line, error.place.column
    return f"{line}:{column} {error.message}" + (f" | {error.cure}" if error.cure else "")


@pytest.mark.parametrize(("script", "expected"), cases(), ids=[case[1][0] for case in cases()])
def test_every_mistake_is_named_at_its_place(script: str, expected: list[str]) -> None:
    errors = parse(script).errors
    assert [shown(error) for error in errors] == expected
    for error in errors:
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_parses_beside_an_error_is_kept() -> None:
    script = parse("load csv.`a` as t;\nlod csv.`b` as u;\nselect 1 as v;")
    assert len(script.errors) == 1
    assert [type(statement).__name__ for statement in script.statements] == ["Load", "Select"]


def test_a_secret_is_not_shown_with_the_error() -> None:
    script = parse('run t as LLM.`` where `saas.api_key`="sk-123" udfName "m";')
    assert script.errors
    assert all("sk-123" not in str(error) for error in script.errors)
