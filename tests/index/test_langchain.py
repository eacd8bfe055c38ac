"""LangChain's own packages on the gateway: a PDF in Chroma, and an index of ours behind a retriever."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pytest

from sqlllm.jobs.serving import ModelSpec, Serving
from sqlllm.retrieval import care
from sqlllm.retrieval import dataset as index
from sqlllm.retrieval.dataset import About
from sqlllm.settings import Settings
from sqlllm.udfs.parsing import pdf as reader
from sqlllm.udfs.parsing.pages import Limits
from tests.documents.paper import FACTS, UNANSWERABLE, paper
from tests.serving import provider as fake
from tests.serving.provider import Asked, Provider, send

pytestmark = [pytest.mark.slow, pytest.mark.rare, pytest.mark.timeout(1200)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "python" / "pdf_qa_langchain.py"
PACKAGES = ("langchain-openai", "langchain-chroma", "langchain-community", "langchain-text-splitters", "pypdf")
SIZE = 256
FOLLOW_UP, ALONE, FACT = "And when was it built?", FACTS[2][1], FACTS[2][2]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python with LangChain, in an environment of its own: its pins need not fit ours."""
    if given := os.environ.get("SQLLLM_LANGCHAIN_PYTHON"):
        return given
    folder = tmp_path_factory.mktemp("langchain")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    made = str(folder / "bin" / "python")
    try:
        pip = [made, "-m", "pip", "install", "--quiet", *PACKAGES]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        pytest.skip("pip did not install LangChain within 15 minutes; name a Python by SQLLLM_LANGCHAIN_PYTHON")
    if done.returncode:
        pytest.skip(f"pip cannot install LangChain here: {done.stderr.strip()[-300:]}")
    return made


def words(text: str) -> list[str]:
    """Words that mean something: the longer Western words and numbers, each Chinese letter."""
    return re.findall(r"[a-z]{4,}|\d+|[\u4e00-\u9fff]", text.lower())


def vector(text: str) -> list[float]:
    """Of length one; texts that share words are near each other."""
    found = [0.0] * SIZE
    for word in set(words(text)):
        found[crc32(word.encode()) % SIZE] += 1
    length = sum(one * one for one in found) ** 0.5 or 1.0
    return [one / length for one in found]


def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    """A provider that embeds texts, rewrites the follow-up, and answers what a source in its prompt says."""
    used = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    if "/embeddings" in asked.path:
        texts = [asked.body["input"]] if isinstance(asked.body["input"], str) else asked.body["input"]
        data = [{"index": at, "object": "embedding", "embedding": vector(text)} for at, text in enumerate(texts)]
        send(handler, 200, {"object": "list", "data": data, "model": "m", "usage": used})
        return
    message = {"role": "assistant", "content": said(asked.body["messages"])}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": asked.body["model"], "choices": [choice]}
    send(handler, 200, {**whole, "usage": used})


def said(messages: list[dict[str, Any]]) -> str:
    system, question = messages[0]["content"], messages[-1]["content"]
    if system.startswith("Rewrite the last question"):
        return ALONE if question == FOLLOW_UP else str(question)
    fact = next((fact for _, one, fact in FACTS if one == question), None)
    for number, source in re.findall(r"(?ms)^\[(\d+)\] (.*?)(?=^\[\d+\] |\Z)", system):
        # PyPDFLoader reads the columns of the paper line by line, so a sentence is in pieces.
        if fact and set(words(fact)) <= set(words(source)):
            return f"{fact} [{number}][77]"
    return "I do not know."


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with fake.serve() as started:
        started.answers = reply
        yield started


@pytest.fixture(scope="module")
def gateway(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A gateway with the models `emb` and `chat`, and the index `papers` of the paper's pages."""
    home = tmp_path_factory.mktemp("home")
    (home / "lake.pdf").write_bytes(paper())
    pages = list(reader.pages(paper(), Limits()))
    columns = pa.schema([("id", pa.string()), ("path", pa.string()), ("page", pa.int32()), ("content", pa.string())])
    about = About(text="content", key=("id",), model="emb", dimensions=SIZE, document="path")
    rows = pa.table(
        {
            "id": [f"lake.pdf#{page.number}" for page in pages],
            "path": [str(home / "lake.pdf")] * len(pages),
            "page": pa.array([page.number for page in pages], pa.int32()),
            "content": [page.text for page in pages],
            "vector": pa.array([vector(page.text or "") for page in pages], pa.list_(pa.float32())),
            "_text_hash": pa.array([crc32((page.text or "").encode()) for page in pages], pa.int64()),
        }
    )
    schema, uri = about.schema(columns), str(home / "indexes" / "papers.lance")
    batches = [index.as_rows(batch, schema) for batch in rows.to_batches()]
    with index.one_at_a_time(uri):
        made = index.replace_all(uri, schema, index.fragments(batches, uri, schema, {}), {})
        care.tend(made, whole=True)

    serving = Serving(Settings(home=home))
    given = {"provider": "openai", "base_url": provider.url, "api_key": fake.KEY}
    for name in ("emb", "chat"):
        options = {**given, "model": name}
        serving.deploy(ModelSpec(name=name, engine="remote", model_path=f"saas/openai/{name}", engine_options=options))
    yield serving
    serving.close()


def asked(python: str, gateway: Serving, folder: Path, questions: list[str], *options: str) -> list[str]:
    """What the script prints for each question."""
    environment = {**os.environ, "SQLLLM_BASE_URL": f"{gateway.endpoint}/v1", "ANONYMIZED_TELEMETRY": "False"}
    for name in ("PYTHONPATH", "SQLLLM_API_KEY", "OPENAI_API_KEY"):
        environment.pop(name, None)
    done = subprocess.run(
        [python, str(EXAMPLE), *options],
        input="".join(f"{question}\n" for question in questions),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**environment, "PYTHONUTF8": "1"},
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = done.stdout.split("Q: ")[1:]
    assert answers.pop().strip() == ""  # the end of the input
    return answers


@pytest.mark.parametrize("source", ["chroma", "index"])
def test_each_question_finds_its_page_and_what_the_paper_does_not_say_is_refused(
    python: str, gateway: Serving, provider: Provider, tmp_path: Path, source: str
) -> None:
    (tmp_path / "lake.pdf").write_bytes(paper())
    options = ("--pdf", "lake.pdf") if source == "chroma" else ("--index", "papers")
    provider.asked.clear()
    questions = [*(question for _, question, _ in FACTS), UNANSWERABLE, FACTS[3][1], FOLLOW_UP]
    found = asked(python, gateway, tmp_path, questions, *options, "--k", "2")
    assert len(found) == len(questions)
    expected = [(page, fact) for page, _, fact in FACTS]
    expected += [(0, ""), (FACTS[3][0], FACTS[3][2]), (FACTS[2][0], FACT)]
    for (page, fact), shown in zip(expected, found, strict=True):
        if page:
            match = re.fullmatch(r"A: (.*) \[([12])\]\[77\]\n   \[\2\] lake\.pdf, page (\d+)\n", shown)
            assert match, shown
            assert (match[1], int(match[3])) == (fact, page)
        else:
            assert shown == "A: I do not know.\n"
    inputs = [one.body["input"] for one in provider.asked if "/embeddings" in one.path]
    texts = [text for one in inputs for text in ([one] if isinstance(one, str) else one)]
    assert ALONE in texts  # what was searched for the follow-up
    assert FOLLOW_UP not in texts
    assert all(isinstance(text, str) for text in texts)  # never the tokens of another model
