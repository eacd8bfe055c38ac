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


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """The variables of the sessions that run the cases."""
    data = tmp_path_factory.mktemp("data")
    (data / "people.csv").touch()
    (data / "people.json").touch()
    return [("data", str(data)), ("out", str(data / "out")), ("allow.folders", "/")]


RUN = [case for case in cases.load() if case.kind != "error" and "given twice" not in case.name]


@pytest.mark.parametrize("case", RUN, ids=str)
def test_no_false_alarm_over_a_script_that_runs(case: cases.Case, folders: list[tuple[str, str]]) -> None:
    assert shown(rehearse(case.script, *folders, *case.settings)) == []


def test_a_file_that_is_not_there_is_named_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "orders.csv").touch()
    (tmp_path / "data" / "2024.json").touch()
    script = f"""load csv.`data/orders.csv` as a;
load csv.`./dta/orders.csv` as b;
load csv.`data/order.csv` as c;
load json.`data/*.json,data/2025*.json,nowhere/*.json` as d;
load json.`s3a://bucket/x` as e;
load parquet.`out/day=1` as f;
save overwrite a as parquet.`out`;
load parquet.`out/day=1` as g;
load csv.`file://{tmp_path}/data` as h;
load csv.`file:{tmp_path}/data/ordres.csv` as i;
!sh touch later.csv;
load csv.`later.csv` as j;
"""
    assert shown(rehearse(script)) == [
        "2:10 warning: there is no file ./dta/orders.csv | Did you mean data/orders.csv?",
        "3:10 warning: there is no file data/order.csv | Did you mean data/orders.csv?",
        "4:11 warning: there is no file nowhere/*.json",
        "6:14 warning: there is no file out/day=1",
        f"10:10 warning: there is no file file:{tmp_path}/data/ordres.csv | Did you mean {tmp_path}/data/orders.csv?",
    ]


def test_a_mistyped_setting_is_not_a_variable() -> None:
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
