"""An error in the rows of a table stands at the expression that makes it, in whichever statement that is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sqlllm.errors import TableError
from sqlllm.session import Session

from .cases import rows_of

pytestmark = pytest.mark.slow

TWO = "select 0 as z as zero;\nselect '🎉' as e, 1 / z as r from zero as bad;\nselect 2 / z as s from zero as other;\n"


@pytest.fixture
def strict(session: Session) -> Iterator[Session]:
    """A session whose casts and divisions fail."""
    session.run("set spark.sql.ansi.enabled = true;")
    yield session
    session.run("set spark.sql.ansi.enabled = false;")


@pytest.mark.parametrize(
    ("script", "place"),
    [
        (TWO + "select r + 1 as r from bad as t;", "2:18 1 / z"),
        (TWO + "select * from other as t;\nselect count(s) as n from t as u;", "3:8 2 / z"),
        (TWO + "save overwrite bad as json.`${out}/bad`;", "2:18 1 / z"),
        (TWO + "select z from zero as bad;\nselect z, cast('x' as int) as i from bad as u;", "5:11 cast('x' as int)"),
        (TWO + "select r from bad as bad;\n!head bad;", "2:18 1 / z"),
        ("set e = '🎉🎉';\nselect '${e}' as e, int('x${e}') as i from range(1) as t;", "2:21 int('x${e}')"),
    ],
)
def test_an_error_in_rows_stands_where_it_was_written(strict: Session, script: str, place: str) -> None:
    with pytest.raises(TableError) as raised:
        rows_of(strict, script)
    found = raised.value.place
    assert found is not None
    assert f"{found.line}:{found.column} {found.text}" == place
