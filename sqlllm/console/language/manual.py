"""The manual (docs/) as the console's own knowledge: pages, and what their tables say of each name."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_CODE = re.compile(r"`` ?(.+?) ?``|`([^`]+)`")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@cache
def page(name: str) -> str:
    """The Markdown of a page such as `sql/load`; empty if there is none."""
    path = files("sqlllm").joinpath("manual", *f"{name}.md".split("/"))
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@cache
def tables(name: str) -> tuple[tuple[str, dict[str, str]], ...]:
    """Each table of a page: its first header, and the last cell of each row by what the first one spells as code."""
    found: list[tuple[str, dict[str, str]]] = []
    in_table = False
    for line in page(name).splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if not line.startswith("|"):
            in_table = False
        elif not in_table:
            in_table = True
            found.append((cells[0], {}))
        else:
            for code in _CODE.finditer(cells[0]):
                found[-1][1].setdefault(code[1] or code[2], plain(cells[-1].strip(" |")))
    return tuple(found)


def rows(name: str, header: str = "") -> dict[str, str]:
    """What the tables of a page say, by name; of those whose first column is `header`, if one is given."""
    return {key: text for head, table in tables(name) if header in ("", head) for key, text in table.items()}


def section(name: str, title: str) -> str:
    """The part of a page under the heading `title`, up to the next heading; empty if there is none."""
    found = re.search(rf"^#+ {re.escape(title)}$\n(.*?)(?=^#|\Z)", page(name), re.M | re.S)
    return found[1].strip() if found else ""


def plain(text: str) -> str:
    """A table's cell without links."""
    return _LINK.sub(r"\1", text)
