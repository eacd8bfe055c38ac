"""A chat template and what ends its answers: the same in training, in the result's files and when it is deployed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import OptionError, TrainingError, suggest

from . import scratch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .formats import Example, Message
    from .spec import FinetuneSpec

_PROBE = "QzAnswerzQ"
FOLD = (
    "{%- if messages and messages[0]['role'] == 'system' %}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\\n\\n' + messages[1]['content']}]"
    " + messages[2:] %}{%- endif %}"
)
"""Before a template that has no place for a system message: it then stands before the first question."""


def read(option: str, text: str, *, look: bool = True) -> str:
    """The template that an option gives, as text or as the path of a file; OptionError if Jinja cannot read it."""
    from jinja2 import Environment, TemplateSyntaxError

    if "{{" not in text and "{%" not in text:
        path = Path(text).expanduser()
        if not look:
            return text
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(
                f"{option}: the file {path} cannot be read: {error}",
                cure="Name a file that holds a Jinja chat template, or write the template itself.",
                key=option,
            ) from None
    try:
        Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=False).parse(_plain(text))  # noqa: S701 (no HTML)
    except TemplateSyntaxError as error:
        raise OptionError(
            f"{option} is not a Jinja template: line {error.lineno}: {error.message}",
            cure="Copy the template of a model's tokenizer_config.json or chat_template.jinja.",
            key=option,
        ) from None
    return text


def _plain(template: str) -> str:
    """Without the tags that Transformers adds to Jinja."""
    for tag in ("generation", "endgeneration"):
        for form in ("{%% %s %%}", "{%%- %s %%}", "{%% %s -%%}", "{%%- %s -%%}"):
            template = template.replace(form % tag, "")
    return template


def prepare(tokenizer: Any, spec: FinetuneSpec | None = None) -> Any:
    """Give the tokenizer the statement's template and end token; a tokenizer without a template gets a plain one."""
    if spec and spec.chat_template:
        tokenizer.chat_template = spec.chat_template
    if spec and spec.eos_token:
        known = tokenizer.get_vocab()
        if spec.eos_token not in known:
            special = sorted({*tokenizer.all_special_tokens, *map(str, tokenizer.added_tokens_decoder.values())})
            raise TrainingError(
                f"eos_token {spec.eos_token} is not a token of the model",
                cure=suggest(spec.eos_token, special, what="tokens"),
            )
        tokenizer.eos_token = spec.eos_token
    if tokenizer.chat_template is None:
        tokenizer.chat_template = scratch.PLAIN_TEMPLATE
    return tokenizer


def fold_system(tokenizer: Any) -> None:
    """Give a template without a place for system messages one: before the first question."""
    asked = [{"role": "system", "content": _PROBE}, {"role": "user", "content": "a"}]
    answered = [*asked, {"role": "assistant", "content": "b"}]
    for messages, generation in ((asked, True), (answered, False)):
        try:
            if _PROBE in _text(tokenizer, messages, None, generation=generation):
                continue
        except Exception:  # noqa: BLE001, S110 (a template raises what it likes; what it cannot render it refuses below)
            pass
        tokenizer.chat_template = FOLD + tokenizer.chat_template
        return


def end(tokenizer: Any) -> int | None:
    """The token that the template writes after an answer; None if it writes none."""
    return _tail(tokenizer, tokenizer.chat_template, tokenizer.eos_token)[1]


@lru_cache(maxsize=8)
def _tail(tokenizer: Any, template: str, eos_token: str | None) -> tuple[str, int | None]:
    """What the template writes after an answer, and the end token in it."""
    del template, eos_token  # which the tokenizer has; they distinguish its states
    try:
        text = _text(tokenizer, [_user("a"), {"role": "assistant", "content": _PROBE}], None, generation=False)
    except Exception:  # noqa: BLE001 (a template raises what it likes; the rows say what is wrong)
        return "", None
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= {*tokenizer.all_special_ids}
    after = text.rpartition(_PROBE)[2]
    ids = tokenizer(after, add_special_tokens=False)["input_ids"]
    return after, next((token for token in ids if token in special), None)


def ending(tokenizer: Any) -> int:
    """The token that ends learned answers; TrainingError if there is none that could."""
    found = end(tokenizer)
    if found is None:
        found = tokenizer.eos_token_id
    if found is None:
        raise TrainingError(
            "nothing ends an answer: the chat template writes no end token, and the tokenizer has no eos_token",
            cure='Name one of its tokens: `sft.str.eos_token`="<|im_end|>".',
        )
    return int(found)


def ends(tokenizer: Any, model: PreTrainedModel) -> int | list[int]:
    """What the trained model stops at: the end of its answers first, then what its base stopped at."""
    before = model.generation_config.eos_token_id if model.generation_config else None
    known = [ending(tokenizer), *(before if isinstance(before, list) else [before]), tokenizer.eos_token_id]
    kept = list(dict.fromkeys(token for token in known if token is not None))
    return kept[0] if len(kept) == 1 else kept


def answered(tokenizer: Any, messages: Sequence[Message], tools: Any = None) -> list[int]:
    """The tokens of messages that end with an answer, and of its end, whether the template writes one or not."""
    if end(tokenizer) is not None:
        return [*render(tokenizer, messages, tools)]
    text = render(tokenizer, messages, tools, tokenize=False)
    tail = _tail(tokenizer, tokenizer.chat_template, tokenizer.eos_token)[0]  # what parts this turn from the next
    ids = tokenizer(text.removesuffix(tail), add_special_tokens=False)["input_ids"]
    return [*ids, ending(tokenizer)]  # else the model would never learn to stop


def render(
    tokenizer: Any, messages: Sequence[Message], tools: Any = None, *, generation: bool = False, tokenize: bool = True
) -> Any:
    """The messages through the chat template; arguments of tool calls as text where the template takes no objects.

    Raises: TrainingError with the template's own words.
    """
    try:
        return _apply(tokenizer, messages, tools, generation=generation, tokenize=tokenize)
    except Exception as error:  # noqa: BLE001 (a template raises what it likes)
        if any("tool_calls" in message for message in messages):
            try:
                return _apply(tokenizer, _as_text(messages), tools, generation=generation, tokenize=tokenize)
            except Exception:  # noqa: BLE001, S110 (the first error says more)
                pass
        raise TrainingError(
            f"the model's chat template refuses it: {type(error).__name__}: {_line(error)}",
            cure="Change the row, leave it out, or give another template in chatTemplate.",
        ) from None


def _as_text(messages: Sequence[Message]) -> list[Message]:
    import json

    def calls(message: Message) -> list[Any]:
        return [
            {**call, "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}}
            for call in message["tool_calls"]
        ]

    return [{**one, "tool_calls": calls(one)} if "tool_calls" in one else one for one in messages]


def check(tokenizer: Any, shapes: Sequence[tuple[int, Example]], table: str) -> None:
    """Render one example of each shape, before anything starts; TrainingError names the row that is refused."""
    if any(message["role"] == "system" for _, example in shapes for message in example.get("prompt", ())):
        fold_system(tokenizer)
    ending(tokenizer)
    for number, example in shapes:
        answers = [example[name] for name in ("completion", "chosen", "rejected") if name in example]
        for answer in answers:
            try:
                render(tokenizer, [*example["prompt"], *answer], example.get("tools"), tokenize=False)
            except TrainingError as error:
                raise TrainingError(f"row {number} of {table}: {error.message}", cure=error.cure) from None


def _apply(tokenizer: Any, messages: Sequence[Message], tools: Any, *, generation: bool, tokenize: bool) -> Any:
    if not tokenize:
        return _text(tokenizer, messages, tools, generation=generation)
    return tokenizer.apply_chat_template(
        list(messages), tools=tools, add_generation_prompt=generation, return_dict=False
    )  # fmt: skip


def _text(tokenizer: Any, messages: Sequence[Message], tools: Any, *, generation: bool) -> str:
    return str(
        tokenizer.apply_chat_template(list(messages), tools=tools, add_generation_prompt=generation, tokenize=False)
    )


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or "it says no more"
