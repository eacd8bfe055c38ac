"""The command as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click import ClickException
from click.testing import CliRunner

from sqlllm.console.cli import check, cli, doctor
from sqlllm.console.cli.run import write
from sqlllm.errors import SQLLLMError

SQLLLM = [sys.executable, "-c", "from sqlllm.console.cli import main; main()"]


def sqlllm(*arguments: str, cwd: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SQLLLM, *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    (tmp_path / "bad.sql").write_text("select 1 as a as t;\n  laod json.`x` as u;\nset = 3;\n")
    return tmp_path


def test_check_reports_every_error_with_its_place(bad: Path) -> None:
    shown = sqlllm("check", "bad.sql", cwd=bad)
    assert shown.returncode == 1
    assert "bad.sql:2:3: " in shown.stdout
    assert "bad.sql:3:" in shown.stdout
    assert "2 |   laod json.`x` as u;\n  |   ^^^^\n" in shown.stdout
    assert shown.stderr == ""


def test_check_for_editors(bad: Path) -> None:
    errors = json.loads(sqlllm("check", "--json", "bad.sql", cwd=bad).stdout)
    assert (errors[0]["source"], errors[0]["line"], errors[0]["column"]) == ("bad.sql", 2, 3)


def test_check_knows_a_mistyped_setting(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("select 1 as a as t;\n")
    shown = sqlllm("check", "--set", "llm.batch_sze=1", "a.sql", cwd=tmp_path)
    assert shown.returncode == 1
    assert "unknown setting llm.batch_sze\nDid you mean llm.batch_size?" in shown.stderr


def test_an_error_without_a_place_is_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    check._show(SQLLLMError("it is wrong", cure="Write it right."), "warning: ")
    assert capsys.readouterr().out == "warning: it is wrong\nWrite it right.\n"


def test_check_of_many_good_scripts_says_nothing(tmp_path: Path) -> None:
    for name in ("a.sql", "b.sql"):
        (tmp_path / name).write_text("select 1 as a as t;")
    shown = sqlllm("check", "a.sql", "b.sql", cwd=tmp_path)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


def test_check_of_many_scripts_reports_the_errors_of_each(bad: Path) -> None:
    (bad / "good.sql").write_text("set a = 1;\nselect ${a} as a as t;")
    (bad / "unset.sql").write_text("set folder = 'x';\nload json.`${foldr}/y` as t;\nselect '${day}' as d as u;")
    scripts = ("good.sql", "bad.sql", "unset.sql")
    shown = sqlllm("check", *scripts, cwd=bad)
    assert (shown.returncode, shown.stderr) == (1, "")
    places = [line.split(": ")[0] for line in shown.stdout.splitlines() if ".sql:" in line]
    assert places == ["bad.sql:2:3", "bad.sql:3:5", "unset.sql:2:12", "unset.sql:3:9"]
    assert (
        "variable foldr is not set\n2 | load json.`${foldr}/y` as t;\n  |            ^^^^^^^^\nDid you mean folder?"
        in (shown.stdout)
    )
    shown = sqlllm("check", "--json", "--set", "day=1", *scripts, cwd=bad)
    assert shown.returncode == 1
    found = [(error["source"], error["line"], error["column"], error["severity"]) for error in json.loads(shown.stdout)]
    assert found == [("bad.sql", 2, 3, "error"), ("bad.sql", 3, 5, "error"), ("unset.sql", 2, 12, "error")]


def test_check_looks_at_an_included_script_where_it_is_included(tmp_path: Path) -> None:
    (tmp_path / "main.sql").write_text("set who = 'me';\ninclude file.`part.sql`;")
    (tmp_path / "part.sql").write_text("select '${who}' as who as t;")
    assert sqlllm("check", "part.sql", cwd=tmp_path).returncode == 1
    shown = sqlllm("check", "part.sql", "main.sql", cwd=tmp_path)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


def test_check_of_scripts_that_include_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_bytes(b"\xef\xbb\xbfinclude file.`b.sql`;")  # as editors on Windows write it
    (tmp_path / "b.sql").write_text("include file.`a.sql`;")
    for scripts in (["a.sql"], ["a.sql", "b.sql"]):
        shown = sqlllm("check", *scripts, cwd=tmp_path)
        assert shown.returncode == 1
        assert "a.sql runs itself: " in shown.stdout


def test_check_warns_of_sql_that_looks_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("select upper(a from t as u;")
    shown = sqlllm("check", "a.sql", cwd=tmp_path)
    assert shown.returncode == 0
    assert "a.sql:1:" in shown.stdout
    assert "warning: " in shown.stdout
    assert sqlllm("check", "--strict", "a.sql", cwd=tmp_path).returncode == 1
    (warning,) = json.loads(sqlllm("check", "--json", "a.sql", cwd=tmp_path).stdout)
    assert (warning["severity"], warning["line"]) == ("warning", 1)


def test_check_warns_of_modules_that_are_not_here(tmp_path: Path) -> None:
    script = "run t as KMeens.``;\n!if '2 > 1';\nrun t as LLN.``;\n!fi;\nrun t as LLM.``;"
    (tmp_path / "a.sql").write_text(script)
    shown = sqlllm("check", "a.sql", cwd=tmp_path)
    assert shown.returncode == 0
    assert "a.sql:1:10: warning: unknown module KMeens\n" in shown.stdout
    assert "Did you mean KMeans?" in shown.stdout
    assert "a.sql:3:10: warning: unknown module LLN\n" in shown.stdout
    assert shown.stdout.count("warning") == 2
    assert sqlllm("check", "--strict", "a.sql", cwd=tmp_path).returncode == 1


def test_fmt_rewrites_in_place_and_is_idempotent(tmp_path: Path) -> None:
    script = tmp_path / "a.sql"
    script.write_text('-- why\nLOAD   csv.`x`  where header = "true"  as t ;select 1 as a as u')
    assert sqlllm("fmt", "--check", "a.sql", cwd=tmp_path).returncode == 1
    assert sqlllm("fmt", "a.sql", cwd=tmp_path).returncode == 0
    styled = script.read_text()
    assert styled.startswith("-- why\nload csv.`x`")
    assert sqlllm("fmt", "--check", "a.sql", cwd=tmp_path).returncode == 0
    assert sqlllm("fmt", "-", cwd=tmp_path, stdin=styled).stdout == styled


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ClickException, match=r"cannot write .*b\.svg: No such file or directory"):
        write(tmp_path / "a" / "b.svg", b"")


def test_fmt_leaves_a_script_that_does_not_parse(bad: Path) -> None:
    before = (bad / "bad.sql").read_text()
    shown = sqlllm("fmt", "bad.sql", cwd=bad)
    assert shown.returncode == 1
    assert "bad.sql:2:3" in shown.stderr
    assert (bad / "bad.sql").read_text() == before


@pytest.mark.parametrize("command", ["run", "check", "fmt"])
def test_a_script_that_is_not_there(command: str, tmp_path: Path) -> None:
    shown = sqlllm(command, "nope.sql", cwd=tmp_path)
    assert shown.returncode == 1
    assert shown.stderr == "Error: there is no script nope.sql\n"


def test_run_does_not_start_anything_for_a_script_that_does_not_parse(bad: Path) -> None:
    shown = sqlllm("run", "bad.sql", cwd=bad, JAVA_HOME="/nowhere")
    assert shown.returncode == 1
    assert "the script has 2 errors" in shown.stderr
    assert "Java" not in shown.stderr
    assert "Traceback" not in shown.stderr


def test_missing_java_is_one_error_with_the_command_that_installs_it(tmp_path: Path) -> None:
    shown = sqlllm("run", "-", cwd=tmp_path, stdin="select 1 as a as t;", JAVA_HOME="/nowhere")
    assert shown.returncode == 1
    assert "Spark needs Java 17 or newer; there is none at JAVA_HOME=/nowhere." in shown.stderr
    assert "sudo apt-get install -y default-jre-headless" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_old_java_is_named(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    shown = sqlllm("run", "-", cwd=tmp_path, stdin="select 1 as a as t;", JAVA_HOME=str(tmp_path))
    assert f"Spark needs Java 17 or newer; {java} is Java 11." in shown.stderr


def test_a_wrong_setting_in_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "sqlllm.toml").write_text("[llm]\nin_fligt = 3\n")
    shown = sqlllm("run", "-", cwd=tmp_path, stdin="select 1 as a as t;")
    assert shown.returncode == 1
    assert "unknown setting llm.in_fligt" in shown.stderr
    assert "Did you mean llm.in_flight?" in shown.stderr


def test_set_without_a_value(tmp_path: Path) -> None:
    shown = sqlllm("run", "-", "--set", "x", cwd=tmp_path, stdin="select 1 as a as t;")
    assert "--set x: there is no `=`" in shown.stderr


def test_help_lists_the_commands(tmp_path: Path) -> None:
    shown = sqlllm("--help", cwd=tmp_path)
    assert shown.returncode == 0
    for command in ("run", "check", "fmt", "doctor"):
        assert f"\n  {command} " in shown.stdout


def test_an_unknown_command_names_the_nearest(tmp_path: Path) -> None:
    shown = sqlllm("chek", "a.sql", cwd=tmp_path)
    assert shown.returncode == 2
    assert "there is no command chek. Did you mean check?" in shown.stderr


@pytest.mark.slow
def test_run_gives_json_csv_and_a_table(tmp_path: Path) -> None:
    script = "set b = \"1\"; select 1 as a, '${b}' as b, cast(null as string) as c, array(1.5, 2) as d from range(1);"
    (tmp_path / "a.sql").write_text(script)
    as_json = sqlllm("run", "a.sql", "--format", "json", "--set", 'b=x,"y', cwd=tmp_path)
    assert json.loads(as_json.stdout) == [{"a": 1, "b": 'x,"y', "c": None, "d": ["1.5", "2.0"]}]
    as_csv = sqlllm("run", "a.sql", "--format", "csv", "--set", 'b=x,"y', cwd=tmp_path)
    assert as_csv.stdout == 'a,b,c,d\n1,"x,""y",,"[""1.5"", ""2.0""]"\n'
    table = sqlllm("run", "a.sql", cwd=tmp_path)
    assert "NULL" in table.stdout
    assert "Traceback" not in as_json.stderr + as_csv.stderr + table.stderr


@pytest.mark.slow
def test_doctor_finds_what_is_there(tmp_path: Path) -> None:
    shown = sqlllm("doctor", cwd=tmp_path)
    assert shown.returncode == 0, shown.stdout
    assert "pyspark       found" in shown.stdout


def test_doctor_finds_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", {"xllamacpp": doctor.PACKAGES["xllamacpp"]})  # the others take long
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    missing = CliRunner().invoke(cli, ["doctor"])
    assert missing.exit_code == 1
    assert "java         missing" in missing.stdout
    assert "sudo apt-get install" in missing.stdout


@pytest.mark.slow
def test_ctrl_c_ends_a_running_query_in_one_word(tmp_path: Path) -> None:
    script = tmp_path / "long.sql"
    script.write_text("select sum(a.id * b.id % 7) as s from range(3000000) a cross join range(300000) b as t;")
    with subprocess.Popen(
        [*SQLLLM, "run", str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout
        assert running.stderr
        seen = ""
        while "computing the last table" not in seen:
            seen = running.stderr.readline()
            assert seen, "it ended by itself"
        time.sleep(1)  # so that the query runs; earlier is as good, only easier
        os.killpg(running.pid, signal.SIGINT)  # the whole group, as a terminal does
        try:
            out, err = running.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            raise
    assert running.returncode == 130
    assert (out, err.strip()) == ("", "stopped")
