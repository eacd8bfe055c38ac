"""save and load of indexes: what is embedded, what is kept, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sqlllm.errors import SQLLLMError
from tests.session.cases import rows_of

from .embedding import embeds, refuses, texts, vector

if TYPE_CHECKING:
    from sqlllm.session import Session
    from tests.serving.provider import Provider

    from .conftest import Notes


pytestmark = pytest.mark.slow

CHUNKS = [
    ("a1", "a.pdf", "the cat sleeps on the sofa"),
    ("a2", "a.pdf", "error E1234 means that the disk is full"),
    ("b1", "b.pdf", "the cat sleeps on the sofa"),
    ("b2", "b.pdf", "我们在北京学习机器翻译"),
    ("b3", "b.pdf", "   "),
    ("b4", "b.pdf", None),
]


def chunks(session: Session, rows: list[tuple[Any, ...]] = CHUNKS, name: str = "chunks") -> None:
    session.spark.createDataFrame(rows, "id string, path string, content string").createOrReplaceTempView(name)


def saved(session: Session, how: str, options: str = "") -> dict[str, Any]:
    (row,) = rows_of(session, f"save {how} {options};")
    return row


def test_each_distinct_text_is_embedded_once_and_comes_back(session: Session, provider: Provider) -> None:
    chunks(session)
    provider.asked.clear()
    row = saved(session, 'overwrite chunks as index.`kb` where text="content" and model="emb" and key="id"')
    assert (row["rows"], row["without_text"], row["failed"]) == (6, 2, 0)
    assert sorted(texts(provider.asked)) == sorted({text for *_, text in CHUNKS if text and text.strip()})
    found = {row["id"]: row for row in rows_of(session, "load index.`kb` as t;")}
    assert found["a1"]["vector"] == pytest.approx(vector("the cat sleeps on the sofa"), abs=1e-6)
    assert found["b3"]["vector"] is None
    assert found["b4"]["vector"] is None
    assert set(found["a1"]) == {"id", "path", "content", "vector"}
    (shown,) = [one for one in rows_of(session, "!show indexes;") if one["name"] == "kb"]
    assert (shown["rows"], shown["model"], shown["key"]) == (6, "emb", "id")


def test_search_as_a_table_and_lateral(session: Session) -> None:
    chunks(session)
    saved(session, 'overwrite chunks as index.`s` where text="content" and model="emb" and key="id"')
    rows = rows_of(
        session, "select * from vector_search(index => 's', query => 'a cat sleeps', num_results => 2) as t;"
    )
    assert [row["id"] for row in rows] == ["a1", "b1"]
    assert set(rows[0]) == {"id", "path", "content", "search_score"}
    session.spark.createDataFrame(
        [(1, "the cat sleeps"), (2, "E1234"), (3, "机器翻译"), (4, None), (5, " ")], "n int, question string"
    ).createOrReplaceTempView("questions")
    for kind, best in {"full_text": {1: "a1", 2: "a2", 3: "b2"}, "hybrid": {1: "a1", 2: "a2", 3: "b2"}}.items():
        rows = rows_of(
            session,
            f"""select q.n, hit.id, hit.search_score from questions as q, lateral vector_search(index => 's',
            query => q.question, num_results => 1, query_type => '{kind}') as hit order by q.n as t;""",
        )
        assert {row["n"]: row["id"] for row in rows} == best


def test_search_by_meaning_asks_each_question_once(session: Session, provider: Provider) -> None:
    chunks(session)
    saved(session, 'overwrite chunks as index.`s2` where text="content" and model="emb" and key="id"')
    provider.asked.clear()
    rows = rows_of(
        session,
        """select n % 2 as n, ai_search(index => 's2', query => concat('question of cats ', n % 2), num_results => 2)
           as hits from range(40) as t(n) as searched;""",
    )
    assert sorted(texts(provider.asked)) == ["question of cats 0", "question of cats 1"]
    assert {len(row["hits"]) for row in rows} == {2}  # type: ignore[arg-type]
    (row,) = rows_of(
        session,
        """load index.`s2` as loaded;
           select hits.id as ids from (select ai_search('s2', 'x', 1, 'ann', query_vector => v, columns => array('id'))
           as hits from (select vector as v from loaded where id = 'a2')) as t;""",
    )
    assert row["ids"] == ["a2"]


def test_an_unchanged_text_costs_nothing_and_a_document_keeps_no_old_chunk(
    session: Session, provider: Provider
) -> None:
    options = 'where text="content" and model="emb" and key="id" and document="path"'
    chunks(session, [(f"r{n}", "r.pdf", f"chunk {n} of the report") for n in range(5)] + [("o", "o.pdf", "other")])
    saved(session, f"overwrite chunks as index.`again` {options}")
    session.run('set llm.store = "off";')
    try:
        provider.asked.clear()
        # One chunk less at the front: every key has another text, and each text is known.
        chunks(session, [(f"r{n}", "r.pdf", f"chunk {n + 2} of the report") for n in range(3)])
        row = saved(session, "append chunks as index.`again`")
        assert texts(provider.asked) == []
        assert (row["rows"], row["updated"], row["deleted"]) == (4, 3, 2)
        chunks(session, [("n1", "n.pdf", "news"), ("n2", "n.pdf", "other")])
        saved(session, "append chunks as index.`again`")
        assert texts(provider.asked) == ["news"]
    finally:
        session.run('set llm.store = "on";')
    found = {row["id"]: row["content"] for row in rows_of(session, "load index.`again` as t;")}
    assert found == {
        "o": "other", "n1": "news", "n2": "other", **{f"r{n}": f"chunk {n + 2} of the report" for n in range(3)}
    }  # fmt: skip


def test_older_versions_are_read_and_searched(session: Session) -> None:
    chunks(session, [("v1", "d", "first words")])
    first = saved(session, 'overwrite chunks as index.`versions` where model="emb" and key="id"')["version"]
    chunks(session, [("v2", "d", "second words")])
    saved(session, "append chunks as index.`versions`")
    assert len(rows_of(session, "load index.`versions` as t;")) == 2
    for how in (f'version="{first}"',):
        assert [row["id"] for row in rows_of(session, f"load index.`versions` where {how} as t;")] == ["v1"]
    assert len(rows_of(session, 'load index.`versions` where asOf="2999-01-01" as t;')) == 2
    rows = rows_of(session, f"select id from vector_search('versions', 'words', version => {first}) as t;")
    assert [row["id"] for row in rows] == ["v1"]
    with pytest.raises(SQLLLMError, match=r"the index has no version 999"):
        rows_of(session, 'load index.`versions` where version="999" as t;')
    with pytest.raises(SQLLLMError, match=r"no version of 1999-01-01 or before"):
        rows_of(session, 'load index.`versions` where asOf="1999-01-01" as t;')


def test_vectors_of_the_table_are_used_as_they_are(session: Session, provider: Provider, tmp_path: Path) -> None:
    session.spark.createDataFrame(
        [("a", 1, "x", [1.0, 0.0]), ("a", 2, "y", [0.5, 0.75**0.5])],
        "doc string, part int, text string, v array<double>",
    ).createOrReplaceTempView("made")
    provider.asked.clear()
    saved(session, f'overwrite made as index.`{tmp_path}/kb` where key="doc, part" and vector="v"')
    assert texts(provider.asked) == []
    rows = rows_of(
        session, f"select part, search_score from vector_search('{tmp_path}/kb', query_vector => array(1, 0)) as t;"
    )
    assert [(row["part"], round(float(str(row["search_score"])), 6)) for row in rows] == [(1, 1.0), (2, 0.5)]
    row = saved(session, f'append made as index.`{tmp_path}/kb` where vector="v"')
    assert (row["rows"], row["updated"]) == (2, 2)


WRONG = {
    'save overwrite chunks as index.`w` where model="emb"': "the index needs a key",
    'save overwrite chunks as index.`w` where model="emb" and key="nr"': "the table has no column nr",
    'save overwrite chunks as index.`w` where model="em" and key="id"': "there is no model em",
    'save overwrite chunks as index.`w` where model="emb" and key="path"': "two rows have the same key (path = 'd')",
    'save overwrite chunks as index.`w` where modl="emb" and key="id"': "Did you mean model?",
    'save chunks as index.`there` where model="emb" and key="id"': "there is an index there already",
    'save append chunks as index.`there` where model="emb2"': "index there has model='emb', not 'emb2'",
    'save append chunks as index.`there` where key="path"': "index there has key='id', not 'path'",
    'save append other as index.`there`': "the index has no column more",
    'save overwrite reserved as index.`w` where model="emb" and key="id"': "vector is a column of each index",
    'save overwrite chunks as index.`a b` where model="emb" and key="id"': "is not a name of an index",
    'save overwrite chunks as index.`w` where model="emb" and key="id" partitionBy path': "an index has no partitions",
    "load index.`ther` as t": "Did you mean there?",
    "select * from vector_search('ther', 'x') as t": "Did you mean there?",
    "select * from vector_search('there') as t": "needs query or query_vector",
    "select * from vector_search('there', 'x', query_type => 'hybird') as t": "did you mean hybrid?",
    "select * from vector_search('there', 'x', num_result => 3) as t": "did you mean num_results?",
    "select * from vector_search('there', 'x', num_results => 0) as t": "a number from 1 to",
    "select * from vector_search('there', 'x', filters => \"title = 'x'\") as t": "the index has no column title",
    "select * from vector_search('there', 'x', columns => array('nr')) as t": "the index has no column nr",
    "select * from vector_search('there', 'x', model => 'emb2') as t": "made with the model emb, not emb2",
}  # fmt: skip


def error_of(session: Session, script: str) -> str:
    try:
        rows_of(session, f"{script};")
    except SQLLLMError as error:
        return str(error)
    return "none"


@pytest.fixture(scope="module")
def there(session: Session) -> None:
    chunks(session, [("x", "d", "some text"), ("y", "d", "more text")])
    saved(session, 'overwrite chunks as index.`there` where model="emb" and key="id"')
    session.run("select *, 1 as more from chunks as other; select *, 1 as vector from chunks as reserved;")


@pytest.mark.usefixtures("there")
def test_what_cannot_be_done_says_why(session: Session) -> None:
    chunks(session, [("x", "d", "some text"), ("y", "d", "more text")])
    for script, words in WRONG.items():
        assert words in error_of(session, script), script
    assert len(rows_of(session, "load index.`there` as t;")) == 2


def test_a_text_without_a_vector_is_counted_and_its_words_are_found(
    session: Session, provider: Provider, notes: Notes
) -> None:
    provider.answers = refuses("poison")
    try:
        chunks(session, [("p", "d", "poison apple"), ("g", "d", "green apple")])
        notes.lines.clear()
        row = saved(session, 'overwrite chunks as index.`bad` where model="emb" and key="id"')
        assert (row["rows"], row["failed"]) == (2, 1)
        assert any("1 texts have no vector" in line for line in notes.lines)
        rows = rows_of(session, "select id from vector_search('bad', 'poison', query_type => 'full_text') as t;")
        assert [row["id"] for row in rows] == ["p"]
    finally:
        provider.answers = embeds


def test_byzer_s_module_retrieval(session: Session) -> None:
    where = 'clusterName="c" and database="db" and table="t"'
    schema = "st(field(_id,string),field(name,string),field(content,string,analyze),field(vector,array(float)))"
    session.run(
        f"""run command as Retrieval.`` where action="cluster/create" and `cluster.name`="c" and `cluster.numNodes`="1";
        run command as Retrieval.`` where action="table/create" and clusterName="c" and `table.database`="db"
        and `table.table`="t" and `table.schema`="{schema}";
        select cast(id as string) as _id, "n" as name, concat("text ", id) as content,
        array(cast(1 as float), cast(id as float)) as vector from range(5) as rows;
        run command as Retrieval.`` where action="table/data" and {where} and inputTable="rows" and batchSize="1000";
        run command as Retrieval.`` where action="table/commit" and {where};
        run command as Retrieval.`` where action="register" and {where} and udfName="byzer_search";"""
    )
    (row,) = rows_of(
        session,
        """select byzer_search(map("query.keyword", "text", "query.vector", "[1, 0]", "query.limit", "2",
                  "query.fields", "_id")) as both,
                  byzer_search(map("query.vector", "[1, 4]", "query.limit", "1")) as near as t;""",
    )
    assert [one["_id"] for one in json.loads(str(row["both"]))] == ["0", "1"]
    assert json.loads(str(row["near"]))[0]["content"] == "text 4"
    rows_of(session, f'run command as Retrieval.`` where action="table/truncate" and {where};')
    (row,) = rows_of(session, 'select byzer_search(map("query.keyword", "text")) as none as t;')
    assert row["none"] == "[]"
    with pytest.raises(SQLLLMError, match=r"unknown action table/creat(.|\n)*Did you mean table/create\?"):
        rows_of(session, 'run command as Retrieval.`` where action="table/creat";')
    with pytest.raises(SQLLLMError, match="no field with analyze"):
        rows_of(
            session,
            """run command as Retrieval.`` where action="table/create" and clusterName="c" and `table.database`="d"
            and `table.table`="u" and `table.schema`="st(field(_id,string),field(v,array(float)))";""",
        )


def test_a_table_without_an_index_is_searched_exactly(session: Session) -> None:
    chunks(session)
    rows = rows_of(
        session,
        """select q.n, hit.id from (select * from values (1, 'cat sofa'), (2, 'disk is full') as t(n, text)) as q,
           lateral vector_search(table => 'chunks', query => q.text, text => 'content', key => 'id', model => 'emb',
           num_results => 2, filters => "path in ('a.pdf', 'b.pdf')") as hit
           order by q.n, hit.search_score desc, hit.id as t;""",
    )
    assert [row["id"] for row in rows if row["n"] == 1] == ["a1", "b1"]
    assert next(row["id"] for row in rows if row["n"] == 2) == "a2"
    session.run("select 'a' as id, array(1.0, 0.0) as v union all select 'b', array(0.5, sqrt(0.75)) as made;")
    rows = rows_of(
        session,
        "select * from vector_search(table => 'made', vector => 'v', query_vector => array(2, 0), key => 'id') as t;",
    )
    assert [(row["id"], round(float(str(row["search_score"])), 5)) for row in rows] == [("a", 1.0), ("b", 0.5)]


def test_a_reranker_orders_the_candidates_anew(session: Session) -> None:
    chunks(session, [("a", "d", "cat sofa"), ("b", "d", "cat first"), ("c", "d", "cat dog"), ("n", "d", None)])
    saved(session, 'overwrite chunks as index.`ranked` where model="emb" and key="id"')
    asked = "vector_search(index => 'ranked', query => 'cat sofa', num_results => 2{})"
    rows = rows_of(session, f"select id from {asked.format('')} as t;")
    assert rows[0]["id"] == "a"
    rows = rows_of(session, f"""select id, search_score from {asked.format(", reranker => 'emb'")} as t;""")
    assert rows[0]["id"] == "b"
    assert [row["search_score"] for row in rows] == [1.0, 0.0]
