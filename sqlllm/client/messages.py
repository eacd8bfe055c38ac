"""Conversations as they are written down, and as models take them.

A conversation is a list of messages. A message is a dict with `role` and `content`, a tuple `(role, content)`, or a
content alone; a content is a text, a `Template`, an `Image` or `Sound`, or a list of parts. Parts are in OpenAI's
style, in Qwen's, or plain: `"text"`, `Image(...)`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from sqlllm.errors import OptionError

from .media import Image, Media, Sound
from .template import Template

Style: TypeAlias = Literal["text", "openai_vl", "qwen_vl"]
_STYLES = get_args(Style)
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_ALIASES = {"ai": "assistant", "human": "user"}
_MEDIA = {"image": Image, "audio": Sound}
_REMOTE = re.compile(r"(https?|oss)://", re.IGNORECASE)


class Message:
    """One message; `role` may be `ai` or `human`, too. Other fields, such as `tool_calls`, are kept."""

    def __init__(self, role: str, content: Any = None, **more: Any) -> None:
        self.role = _role(role)
        self.content = content
        self.more = more

    def to_dict(self, input_vars: Mapping[str, Any] | None = None, style: Style | None = None) -> dict[str, Any]:
        """The message as models take it, in a style; without one, text stays text and parts get OpenAI's."""
        return {"role": self.role, "content": _content(self.content, input_vars or {}, style), **self.more}

    def __repr__(self) -> str:
        return f"Message({self.role!r}, {self.content!r})"


class Messages:
    """A conversation.

    Without roles the first message is the system's, then the user's and the assistant's by turns.
    """

    def __init__(self, messages: Any = (), style: Style | None = None) -> None:
        self.raw_messages: list[Any] = _listed(messages)
        self.style = _known(style)
        self.messages: list[Message] = []
        for raw in self.raw_messages:
            self.messages.append(self._message(raw))

    def append(self, message: Any) -> None:
        """Add a message, written in any of the ways."""
        self.messages.append(self._message(message))
        self.raw_messages.append(message)

    def extend(self, messages: Iterable[Any]) -> None:
        """Add several."""
        for message in messages:
            self.append(message)

    def to_list(self, input_vars: Mapping[str, Any] | None = None, style: Style | None = None) -> list[dict[str, Any]]:
        """The messages as dicts, templates filled in with `input_vars`, in `style` or the conversation's own."""
        chosen = _known(style) or self.style
        return [message.to_dict(input_vars, chosen) for message in self.messages]

    def has_role(self, role: str) -> bool:
        """Whether a message has that role."""
        return any(message.role == _role(role) for message in self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    def __repr__(self) -> str:
        return f"Messages({self.messages!r})"

    def _message(self, raw: Any) -> Message:
        where = f"message {len(self.messages) + 1}"
        if isinstance(raw, Message):
            return raw
        if isinstance(raw, Mapping) and "role" in raw:
            more = {name: value for name, value in raw.items() if name not in ("role", "content")}
            if "content" not in raw and not more:
                raise OptionError(f"{where} has no content", cure='Write {"role": "user", "content": "..."}.')
            return Message(raw["role"], raw.get("content"), **more)
        if isinstance(raw, tuple):
            if len(raw) != 2 or not isinstance(raw[0], str):
                raise OptionError(f"{where} is a tuple of {len(raw)}", cure='Write it as ("user", "text").')
            return Message(*raw)
        if isinstance(raw, str | Template | Media | list):
            return Message(self._next_role(raw), raw)
        raise OptionError(
            f"{where} is a {type(raw).__name__}",
            cure='A message is a text, a tuple ("user", "text"), a dict with role and content, or a Template.',
        )

    def _next_role(self, raw: Any) -> str:
        if not self.messages:
            return "system" if isinstance(raw, str | Template) else "user"
        return "assistant" if self.messages[-1].role == "user" else "user"


def conversation(asked: Any, media: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """What is asked as a list of messages in OpenAI's style; a text alone is the user's. `media` join the last one.

    Raises: OptionError if it is not a conversation.
    """
    if asked is None:
        raise OptionError("there is nothing to ask: the messages are None", cure='Ask something: llm.chat("Hello").')
    if isinstance(asked, Messages):
        messages = asked.to_list()
    elif isinstance(asked, list):
        messages = Messages(asked).to_list()
    else:
        raw = asked if isinstance(asked, tuple | Message) or (isinstance(asked, Mapping) and "role" in asked) else None
        messages = Messages([("user", asked) if raw is None else raw]).to_list()
    if not messages:
        raise OptionError("the conversation is empty", cure='Ask something: llm.chat("Hello").')
    if media:
        last = messages[-1]
        parts = [part for one in media for part in _openai(_part(one, {}))]
        last["content"] = [*parts, *_openai_parts(last["content"])]
    return messages


def text_of(content: Any) -> str:
    """The text in the content of a message."""
    return content if isinstance(content, str) else _joined(_parts(content, {})) if content else ""


def _role(role: Any) -> str:
    known = _ALIASES.get(role, role) if isinstance(role, str) else ""
    if known not in ROLES:
        raise OptionError(f"{role!r} is not a valid role", cure=f"Known roles: {', '.join((*ROLES, *_ALIASES))}.")
    return known


def _known(style: Style | None) -> Style | None:
    if style is not None and style not in _STYLES:
        raise OptionError(f"{style!r} is not a valid style", cure=f"Known styles: {', '.join(_STYLES)}.")
    return style


def _listed(messages: Any) -> list[Any]:
    if isinstance(messages, Messages):
        return list(messages.raw_messages)
    if isinstance(messages, str | Template | Media | Message | tuple | Mapping) and messages != ():
        return [messages]
    return list(messages)


def _content(content: Any, variables: Mapping[str, Any], style: Style | None) -> Any:
    if content is None:
        return None
    if isinstance(content, Template):
        content = content.format(variables)
    if isinstance(content, str) and style in (None, "text"):
        return content
    parts = _parts(content, variables)
    match style:
        case "text":
            return _joined(parts)
        case "qwen_vl":
            return [_qwen(part) for part in parts]
    return [one for part in parts for one in _openai(part)]


def _openai_parts(content: Any) -> list[dict[str, Any]]:
    return [one for part in _parts(content, {}) for one in _openai(part)] if content else []


def _joined(parts: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if "text" in part)


# Between the styles a part is {"text": ...}, {"image": address}, {"audio": address} or {"video": address}, with
# `more` for the other fields of its style, or {"other": part} for a part that is passed on as it is.


def _parts(content: Any, variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, Mapping) and "type" not in part and len(part) > 1:  # {"image": ..., "text": ...}
            found += [_part({name: value}, variables) for name, value in part.items() if name != "detail"]
        else:
            found.append(_part(part, variables))
    return found


def _part(part: Any, variables: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(part, Template):
        return {"text": part.format(variables)}
    if isinstance(part, str):
        return {"text": part}
    if isinstance(part, Media):
        return {part.kind: part.address}
    if hasattr(part, "save") and hasattr(part, "mode"):
        return {"image": Image(part).address}
    if not isinstance(part, Mapping):
        raise OptionError(
            f"a part of a message is a {type(part).__name__}", cure="A part is a text, an Image, a Sound or a dict."
        )
    kind = part.get("type")
    if kind == "text" or (kind is None and "text" in part):
        return _part(part["text"], variables)
    for name in ("image", "video", "audio"):
        if kind == f"{name}_url":
            given = dict(part[kind]) if isinstance(part[kind], Mapping) else {"url": part[kind]}
            url, more = given.pop("url"), given
            return {name: _address(name, url), **({"more": more} if more else {})}
        if kind is None and name in part:
            return {name: _address(name, part[name])}
    if kind == "input_audio":
        sound = part["input_audio"]
        return {"audio": f"data:audio/{sound['format']};base64,{sound['data']}"}
    if kind is None:
        known = "text, image, audio, video"
        raise OptionError(f"a part of a message has the keys {', '.join(part) or 'none'}", cure=f"Known keys: {known}.")
    return {"other": dict(part)}


def _address(name: str, value: Any) -> Any:
    if isinstance(value, str) and (_REMOTE.match(value) or ";base64," in value[:80]):
        return value
    kind = _MEDIA.get(name)
    return kind(value).address if kind else value


def _openai(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "text" in part:
        return [{"type": "text", "text": part["text"]}]
    if "other" in part:
        return [part["other"]]
    name = next(iter(part))
    address = part[name]
    if name == "audio" and address.startswith("data:"):
        head, _, data = address.partition(";base64,")
        return [{"type": "input_audio", "input_audio": {"data": data, "format": _sound_format(head)}}]
    return [{"type": f"{name}_url", f"{name}_url": {"url": address, **part.get("more", {})}}]


def _sound_format(head: str) -> str:
    kind = head.removeprefix("data:audio/")
    return {"mpeg": "mp3", "mp4": "m4a", "x-wav": "wav", "wave": "wav"}.get(kind, kind)


def _qwen(part: Mapping[str, Any]) -> dict[str, Any]:
    if "other" in part:
        kind = part["other"].get("type")
        raise OptionError(f"a part of type {kind} has no form in the style qwen_vl", cure="Use the style openai_vl.")
    name = next(iter(part))
    return {name: part[name]}


def decoded(content: Any) -> Any:
    """A content that is JSON of a list or an object of parts, as byzerllm writes it, as these parts."""
    if not isinstance(content, str) or content.lstrip()[:1] not in ("[", "{"):
        return content
    try:
        value = json.loads(content)
    except ValueError:
        return content
    parts = value if isinstance(value, list) else [value]
    keys = {"text", "image", "audio", "video", "type"}
    fits = bool(parts) and all(isinstance(part, dict) and keys & part.keys() for part in parts)
    return parts if fits else content
