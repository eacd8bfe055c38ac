"""What is hidden in a page of HTML, and sheets that declare more cells than they have."""

from __future__ import annotations

import io
import zipfile

import pytest

from sqlllm.udfs.parsing import office
from sqlllm.udfs.parsing.pages import Limits


@pytest.mark.parametrize(
    "attribute",
    ["hidden", 'style="display:none"', 'style="color: red; DISPLAY : none"', 'style="visibility: hidden;"'],
)
def test_what_a_reader_does_not_see_is_left_out(attribute: str) -> None:
    text = f"<p>seen</p><div {attribute}>secret <b {attribute}>more</b></div><p style='display: block'>too</p>"
    (page,) = office.html(text.encode(), Limits())
    assert page.text == "seen\n\ntoo"


def test_a_sheet_that_declares_all_cells_is_read_by_those_it_has() -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["a", "b"])
    book.active.append([1, 2.5])
    book.active["A20000"] = "last"
    out = io.BytesIO()
    book.save(out)
    changed = io.BytesIO()
    with zipfile.ZipFile(out) as old, zipfile.ZipFile(changed, "w") as new:
        for part in old.infolist():
            content = old.read(part)
            if part.filename == "xl/worksheets/sheet1.xml":
                assert b'<dimension ref="A1:B20000"' in content
                content = content.replace(b"A1:B20000", b"A1:XFD1048576")
            new.writestr(part, content)
    (page,) = office.xlsx(changed.getvalue(), Limits())
    assert page.text == "| a | b |\n| --- | --- |\n| 1 | 2.5 |\n| last |  |"
