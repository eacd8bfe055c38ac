"""load pdf, load documents, ai_parse_document, ai_chunk and llm_split in Spark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqlllm.errors import OptionError, ParseError
from sqlllm.session import Session
from tests.documents.made import Sheet, Text, lines, pdf

from .cases import rows_of

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "papers 论文"
    found.mkdir()
    sheets = [Sheet([Text(50, 700, "The first page.")], links=["https://example.org/a"]), Sheet(image=True)]
    (found / "a.pdf").write_bytes(pdf(sheets, title="A paper"))
    (found / "broken.pdf").write_bytes(pdf(sheets)[:300])
    (found / "c.pdf").write_bytes(pdf([Sheet(lines(50, 700, ["大语言模型很火。", "希望能帮到你。"]))]))
    return found


def test_each_page_is_a_row_and_a_broken_file_a_row_with_an_error(session: Session, folder: Path) -> None:
    rows = rows_of(session, f"load pdf.`{folder}/*.pdf` as pages; select * from pages order by path, page as found;")
    named = [(Path(str(row["path"])).name, row["page"], row["text"], row["needs_ocr"]) for row in rows]
    assert named == [
        ("a.pdf", 1, "The first page.", False),
        ("a.pdf", 2, "", True),
        ("broken.pdf", None, None, False),
        ("c.pdf", 1, "大语言模型很火。\n希望能帮到你。", False),
    ]
    assert str(rows[0]["path"]) == f"{folder}/a.pdf"
    assert rows[0]["title"] == "A paper"
    assert rows[0]["links"] == ["https://example.org/a"]
    assert [row["error"] for row in rows if row["error"]] == ["the file is not a PDF, or is damaged"]


def test_documents_of_several_kinds(session: Session, folder: Path) -> None:
    (folder / "d.md").write_text("# Head\n\nBody.")
    (folder / "e.html").write_text("<html><title>T</title><p>para</html>")
    (folder / "wrong.pdf").write_text("# not a PDF")
    (folder / "large.txt").write_text("x" * 70_000)
    rows = rows_of(
        session,
        f'load documents.`{folder}` where maxBytes="64k" as found;'
        " select regexp_extract(path, '[^/]+$', 0) as name, page, text, error from found order by name, page as r;",
    )
    found = {(row["name"], row["page"]): row["text"] or row["error"] for row in rows}
    assert found[("a.pdf", 1)] == "The first page."
    assert found[("d.md", None)] == "# Head\n\nBody."
    assert found[("e.html", None)] == "para"
    assert found[("wrong.pdf", None)] == "the file is not a pdf file, or is damaged"
    assert found[("large.txt", None)] == "the file has 70000 bytes; at most 65536 are read"


def test_an_unknown_option_and_a_wrong_size_are_errors(session: Session, folder: Path) -> None:
    with pytest.raises(OptionError, match="maxbyte"):
        session.run(f'load pdf.`{folder}` where maxbyte="3" as pages;')
    with pytest.raises(OptionError, match="maxBytes is a size"):
        session.run(f'load pdf.`{folder}` where maxBytes="much" as pages;')
    with pytest.raises(OptionError, match="there is no model eye"):
        session.run(f'load pdf.`{folder}` where ocr="eye" as pages;')


def test_a_column_of_files_is_parsed_in_databricks_shape(session: Session, folder: Path) -> None:
    rows = rows_of(
        session,
        f"load binaryFile.`{folder}/*.pdf` as files;"
        " select regexp_extract(path, '[^/]+$', 0) as name, to_json(ai_parse_document(content)) as parsed,"
        " ai_parse_document(null) as nothing from files order by name as found;",
    )
    first, broken, _ = (json.loads(str(row["parsed"])) for row in rows)
    assert first["document"]["elements"] == [
        {"id": 0, "type": "text", "content": "The first page.", "bbox": [{"page_id": 0}]}
    ]
    assert [page["needs_ocr"] for page in first["document"]["pages"]] == [False, True]
    assert first["error_status"] is None
    assert broken["document"] is None
    assert broken["error_status"][0]["error_message"] == "the file is not a PDF, or is damaged"
    assert rows[0]["nothing"] is None


def test_chunks_keep_offsets_and_headings(session: Session) -> None:
    text = "# Guide\\n\\n" + "One sentence is here. " * 30 + "\\n\\n## Next\\n\\n第二部分在这里。"
    rows = rows_of(
        session,
        f"select '{text}' as text union all select null union all select '  ' as texts;"
        " select chunk.*, substring(text, chunk.start + 1, chunk.end - chunk.start) as body from texts"
        " lateral view explode(ai_chunk(text, max_tokens => 60, overlap => 10)) as chunk order by chunk.chunk_id as c;",
    )
    assert [row["chunk_id"] for row in rows] == list(range(len(rows)))
    assert rows[0]["headings"] == ["Guide"]
    assert rows[-1]["headings"] == ["Guide", "Next"]
    assert rows[-1]["content"] == "Guide\n\n## Next\n\n第二部分在这里。"
    assert all(int(str(row["tokens"])) <= 60 and str(row["body"]) in str(row["content"]) for row in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("max_tokens => 0", "max_tokens of ai_chunk is a number from 1"),
        ("max_tokens => 5, overlap => 5", "overlap is less than max_tokens"),
        ("by => 'pages'", "by is 'markdown', 'text'"),
        ("max_tokens => length(t)", "max_tokens of ai_chunk is written out"),
        ("size => 3", "ai_chunk has no size"),
    ],
)
def test_a_wrong_argument_of_ai_chunk_is_an_error(session: Session, arguments: str, said: str) -> None:
    with pytest.raises(ParseError, match=said):
        session.run(f"select ai_chunk(t, {arguments}) from values ('a') as v(t) as found;")


def test_byzers_llm_split(session: Session) -> None:
    rows = rows_of(session, "select explode(llm_split('one two. three. four', array('. ', ' '), 10)) as part as parts;")
    assert [row["part"] for row in rows] == [
        {"content": "one two. ", "content_id": 0},
        {"content": "three. ", "content_id": 1},
        {"content": "four", "content_id": 2},
    ]
