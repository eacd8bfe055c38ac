"""What ai_classify asks: labels with descriptions and examples, and its options, in Databricks' and Snowflake's forms.

Labels are an array of texts or of structs (`label`, `description`, `examples`), a map from each label to its
description, or either as JSON text. Options are a map or a struct.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from sqlllm.errors import nearest

from . import literals

_OPTIONS = {  # the names of both, and ours
    "instructions": "instructions",
    "task_description": "instructions",
    "multilabel": "multiple",
    "output_mode": "multiple",
    "examples": "examples",
}
_MULTIPLE = {"true": True, "false": False, "multi": True, "single": False}
_LABEL = ("label", "description", "examples")
_EXAMPLE = ("input", "labels", "label", "explanation")
_FORMS = "array('a', 'b'), array(struct('a' as label, '...' as description)) or map('a', '...')"


@dataclass(frozen=True)
class Task:
    """The SQL of the system message and of the labels' names as JSON, and whether several labels may hold."""

    system: str
    names: str
    multiple: bool


@dataclass
class _Options:
    instructions: str = ""
    multiple: bool = False
    examples: list[dict[str, Any]] = field(default_factory=list)


def task(labels: str, options: str | None) -> Task:
    """The task for the SQL of labels and options. Raises ValueError for what cannot be used."""
    told = _options(options)
    try:
        given = literals.constant(labels)
        if isinstance(given, str):
            given = json.loads(given)
    except literals.NotConstant:
        names = f"to_json({labels})"
        before = literals.text(_opening(told))
        after = f", {literals.text(_examples(told))}" if told.examples else ""
        return Task(f"concat({before}, {names}{after})", names, told.multiple)
    except json.JSONDecodeError:
        raise ValueError(f"labels are {_FORMS}") from None
    known = _labels(given)
    system = _opening(told) + _listing(known) + _examples(told)
    return Task(literals.text(system), literals.text(json.dumps(list(known), ensure_ascii=False)), told.multiple)


def _opening(told: _Options) -> str:
    begin = f"Classify the text. {told.instructions}".strip()
    if told.multiple:
        return f"{begin} Answer with a JSON array of all of these labels that apply and nothing else: "
    return f"{begin} Answer with one of these labels and nothing else: "


def _listing(labels: dict[str, dict[str, Any]]) -> str:
    if not any(labels.values()):
        return ", ".join(labels)
    lines = []
    for name, more in labels.items():
        line = f"- {name}" + (f": {more['description']}" if more.get("description") else "")
        if examples := more.get("examples"):
            line += f" (for example: {'; '.join(map(str, examples))})"
        lines.append(line)
    return "\n" + "\n".join(lines)


def _examples(told: _Options) -> str:
    lines = []
    for example in told.examples:
        right = example.get("labels", example.get("label"))
        if told.multiple:
            right = json.dumps(right if isinstance(right, list) else [right], ensure_ascii=False)
        elif isinstance(right, list):
            right = right[0] if len(right) == 1 else right
        why = f" ({example['explanation']})" if example.get("explanation") else ""
        lines.append(f"Text: {example['input']}\nAnswer: {right}{why}")
    return "\nExamples:\n" + "\n".join(lines) if lines else ""


def _labels(given: Any) -> dict[str, dict[str, Any]]:
    """What is said of each label, by its name."""
    known: dict[str, dict[str, Any]] = {}
    listed = given if isinstance(given, list) else []
    for name, one in given.items() if isinstance(given, dict) else ((None, one) for one in listed):
        if name is not None:
            more = {"description": one} if isinstance(one, str) and one else {} if one in (None, "") else one
        elif isinstance(one, dict):
            _check(one, _LABEL, "a label")
            name, more = one.get("label"), {key: value for key, value in one.items() if key != "label" and value}
        else:
            name, more = one, {}
        if not isinstance(name, (str, int)) or not str(name).strip() or not isinstance(more, dict):
            raise ValueError(f"labels are {_FORMS}")
        if str(name) in known:
            raise ValueError(f"the label {name} is there twice")
        known[str(name)] = more
    if not known:
        raise ValueError(f"labels are {_FORMS}")
    return known


def _options(sql: str | None) -> _Options:
    told = _Options()
    if sql is None:
        return told
    try:
        given = literals.constant(sql)
        given = json.loads(given) if isinstance(given, str) else given
    except (literals.NotConstant, json.JSONDecodeError):
        given = None
    if not isinstance(given, dict):
        raise ValueError("options are written out: map('multilabel', 'true', 'instructions', '...')")
    _check(given, tuple(_OPTIONS), "options")
    for key, value in given.items():
        match _OPTIONS[key]:
            case "instructions":
                told.instructions = str(value or "")
            case "multiple":
                if str(value).lower() not in _MULTIPLE:
                    raise ValueError(f"{key} cannot be {value}")
                told.multiple = _MULTIPLE[str(value).lower()]
            case _:
                examples = json.loads(value) if isinstance(value, str) else value
                if not isinstance(examples, list) or not all(isinstance(one, dict) for one in examples):
                    raise ValueError("examples are an array of structs of input, labels and explanation")
                for one in examples:
                    _check(one, _EXAMPLE, "an example")
                    if "input" not in one or not {"label", "labels"} & one.keys():
                        raise ValueError("an example has an input and its labels")
                told.examples = examples
    return told


def _check(given: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in given:
        if key not in known:
            near = nearest(key, known)
            hint = f"; did you mean {near}?" if near else f", only {', '.join(known)}"
            raise ValueError(f"{what} cannot have {key}{hint}")
