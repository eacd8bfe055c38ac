"""What can stand at the cursor, what the word there is, and whether the text is finished: without Spark."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, String

from sqlllm.console.language import Language, Names, SessionNames
from sqlllm.dialect.parser import STATEMENTS
from sqlllm.session import Session

SAMPLE = 'load csv.`x` where header="true"; -- why\n!show t;'
SCRIPTS = [path.read_text() for path in sorted((Path(__file__).parents[1] / "dialect" / "scripts").glob("*.sql"))]


class Known(Names):
    def tables(self) -> dict[str, str]:
        return {"people": "temporary"}

    def columns(self, table: str) -> dict[str, str]:
        return {"name": "string", "age": "int"} if table == "people" else {}

    def models(self) -> list[str]:
        return ["chat"]

    def variables(self) -> dict[str, str]:
        return {"folder": "/data"}


@pytest.fixture
def language() -> Language:
    return Language(Known())


# Text with the cursor at |, what has to be offered, what must not be.
CASES = [
    ("lo|", "load", "save"),
    ("select 1;\nsa|", "save", "load"),
    ("!sh|", "show", "head"),
    ("!show mo|", "models", "tables"),
    ("!head pe|", "people", "chat"),
    ("!byzerllm mo|", "model", "setup"),
    ("load cs|", "csv", "json"),
    ("load csv.`t` where hea|", "header", "sep"),
    ('load csv.`t` where header="tr|', "true", "false"),
    ('load csv.`t` where header="true" and |', "inferSchema", "header"),
    ("load csv.`t` |", "as", "and"),
    ("load kafka.`t` where subs|", "subscribePattern", "header"),
    ("load xml.`t` where row|", "rowTag", "header"),
    ("save over|", "overwrite", "people"),
    ("save overwrite |", "people", "csv"),
    ("save overwrite people as par|", "parquet", "csv"),
    ('save people as csv.`x` where header="true" partitionBy |', "age", "header"),
    ("run people as LL|", "LLM", "TableRepartition"),
    ('run people as LLM.`` where action="in|', "infer", "finetune"),
    ("run people as LLM.`` where `sft.int.max_st|", "sft.int.max_steps", "name"),
    ("run people as LLM.`` where max_st|", "sft.int.max_steps", "name"),
    ('run command as LLM.`` where action="infer" and |', "udfName", "sft.int.max_steps"),
    ('run command as LLM.`` where action="undeploy" and udfName="|', "chat", "people"),
    ("set llm.in|", "llm.in_flight", "llm.timeout"),
    ('set x = "1" where sc|', "scope", "type"),
    ("select * from pe|", "people", "upper"),
    ("select | from people;", "age", "age_in_nowhere"),
    ("select p.na| from people p;", "p.name", "upper"),
    ("select llm_res|", "llm_result", "llm_param"),
    ("select ch|", "chat", "people"),
    ("select ai_|", "ai_classify", "abs"),
    ("select sentim|", "ai_analyze_sentiment", "sentences"),
    ("select try_pars|", "try_parse_json", "lit"),
    ("select li|", "listagg", "lit"),
    ("select co|", "collect_list", "col"),
    ("fr|", "from", "load"),
    ("select 1 as a as late; select * from la|", "late", "people"),
    ("run command as LLM.`` where udfName='triage'; select tri|", "triage", "chat"),
    ("load csv.`${fo|", "folder", "HOME"),
    ("--%py|", "python", "chat"),
    ("--%chat\n--%mo|", "model", "input"),
    ("--%chat\n--%model=|", "chat", "people"),
    ("include proj|", "project", "http"),
]


@pytest.mark.parametrize(("text", "offered", "absent"), CASES, ids=[case[0] for case in CASES])
def test_what_fits_is_offered(language: Language, text: str, offered: str, absent: str) -> None:
    cursor = text.index("|")
    text = text.replace("|", "")
    found = {one.text: one for one in language.complete(text, cursor)}
    assert offered in found
    assert absent not in found
    # What is put in place of the half-written word leaves what stands before it.
    assert text[found[offered].start : cursor].lower() in offered.lower()


@pytest.mark.parametrize("text", ["select 'lo", "select 1 -- lo", "--%python\nlo", "load csv.`x` as lo", "/* lo"])
def test_nothing_is_offered_inside_what_is_free(language: Language, text: str) -> None:
    assert language.complete(text, len(text)) == []


def test_paths_are_completed(language: Language, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "orders.csv").touch()
    text = f"load csv.`{tmp_path}/da"
    assert [one.text for one in language.complete(text, len(text))] == [f"{tmp_path}/data/"]
    text = f"load csv.`{tmp_path}/data/"
    assert [one.text for one in language.complete(text, len(text))] == [f"{tmp_path}/data/orders.csv"]


def test_every_statement_and_command_says_what_it_is(language: Language) -> None:
    assert {one.text for one in language.complete("", 0)} == {word for word in STATEMENTS if word != "("}
    commands = language.complete("!", 1)
    assert [one.text for one in commands if not one.help and one.kind == "command"] == ["llm"]


def test_inspection_shows_what_the_registries_and_the_manual_say(language: Language) -> None:
    assert "load format.`path`" in language.inspect("load csv.`x` as t;", 2)
    assert "steps, instead of epochs" in language.inspect("run t as LLM.`` where sft.int.max_steps", 30)
    assert "name of the run" in language.inspect('run t as LLM.`` where name="x"', 23)
    assert "upper(str): Returns `str` with all characters changed" in language.inspect("select upper(a)", 9)
    assert "ai_classify(content, labels" in language.inspect("select ai_classify(a, b)", 9)
    assert "one of the labels" in language.inspect("select ai_classify(a, b)", 9)
    assert "conversation" in language.inspect("select llm_stack(q, p)", 9)
    assert "| `age` | int |" in language.inspect("select * from people", 16)
    assert "shows the first rows" in language.inspect("!head t 5;", 2)
    assert language.inspect("select nothing_known", 10) == ""


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("select 1;", "complete"),
        ("", "complete"),
        ("-- only a comment", "complete"),
        ("select 1", "incomplete"),
        ("select 'a", "incomplete"),
        ("set x = '''a;\n", "incomplete"),
        ("/* a", "incomplete"),
        ("selec 1;", "invalid"),
        ("--%python\nx = 1", "incomplete"),
        ("--%python\nx = 1\n\n", "complete"),
    ],
)
def test_whether_a_script_is_finished(language: Language, text: str, state: str) -> None:
    assert language.state(text)[0] == state


def test_a_session_that_has_not_started_spark_does_not_start_it(tmp_path: Path) -> None:
    with Session() as session:
        session.override("home", str(tmp_path))
        session.run_all([])
        session.variables.set("api_token", "abc")
        language = Language(SessionNames(session))
        assert language.complete("select * from ", 14) == []
        assert [one.help for one in language.complete("set api_t", 9)] == ["***"]
        assert not session.spark_runs


def test_after_a_comment_a_statement_may_begin(language: Language) -> None:
    for text in ("-- why\n", "/* a */ ", "load csv.`a` as t; -- after\n"):
        assert {one.text for one in language.complete(text, len(text))} >= {"load", "select"}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SCRIPTS), st.data())
def test_half_written_text_never_raises(script: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(script)))
    end = data.draw(st.integers(start, len(script)))
    text = script[start:end] + data.draw(st.sampled_from(["", "`", '"', "'''", "${", "--%", "/*", ".", "=", "!", "x."]))
    language = Language(Known())
    for completion in language.complete(text, len(text)):
        assert 0 <= completion.start <= len(text)
    language.inspect(text, data.draw(st.integers(0, len(text))))
    language.state(text)


@given(st.text())
def test_any_text_never_raises(text: str) -> None:
    language = Language(Known())
    language.complete(text, len(text))
    language.inspect(text, len(text) // 2)
    language.state(text)


def test_the_lexer_gives_back_the_text_and_knows_the_dialect() -> None:
    lexer = get_lexer_by_name("sqlllm", stripnl=False, ensurenl=False)
    for script in SCRIPTS:
        assert "".join(piece for _, piece in lexer.get_tokens(script)) == script
    found = {piece: kind for kind, piece in lexer.get_tokens(SAMPLE)}
    assert found["load"] is Keyword
    assert found["`x`"] in String
    assert found["header"] is Name.Attribute
    assert found["-- why"] in Comment
    assert found["show"] is Name.Builtin
