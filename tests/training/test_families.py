"""Models of the common families learn an answer and its end, and what is written from them stops there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from sqlllm.errors import TrainingError
from sqlllm.jobs.conversion import convert
from sqlllm.jobs.conversion.spec import ConvertSpec
from sqlllm.jobs.training import finetune, formats, template, worker

from .conftest import MakeRun, Rows
from .families import FAMILIES, MATRIX, make

pytestmark = pytest.mark.slow

ROWS: Rows = [{"instruction": f"what is {word}", "output": f"{word} is {word}"} for word in ("one", "two")]
FAST = {
    "sft__int__per_device_train_batch_size": 2, "sft__int__gradient_accumulation_steps": 1, "sft__int__max_steps": 60,
    "sft__float__learning_rate": 0.01, "sft__float__lora_dropout": 0.0, "sft__str__save_strategy": "no",
}  # fmt: skip
FULL = {key: value for key, value in FAST.items() if "lora" not in key} | {"sft__bool__use_peft": "false"}


GRUMPY = (
    "{% for message in messages %}{% if 'brief' in message['content'] %}{{ raise_exception('no system here') }}"
    "{% endif %}{{ message['content'] }}{% endfor %}"
)


def learn(make_run: MakeRun, base: Path, rows: Rows = ROWS, **options: Any) -> Path:
    """Train as a worker does; the folder of the run's models."""
    spec, run = make_run(rows, localModelDir=base, **options)
    trainer = worker.build_trainer(spec, run, base)
    trainer.train()
    worker.save(trainer, spec, run, seconds=1.0)
    return run.folder / "finetune_model"


def answers(folder: Path, rows: Rows = ROWS) -> list[str]:
    """Greedy, as Transformers generates with the folder's own settings, the end in it as text."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = []
    for row in rows:
        system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
        asked = tokenizer.apply_chat_template(
            [*system, {"role": "user", "content": row["instruction"]}],
            add_generation_prompt=True, return_tensors="pt", return_dict=True,
        )  # fmt: skip
        said = model.generate(**asked, max_new_tokens=40, do_sample=False)[0, asked["input_ids"].shape[1] :]
        found.append(tokenizer.decode(said).strip())
    return found


def expected(name: str, rows: Rows = ROWS) -> list[str]:
    thought = "<think>\n\n</think>\n\n" if name == "qwen3" else ""
    return [f"{thought}{row['output']}{FAMILIES[name].end}" for row in rows]


@pytest.mark.parametrize("method", ["full", pytest.param("lora", marks=pytest.mark.rare)])
@pytest.mark.parametrize("name", MATRIX)
def test_the_answer_and_then_the_end(name: str, method: str, tmp_path: Path, make_run: MakeRun) -> None:
    base = make(name, tmp_path / "base")
    folder = learn(make_run, base, **(FULL if method == "full" else FAST))
    assert answers(folder / "final") == expected(name)
    assert json.loads((folder / "final" / "config.json").read_text())["dtype"] == "bfloat16"
    if method == "lora":
        merged = merge(base, folder / "adapter", tmp_path / "merged")
        assert answers(merged) == expected(name)
    elif FAMILIES[name].gguf:
        assert said_by_llama_cpp(folder / "final", tmp_path / "model.gguf") == [row["output"] for row in ROWS]


def merge(base: Path, adapter: Path, to: Path) -> Path:
    options = {
        "action": "merge", "localModelDir": str(base), "adapterNameOrPath": str(adapter), "savePath": str(to),
    }  # fmt: skip
    convert.write(ConvertSpec.from_options(options))
    return to


def said_by_llama_cpp(model: Path, to: Path) -> list[str]:
    import xllamacpp

    options = {
        "action": "convert", "pretrainedModelType": "hf/auto", "modelNameOrPath": str(model), "savePath": str(to),
        "format": "gguf", "dtype": "float32",
    }  # fmt: skip
    convert.write(ConvertSpec.from_options(options))
    params = xllamacpp.CommonParams()
    params.model.path = str(to)
    params.n_ctx, params.cpuparams.n_threads, params.verbosity, params.use_jinja = 256, 1, 1, True
    server = xllamacpp.Server(params)
    replies = [
        server.handle_chat_completions(
            {"messages": [{"role": "user", "content": row["instruction"]}], "temperature": 0.0, "max_tokens": 40}
        )["choices"][0]
        for row in ROWS
    ]
    assert [reply["finish_reason"] for reply in replies] == ["stop"] * len(ROWS)
    return [reply["message"]["content"].rpartition("</think>")[2].strip() for reply in replies]


DUE: Rows = [
    {"instruction": "what is one", "output": "one", "system": "be brief"},
    {"instruction": "what is one", "output": "one is one"},
]


@pytest.mark.parametrize("name", ["gemma", "no-end", "mistral"])
def test_a_template_without_a_place_for_system_messages_gets_one(name: str, tmp_path: Path, make_run: MakeRun) -> None:
    """Before the first question, in training as in what is deployed."""
    folder = learn(make_run, make(name, tmp_path / "base"), DUE, **FULL) / "final"
    assert answers(folder, DUE) == expected(name, DUE)
    kept = (folder / "chat_template.jinja").read_text()
    assert kept == template.FOLD + FAMILIES[name].template


def test_a_template_is_left_alone_without_system_messages(tmp_path: Path, make_run: MakeRun) -> None:
    base = make("gemma", tmp_path / "base")
    spec, run = make_run(ROWS, localModelDir=base)
    assert worker.load_tokenizer(base, spec, run).chat_template == FAMILIES["gemma"].template


CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"city": "Paris"}}]}
TOOLS = '[{"type": "function", "function": {"name": "f"}}]'


def test_arguments_are_text_where_the_template_wants_text(tmp_path: Path, make_run: MakeRun) -> None:
    other = {**CALL, "tool_calls": [{"name": "f", "arguments": {"a": 1}}]}
    rows = [{"messages": [{"role": "user", "content": "q"}, call], "tools": TOOLS} for call in (CALL, other) * 2]
    base = make("deepseek", tmp_path / "base")
    spec, run = make_run(rows, localModelDir=base)
    trainer = worker.build_trainer(spec, run, base)
    tokenizer = trainer.processing_class
    said = [tokenizer.decode([label for label in row["labels"] if label != -100]) for row in trainer.train_dataset]
    assert said == [f'f\n{{"{key}": {value}}}<|end_of_sentence|>' for key, value in (("city", '"Paris"'), ("a", 1)) * 2]


def test_preferences_have_calls_without_the_nulls_of_other_rows(tmp_path: Path, make_run: MakeRun) -> None:
    from sqlllm.jobs.training import dpo

    wrong = {"role": "assistant", "content": "no", "tool_calls": None}
    other = {**CALL, "tool_calls": [{"name": "f", "arguments": {"a": 1}}]}
    rows = [
        {"prompt": [{"role": "user", "content": "q"}], "chosen": [call], "rejected": [wrong]}
        for call in (CALL, other) * 2
    ]
    base = make("deepseek", tmp_path / "base")
    spec, run = make_run(rows, localModelDir=base, pretrainedModelType="dpo/auto")
    trainer = dpo.build_trainer(spec, run, base)
    said = [trainer.processing_class.decode(row["chosen_ids"]) for row in trainer.train_dataset]  # type: ignore[union-attr]
    assert said == [f'f\n{{"{key}": {value}}}<|end_of_sentence|>' for key, value in (("city", '"Paris"'), ("a", 1)) * 2]


@pytest.mark.parametrize(
    ("name", "options", "rows", "message"),
    [
        (
            "mistral", {}, [*ROWS, {"messages": [
                {"role": "user", "content": "q"}, CALL, {"role": "tool", "content": "3"},
                {"role": "assistant", "content": "a"},
            ], "tools": TOOLS}],
            "the table has tools, but the model's chat template has no place for them",
        ),
        (
            "gemma", {"chatTemplate": GRUMPY}, [*DUE, DUE[0]],
            "row 1 of the training table: the model's chat template refuses it: TemplateError: no system here",
        ),
        ("qwen2", {"sft__str__eos_token": "<|im_ende|>"}, ROWS, "eos_token <|im_ende|> is not a token of the model"),
    ],
)  # fmt: skip
def test_what_a_template_refuses_is_said_before_anything_starts(
    name: str, options: dict[str, Any], rows: Rows, message: str, tmp_path: Path, make_run: MakeRun
) -> None:
    if "messages" in rows[-1]:
        rows = [rows[-1]] * 2
    spec, run = make_run(rows, localModelDir=make(name, tmp_path / "base"), **options)
    with pytest.raises(TrainingError) as caught:  # Ray is not even there
        finetune(spec, run)
    assert caught.value.message == message
    assert caught.value.cure


def test_the_statement_names_the_template_and_the_end(tmp_path: Path, make_run: MakeRun) -> None:
    base = make("qwen2", tmp_path / "base")
    file = tmp_path / "template.jinja"
    file.write_text("{% for message in messages %}{{ message['content'] }}\n{% endfor %}")
    options = {"chatTemplate": file, "sft__str__eos_token": "<|im_start|>"}
    folder = learn(make_run, base, **{**FULL, "sft__int__max_steps": 1}, **options) / "final"
    assert (folder / "chat_template.jinja").read_text() == file.read_text()
    stops = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_ids_to_tokens(stops) == ["<|im_start|>", "<|endoftext|>"]
    assert tokenizer.eos_token == "<|im_start|>"


def test_an_adapter_with_added_tokens(tmp_path: Path, make_run: MakeRun) -> None:
    """Its tokenizer has more tokens than the base: the base gets rows for them wherever both are loaded."""
    from sqlllm.jobs.serving import ModelSpec
    from sqlllm.jobs.serving.worker.engines.transformers import Options
    from sqlllm.jobs.serving.worker.engines.transformers_chat import load
    from sqlllm.jobs.training.evaluate import measure

    base = make("qwen2", tmp_path / "base")
    wider = AutoTokenizer.from_pretrained(base)
    wider.add_tokens(["<due>", "<paid>"])
    wider.save_pretrained(base)
    rows: Rows = [{"instruction": word, "output": f"<{word}>"} for word in ("due", "paid")]
    options = {"sft__list__modules_to_save": '["embed_tokens", "lm_head"]'}
    folder = learn(make_run, base, rows, **FAST, **options)
    said = ["<due><|im_end|>", "<paid><|im_end|>"]
    assert answers(folder / "final", rows) == said
    merged = merge(base, folder / "adapter", tmp_path / "merged")
    assert answers(merged, rows) == said
    served = load(ModelSpec(name="m", model_path=str(folder / "adapter")), Options(), "cpu")
    assert served._vocabulary == len(wider)
    examples = [example for row in rows for example in formats.detect(list(row)).examples(row, 1)]
    measured = measure(folder / "adapter", examples, generate=True, max_tokens=8, batch_size=2)
    assert measured.answers == [row["output"] for row in rows]
