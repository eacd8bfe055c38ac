"""PDF to pages, by pdfium. Not for threads: pdfium has none of its own and takes none of others."""

from __future__ import annotations

import ctypes
import io
import math
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pypdfium2
from pypdfium2 import raw

from . import layout
from .pages import LINKS, MOST_LINKS, Limits, Page, Refused

# Letters that were joined for print: Latin ligatures, and the forms of Arabic letters.
_JOINED = re.compile("[\ufb00-\ufb06\ufb50-\ufdff\ufe70-\ufefc]+")
_IMAGE_SIDE = 2_000  # pixels of the longer side of a page's image
_SCAN = 0.7  # of the page that an image covers if the page is a scan
_FEW = 20  # letters: a page number, a stamp over a scan
_TITLE_WORDS = 40
_ERRORS = {
    raw.FPDF_ERR_FILE: "the file cannot be read",
    raw.FPDF_ERR_FORMAT: "the file is not a PDF, or is damaged",
    raw.FPDF_ERR_PASSWORD: "the file is encrypted and needs a password",
    raw.FPDF_ERR_SECURITY: "the file is encrypted in a way that is not known",
}


def pages(content: bytes, limits: Limits, *, password: str = "", images: bool = False) -> Iterator[Page]:
    """The pages in order. Raises Refused for a file that is not a PDF, or has too many."""
    document = _opened(content, password)
    try:
        count = len(document)
        if count > limits.pages:
            raise Refused(f"the file has {count} pages; at most {limits.pages} are read")
        if count == 0:
            raise Refused("the file is damaged: it has no pages")
        title = _title(document)
        for index in range(count):
            page = Page(index + 1, title=title)
            try:
                _read(document, index, page, images)
                if title is None and index == 0:
                    title = page.title
            except pypdfium2.PdfiumError as error:
                page.error = f"page {index + 1} is damaged: {error}"
            page.title = title
            yield page
    finally:
        document.close()


def _opened(content: bytes, password: str) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(content, password=password or None)
    except pypdfium2.PdfiumError as error:
        code = getattr(error, "err_code", None)
        if code == raw.FPDF_ERR_PASSWORD and password:
            raise Refused("the file is encrypted, and the password is not the right one") from None
        raise Refused(_ERRORS.get(code, f"the file cannot be read: {error}")) from None


def _title(document: pypdfium2.PdfDocument) -> str | None:
    with suppress(pypdfium2.PdfiumError, UnicodeDecodeError):
        return _plain(document.get_metadata_value("Title")).strip()[:1000] or None
    return None


def _read(document: pypdfium2.PdfDocument, index: int, page: Page, images: bool) -> None:
    opened = document[index]
    try:
        letters = opened.get_textpage()
        try:
            groups, unknown, title = _segments(letters, opened.get_rotation())
            page.links = _links(document, opened, letters)
        finally:
            letters.close()
        page.text = "\n\n".join(filter(None, (layout.text(group) for group in groups)))
        page.title = title
        count = sum(map(str.isalnum, page.text))
        if unknown > 0.5 or (count == 0 and _shows_anything(opened)) or (count < _FEW and _is_scan(opened)):
            page.needs_ocr = True
            if images:
                page.image = _image(opened)
    finally:
        opened.close()


def _segments(letters: pypdfium2.PdfTextPage, rotation: int) -> tuple[list[list[layout.Segment]], float, str | None]:
    """Segments by the direction of their text, the page's own first; the share of letters without a meaning; and the
    words in the largest letters, if they stand out.
    """
    handle, count = letters.raw, letters.count_chars()
    box = raw.FS_RECTF()
    matrix = raw.FS_MATRIX()

    def place(index: int) -> tuple[float, float, float, float]:
        raw.FPDFText_GetLooseCharBox(handle, index, box)  # by the font's height, not by the letter's
        return box.left, box.bottom, box.right, box.top

    def turn(index: int) -> int:
        """Quarter turns to the left that the letter has as the page is shown."""
        if not raw.FPDFText_GetMatrix(handle, index, matrix):
            return 0
        angle = math.degrees(math.atan2(matrix.b, matrix.a)) - rotation
        return round(angle / 90) % 4

    found: dict[int, list[layout.Segment]] = {}
    words: list[str] = []
    area: list[tuple[float, float, float, float]] = []
    unknown = known = 0
    current = 0
    largest, heading, count_of_words = 0.0, list[str](), 0

    def end(hyphen: bool = False) -> None:
        if words and area:
            sides = list(zip(*area, strict=True))
            edges = _turned(
                (min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3])), (current + rotation // 90) % 4
            )
            text = _plain("".join(words)).strip()
            if text:
                group = found.setdefault(current, [])
                group.append(layout.Segment(text, *edges, order=len(group), hyphen=hyphen))
        words.clear()
        area.clear()

    index = 0
    while index < count:
        code = raw.FPDFText_GetUnicode(handle, index)
        if code in (0x0D, 0x0A):
            end()
            index += 1
            continue
        if code in (0x02, 0xFFFE, 0xAD):  # pdfium's sign for a hyphen at the end of a line
            end(hyphen=True)
            index += 1
            continue
        if code in (0x20, 0x09, 0xA0):
            if words and words[-1] != " ":
                words.append(" ")
            index += 1
            continue
        start, word = index, []
        while index < count and code not in (0x0D, 0x0A, 0x20, 0x09, 0xA0, 0x02, 0xFFFE, 0xAD):
            if 0xD800 <= code < 0xDC00 and index + 1 < count:
                low = raw.FPDFText_GetUnicode(handle, index + 1)
                if 0xDC00 <= low < 0xE000:
                    code, index = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), index + 1
            if code in (0, 0xFFFD) or 0xE000 <= code < 0xF900 or 0xD800 <= code < 0xE000:
                unknown += 1
            if code and not 0xD800 <= code < 0xE000:
                word.append(chr(code))
            known += 1
            index += 1
            code = raw.FPDFText_GetUnicode(handle, index) if index < count else 0x20
        first, last = place(start), place(index - 1)
        direction = turn(start)
        edges = (min(first[0], last[0]), min(first[1], last[1]), max(first[2], last[2]), max(first[3], last[3]))
        if words and area and (direction != current or _apart(area[-1], edges, (direction + rotation // 90) % 4)):
            end()
        current = direction
        words.append("".join(word))
        area.append(edges)
        size = raw.FPDFText_GetFontSize(handle, start) * (math.hypot(matrix.a, matrix.b) or 1.0)
        if size > largest + 0.01:
            largest, heading = size, []
        count_of_words += 1
        if abs(size - largest) <= 0.01 and len(heading) < _TITLE_WORDS:
            heading.append("".join(word))
    end()
    groups = [found[key] for key in sorted(found)]
    stands_out = 2 * len(heading) <= count_of_words and len(heading) < _TITLE_WORDS
    return groups, unknown / known if known else 0.0, _plain(" ".join(heading))[:300] if stands_out else None


def _apart(one: tuple[float, ...], other: tuple[float, ...], quarter: int) -> bool:
    """Whether the space between two words is that between columns, or the second is on another line."""
    first, second = _turned(one, quarter), _turned(other, quarter)
    height = max(first[3] - first[1], second[3] - second[1], 1e-6)
    gap = max(second[0] - first[2], first[0] - second[2])
    off = abs((first[1] + first[3]) - (second[1] + second[3])) / 2
    return gap > 0.9 * height or off > 1.2 * height


def _turned(box: tuple[float, ...], quarter: int) -> tuple[float, float, float, float]:
    """A box in coordinates in which text that is turned that many quarters to the left is upright."""
    left, bottom, right, top = box
    match quarter:
        case 1:
            return bottom, -right, top, -left
        case 2:
            return -right, -top, -left, -bottom
        case 3:
            return -top, left, -bottom, right
    return left, bottom, right, top


def _plain(text: str) -> str:
    return _JOINED.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)


def _shows_anything(page: pypdfium2.PdfPage) -> bool:
    return next(iter(page.get_objects(max_depth=2)), None) is not None


def _is_scan(page: pypdfium2.PdfPage) -> bool:
    whole = math.prod(page.get_size()) or 1.0
    for found in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        with suppress(pypdfium2.PdfiumError):
            left, bottom, right, top = found.get_bounds()
            if (right - left) * (top - bottom) >= _SCAN * whole:
                return True
    return False


def _image(page: pypdfium2.PdfPage) -> bytes:
    longer = max(*page.get_size(), 1.0)
    bitmap = page.render(scale=min(_IMAGE_SIDE / longer, 4.0), grayscale=True)
    with io.BytesIO() as out:
        bitmap.to_pil().save(out, "PNG")
        return out.getvalue()


def _links(document: Any, page: Any, letters: Any) -> list[str]:
    """Addresses of the page's links, then those that stand in its text, each once."""
    found: dict[str, None] = {}
    at, link = ctypes.c_int(0), raw.FPDF_LINK()
    while len(found) < MOST_LINKS and raw.FPDFLink_Enumerate(page.raw, at, link):
        action = raw.FPDFLink_GetAction(link)
        size = raw.FPDFAction_GetURIPath(document.raw, action, None, 0) if action else 0
        if size:
            buffer = ctypes.create_string_buffer(size)
            raw.FPDFAction_GetURIPath(document.raw, action, buffer, size)
            found[buffer.value.decode("utf-8", "replace")] = None
    if shown := raw.FPDFLink_LoadWebLinks(letters.raw):
        for index in range(min(raw.FPDFLink_CountWebLinks(shown), MOST_LINKS)):
            size = raw.FPDFLink_GetURL(shown, index, None, 0)
            letters_of = (ctypes.c_ushort * size)()
            raw.FPDFLink_GetURL(shown, index, letters_of, size)
            found[bytes(letters_of).decode("utf-16-le", "replace").rstrip("\0")] = None
        raw.FPDFLink_CloseWebLinks(shown)
    return [one for one in found if one.lower().startswith(LINKS)]
