"""Plain text, Markdown and mail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage, Message

from . import office
from .pages import LINKS, MOST_LINKS, Limits, Page

_ADDRESS = re.compile(
    r"\b(?:https?://|ftp://|mailto:)[^\s<>\"'`\u3000-\u303f\uff00-\uffef]+[^\s<>\"'`.,;:!?)\]}\u3000-\u303f\uff00-\uffef]"
)
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_ENCODINGS = ("utf-8", "gb18030", "cp1252")
_SHOWN = ("From", "To", "Cc", "Date", "Subject")


def decoded(content: bytes) -> str:
    """Text in UTF-8 or UTF-16 with its mark; else in GB 18030 if it reads as Chinese, else in Western letters."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    for encoding in _ENCODINGS:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "gb18030" or _reads_as_chinese(text):
            return text
    return content.decode("latin-1")


def _reads_as_chinese(text: str) -> bool:
    """Whether the letters beyond ASCII are common Chinese ones: Western text read as GB gives rare ones."""
    beyond = [one for one in text if one > "\x7f"]
    common = sum(
        "\u4e00" <= one <= "\u9fa5" or "\u3000" <= one <= "\u303f" or "\uff00" <= one <= "\uffef" for one in beyond
    )
    beside = len(re.findall(r"[A-Za-z][\u4e00-\u9fff]|[\u4e00-\u9fff][a-z]", text))
    return common > 0.9 * len(beyond) and beside < 0.3 * len(beyond)


def plain(content: bytes, _: Limits) -> Iterator[Page]:
    """One page, as it is; Markdown's title is its first heading."""
    text = decoded(content).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    heading = re.search(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", text, re.MULTILINE)
    yield Page(None, text, heading[1] if heading else None, links(text))


def links(text: str) -> list[str]:
    """The addresses in a text, each once."""
    return [*dict.fromkeys(found[0] for found in _ADDRESS.finditer(text))][:MOST_LINKS]


def eml(content: bytes, _: Limits) -> Iterator[Page]:
    """One page: who wrote what to whom, the text, and the names of what is attached; the title is the subject."""
    message = message_from_bytes(content, policy=policy.default)
    head = [f"{name}: {_header(message, name)}" for name in _SHOWN if _header(message, name)]
    body, found = _body(message)
    names = [part.get_filename() for part in message.walk() if part.get_filename()]
    attached = [f"Attached: {', '.join(map(str, names))}"] if names else []
    text = "\n\n".join(filter(None, ["\n".join(head), body.strip(), *attached]))
    addresses = dict.fromkeys([*found, *links(body)])
    kept = [one for one in addresses if one.lower().startswith(LINKS)][:MOST_LINKS]
    yield Page(None, text, _header(message, "Subject") or None, kept)


def _header(message: Message, name: str) -> str:
    try:
        return re.sub(r"\s+", " ", str(message[name] or "")).strip()
    except (ValueError, IndexError, AttributeError):  # a header that the library cannot read
        return ""


def _body(message: EmailMessage) -> tuple[str, list[str]]:
    """The text and its links; of a message in two forms, the plain one."""
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return "", []
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    charset = part.get_content_charset() or ""
    try:
        text = raw.decode(charset) if charset else decoded(raw)
    except (LookupError, UnicodeDecodeError):
        text = decoded(raw)
    if part.get_content_type() == "text/html":
        page = office.markdown_of(text)
        return page.text or "", page.links
    return text.replace("\r\n", "\n"), []
