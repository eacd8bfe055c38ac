"""Which tokens carry loss, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqlllm.errors import TrainingError
from sqlllm.jobs.training import scratch

from .conftest import MakeRun, Rows

pytestmark = pytest.mark.slow

TABLES: dict[str, tuple[Rows, list[tuple[str, str]]]] = {
    "Alpaca": (
        [{"instruction": "say", "input": "two", "output": "2 of", "history": [["say one", "1"]], "system": "be brief"}],
        [("<|system|>be brief<|end|><|user|>say one<|end|><|assistant|>1<|end|><|user|>say\ntwo<|end|><|assistant|>",
          "2 of<|end|>")],
    ),
    "conversation": (
        [{"conversation": [{"human": "say one", "assistant": "1"}, {"human": "and two", "assistant": "2 too"}]}],
        [("<|user|>say one<|end|><|assistant|>", "1<|end|>"),
         ("<|user|>say one<|end|><|assistant|>1<|end|><|user|>and two<|end|><|assistant|>", "2 too<|end|>")],
    ),
    "messages": (
        [{"messages": [{"role": "user", "content": "say one"}, {"role": "assistant", "content": "1"}]}],
        [("<|user|>say one<|end|><|assistant|>", "1<|end|>")],
    ),
    "text": (
        [{"text": "say one and two"}],
        [("", "say one and two<|end|>")],
    ),
    "prompt/completion": (
        [{"prompt": "say one", "completion": "1\n"}],
        [("<|user|>say one<|end|><|assistant|>", "1\n<|end|>")],
    ),
}  # fmt: skip


def tokenized(make_run: MakeRun, rows: Rows, base: Path, **options: Any) -> tuple[Any, list[dict[str, list[int]]]]:
    """TRL's own view of the table: the tokenizer, and the inputs and labels that the loss is computed from."""
    from sqlllm.jobs.training.worker import build_trainer

    spec, run = make_run(rows, localModelDir=base, **options)
    trainer = build_trainer(spec, run, base)
    return trainer.processing_class, list(trainer.train_dataset)


@pytest.mark.parametrize("name", TABLES)
def test_the_answer_and_its_end_carry_loss_and_nothing_else(name: str, base: Path, make_run: MakeRun) -> None:
    rows, expected = TABLES[name]
    tokenizer, examples = tokenized(make_run, rows * 2, base)
    assert len(examples) == 2 * len(expected)
    for example, (question, answer) in zip(examples, expected * 2, strict=True):
        start = len(tokenizer(question)["input_ids"])
        ids = tokenizer(question + answer)["input_ids"]
        assert example["input_ids"] == ids
        assert example["labels"] == [-100] * start + ids[start:]


TOOLS = (
    "{% if tools %}<|system|>{{ tools | map(attribute='function.name') | join }}<|end|>{% endif %}"
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% for call in message.get('tool_calls', []) %}{{ call.function | tojson }}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CALLS: Rows = [
    {
        "tools": '[{"type": "function", "function": {"name": "add"}}]',
        "messages": [
            {"role": "user", "content": "one and two"},
            {"role": "assistant", "content": None, "tool_calls": '[{"name": "add", "arguments": {"a": 1}}]'},
            {"role": "tool", "content": "3", "tool_calls": None},
            {"role": "assistant", "content": "it is 3", "tool_calls": None},
        ],
    }
]


def test_calls_of_tools_are_learned_and_their_answers_read(base: Path, tmp_path: Path, make_run: MakeRun) -> None:
    """Arguments keep their own fields, whatever other rows have."""
    import shutil

    able = shutil.copytree(base, tmp_path / "able")
    (able / "chat_template.jinja").write_text(TOOLS)
    tokenizer, examples = tokenized(make_run, [*CALLS, {**CALLS[0], "messages": CALLS[0]["messages"][:2]}], able)
    asked = "<|system|>add<|end|><|user|>one and two<|end|><|assistant|>"
    call = '{"name": "add", "arguments": {"a": 1}}<|end|>'
    expected = [(asked, call), (f"{asked}{call}<|tool|>3<|end|><|assistant|>", "it is 3<|end|>"), (asked, call)]
    for example, (question, answer) in zip(examples, expected, strict=True):
        start = len(tokenizer(question)["input_ids"])
        assert tokenizer.decode(example["input_ids"]) == question + answer
        assert example["labels"] == [-100] * start + example["input_ids"][start:]


def test_a_template_without_tools_is_refused(base: Path, make_run: MakeRun) -> None:
    with pytest.raises(TrainingError, match="the table has tools, but the model's chat template has no place for them"):
        tokenized(make_run, CALLS * 2, base)


def test_packed_rows_keep_their_labels(base: Path, make_run: MakeRun) -> None:
    rows, expected = TABLES["conversation"]
    options = {"sft__bool__packing": "true", "sft__int__max_length": 128}
    tokenizer, blocks = tokenized(make_run, rows * 4, base, **options)
    assert len(blocks) < 8
    learned = [label for block in blocks for label in block["labels"] if label != -100]
    assert sorted(learned) == sorted(token for _, answer in expected * 4 for token in tokenizer(answer)["input_ids"])


def test_a_base_model_without_a_chat_template_learns_a_plain_one(base: Path, tmp_path: Path, make_run: MakeRun) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = tmp_path / "plain"
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(plain)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(plain)
    tokenizer, (example, *_) = tokenized(make_run, TABLES["messages"][0] * 2, plain)
    assert tokenizer.chat_template == scratch.PLAIN_TEMPLATE
    assert tokenizer.decode(example["input_ids"]) == "User: say one\nAssistant: 1<|end|>"
    assert tokenizer.decode([label for label in example["labels"] if label != -100]) == " 1<|end|>"


def test_the_prompt_is_what_serving_sends(base: Path, make_run: MakeRun) -> None:
    tokenizer, (example, *_) = tokenized(make_run, TABLES["messages"][0] * 2, base)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "say one"}], add_generation_prompt=True, return_dict=False
    )
    assert example["input_ids"][: len(prompt)] == prompt
