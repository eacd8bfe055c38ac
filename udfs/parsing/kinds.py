"""What a file is, by its first bytes and not by its name."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import PurePosixPath

from .pages import Limits, Refused

_PARTS = {"word/": "docx", "ppt/": "pptx", "xl/": "xlsx"}
_TEXTS = {
    ".csv": "txt", ".eml": "eml", ".htm": "html", ".html": "html", ".log": "txt", ".markdown": "md", ".md": "md",
    ".mht": "eml", ".rst": "txt", ".txt": "txt", ".xhtml": "html",
}  # fmt: skip
_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEADERS = ("received:", "from:", "date:", "subject:", "message-id:", "mime-version:", "return-path:", "delivered-to:")
_MOST_PARTS = 10_000  # files in an archive


def kind(content: bytes, name: str, limits: Limits) -> str:
    """pdf, docx, pptx, xlsx, html, md, eml or txt. Raises Refused."""
    if not content.strip():
        raise Refused("the file is empty")
    if b"%PDF-" in content[:1024]:
        return "pdf"
    if content.startswith(b"PK\x03\x04"):
        return _archive(content, limits)
    if content.startswith(_OLD):
        raise Refused(
            "the file is encrypted, or of Office before 2007; save it as docx, pptx or xlsx without a password"
        )
    ending = PurePosixPath(name.lower()).suffix
    if b"\0" in content[:4096] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        wanted = f"{ending[1:]} file" if ending in (".pdf", ".docx", ".pptx", ".xlsx") else "document of a known kind"
        raise Refused(f"the file is not a {wanted}, or is damaged")
    head = content[:2048].decode("latin-1").lstrip("\ufeff\xef\xbb\xbf \r\n\t").lower()
    if (
        head.startswith(("<!doctype html", "<html", "<?xml"))
        and "<html" in head + content[:65536].decode("latin-1").lower()
    ):
        return "html"
    if ending in _TEXTS:
        return _TEXTS[ending]
    if ending in (".pdf", ".docx", ".pptx", ".xlsx"):
        raise Refused(f"the file is not a {ending[1:]} file, or is damaged")
    return "eml" if head.startswith(_HEADERS) else "txt"


def _archive(content: bytes, limits: Limits) -> str:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError) as error:
        raise Refused(f"the archive is damaged: {error}") from None
    if len(parts) > _MOST_PARTS:
        raise Refused(f"the archive has {len(parts)} parts; at most {_MOST_PARTS} are read")
    # zipfile gives no more of a part than it declares, so what is declared is what can come.
    size = sum(part.file_size for part in parts)
    if size > limits.unpacked:
        raise Refused(f"the archive unpacks to {size >> 20} MB; at most {limits.unpacked >> 20} MB are read")
    if any(part.flag_bits & 1 for part in parts):
        raise Refused("the archive is encrypted")
    for found in _kinds(part.filename for part in parts):
        return found
    raise Refused("the file is an archive, and not a docx, pptx or xlsx")


def _kinds(names: Iterator[str]) -> Iterator[str]:
    for name in names:
        for folder, found in _PARTS.items():
            if name.startswith(folder):
                yield found
