"""What is wrong with a script before it runs; Spark starts in none of these."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sqlllm.dialect import parse
from sqlllm.errors import OptionError
from sqlllm.session import Session
from sqlllm.session.rehearsal import Rehearsal
from tests.session import cases

WRONG = Path(__file__).parent / "rehearsal.txt"


def wrong() -> list[tuple[list[str], str]]:
    """Scripts, each after what is found: `--- line:column message | cure`, or `---` alone for nothing."""
    blocks = re.findall(r"((?:^---(?: .*)?\n)+)((?:(?!---(?: |\n)).*\n?)+)", WRONG.read_text(), re.M)
    return [([line[4:] for line in head.splitlines() if line[4:]], script) for head, script in blocks]


def rehearse(script: str, *settings: tuple[str, str], name: str = "<script>") -> Rehearsal:
    session = Session()
    for key, value in settings:
        session.override(key, value)
    rehearsal = Rehearsal(session)
    rehearsal.run(parse(script, name))
    assert not session.spark_runs
    return rehearsal


def shown(rehearsal: Rehearsal) -> list[str]:
    found = [(error, "") for error in rehearsal.errors] + [(error, "warning: ") for error in rehearsal.warnings]
    return [
        f"{error.place.line}:{error.place.column} {kind}{error.message}" + (f" | {error.cure}" if error.cure else "")
        for error, kind in found
        if error.place
    ]


@pytest.mark.parametrize(("expected", "script"), wrong(), ids=[" ".join(case[0]) or case[1] for case in wrong()])
def test_what_a_script_lacks_is_found_at_its_place(expected: list[str], script: str) -> None:
    found = shown(rehearse(script))
    assert len(found) == len(expected)
    for one, full in zip(found, expected, strict=True):
        assert one.startswith(full)


FOLDERS = [("data", "/data"), ("out", "/out")]  # of the sessions that run the cases
RUN = [case for case in cases.load() if case.kind != "error"]


@pytest.mark.parametrize("case", RUN, ids=str)
def test_no_false_alarm_over_a_script_that_runs(case: cases.Case) -> None:
    assert shown(rehearse(case.script, *case.settings, *FOLDERS)) == []


def test_a_mistyped_setting_is_no_variable() -> None:
    for key in ("llm.batch_sze", "serving.users.al.key", "allow.shel"):
        with pytest.raises(OptionError, match=f"unknown setting {key}"):
            Session().override(key, "1")
    session = Session()
    session.override("spark.sql.ansi.enabled", "true")
    assert session.variables.get("spark.sql.ansi.enabled") == "true"


def test_a_setting_by_a_query_or_a_command_is_set() -> None:
    session = Session()
    session.override("allow.shell", "true")
    session.run('set llm.batch_size = "echo 8" where type="shell";')
    assert session.settings.llm.batch_size == 8
    assert "llm.batch_size" not in session.variables


def test_what_is_given_is_set() -> None:
    assert shown(rehearse("set day = '1';\nselect '${day}', '${month}' as t;", ("day", "2"), ("month", "3"))) == []


def test_includes_are_walked_where_they_stand(tmp_path: Path) -> None:
    library = tmp_path / "library.sql"
    library.write_text("select '${caller} ${nobody}' as x as t;\nset library = 'read';")
    main = f"set caller = 'me';\ninclude local.`{library}`;\nselect '${{library}} ${{libary}}' as y as t;"
    rehearsal = rehearse(main, ("allow.folders", str(tmp_path)))
    assert [f"{error.place}: {error.message}" for error in rehearsal.errors] == [
        f"{library}:1:19: variable nobody is not set",
        "<script>:3:20: variable libary is not set",
    ]
    assert rehearsal.files == {library}


def test_a_script_that_includes_itself(tmp_path: Path) -> None:
    script = tmp_path / "a.sql"
    script.write_text("include file.`a.sql`;")
    (error,) = rehearse(script.read_text(), ("allow.folders", str(tmp_path)), name=str(script)).errors
    assert error.message == f"{script} runs itself: {script} -> {script}"


def test_nothing_is_sure_after_a_statement_that_does_not_parse() -> None:
    rehearsal = rehearse("ste a = 1;\nselect '${a}' as x as t;")
    assert (len(rehearsal.errors), len(rehearsal.warnings)) == (0, 1)
