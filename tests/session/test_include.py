"""include: files, folders, the network, cycles; errors name the file they are in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sqlllm.errors import ForbiddenError, OptionError, ParseError, ScriptErrors, TableError
from sqlllm.session import Session

from .cases import rows_of

pytestmark = pytest.mark.slow


def write(folder: Path, **scripts: str) -> None:
    for name, text in scripts.items():
        path = folder / f"{name.replace('__', '/')}.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_what_a_script_sets_stays(session: Session, tmp_path: Path) -> None:
    write(tmp_path, common='set n = "3";\nset add = "select ${n} + {0} as n as t";')
    assert rows_of(session, "include file.`${data}/common.sql`; !add 4;") == [{"n": 7}]


def test_its_last_table_is_the_statement_s(session: Session, tmp_path: Path) -> None:
    write(tmp_path, one="select 1 as a as t")
    assert rows_of(session, "include local.`file://${data}/one.sql`;") == [{"a": 1}]


def test_a_path_is_taken_beside_the_script_first(
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path, lib__a="include hdfs.`b.sql`;", lib__b="select 'beside' as b as t;", b="select 'here' as b as t;")
    monkeypatch.chdir(tmp_path)
    assert rows_of(session, "include file.`lib/a.sql`;") == [{"b": "beside"}]
    assert rows_of(session, "include file.`b.sql`;") == [{"b": "here"}]


def test_a_project_has_its_folder(session: Session, tmp_path: Path) -> None:
    write(tmp_path, lib__a="select 1 as a as t;")
    session.override("project", str(tmp_path / "lib"))
    assert rows_of(session, "include project.`./a.sql`;") == [{"a": 1}]


def test_an_error_names_the_file_and_the_way_there(session: Session, tmp_path: Path) -> None:
    write(tmp_path, a="\ninclude file.`b.sql`;", b="select 1 as a as t;\nselect x from t as u;")
    with pytest.raises(TableError) as raised:
        session.run(f"set a = '1';\ninclude file.`{tmp_path}/a.sql`;", "main.sql")
    a, b = tmp_path / "a.sql", tmp_path / "b.sql"
    assert f"at {b}:2:8" in str(raised.value)
    assert str(raised.value).endswith(f"  in {b}, run at {a}:2:1\n  in {a}, run at main.sql:2:1")


def test_all_mistakes_of_a_file_are_found(session: Session, tmp_path: Path) -> None:
    write(tmp_path, a="selct 1;\nlaod x;")
    with pytest.raises(ScriptErrors) as raised:
        session.run(f"include file.`{tmp_path}/a.sql`;")
    assert [error.place.line for error in raised.value.errors if error.place] == [1, 2]


def test_a_cycle_names_its_chain(session: Session, tmp_path: Path) -> None:
    write(tmp_path, a="include file.`b.sql`;", b=f"include file.`../{tmp_path.name}/a.sql`;")
    with pytest.raises(ParseError, match=r"runs itself: .*a.sql -> .*b.sql -> .*a.sql") as raised:
        session.run(f"include file.`{tmp_path}/a.sql`;")
    assert f"at {tmp_path}/b.sql:1:1" in str(raised.value)
    write(tmp_path, b="select 1 as a as t;")
    assert rows_of(session, f"include file.`{tmp_path}/a.sql`;") == [{"a": 1}]  # the chain is forgotten


def test_a_script_outside_the_allowed_folders(session: Session) -> None:
    with pytest.raises(ForbiddenError, match=r"/etc/passwd lies outside"):
        session.run("include file.`/etc/passwd`;")


def test_a_script_that_is_not_there(session: Session) -> None:
    with pytest.raises(TableError, match=r"there is no script .*no.sql") as raised:
        session.run("include file.`${data}/no.sql`;")
    assert "<script>:1:14" in str(raised.value)


def test_tables_and_variables_hold_scripts(session: Session) -> None:
    script = "select explode(array('select 1 as a as t;', 'select a + 1 as a from t as u;')) as line as code;"
    assert rows_of(session, f"{script} include table.`code`;") == [{"a": 2}]
    assert rows_of(session, "set part = 'select 5 as a as t'; include variable.`part`;") == [{"a": 5}]


@pytest.mark.parametrize(
    ("statement", "message"),
    [("include plugin.`x`;", "include plugin is not here"), ("include flie.`x`;", "unknown kind of include flie")],
)
def test_other_kinds(session: Session, statement: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        session.run(statement)


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/common.sql"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(b"select 1 as a as t;\nselect b from t as u;")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as started:
        thread = threading.Thread(target=started.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{started.server_port}"
        started.shutdown()
        thread.join()


def test_the_network_is_off_and_can_be_allowed(session: Session, server: str) -> None:
    with pytest.raises(ForbiddenError, match="include http runs a script from the network, so it is off"):
        session.run(f"include http.`{server}/common.sql`;")
    session.override("allow.http", "true")
    with pytest.raises(TableError) as raised:
        session.run(f"include http.`{server}/common.sql`;")
    assert f"at {server}/common.sql:2:8" in str(raised.value)
    with pytest.raises(TableError, match="404"):
        session.run(f"include http.`{server}/other.sql`;")
