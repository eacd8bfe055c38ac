"""What models say to a table's questions, and how likely they hold the right answers, in a process of Ray."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlllm.errors import OptionError, SQLLLMError, TrainingError
from sqlllm.jobs.runs import why

from .formats import Example


class Measured(NamedTuple):
    """One model on a table."""

    perplexity: float
    """e to the mean loss over the tokens of the right answers: 1 is certainty, the vocabulary's size is guessing."""
    answers: list[str]
    """The model's own answers, greedy; empty if they were not asked for."""


def evaluate(
    folders: Sequence[Path],
    examples: Sequence[Example],
    *,
    generate: bool = True,
    max_tokens: int = 256,
    batch_size: int = 16,
) -> list[Measured]:
    """Measure the model in each folder on a Ray that is already running, on a GPU if there is one.

    `max_tokens` is the longest answer. TrainingError if a question and its answer are longer than a model reads, and
    for whatever else a process that asks ends of; OptionError, its key the folder, if one holds no model.
    """
    import ray
    from ray.exceptions import RayError

    for folder in folders:
        if not (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file():
            raise OptionError(f"{folder} is not a Hugging Face model folder: it has no config.json", key=str(folder))
    gpus = 1 if "GPU" in ray.cluster_resources() else 0  # type: ignore[no-untyped-call]
    # One use of a process: what a model has taken goes with it.
    task: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=1, max_retries=0)(_each)
    try:
        measured: list[Measured] = ray.get(
            task.remote(folders, list(examples), generate=generate, max_tokens=max_tokens, batch_size=batch_size)
        )
    except RayError as error:
        raise _reason(error) from None
    return measured


def _reason(error: Exception) -> TrainingError:
    """What the process ended of: an error of its own, or of Ray's if it was killed."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, SQLLLMError):
        return TrainingError(cause.message, cure=cause.cure)
    said = why(cause or error)
    memory = cause is None or "memory" in said
    return TrainingError(
        f"the model cannot be asked: {said}", cure="If memory ran out, lower batchSize." if memory else ""
    )


def _each(folders: Sequence[Path], examples: Sequence[Example], **how: Any) -> list[Measured]:
    return [measure(folder, examples, **how) for folder in folders]


def measure(folder: Path, examples: Sequence[Example], *, generate: bool, max_tokens: int, batch_size: int) -> Measured:
    """`evaluate` one model in this process."""
    import torch
    from transformers import AutoModelForCausalLM

    from sqlllm.jobs.conversion import adapters

    from . import template, tokens, worker

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = worker.load_tokenizer(folder)
    if any(message["role"] == "system" for example in examples for message in example.get("prompt", ())):
        template.fold_system(tokenizer)
    dtype: Any = "auto" if device == "cuda" else torch.float32
    if (folder / "config.json").is_file():
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    else:
        base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
        model = adapters.merged(AutoModelForCausalLM.from_pretrained(base, dtype=dtype), folder)
    model = model.to(device).eval()
    context = getattr(model.config, "max_position_embeddings", math.inf)
    for example in examples:
        tokens.check_template(tokenizer.chat_template, example)
    rendered = [tokens.render(tokenizer, example) for example in examples]
    for number, (ids, _) in enumerate(rendered, 1):
        if len(ids) > context:
            raise TrainingError(
                f"answer {number} of the table and its question have {len(ids)} tokens; the model reads {context}",
                cure="Leave long rows out in a select.",
            )
    with torch.inference_mode():
        loss = _losses(model, rendered, tokenizer, batch_size)
        answers = _answers(model, examples, tokenizer, batch_size, max_tokens, context) if generate else []
    return Measured(math.exp(min(loss, 700.0)), answers)


def _losses(model: Any, rendered: list[tuple[list[int], list[int]]], tokenizer: Any, batch_size: int) -> float:
    """Mean over all tokens that are to be said, whichever row they are of."""
    import torch
    from torch.nn.functional import cross_entropy

    lost, said = 0.0, 0
    for batch in _batches(sorted(rendered, key=lambda pair: len(pair[0])), batch_size):
        longest = max(len(ids) for ids, _ in batch)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in batch], device=model.device)
        seen = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch], device=model.device)
        labels = torch.tensor([wanted + [-100] * (longest - len(wanted)) for _, wanted in batch], device=model.device)
        logits = model(input_ids=ids, attention_mask=seen).logits[:, :-1].float()
        lost += cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum").item()
        said += int((labels[:, 1:] != -100).sum())
    return lost / said


def _answers(
    model: Any, examples: Sequence[Example], tokenizer: Any, batch_size: int, max_tokens: int, context: float
) -> list[str]:
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    order = sorted(range(len(examples)), key=lambda number: len(str(examples[number]["prompt"])))
    answers = [""] * len(examples)
    for numbers in _batches(order, batch_size):
        prompts = [
            tokenizer.apply_chat_template(
                examples[number]["prompt"],
                tools=examples[number].get("tools"),
                add_generation_prompt=True,
                tokenize=False,
            )
            for number in numbers
        ]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
        asked = inputs["input_ids"].shape[1]
        made = model.generate(
            **inputs,
            max_new_tokens=max(1, int(min(max_tokens, context - asked))),
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
        for number, text in zip(
            numbers, tokenizer.batch_decode(made[:, asked:], skip_special_tokens=True), strict=True
        ):
            answers[number] = text
    return answers


def _batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
