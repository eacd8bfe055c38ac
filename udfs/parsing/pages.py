"""The shapes that travel between the process that parses and the one that asks it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Page:
    """One page, slide or sheet; the whole document where its format has no pages (`number` is then None).

    `image` is a PNG of a page that needs OCR, if the request asks for images. `error` is set on a page that could not
    be read, and on the page without a number that stands for what is missing of a file.
    """

    number: int | None = None  # from 1
    text: str | None = None
    title: str | None = None  # of the document; of a slide or a sheet, its own
    links: list[str] = field(default_factory=list)
    needs_ocr: bool = False
    error: str | None = None
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take."""

    bytes: int = 256 * 2**20
    pages: int = 20_000
    seconds: float = 300.0
    memory: int = 2**30  # of the process that parses
    unpacked: int = 512 * 2**20  # of an archive such as docx
    letters: int = 64 * 2**20  # of the whole text


class Refused(ValueError):
    """A file, or a part of it, that is not read; the message is for the column `error`."""


LINKS = ("http://", "https://", "mailto:", "ftp://")
"""How an address begins that is kept: not one that runs a script or names a file."""
MOST_LINKS = 1_000  # of a page
