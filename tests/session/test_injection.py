"""Values of any characters reach their end unchanged: through a model and back, options, variables, files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sqlllm.session import Session, registry

from .cases import rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.dialect.statements import Run
    from sqlllm.jobs.serving import Serving

pytestmark = pytest.mark.slow

VALUES = [
    "it's \"quoted\" '''thrice''' \"\"\"thrice\"\"\" `back` ''",
    "C:\\new\\table\\ \\' \\\" \\${x} \\u0041 \\",
    "one\ntwo\r\nthree\ttab\n\n  spaces  ",
    "a; drop table t; -- no comment\n/* nor this */ # nor this",
    "${x} ${env:HOME} $x {{x}} {{ x }} {% x %} {x} #set($x = 1)",
    "{} {0} {1:default} {-1:next(named,uuid())} {:all} %s %(x)s",
    ':x :{1 + 1} <b>&amp;</b> {"json": [1, null]} </s> <|im_end|> [INST]',
    "😀 é 中文 \u200b\u202e \ufeff",
    "\x01\x07\x1b[31m\x7f\x85\u2028",
    "_",
    " ~ ",
]
NUMBERS = range(len(VALUES))
ALL = " ".join(VALUES)


@pytest.fixture(scope="module")
def session(spark: SparkSession, serving: Serving) -> Iterator[Session]:
    """A session with VALUES as the table `hostile` and as variables v0, v1 ..., and a model that echoes."""
    with Session(spark=spark) as session:
        session.__dict__["serving"] = serving
        session.override("allow.python", "true")
        session.run(
            'run command as LLM.`` where action="infer" and udfName="echo" and pretrainedModelType="oracle/function"'
            ' and `backend.function`="builtins:str";'
        )
        session.override("everything", ALL)
        for number, value in enumerate(VALUES):
            session.override(f"v{number}", value)
        rows = list(enumerate(VALUES))
        spark.createDataFrame(rows, "id int, value string").createOrReplaceTempView("hostile")
        yield session
        serving.undeploy("echo")
        session.__dict__.pop("serving")  # others use it


def values(session: Session, script: str) -> list[Any]:
    return [row["value"] for row in rows_of(session, script)]


def test_data_through_a_model_and_back(session: Session) -> None:
    script = """
select id, echo(llm_param(map("instruction", value, "system_msg", value))) as q from hostile as asked;
select llm_result(q) as value from asked order by id as told;
"""
    assert values(session, script) == VALUES


def test_data_in_a_prompts_template(session: Session) -> None:
    script = """
select id, llm_prompt('<{0}> {{x}} {1} {0}', array(value, "${v5}")) as prompt from hostile as prompts;
select id, prompt, echo(llm_param(map("instruction", prompt))) as q from prompts as asked;
select llm_result(q) as value from asked order by id as told;
"""
    assert values(session, script) == [f"<{value}> {{x}} {VALUES[5]} {value}" for value in VALUES]


def test_a_conversation_keeps_what_was_said(session: Session) -> None:
    script = """
select id, echo(llm_param(map("instruction", value))) as q from hostile as first;
select id, echo(llm_stack(q, llm_param(map("instruction", "and now?")))) as q from first as second;
select from_json(get_json_object(q[0], '$.history'), 'array<struct<role string, content string>>') as said
from second order by id as told;
"""
    said = [[turn["content"] for turn in row["said"]] for row in rows_of(session, script)]
    assert said == [[value, value, "and now?", "and now?"] for value in VALUES]


def test_variables_in_every_kind_of_quotes(session: Session) -> None:
    quotes = ["'", '"', "'''", '"""']
    columns = [
        f"{quote}${{v{number}}}{quote} as `{number}`"
        for number, quote in zip(range(len(VALUES)), quotes * 3, strict=False)
    ]
    (row,) = rows_of(session, f"select {', '.join(columns)} as t;")
    assert list(row.values()) == VALUES
    script = """
set all = "${everything}";
set again = "${all}";
set asked = '''select "${again}" as value''' where type="sql";
set greet = '''select echo(llm_param(map("instruction", "{0}"))) as q as {1}''';
!greet "${asked}" asked;
select llm_result(q) as value from asked as told;
"""
    assert values(session, script) == [ALL]


def test_a_chat_cell_asks_what_its_body_says(session: Session) -> None:
    written = "--%chat\n--%model=echo\n--%output=chatted\n--%system_msg=${everything}\n${everything}"
    assert [row["content"] for row in rows_of(session, written)] == [ALL]
    assert [row["content"] for row in rows_of(session, "--%string\n${everything}")] == [ALL]


def test_options_reach_their_end(session: Session, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[dict[str, str]] = []

    def keep(session: Session, run: Run) -> None:
        got.append(run.options.resolve(session.variables))

    monkeypatch.setitem(registry._MODULES, "keep", keep)
    options = [
        f"""`k{number}`="${{v{number}}}" and `b{number}`='''${{v{number}}}'''""" for number in range(len(VALUES))
    ]
    session.run(f"run command as keep.`` where {' and '.join(options)};")
    assert got == [{f"{key}{number}": value for number, value in enumerate(VALUES) for key in "kb"}]
    literal = [value for value in VALUES if "'''" not in value and "${" not in value and not value.endswith("'")]
    got.clear()
    session.run("run command as keep.`` where " + " and ".join(f"k{n}='''{v}'''" for n, v in enumerate(literal)) + ";")
    assert list(got[0].values()) == literal


@pytest.mark.parametrize("kind", ["parquet", "orc", "json"])
def test_files_give_back_what_was_saved(session: Session, tmp_path: Path, kind: str) -> None:
    session.override("folder", str(tmp_path / "it's a `folder`; --x"))
    session.override("allow.folders", str(tmp_path))
    script = f"""
save overwrite hostile as {kind}.`${{folder}}`;
load {kind}.`${{folder}}` as loaded;
select value from loaded order by id as told;
"""
    assert values(session, script) == VALUES
