"""Prompts as functions: what a call is written out as, versions, and what is refused; on an oracle in Spark."""

from __future__ import annotations

import dataclasses
import enum
import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import pytest

import sqlllm
from sqlllm.client import Image
from sqlllm.dialect import RenderedSql
from sqlllm.errors import OptionError, ParseError, SQLLLMError, TableError
from sqlllm.places import Source
from sqlllm.session import Session, prompt_functions
from sqlllm.session.python_prompts import data_type
from sqlllm.settings import Settings
from sqlllm.udfs import templates

from .cases import rows_of

if TYPE_CHECKING:
    pass

RATE = 'register Prompt.`Rate {{ review }} from 1 to 5` as rate where model="chat" and returns="int" and version="2";'


@pytest.fixture
def bare(tmp_path: Path) -> Session:
    """A session without Spark, with the models chat and other."""
    session = Session(Settings(home=tmp_path))
    session.models.add("chat")
    session.models.add("other")
    return session


def written(session: Session, sql: str) -> str:
    rendered = RenderedSql(sql, Source(sql).place(0, len(sql)))
    return prompt_functions.written_out(session, rendered).text


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("rate(r)", "ai_query('chat', llm_prompt('Rate {review} from 1 to 5', named_struct('review', r)),"
                    " returnType => 'int')"),
        ("rate(review => upper(r))", "ai_query('chat', llm_prompt('Rate {review} from 1 to 5',"
                                     " named_struct('review', upper(r))), returnType => 'int')"),
        ("RATE(r, model => 'other', failOnError => false)",
         "ai_query('other', llm_prompt('Rate {review} from 1 to 5', named_struct('review', r)), returnType => 'int',"
         " failOnError => false)"),
    ],
)  # fmt: skip
def test_a_call_is_one_of_ai_query(bare: Session, call: str, expected: str) -> None:
    bare.run(RATE)
    assert written(bare, f"select {call} as x from t") == f"select {expected} as x from t"


def test_calls_nest_and_texts_stay(bare: Session) -> None:
    bare.run(RATE)
    bare.run("register Prompt.`Say so: {{ n }}` as said;")
    out = written(bare, "select 'rate(r)', said(rate(r)) from t")
    assert out.startswith("select 'rate(r)', ai_query('', llm_prompt('Say so: {n}', named_struct('n', ai_query('chat',")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("rate()", "rate needs review"),
        ("rate(r, 2)", "rate takes 1 arguments, not 2"),
        ("rate(r, review => 2)", "rate gets review twice"),
        ("rate(r, revew => 2)", "rate has no revew; did you mean review?"),
        ("rate(r, version => '9')", "rate has no version 9; versions: 2"),
        ("rate(r, version => v)", "the version of rate is a text in quotes"),
        ("rate(r, model => m)", "the model of rate is a text in quotes"),
        ("rate(,)", "rate gets an argument without a value"),
    ],
)
def test_a_wrong_call_names_its_place(bare: Session, call: str, words: str) -> None:
    bare.run(RATE)
    with pytest.raises(ParseError, match=words) as caught:
        written(bare, f"select {call} from t")
    assert caught.value.place is not None
    assert caught.value.place.text == call


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("register Prompt.`` as rate;", "the prompt rate is empty"),
        ("register Prompt.`{{ a | upper }}` as rate;", "a prompt in SQL takes {{ name }} alone"),
        ("register Prompt.`{% if a %}x{% endif %}` as rate;", "a prompt in SQL takes {{ name }} alone"),
        ("register Prompt.`x` as rate where returns='integerr';", "integerr"),
        ("register Prompt.`x` as rate where temprature='0';", "unknown option temprature of a prompt"),
        ("register Prompt.`x` as rate where temperature='warm';", "temperature"),
        ("register Prompt.`x` as upper;", "upper is a function of SQL"),
        ("register Prompt.`x` as ai_query;", "ai_query is a function of SQL"),
        ("register Prompt.`x` as chat;", "chat is a model"),
    ],
)
def test_a_wrong_prompt_is_one_sentence(bare: Session, statement: str, words: str) -> None:
    with pytest.raises(SQLLLMError) as caught:
        bare.run(statement)
    assert words in caught.value.message
    assert caught.value.place is not None
    assert not (bare.settings.home / "prompts").exists()


def test_versions_are_kept_and_an_old_one_can_be_asked(bare: Session) -> None:
    register = "register Prompt.`{}` as rate where model='chat'"
    for text in ("One {{ a }}", "Two {{ a }}", "One {{ a }}"):
        bare.run(f"{register.format(text)};")
    assert [(row["version"], row["current"], row["template"]) for row in bare.prompts.rows()] == [
        ("1", True, "One {{ a }}"),
        ("2", False, "Two {{ a }}"),
    ]
    assert "One {a}" in written(bare, "select rate(x)")
    assert "Two {a}" in written(bare, "select rate(x, version => '2')")
    with pytest.raises(OptionError, match="version 2 of the prompt rate is kept with another text") as caught:
        bare.run(f"{register.format('Three {{ a }}')} and version='2';")
    assert 'version="3"' in caught.value.cure

    later = Session(Settings(home=bare.settings.home))
    later.run(f"{register.format('Three {{ a }}')};")
    assert [row["version"] for row in later.prompts.rows() if row["current"]] == ["3"]
    assert "Two {a}" in written(later, "select rate(x, version => '2')")


def test_unregister_ends_the_function_and_keeps_its_versions(bare: Session) -> None:
    bare.run(RATE)
    assert bare.prompts.remove("Rate")
    assert written(bare, "select rate(x)") == "select rate(x)"
    assert [row["current"] for row in bare.prompts.rows()] == [False]


def test_text_around_the_fields_stays_as_it_is() -> None:
    chance = random.Random(5)
    for _ in range(2_000):
        pieces = [chance.choice(["{", "}", "{}", "}}", "a", " ", "\n", "{{ f }}", "'", '{"k": 1}', "{0}", "{f}"])
                  for _ in range(chance.randrange(8))]  # fmt: skip
        template = "".join(pieces)
        try:
            request, names = prompt_functions.plain(template, "p")
        except OptionError:
            continue  # braces that met by chance are Jinja2's
        parsed = templates.parse(request)
        text = "".join(one if isinstance(one, str) else "{{ f }}" for one in parsed)
        assert text == re.sub(r"\{\{\s*f\s*\}\}", "{{ f }}", template)
        assert set(names) == {one.name for one in parsed if isinstance(one, templates.Field)}


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Person(TypedDict):
    name: str
    age: int | None


@dataclasses.dataclass
class Order:
    buyer: Person
    prices: list[float]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int, "bigint"),
        (float | None, "double"),
        (list[bool], "array<boolean>"),
        (dict[str, int], "map<string,bigint>"),
        (Literal["a", "b"], "string"),
        (Mood, "string"),
        (Order, "struct<buyer:struct<name:string,age:bigint>,prices:array<double>>"),
        (int | str, ""),
        (object, ""),
        (dict[int, str], ""),
    ],
)
def test_types_of_python_are_those_of_spark(kind: Any, expected: str) -> None:
    assert data_type(kind) == expected


@sqlllm.prompt("chat")
def mood(review: str, tone: str = "calm") -> Literal["good", "bad"]:
    """Is this {{ tone }} review good or bad? {{ review }}"""


def test_a_plain_prompt_of_python_needs_no_python_in_spark(bare: Session) -> None:
    made = bare.register(mood.options(temperature=0.5))
    assert (made.renderer, made.options, made.labels) == ("", {"temperature": "0.5"}, ("good", "bad"))
    out = written(bare, "select mood(r, 'loud')")
    assert "labels => array('good', 'bad'), modelParameters => map('temperature', '0.5')" in out
    assert bare.register(mood, "feeling", model="other", version="v1").version == "v1"
    assert not bare.spark_runs


@sqlllm.prompt
def pictured(picture: Image) -> str:
    """What is this? {{ picture }}"""


@sqlllm.prompt
def several(*parts: str) -> str:
    """Join {{ parts }}"""


@sqlllm.prompt
def made(text: str) -> object:
    """Make {{ text }}"""


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (mood.with_tools(len), "changed by with_tools"),
        (mood.with_extractor(str.strip), "changed by with_extractor"),
        (print, "print is not a prompt"),
        (pictured, "the parameter picture of the prompt pictured is an Image"),
        (several, r"the parameter \*parts, which a function of SQL cannot have"),
        (made, "returns <class 'object'>, which is not a type of Spark"),
    ],
)
def test_what_sql_does_not_have_is_refused(bare: Session, prompt: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        bare.register(prompt)


@pytest.fixture
def answering(session: Session, tmp_path: Path) -> Session:
    """The model `fixed`, a table of answers, and the table `reviews`."""
    answers = {
        "Rate from 1 to 5: Fine": "4",
        "Rate from 1 to 5: Bad {x}": "not at all",
        "Is this loud review good or bad? Fine": "good",
        "Sell Al, Bo for 2.50": '{"buyer": {"name": "Al", "age": null}, "prices": [2.5]}',
    }
    lines = [json.dumps({"prompt": prompt, "answer": answer}) for prompt, answer in answers.items()]
    (tmp_path / "answers.json").write_text("\n".join(lines))
    session.run(
        f"""run command as LLM where action="infer" and pretrainedModelType="oracle/table" and udfName="fixed"
        and localModelDir="{tmp_path}/answers.json";
        select * from values (1, "Fine"), (2, "Bad {{x}}"), (3, null) as t(id, review) as reviews;"""
    )
    return session


@pytest.mark.slow
def test_rows_of_a_table_are_rated(answering: Session) -> None:
    answering.run('register Prompt.`Rate from 1 to 5: {{ review }}` as rate where model="fixed" and returns="int";')
    answering.run("select id, rate(review, failOnError => false) as rated from reviews as r;")
    rows = rows_of(
        answering, "select id, rated.result as stars, rated.errorMessage is null as fine from r order by id as s;"
    )
    assert rows[:2] == [{"id": 1, "stars": 4, "fine": True}, {"id": 2, "stars": None, "fine": False}]
    (kept,) = rows_of(answering, "load llm.`prompts` as p; select name, version, current, returns from p as q;")
    assert kept == {"name": "rate", "version": "1", "current": True, "returns": "int"}
    answering.run("unregister Prompt.`rate`;")
    with pytest.raises(TableError, match="there is no function rate"):
        answering.run("select rate(review) as x from reviews as t;")


@pytest.mark.slow
def test_a_prompt_of_python_is_filled_in_the_workers(answering: Session) -> None:
    @sqlllm.prompt("fixed")
    def sell(names: list[str], price: float) -> Order:
        """Sell {{ names | join(', ') }} for {{ shown }}"""
        return {"shown": f"{price:.2f}"}  # type: ignore[return-value]

    assert answering.register(sell).renderer
    (row,) = rows_of(answering, "select sell(array('Al', 'Bo'), 2.5d) as sold, sell(null, 1d) as none as t;")
    assert row["sold"] == {"buyer": {"name": "Al", "age": None}, "prices": [2.5]}
    assert row["none"] is None

    answering.register(mood, model="fixed")
    (row,) = rows_of(answering, "select mood('Fine', 'loud') as m as t;")
    assert row == {"m": "good"}
