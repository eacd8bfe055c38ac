"""ai_answer over a paper that is made here: the right page, citations that hold, and what the paper does not say."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import OptionError, ParseError, TableError
from sqlllm.session import Session
from tests.documents.made import Sheet, Text, pdf
from tests.documents.paper import FACTS, UNANSWERABLE, paper
from tests.serving.provider import Asked, Provider, send

from .conftest import deploy
from .embedding import embeds

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples" / "sql" / "pdf_qa.sql"
_PEOPLE = {"When was he born?": "When was Otto Lind born?"}


def reads(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    """A provider that embeds, and a reader who answers from the sources in the prompt."""
    if "/embeddings" in asked.path:
        embeds(handler, asked)
        return
    text = said(asked.body["messages"])
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    used = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": asked.body["model"]}
    send(handler, 200, {**whole, "choices": [choice], "usage": used})


def said(messages: list[dict[str, Any]]) -> str:
    prompt = messages[-1]["content"]
    if isinstance(prompt, list):  # with an image
        (image,) = (part["image_url"]["url"] for part in prompt if part["type"] == "image_url")
        return "what the picture says" if base64.b64decode(image.partition(",")[2])[1:4] == b"PNG" else "no picture"
    if prompt.startswith("Rewrite the question"):
        question = prompt.rpartition("Question: ")[2]
        assert "Otto Lind" in str(messages[:-1])
        return _PEOPLE.get(question, question)
    if prompt.startswith("You check whether"):
        return "5" if FACTS[0][2] in prompt else "3"
    question = prompt.rpartition("Question: ")[2]
    fact = next((fact for _, one, fact in FACTS if one == question), None)
    for number, source in re.findall(r"(?ms)^\[(\d+)\](.*?)(?=^\[\d+\]|^Question: )", prompt):
        if fact and fact.replace(" ", "") in re.sub(r"\s", "", source):
            return f"{fact} [{number}][77]"
    return "NOT_IN_DOCUMENTS"


@pytest.fixture(scope="module")
def papers(session: Session, provider: Provider) -> Iterator[Session]:
    """The index `papers`, made as the example makes it."""
    provider.answers = reads
    deploy(session, provider, "chat")
    (session.settings.home / "papers").mkdir()
    (session.settings.home / "papers" / "lake.pdf").write_bytes(paper())
    steps = EXAMPLE.read_text().replace("papers/*.pdf", f"{session.settings.home}/papers/*.pdf").split(";\n")
    session.run(";\n".join(steps[2:5]) + ";")
    yield session
    provider.answers = embeds


def rows(session: Session, query: str) -> list[dict[str, Any]]:
    result = session.run(query)
    assert result is not None
    return [row.asDict(recursive=True) for row in result.rows()]


def asked(session: Session, questions: list[str], more: str = "") -> list[dict[str, Any]]:
    values = ", ".join(f"({number}, '{question}')" for number, question in enumerate(questions))
    found = rows(
        session,
        f"select n, ai_answer(index => 'papers', question => question, model => 'chat'{more}) as said"
        f" from values {values} as q(n, question) order by n as answers;",
    )
    return [row["said"] for row in found]


def test_ten_questions_find_their_page_and_an_eleventh_is_refused(papers: Session) -> None:
    found = asked(papers, [*(question for _, question, _ in FACTS), UNANSWERABLE])
    for (page, _, fact), row in zip(FACTS, found, strict=False):
        assert (row["answered"], row["removed"], row["error"]) == (True, ["[77]"], None)
        (source,) = row["sources"]
        assert (source["page"], Path(source["document"]).name) == (page, "lake.pdf")
        assert row["answer"] == f"{fact} [{source['number']}]"
        assert fact.split()[0] in source["quote"].replace("\n", " ")
        assert source["id"].startswith(f"{source['document']}#{page}#")
    assert (found[-1]["answered"], found[-1]["answer"]) == (False, "The documents do not say.")
    assert found[-1]["sources"] == []


def test_the_example_ends_with_its_answers(papers: Session) -> None:
    last = EXAMPLE.read_text().split(";\n")[5]
    found = sorted(rows(papers, last + ";"), key=lambda row: not row["answered"])
    assert [(row["answered"], row["page"], row["answer"]) for row in found] == [
        (True, 1, found[0]["answer"]),
        (False, None, "The documents do not say."),
    ]
    assert "84 metres deep" in found[0]["quote"]


def test_a_follow_up_is_searched_as_it_is_meant(papers: Session) -> None:
    first = (
        "select ai_answer(index => 'papers', question => 'Who is Otto Lind?', model => 'chat') as said as first;"
        " select n, ai_answer(index => 'papers', question => question, model => 'chat', history => said.conversation)"
        " as said from first, values (1, 'When was he born?'), (2, 'How deep is the lake?') as q(n, question)"
        " order by n as second;"
    )
    born, depth = (row["said"] for row in rows(papers, first))
    assert born["query"] == "When was Otto Lind born?"
    assert depth["query"] == "How deep is the lake?"
    assert depth["answered"]


def test_each_model_is_asked_once_a_question(papers: Session, provider: Provider) -> None:
    provider.asked.clear()
    asked(papers, ["Is this question a new one?"], ", num_results => 3")
    paths = [one.path for one in provider.asked]
    assert (sum("/embeddings" in path for path in paths), sum("/chat" in path for path in paths)) == (1, 1)


def test_a_prompt_of_ones_own_takes_what_is_asked_as_it_is(papers: Session, provider: Provider) -> None:
    provider.asked.clear()
    asked(papers, ["What does {sources} mean?"], ", prompt => 'My {sources} END. Question: {question}'")
    prompt = next(one.body["messages"][-1]["content"] for one in provider.asked if "/chat" in one.path)
    assert prompt.startswith("My [1] (")
    assert prompt.endswith(" END. Question: What does {sources} mean?")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ("index => 'papers'", ParseError, "ai_answer needs question"),
        ("index => 'none', question => 'q'", TableError, "none"),
        (
            "index => 'papers', question => 'q', model => 'chat', prompt => 'no places'",
            ParseError,
            "prompt is a text in quotes with",
        ),
        ("index => 'papers', question => 'q', size => 3", ParseError, "ai_answer has no size"),
    ],
)
def test_a_wrong_call_is_an_error(papers: Session, call: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        papers.run(f"select ai_answer({call}) as said as found;")


def test_a_null_question_asks_nothing(papers: Session, provider: Provider) -> None:
    provider.asked.clear()
    found = rows(
        papers, "select ai_answer(index => 'papers', question => cast(null as string), model => 'chat') as a as f;"
    )
    assert found == [{"a": None}]
    assert provider.asked == []


def test_a_model_reads_the_pages_that_need_ocr_and_no_others(papers: Session, provider: Provider) -> None:
    folder = papers.settings.home / "scans"
    folder.mkdir()
    sheets = [Sheet([Text(50, 700, "plain text")]), Sheet(image=True), Sheet()]
    (folder / "scan.pdf").write_bytes(pdf(sheets))
    provider.asked.clear()
    found = rows(papers, f'load pdf.`{folder}` where ocr="chat" as pages; select * from pages order by page as p;')
    assert [(row["page"], row["text"], row["needs_ocr"], row["error"]) for row in found] == [
        (1, "plain text", False, None),
        (2, "what the picture says", False, None),
        (3, "", False, None),
    ]
    assert len(provider.asked) == 1
    assert "image" not in found[0]


def test_an_evaluation_scores_the_search_and_the_answers(papers: Session) -> None:
    values = ", ".join(f"('{question}', {page})" for page, question, _ in [FACTS[0], FACTS[2]])
    script = (
        f"select * from values {values}, ('{UNANSWERABLE}', 99) as q(question, page) as questions;"
        ' run questions as LLM.`` where action="evaluate" and index="papers" and udfName="chat" and judge="chat"'
        ' and k="5" and answersTable="each";'
    )
    (row,) = rows(papers, script)
    assert {key: value for key, value in row.items() if key not in ("mrr", "seconds")} == {
        "name": "papers",
        "questions": 3,
        "k": 5,
        "recall": pytest.approx(2 / 3),
        "answered": pytest.approx(2 / 3),
        "faithfulness": 4.0,
    }
    assert 0 < row["mrr"] <= 2 / 3
    each = rows(papers, "select * from each order by question as e;")
    assert [one["recall"] for one in each] == [1.0, 1.0, 0.0]
    assert [one["faithfulness"] for one in each] == [5.0, 3.0, None]
    with pytest.raises(OptionError, match="judge needs udfName"):
        papers.run('run questions as LLM.`` where action="evaluate" and index="papers" and judge="chat";')
    with pytest.raises(OptionError, match="the table needs a column question"):
        papers.run('select 1 as question as q; run q as LLM.`` where action="evaluate" and index="papers";')
