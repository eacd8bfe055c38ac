"""What statements use of models, through SQL, Spark, HTTP, Ray and back: kept answers, usage, limits, failures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sqlllm.errors import LimitError, ModelError, OptionError, SQLLLMError
from sqlllm.session import Observer, Session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sqlllm.jobs.serving import Serving
    from sqlllm.session.meter import Used

pytestmark = pytest.mark.slow

DEPLOY = """
run command as LLM.`` where action="infer" and udfName="known" and pretrainedModelType="oracle/table"
and localModelDir="{table}";
"""
ASK = """
select id, known(llm_param(map("instruction", concat('{prefix}', id % 50)))) as q from range({rows}) as asked;
select count(llm_result(q)) as answered, count(llm_error(q)) as failed,
       count(if(get_json_object(q[0], '$.metadata.cached') = 'true', 1, null)) as cached from asked as counted;
"""


class Listener(Observer):
    def __init__(self) -> None:
        self.told: list[Used] = []
        self.pieces: list[str] = []

    def answering(self, piece: str) -> None:
        self.pieces.append(piece)

    def used(self, used: Used) -> None:
        self.told.append(used)


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="module")
def session(
    spark: SparkSession, serving: Serving, listener: Listener, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    """A session with a model that has answers to 40 prompts of each test."""
    table = tmp_path_factory.mktemp("oracle") / "answers.jsonl"
    prompts = [f"{prefix} {number}" for prefix in "abcdefgh" for number in range(40)]
    table.write_text("\n".join(json.dumps({"prompt": prompt, "answer": prompt.upper()}) for prompt in prompts))
    with Session(spark=spark, observer=listener) as session:
        session.__dict__["serving"] = serving
        session.run(DEPLOY.format(table=table))
        yield session
        serving.undeploy("known")
        session.__dict__.pop("serving")  # others use it


@pytest.fixture
def setting(session: Session) -> Iterator[Any]:
    """Sets settings for one test."""
    before = session.settings.llm.model_copy()

    def assign(**values: str) -> None:
        for key, value in values.items():
            session.settings.assign(f"llm.{key}", value)

    yield assign
    session.settings.llm = before


def counts(session: Session, prefix: str, rows: int = 200) -> tuple[int, int, int]:
    """Answered, failed, from the store."""
    result = session.run(ASK.format(prefix=f"{prefix} ", rows=rows))
    assert result is not None
    (row,) = result.rows()
    session.tell_usage()
    return row.answered, row.failed, row.cached


def usage(session: Session) -> dict[str, Any]:
    """The last statement's row of llm.usage."""
    result = session.run("load llm.`usage` as u; select * from u order by started desc, query desc as v;")
    assert result is not None
    return result.rows()[0].asDict()


def test_a_statement_that_runs_again_costs_nothing_and_says_so(session: Session, listener: Listener) -> None:
    assert counts(session, "a") == (160, 40, 0)
    told = listener.told[-1]
    assert (told.rows, told.calls, told.cached, told.joined, told.failed) == (200, 50, 0, 0, 40)
    assert counts(session, "a") == (160, 40, 160)
    told = listener.told[-1]
    assert (told.calls, told.cached) == (10, 40)  # what has no answer is asked again
    row = usage(session)
    assert (row["model"], row["rows"], row["calls"], row["cached"], row["failed"]) == ("known", 200, 10, 40, 40)
    assert row["statement"].startswith("select id, known(llm_param(map(")
    assert row["user"] == session.user


def test_the_store_can_be_off_and_prices_make_costs(session: Session, listener: Listener, setting: Any) -> None:
    setting(store="off", prices="known=1/10")
    for _ in range(2):
        assert counts(session, "b", rows=40) == (40, 0, 0)
    told = listener.told[-1]
    assert told.calls == 40
    assert told.cost == pytest.approx((told.prompt_tokens * 1 + told.answer_tokens * 10) / 1e6)
    assert told.cost > 0


def test_a_limit_stops_and_a_rerun_goes_on(session: Session, listener: Listener, setting: Any) -> None:
    setting(max_calls="15", batch_size="4")
    for run in (1, 2):
        with pytest.raises(LimitError, match=r"llm.max_calls is 15: \d+ prompts are answered") as caught:
            counts(session, "c", rows=40)
        assert caught.value.place is not None
        assert "Run it again" in caught.value.cure
        session.tell_usage()
        assert listener.told[-1].calls == 15, run
    assert counts(session, "c", rows=40) == (40, 0, 30)


def test_rows_that_fail_stop_the_query_if_that_is_asked(session: Session, setting: Any) -> None:
    setting(on_error="fail")
    with pytest.raises(ModelError, match="a row has no answer: no_answer: the oracle has no answer to 'd 4"):
        counts(session, "d")
    setting(on_error="fail_above(19.9%)")
    with pytest.raises(ModelError, match=r"40 of 200 rows have no answer, which is more than 19\.9 %") as caught:
        counts(session, "d")
    assert caught.value.place is not None
    setting(on_error="fail_above(20%)")
    assert counts(session, "d")[:2] == (160, 40)


def test_a_rate_is_kept_by_waiting(session: Session, setting: Any) -> None:
    setting(calls_per_minute="1200", batch_size="5")
    assert counts(session, "e", rows=40) == (40, 0, 0)


def test_a_chat_is_shown_as_it_arrives_and_goes_on(
    session: Session, listener: Listener, setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dot.png").write_bytes(b"\x89PNG")
    monkeypatch.setattr(session.settings.allow, "folders", str(tmp_path))
    setting(store="off")  # a kept answer comes at once
    chat = "--%chat\n--%model=known\n"
    shown = session.run(f"{chat}--%output=first\ne 4")
    assert shown is not None
    assert [(row.content, row.mime) for row in shown.rows()] == [("E 4", "markdown")]
    assert listener.pieces == ["E ", "4"]
    assert listener.told[-1].calls == listener.told[-1].rows == 1
    shown = session.run(f"{chat}--%input=first\n--%output=second\n![a dot]({tmp_path}/dot.png)\ne 5")
    assert shown is not None
    assert shown.rows()[0].content == "E 5"  # the oracle reads the text
    (row,) = session.spark.table("second").collect()
    *before, asked, said = json.loads(row.q[0])["history"]
    assert [turn["content"] for turn in before] == ["e 4", "E 4"]
    assert asked["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        {"type": "text", "text": "e 5"},
    ]
    assert said == {"role": "assistant", "content": "E 5"}
    session.run("select q from first union all select q from second as both;")
    listener.pieces.clear()
    several = session.run(f"{chat}--%input=both\ne 6")  # of several, none is shown before the other
    assert several is not None
    assert [row.content for row in several.rows()] == ["E 6", "E 6"]
    assert listener.pieces == []
    for body, message in {
        "![x](none.png)": "cannot read",
        "![x](/etc/passwd)": "outside the folders",
        "nobody knows": "the oracle has no answer",
    }.items():
        with pytest.raises(SQLLLMError, match=message) as caught:
            session.run(chat + body.replace("none", f"{tmp_path}/none"))
        assert caught.value.place is not None
    with pytest.raises(OptionError, match="an image goes to one model in one conversation"):
        session.run(f"{chat}--%input=both\n![x]({tmp_path}/dot.png)")
    models = session.run("!show models;")
    assert models is not None
    (known,) = [row for row in models.rows() if row.name == "known"]
    assert (known.state, known.engine, known.workers, known.model.split("/")[-1]) == (
        "running", "oracle", 1, "answers.jsonl",
    )  # fmt: skip
    assert dict(models.links)["the gateway"].endswith("/v1/models")
    told = session.run("!show usage;")
    assert told is not None
    assert told.rows()[0].statement.startswith("--%chat --%model=known")
    setting(max_calls="1", calls_per_minute="100000")
    assert session.run(chat + "e 7") is not None  # a limit is one statement's


def test_a_model_that_is_deployed_anew_does_not_answer_from_before(session: Session, tmp_path: Path) -> None:
    assert counts(session, "f", rows=40)[0] == 40
    (tmp_path / "other.jsonl").write_text('{"prompt": "f 1", "answer": "other"}')
    session.run(DEPLOY.format(table=tmp_path / "other.jsonl"))
    result = session.run(
        """select known(llm_param(map("instruction", "f 1"))) as q from range(1) as x;
        select llm_result(q) as said, get_json_object(q[0], '$.metadata.cached') as cached from x as y;"""
    )
    assert result is not None
    assert result.rows() == [("other", None)]
