"""The pages of docs/python run and print what they show; a user's file passes mypy and loads nothing heavy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sqlllm.client.impl import clear_impl_cache
from tests.client.server import Server, calls, sends, text, whole
from tests.client.test_media import PNG

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "python").glob("*.md"))
STORY = "A fox found a stone, and the forest was lit."
ANSWERS = {
    "Name a colour": "Blue.",
    "Count to three": "1, 2, 3.",
    "in this picture": "A cat.",
    "Read the order": '{"item": "pen", "price": 1.2}',
    "Praise or complaint": '{"value": "praise"}',
    "Rate this review": '{"value": 5}',
    "Remind Ann of 2 tasks:\n- report\n- reply": "Dear Ann, two tasks are due.",
    "Count the vowels": "```python\ndef vowels(text):\n    return sum(one in 'aeiou' for one in text)\n```",
    "do you recommend": "The large one.",
    "a smaller one": "The small one.",
    "Hello, who are you?": "I am a model.",
}


def answer(handler: Any, asked: Any) -> None:
    """What the pages say that a model answers."""
    messages = asked.body["messages"]
    said = json.dumps(messages[-1]["content"], ensure_ascii=False).replace("\\n", "\n")
    if messages[-1]["role"] == "tool":
        return text("Clear, 21 degrees.")(handler, asked)
    if "weather in Rome" in said:
        return calls(("weather", '{"city": "Rome"}'))(handler, asked)
    if "pick a lock" in said:
        return sends(200, whole({"content": None, "refusal": "I cannot help with that."}))(handler, asked)
    if "long story" in messages[0]["content"]:
        begun = messages[-1]["content"] if len(messages) > 1 else ""
        end = len(begun) + 16
        return text(STORY[len(begun) : end], "length" if end < len(STORY) else "stop")(handler, asked)
    return text(next(reply for words, reply in ANSWERS.items() if words in said))(handler, asked)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_prints_what_it_shows(
    page: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clear_impl_cache()
    (tmp_path / "cat.png").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SQLLLM_BASE_URL", server.url)
    monkeypatch.setenv("SQLLLM_API_KEY", "a-key")
    server.always = answer
    blocks = re.findall(r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", page.read_text(), re.M | re.S)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    assert blocks
    for code, shown in blocks:
        exec(compile(code, page.name, "exec"), vars(module))
        assert capsys.readouterr().out == shown, code


USER = '''
from typing import Annotated, Iterator, Literal
import pydantic
import sqlllm
from sqlllm.client import Reply


class Story(pydantic.BaseModel):
    title: str


llm = sqlllm.LLM("m", base_url="http://127.0.0.1:1", temperature=0)


@sqlllm.prompt(llm)
def rate(review: str, top: int = 5) -> int:
    """Rate {{ review }} up to {{ top }}."""
    return {}  # type: ignore[return-value]


@sqlllm.prompt
def told(topic: str) -> Iterator[str]:  # type: ignore[empty-body]
    """Tell {{ topic }}."""


def look(city: Annotated[str, "its name"]) -> str:
    """Look."""
    return city


def use() -> None:
    reply: Reply[Story] = llm.chat("x", returns=Story, tools=[look])
    title: str = reply.value.title
    text: str = llm.chat("x").value
    number: int = rate("good", top=3)
    pieces: Iterator[str] = told("cats")
    vector: list[float] = llm.embed("x")
    vectors: list[list[float]] = llm.embed(["x", "y"])
    print(title, text, number, pieces, vector, vectors, sqlllm.Chat(llm)("x"), sqlllm.Image("a.png").address)


async def later() -> str:
    async for delta in llm.astream("x", returns=Story):
        print(delta.text)
    return (await llm.achat("x")).text
'''
WRONG = (
    USER
    + """
rate(3)
llm.embed("x").title
"""
)


@pytest.mark.slow
def test_a_users_file_passes_mypy_strict_but_for_its_mistakes(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(WRONG)
    # The repository's own configuration is strict, and its cache makes this quick.
    run = [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "user.py")]
    shown = subprocess.run(run, cwd=ROOT, capture_output=True, text=True).stdout
    found = re.findall(r"user\.py:(\d+): error: .*\[([\w-]+)\]", shown)
    lines = WRONG.count("\n")
    assert found == [(str(lines - 1), "arg-type"), (str(lines), "attr-defined")], shown


def test_importing_the_client_loads_nothing_heavy() -> None:
    code = (
        "import sys, sqlllm\n"
        "llm = sqlllm.LLM('m', 'http://127.0.0.1:1'); sqlllm.prompt; sqlllm.Chat\n"
        "heavy = {'httpx', 'aiohttp', 'openai', 'pydantic', 'jinja2', 'asyncio', 'torch', 'ray', 'pyspark', 'pandas',\n"
        "         'pyarrow', 'transformers', 'numpy', 'PIL', 'IPython', 'rich', 'click', 'sqlglot'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
