"""One answer about many texts: each is read once, prompts fit the context, a bad text fails alone."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from sqlllm.session.operators.folding import Folding, folded, split
from sqlllm.session.operators.steps import Prompt, run, together

from .judges import Answer


def tokens(text: str) -> int:
    return len(text) // 4 + 1


class Collector:
    """Answers with the marks `<...>` in the prompt; not about a text of `bad`."""

    def __init__(self, bad: Sequence[str] = (), shorten: Callable[[str], str] = lambda text: text) -> None:
        self._bad, self._shorten = bad, shorten
        self.prompts: list[Prompt] = []
        self.rounds = 0

    def __call__(self, prompts: Sequence[Prompt]) -> list[Answer]:
        self.rounds += 1
        self.prompts += prompts
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: Prompt) -> Answer:
        if any(f"<{bad}>" in prompt.text for bad in self._bad):
            return Answer(None, error="content_filter: no")
        found = re.findall(r"<\w+>", prompt.text)
        text = self._shorten(" ".join(found))
        return Answer(text, len(found) if prompt.returns else text)


def task(context: int = 2000, **options: str) -> Folding:
    return Folding("List the marks.", tokens, context, **options)


def marks(answer: str) -> list[str]:
    return re.findall(r"\w+", answer)


@pytest.mark.parametrize("rows", [1, 7, 100, 700])
def test_each_text_is_read_once_in_order(rows: int) -> None:
    model = Collector()
    found = run(folded([f"{'blah ' * (row % 9)}<m{row}>" for row in range(rows)], task()), model)
    assert marks(found.value) == [f"m{row}" for row in range(rows)]
    assert not found.failed
    leaves = [prompt.text for prompt in model.prompts if "Below are the answers" not in prompt.text]
    assert Counter(mark for text in leaves for mark in marks_of(text)) == Counter(f"m{row}" for row in range(rows))


def marks_of(prompt: str) -> list[str]:
    return re.findall(r"<(\w+)>", prompt)


def test_500_texts_take_at_most_5_prompts() -> None:
    chance = random.Random(3)
    texts = [f"<m{row}> " + "word " * chance.randrange(10, 30) for row in range(500)]
    model = Collector(shorten=lambda text: text[:600])
    found = run(folded(texts, task(8192)), model)
    assert found.value
    assert len(model.prompts) <= 5
    assert max(tokens(prompt.text) for prompt in model.prompts) <= 8192


def test_5000_texts_fit_a_small_context_in_few_rounds() -> None:
    model = Collector(shorten=lambda text: text[:200])
    found = run(folded([f"<m{row}>" for row in range(5000)], task(1000)), model)
    assert found.value
    assert max(tokens(prompt.text) for prompt in model.prompts) + 250 <= 1000
    assert model.rounds <= 4


def test_no_text_gives_null_and_asks_nothing() -> None:
    model = Collector()
    assert run(folded([], task()), model).value is None
    assert not model.prompts


def test_only_the_last_answer_has_the_asked_type() -> None:
    for rows in (3, 400):
        model = Collector()
        found = run(folded([f"<m{row}> {'word ' * 9}" for row in range(rows)], task(returns="int")), model)
        assert found.value == rows
        assert [prompt.returns for prompt in model.prompts] == [""] * (len(model.prompts) - 1) + ["int"]


@pytest.mark.parametrize("rows", [1, 2, 5, 400])
def test_a_text_without_an_answer_fails_alone(rows: int) -> None:
    model = Collector(bad=["m1", "m0"] if rows == 1 else ["m1"])
    found = run(folded([f"<m{row}> {'word ' * 9}" for row in range(rows)], task()), model)
    if rows == 1:
        assert found.value is None
        assert found.failed == {0: found.error} == {0: "content_filter: no"}
        return
    assert found.failed == {1: "content_filter: no"}
    assert marks(found.value) == [f"m{row}" for row in range(rows) if row != 1]
    assert len(model.prompts) < 40


def test_a_model_without_answers_is_given_up_soon() -> None:
    model = Collector(bad=[f"m{row}" for row in range(400)])
    found = run(folded([f"<m{row}> {'word ' * 9}" for row in range(400)], task()), model)
    assert found.value is None
    assert found.error == "content_filter: no"
    assert len(found.failed) == 400
    assert len(model.prompts) < 120


def test_a_text_longer_than_the_context_is_split() -> None:
    long = " ".join(f"<m{row}>" for row in range(2000))
    model = Collector(shorten=lambda text: " ".join(text.split()[:20]))
    found = run(folded(["<first>", long, "<last>"], task(1500)), model)
    assert found.value
    read = [mark for prompt in model.prompts if "(part" in prompt.text for mark in marks_of(prompt.text)]
    assert Counter(mark for mark in read if mark[0] == "m") == Counter(f"m{row}" for row in range(2000))
    assert max(tokens(prompt.text) for prompt in model.prompts) <= 1500


def test_equal_texts_in_a_row_are_shown_once() -> None:
    model = Collector()
    run(folded(["<same>"] * 1000 + ["<other>"], task(500)), model)
    assert len(model.prompts) == 1
    assert "[1 to 1000, all alike] <same>" in model.prompts[0].text


def test_rows_added_at_the_end_leave_the_first_prompts_as_they_were() -> None:
    texts = [f"<m{row}> {'word ' * 9}" for row in range(300)]
    before, after = Collector(), Collector()
    run(folded(texts, task()), before)
    run(folded([*texts, "<more>"], task()), after)
    leaves = [
        {prompt for prompt in model.prompts if "Below are the answers" not in prompt.text} for model in (before, after)
    ]
    assert len(leaves[1] - leaves[0]) == 1


def test_answers_that_do_not_get_shorter_end_with_an_error() -> None:
    model = Collector()  # repeats every mark, whatever the context is
    found = run(folded([f"<m{row}>" for row in range(2000)], task(1000)), model)
    assert found.value is None
    assert "do not get shorter" in found.error
    assert len(model.prompts) < 60


def test_groups_share_rounds() -> None:
    model = Collector()
    steps = [folded([f"<m{row}> {'word ' * 9}" for row in range(rows)], task()) for rows in (1, 30, 400)]
    found = run(together(steps), model)
    assert [len(marks(one.value)) for one in found] == [1, 30, 400]
    assert model.rounds <= 3


@pytest.mark.parametrize(("instruction", "context"), [("word " * 900, 1000), ("List the marks.", 64)])
def test_a_task_that_leaves_no_room_for_texts_asks_nothing(instruction: str, context: int) -> None:
    model = Collector()
    found = run(folded(["one text", "another"], Folding(instruction, tokens, context)), model)
    assert found.value is None
    assert "shorten it" in found.error
    assert found.failed == dict.fromkeys((0, 1), found.error)
    assert not model.prompts


@pytest.mark.parametrize("text", ["", "a", "word " * 1000, "x" * 5000, "汉字" * 900, " " * 700])
def test_parts_of_a_text_are_the_text(text: str) -> None:
    parts = split(text, tokens, 50)
    assert "".join(parts) == text
    assert all(tokens(part) <= 50 for part in parts)
