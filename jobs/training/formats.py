"""Training tables: which columns they have, and each row as prompt and answer.

A row of questions and answers becomes examples of one shape, TRL's conversational prompt and completion: `prompt` is a
list of messages, `completion` the one assistant message that carries the loss, `tools` what the model may call. A
dialogue of n answers becomes n examples, each with what was said before as its prompt: so the right tokens are learned
with any model's chat template. A row of plain text is `text` alone, and all of it carries loss.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlllm.errors import OptionError, TrainingError

Message = dict[str, Any]
Example = dict[str, Any]
Row = Mapping[str, Any]
LEARNED = "the training table"
"""What errors call the table, unless it is another one."""


@dataclass(frozen=True)
class Format:
    """One way to lay out a training table."""

    name: str
    columns: tuple[str, ...]
    optional: tuple[str, ...]
    convert: Callable[[Row], list[Example]]

    def examples(self, row: Row, number: int, table: str = LEARNED) -> list[Example]:
        """The examples of one row; a wrong row is a TrainingError that names its `number`, counted from 1."""
        try:
            return self.convert(row)
        except WrongRow as error:
            shown = ", ".join(f"{name}={_shorten(row[name])}" for name in self.columns)
            raise TrainingError(f"row {number} of {table}: {error}", cure=f"The row: {shown}") from None


@dataclass(frozen=True)
class Table:
    """What a checked training table holds."""

    format: str
    rows: int
    examples: int
    shapes: tuple[tuple[int, Example], ...] = field(default=(), compare=False)
    """One example of each shape that a chat template may treat otherwise, and the number of its row."""


class WrongRow(ValueError):
    """What is wrong with a row."""


def detect(
    columns: Sequence[str], known: Sequence[Format] = (), *, table: str = LEARNED, key: str = "inputTable"
) -> Format:
    """The format whose columns are all there; the first of `known`, by default FORMATS, if several are.

    OptionError, its key the option that names the table, if none is.
    """
    known = known or FORMATS
    for candidate in known:
        if set(candidate.columns) <= set(columns):
            return candidate
    allowed = "; ".join(f"{candidate.name}: {', '.join(candidate.columns)}" for candidate in known)
    raise OptionError(
        f"{table} has the columns {', '.join(columns)}, which are not a training format",
        cure=f"Rename columns in a select so that the table has one of these sets. {allowed}.",
        key=key,
    )


def choose(
    columns: Sequence[str], known: Sequence[Format] = (), *, table: str = LEARNED, key: str = "inputTable"
) -> Format:
    """As `detect`, but OptionError if it is not clear what is to be learned: the cure has the choices."""
    found = detect(columns, known, table=table, key=key)
    possible = [one for one in known or FORMATS if set(one.columns) <= set(columns)]
    left = [name for name in columns if name not in found.columns + found.optional]
    if len(possible) == 1 and (found.name != "text" or not left):
        return found
    choices = [f"select {', '.join(one.columns)} ({one.name})" for one in possible]
    if len(possible) == 1:
        choices = [
            f"select text (learns to write such texts, without {', '.join(left)})",
            f"select text as instruction, cast({left[0]} as string) as output (learns to answer a text with {left[0]})",
        ]
    raise OptionError(
        f"it is not clear what to learn from the columns {', '.join(columns)} of {table}",
        cure=f"Choose: {'; or '.join(choices)}.",
        key=key,
    )


def described(columns: Sequence[str], found: Format) -> str:
    """What is taken for what, in one line: `reads instruction, input; learns output; leaves out id`."""
    used = [name for name in columns if name in found.columns + found.optional]
    learns = [name for name in used if name in _LEARNED]
    reads = [name for name in used if name not in _LEARNED]
    left = [name for name in columns if name not in used]
    parts = [("reads", reads), ("learns", learns), ("leaves out", left)]
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts if names)


_LEARNED = frozenset({"output", "completion", "conversation", "messages", "text", "chosen", "rejected"})


def has_system(data: Path) -> bool:
    """Whether a row has a system message."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for path in files(data):
        with pq.ParquetFile(path) as file:
            names = [name for name in ("system", "messages", "prompt") if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=names) if names else ():
                for name, column in zip(names, batch.columns, strict=True):
                    roles = column
                    if pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type):
                        roles = pc.struct_field(pc.list_flatten(column), "role")
                    if pa.types.is_string(roles.type) and (
                        pc.any(pc.equal(roles, "system")).as_py()
                        if roles is not column
                        else name == "system" and pc.any(pc.not_equal(roles, "")).as_py()
                    ):
                        return True
    return False


def files(data: Path) -> list[Path]:
    """The Parquet files of a folder, in the order that numbers the rows."""
    return sorted(data.glob("*.parquet"))


def check(data: Path, known: Sequence[Format] = (), *, table: str = LEARNED, key: str = "inputTable") -> Table:
    """Read every row once, in batches, and refuse the table at its first wrong row."""
    import pyarrow.parquet as pq

    rows = examples = 0
    table_format: Format | None = None
    shapes: dict[Any, tuple[int, Example]] = {}
    for path in files(data):
        with pq.ParquetFile(path) as file:
            table_format = table_format or choose(file.schema_arrow.names, known, table=table, key=key)
            columns = [name for name in file.schema_arrow.names if name in table_format.columns + table_format.optional]
            _refuse_maps(file.schema_arrow, columns, table, key)
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                for row in batch.to_pylist():
                    rows += 1
                    found = table_format.examples(row, rows, table)
                    examples += len(found)
                    for example in found:
                        if (shape := _shape(example)) and shape not in shapes:
                            shapes[shape] = rows, example
    if table_format is None or not rows:
        raise TrainingError(f"{table} has no rows", cure="Check the select that makes it.")
    return Table(table_format.name, rows, examples, tuple(shapes.values()))


def _shape(example: Example) -> Any:
    """Equal for examples that a chat template treats alike; None for one question and its answer, which all know."""
    if "text" in example:
        return None
    answer = example["completion"] if "completion" in example else example["chosen"]
    kinds = ["call" if "tool_calls" in one else one["role"] for one in [*example["prompt"], *answer]]
    if kinds == ["user", "assistant"] and "tools" not in example:
        return None
    return kinds[0], kinds[-1], frozenset(pairwise(kinds)), "tools" in example


def _refuse_maps(schema: Any, columns: Sequence[str], table: str, key: str) -> None:
    """A map's keys differ from row to row, which the tokenizer's tables cannot hold."""
    for name in columns:
        if "map<" in str(schema.field(name).type):
            raise OptionError(
                f"the column {name} of {table} holds a map",
                cure="Write it as JSON text: to_json(...), for example as the arguments of a tool call.",
                key=key,
            )


def _alpaca(row: Row) -> list[Example]:
    question = _text(row["instruction"], "instruction")
    if row.get("input") not in (None, ""):
        question = f"{question}\n{_text(row['input'], 'input')}"
    messages = _system(row)
    for number, turn in enumerate(_items(row.get("history") or [], "history"), 1):
        pair = _items(turn, f"history[{number}]")
        if len(pair) != 2:
            raise WrongRow(f"history[{number}] has {len(pair)} texts, not a question and its answer")
        messages += _turn(pair[0], pair[1], f"history[{number}]")
    return [_example([*messages, _message("user", question)], _text(row["output"], "output"))]


def _conversation(row: Row) -> list[Example]:
    messages = _system(row)
    for number, turn in enumerate(_items(row["conversation"], "conversation"), 1):
        where = f"conversation[{number}]"
        if not isinstance(turn, Mapping) or not {"human", "assistant"} <= turn.keys():
            raise WrongRow(f"{where} has no fields human and assistant")
        messages += _turn(turn["human"], turn["assistant"], where)
    return _each_answer(messages, "conversation")


def _messages(row: Row) -> list[Example]:
    examples = _each_answer(_dialogue(row["messages"], "messages"), "messages")
    if row.get("tools") in (None, "", []):
        return examples
    tools = row["tools"] if isinstance(row["tools"], list) else _json(row["tools"], "tools")
    if not isinstance(tools, list):
        raise WrongRow("tools is not a JSON array of functions")
    if tools is row["tools"]:
        tools = [_without_nulls(_json(one, "tools") if isinstance(one, str) else one) for one in tools]
    return [{**example, "tools": tools} for example in examples]


def prompt_completion(row: Row) -> list[Example]:
    """One question, as text or as messages, and its answer."""
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, str) or isinstance(completion, str) or prompt is None or completion is None:
        question = [*_system(row), _message("user", _text(prompt, "prompt"))]
        return [_example(question, _text(completion, "completion"))]
    answer = _items(completion, "completion")
    if len(answer) != 1:
        raise WrongRow(f"completion has {len(answer)} messages, not one; several answers belong in a column messages")
    messages = _dialogue([*_items(prompt, "prompt"), *answer], "prompt and completion")
    return _each_answer(messages, "prompt and completion")[-1:]


def _plain_text(row: Row) -> list[Example]:
    return [{"text": _text(row["text"], "text")}]


_AFTER = {"user": ("assistant",), "call": ("tool",), "tool": ("tool", "assistant")}
"""Who may speak after whom; after anything else it is the user's turn."""


def _dialogue(value: Any, where: str) -> list[Message]:
    """Checked messages: an optional system message, then user and assistant in turn, with calls of tools between."""
    messages: list[Message] = []
    turn = ""
    for number, item in enumerate(_items(value, where), 1):
        at = f"{where}[{number}]"
        if not isinstance(item, Mapping) or not {"role", "content"} <= item.keys():
            raise WrongRow(f"{at} has no fields role and content")
        role = item["role"]
        if role not in ("system", "user", "assistant", "tool"):
            raise WrongRow(f"{at} has the role {role!r}, not system, user, assistant or tool")
        if role == "system" and messages:
            raise WrongRow(f"{at} is a system message; it may only come first")
        expected = _AFTER.get(turn, ("user",))
        if role not in ("system", *expected):
            raise WrongRow(f"{at} is from {role}, but {' or '.join(expected)} comes next")
        calls = _calls(item.get("tool_calls"), f"{at}.tool_calls") if role == "assistant" else []
        content = "" if calls and not item["content"] else _text(item["content"], f"{at}.content")
        extra = {"tool_calls": calls} if calls else {}
        if role == "tool":
            extra = {key: item[key] for key in ("name", "tool_call_id") if item.get(key)}
        messages.append({**_message(role, content), **extra})
        turn = "call" if calls else role
    return messages


def _calls(value: Any, where: str) -> list[Any]:
    """The calls of an assistant, in OpenAI's shape but with arguments as objects: so chat templates want them."""
    if value in (None, "", []):
        return []
    calls = []
    for number, item in enumerate(_items(_json(value, where) if isinstance(value, str) else value, where), 1):
        function = item.get("function", item) if isinstance(item, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise WrongRow(f"{where}[{number}] has no function with a name")
        given = function.get("arguments")
        given = _json(given, f"{where}[{number}].arguments") if isinstance(given, str) else _without_nulls(given or {})
        calls.append({"type": "function", "function": {"name": function["name"], "arguments": given}})
    return calls


def _without_nulls(value: Any) -> Any:
    """A struct without its null fields: SQL gives every row the fields of all rows. JSON text keeps what it says."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _each_answer(messages: list[Message], where: str) -> list[Example]:
    if not messages or messages[-1]["role"] != "assistant":
        raise WrongRow(f"{where} does not end with an answer of the assistant")
    answers = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    return [{"prompt": messages[:place], "completion": [messages[place]]} for place in answers]


def _system(row: Row) -> list[Message]:
    return [] if row.get("system") in (None, "") else [_message("system", _text(row["system"], "system"))]


def _turn(question: Any, answer: Any, where: str) -> Iterator[Message]:
    yield _message("user", _text(question, f"the question in {where}"))
    yield _message("assistant", _text(answer, f"the answer in {where}"))


def _example(prompt: list[Message], answer: str) -> Example:
    return {"prompt": prompt, "completion": [_message("assistant", answer)]}


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _text(value: Any, name: str) -> str:
    if value is None:
        raise WrongRow(f"{name} is null")
    if not isinstance(value, str):
        raise WrongRow(f"{name} is {type(value).__name__} {_shorten(value)}, not text: cast it to string")
    if not value.strip():
        raise WrongRow(f"{name} is empty")
    return value


def _json(value: Any, name: str) -> Any:
    try:
        return json.loads(_text(value, name))
    except json.JSONDecodeError as error:
        raise WrongRow(f"{name} is not JSON: {error}") from None


def _items(value: Any, name: str) -> Sequence[Any]:
    if value is None:
        raise WrongRow(f"{name} is null")
    if not isinstance(value, list):
        raise WrongRow(f"{name} is {type(value).__name__} {_shorten(value)}, not an array")
    return value


def _shorten(value: Any, length: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


FORMATS = (
    Format("messages", ("messages",), ("tools",), _messages),
    Format("conversation", ("conversation",), ("system",), _conversation),
    Format("prompt/completion", ("prompt", "completion"), ("system",), prompt_completion),
    Format("Alpaca", ("instruction", "output"), ("input", "history", "system"), _alpaca),
    Format("text", ("text",), (), _plain_text),
)
