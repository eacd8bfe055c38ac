"""Word, PowerPoint, Excel and HTML to Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from io import BytesIO
from typing import Any

from .pages import LINKS, MOST_LINKS, Limits, Page, Refused

_UNSEEN = ("script", "style", "noscript", "template", "head", "title", "object", "embed", "iframe", "svg")
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)  # a style
_MOST_DEPTH = 200  # of elements in elements: the parser of a page of HTML calls itself
_MOST_ROWS = 1_000_000


def html(content: bytes, _: Limits) -> Iterator[Page]:
    """One page: what a reader sees, as Markdown; the title is that of the page, or its first heading."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(content, "html.parser")
    yield _of_soup(soup)


def markdown_of(text: str) -> Page:
    """A page of HTML given as text."""
    from bs4 import BeautifulSoup

    return _of_soup(BeautifulSoup(text, "html.parser"))


def _of_soup(soup: Any) -> Page:
    from bs4 import Comment
    from markdownify import ATX, MarkdownConverter

    _check_depth(soup)
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    if not title and (heading := soup.find(["h1", "h2"])):
        title = heading.get_text(" ", strip=True)
    for unseen in soup(_UNSEEN):
        unseen.decompose()
    for unseen in soup.find_all(string=lambda one: isinstance(one, Comment)):
        unseen.extract()
    for unseen in [*soup.find_all(attrs={"hidden": True}), *soup.find_all(style=_HIDDEN)]:
        unseen.decompose()
    links: dict[str, None] = {}
    for anchor in soup.find_all("a", href=True):
        address = str(anchor["href"]).strip()
        if address.lower().startswith(LINKS):
            links[address] = None
        anchor.unwrap()  # its words stay; the address is in `links`
    for image in soup.find_all("img"):
        image.replace_with(str(image.get("alt") or ""))
    converter = MarkdownConverter(heading_style=ATX, bullets="-", escape_underscores=False, escape_asterisks=False)
    text = re.sub(r"\n{3,}", "\n\n", converter.convert_soup(soup)).strip()
    return Page(None, text, title[:1000] or None, [*links][:MOST_LINKS])


def _check_depth(soup: Any) -> None:
    element, depth = soup, 0
    for element in soup.descendants:
        parent, depth = element.parent, 0
        while parent is not None and depth <= _MOST_DEPTH:
            parent, depth = parent.parent, depth + 1
        if depth > _MOST_DEPTH:
            raise Refused(f"the file has elements within each other, more than {_MOST_DEPTH} deep")


def docx(content: bytes, _: Limits) -> Iterator[Page]:
    """One page, as Markdown: headings, lists, tables; the title is the document's property, or its first heading."""
    import mammoth

    page = markdown_of(
        mammoth.convert_to_html(BytesIO(content), convert_image=mammoth.images.img_element(_no_image)).value
    )
    page.title = _property(content) or page.title
    yield page


def _no_image(image: Any) -> dict[str, str]:
    return {"alt": image.alt_text or ""}


def _property(content: bytes) -> str | None:
    """The title in the properties of an Office file."""
    import zipfile

    from lxml import etree

    with zipfile.ZipFile(BytesIO(content)) as archive:
        if "docProps/core.xml" not in archive.namelist():
            return None
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        root = etree.fromstring(archive.read("docProps/core.xml"), parser)
    found = root.findtext("{http://purl.org/dc/elements/1.1/}title") if root is not None else None
    return (found or "").strip()[:1000] or None


def pptx(content: bytes, limits: Limits) -> Iterator[Page]:
    """A page for each slide: its title, its texts and tables from top to bottom, its notes."""
    import pptx as package

    deck = package.Presentation(BytesIO(content))
    for number, slide in enumerate(deck.slides, 1):
        if number > limits.pages:
            raise Refused(f"the file has more than {limits.pages} slides")
        head = slide.shapes.title
        title = head.text_frame.text.strip() if head is not None and head.has_text_frame else ""
        pieces, links = [f"# {title}"] if title else [], dict[str, None]()
        for shape in sorted(_shapes(slide.shapes), key=lambda one: (one.top or 0, one.left or 0)):
            if head is not None and shape.shape_id == head.shape_id:
                continue
            if getattr(shape, "has_table", False) and shape.has_table:
                pieces.append(table([cell.text for cell in row.cells] for row in shape.table.rows))
            elif shape.has_text_frame:
                pieces.append(shape.text_frame.text.strip())
        for relation in slide.part.rels.values():
            if relation.is_external and relation.target_ref.lower().startswith(LINKS):
                links[relation.target_ref] = None
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            pieces.append(slide.notes_slide.notes_text_frame.text.strip())
        text = "\n\n".join(filter(None, pieces)).replace("\v", "\n")
        yield Page(number, text, title or None, [*links][:MOST_LINKS], needs_ocr=not text and bool(len(slide.shapes)))


def _shapes(shapes: Iterable[Any], depth: int = 0) -> Iterator[Any]:
    for shape in shapes:
        if hasattr(shape, "shapes") and depth < 20:
            yield from _shapes(shape.shapes, depth + 1)
        else:
            yield shape


def xlsx(content: bytes, limits: Limits) -> Iterator[Page]:
    """A page for each sheet that has cells, as a table of Markdown; its title is the sheet's name."""
    from openpyxl import load_workbook

    book = load_workbook(BytesIO(content), read_only=True, data_only=True)
    try:
        for number, sheet in enumerate(book.worksheets, 1):
            rows, letters = list[list[str]](), 0
            sheet.reset_dimensions()  # a sheet may declare all cells that there can be: each would be read
            for row in sheet.iter_rows(values_only=True):
                cells = [_cell(value) for value in row]
                while cells and not cells[-1]:
                    cells.pop()
                letters += sum(map(len, cells))
                if letters > limits.letters or len(rows) > _MOST_ROWS:
                    raise Refused(f"the sheet {sheet.title} is too large")
                if cells:
                    rows.append(cells)
            if rows:
                yield Page(number, table(rows), sheet.title)
    finally:
        book.close()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == datetime.min.time():
        return value.date().isoformat()
    if isinstance(value, datetime | date):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def table(rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown; the first row is its head."""
    found = [[re.sub(r"\s+", " ", cell).replace("|", "\\|").strip() for cell in row] for row in rows]
    width = max(map(len, found), default=0)
    if not width:
        return ""
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in found]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])
