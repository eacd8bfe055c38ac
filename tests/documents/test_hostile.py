"""Files that are broken, or made to break what reads them: a row with an error or the right text, in bounded time."""

from __future__ import annotations

import io
import os
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sqlllm.udfs.parsing import process
from sqlllm.udfs.parsing.pages import Limits, Page

from .made import Sheet, Text, assembled, pdf

LIMITS = Limits(seconds=120, unpacked=64 * 2**20)
HELLO = [Sheet([Text(50, 700, "Hello there")])]


@pytest.fixture(scope="module")
def parser() -> Iterator[process.Parser]:
    made = process.Parser()
    yield made
    made.close()


def zipped(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def with_content(stream: bytes, entries: str = "", page: str = "") -> bytes:
    """A PDF of one page whose content is `stream` as it stands."""
    return assembled(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            3: f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R{page}>>".encode(),
            4: f"<<{entries}/Length {len(stream)}>>stream\n".encode() + stream + b"\nendstream",
        },
        "/Root 1 0 R",
    )


def circular_xref() -> bytes:
    whole = pdf(HELLO)
    start = whole.rindex(b"startxref\n") + len(b"startxref\n")
    place = whole[start:].split(b"\n")[0]
    return whole.replace(b"trailer\n<<", b"trailer\n<</Prev " + place + b" ", 1)


def circular_pages() -> bytes:
    return assembled({1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[2 0 R]/Count 1>>"}, "/Root 1 0 R")


def encrypted() -> bytes:
    whole = pdf(HELLO)
    locked = (
        b"/Encrypt<</Filter/Standard/V 2/R 3/Length 128/P -4/O<"
        + b"41" * 32
        + b">/U<"
        + b"42" * 32
        + b">>>/ID[<00><00>]"
    )
    return whole.replace(b"trailer\n<<", b"trailer\n<<" + locked, 1)


def inflating(megabytes: int) -> bytes:
    """A page whose content is that much larger than the file: one packed block, again and again."""
    packer = zlib.compressobj(9)
    head, block = packer.flush(zlib.Z_FULL_FLUSH), packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)
    return with_content(head + block * megabytes + packer.flush(), "/Filter/FlateDecode")


def deep_html() -> bytes:
    return b"<html>" + b"<div>" * 100_000 + b"x"


def entities() -> bytes:
    names = "abcdefghij"
    made = "".join(
        f'<!ENTITY {name} "{(f"&{before};" if before else "lol") * 10}">'
        for before, name in zip(["", *names], names, strict=False)
    )
    document = f'<?xml version="1.0"?><!DOCTYPE w [{made}]><w:document xmlns:w="x">&j;</w:document>'
    return zipped({"word/document.xml": document.encode(), "[Content_Types].xml": b"<Types/>"})


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "encrypted.pdf": (encrypted, "the file is encrypted"),
    "truncated.pdf": (lambda: pdf(HELLO)[:400], "damaged"),
    "half.docx": (lambda: zipped({"word/document.xml": os.urandom(9_000)})[:5_000], "the archive is damaged"),
    "empty.pdf": (lambda: b"", "the file is empty"),
    "blank.txt": (lambda: b" \n\n", "the file is empty"),
    "bomb.docx": (lambda: zipped({"word/document.xml": b"0" * (80 * 2**20)}), "unpacks to 80 MB"),
    "parts.xlsx": (lambda: zipped({f"xl/{number}": b"" for number in range(10_001)}), "10001 parts"),
    "entities.docx": (entities, "damaged"),
    "deep.html": (deep_html, "more than 200 deep"),
    "circular.pdf": (circular_pages, "damaged"),
    "binary.txt": (lambda: bytes(range(256)) * 9, "not a document of a known kind"),
    "text.pdf": (lambda: b"just words", "not a pdf file"),
    "old.doc": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "of Office before 2007"),
    "plain.zip": (lambda: zipped({"a.txt": b"hello"}), "not a docx, pptx or xlsx"),
    "noroot.pdf": (lambda: b"%PDF-1.4\n" + b"\xff" * 3_000, "damaged"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_one_row_with_an_error(name: str, parser: process.Parser) -> None:
    make, said = FILES[name]
    found = list(parser.read(make(), name, LIMITS))
    assert [page.text for page in found if page.text] == []
    assert said in str(found[-1].error)
    assert [page.text for page in parser.read(pdf(HELLO), "next.pdf", LIMITS)] == ["Hello there"]


GOOD: dict[str, Callable[[], bytes]] = {
    "scripts.pdf": lambda: pdf(HELLO, catalog="/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>"),
    "launch.pdf": lambda: pdf(HELLO, catalog="/OpenAction<</S/Launch/F(/bin/sh)>>"),
    "wrong.txt": lambda: pdf(HELLO),
    "wrong.docx": lambda: pdf(HELLO),
    "junk-before.pdf": lambda: b"junk\n" * 20 + pdf(HELLO),
    "junk-after.pdf": lambda: pdf(HELLO) + b"\0" * 2_000,
    "circular-xref.pdf": circular_xref,
    "huge-page.pdf": lambda: pdf([Sheet([Text(50, 700, "Hello there")], size=(200_000, 200_000))]),
    "compressed.pdf": lambda: pdf(HELLO, compress=True),
}


@pytest.mark.parametrize("name", GOOD)
def test_an_odd_file_gives_its_text(name: str, parser: process.Parser) -> None:
    (page,) = parser.read(GOOD[name](), name, LIMITS)
    assert (page.text, page.error) == ("Hello there", None)


@pytest.mark.slow
def test_a_file_that_inflates_is_bounded_by_the_memory_of_its_process(parser: process.Parser) -> None:
    content = inflating(1_500)
    assert len(content) < 4 * 2**20
    found = list(parser.read(content, "inflates.pdf", LIMITS))
    assert not any(page.text for page in found)
    assert [page.text for page in parser.read(pdf(HELLO), "next.pdf", LIMITS)] == ["Hello there"]


@pytest.mark.slow
def test_ten_thousand_pages_come_one_by_one(parser: process.Parser) -> None:
    content = pdf([Sheet([Text(50, 700, f"page {number}")]) for number in range(1, 10_001)])
    found = [page.text for page in parser.read(content, "long.pdf", Limits())]
    assert (len(found), found[0], found[-1]) == (10_000, "page 1", "page 10000")
    (page,) = parser.read(content, "long.pdf", Limits(pages=9_999))
    assert page.error == "the file has 10000 pages; at most 9999 are read"


def test_a_file_that_takes_too_long_ends_and_the_next_is_read() -> None:
    parser = process.Parser()
    content = pdf([Sheet([Text(50, 700, f"page {number}")]) for number in range(1, 10_001)])
    found = list(parser.read(content, "slow.pdf", Limits(seconds=0.05)))
    assert found[-1].error == "the file takes longer than 0.05 s to read"
    assert [page.text for page in parser.read(pdf(HELLO), "next.pdf", LIMITS)] == ["Hello there"]
    parser.close()


def test_a_crash_is_an_error_of_its_file_alone(parser: process.Parser) -> None:
    content = pdf([Sheet([Text(50, 700, "x")])] * 3_000)
    found: list[Page] = []
    for page in parser.read(content, "crash.pdf", LIMITS):
        found.append(page)
        if len(found) == 1:
            assert parser.pid is not None
            os.kill(parser.pid, 11)
    assert "its parser crashed (SIGSEGV)" in str(found[-1].error)
    assert [page.text for page in parser.read(pdf(HELLO), "next.pdf", LIMITS)] == ["Hello there"]


def test_a_reader_that_stops_early_leaves_no_process_behind() -> None:
    parser = process.Parser()
    found = parser.read(pdf(HELLO * 2_000), "long.pdf", LIMITS)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert parser.pid is None


@pytest.mark.slow
def test_memory_is_flat_over_many_files(parser: process.Parser) -> None:
    content = pdf([Sheet([Text(50, 700, f"page {number}")]) for number in range(20)])
    sizes = []
    for _ in range(190):  # a process has a successor after 200
        list(parser.read(content, "a.pdf", LIMITS))
        sizes.append(parser.memory)
    assert sizes[-1] - sizes[20] < 16 * 2**20


def test_threads_have_a_process_each() -> None:
    texts: list[str | None] = []

    def work(number: int) -> None:
        for _ in range(5):
            content = pdf([Sheet([Text(50, 700, f"thread {number}")])])
            texts.extend(page.text for page in process.read(content, "a.pdf", LIMITS))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, texts)) == sorted(f"thread {number}" for number in range(4) for _ in range(5))
    process.close()


def test_a_process_of_a_large_parent_reads_more_than_one_file() -> None:
    parent, parser = bytearray(b"x") * (600 * 2**20), process.Parser()
    found = [page.text for name in ("a.pdf", "b.pdf") for page in parser.read(pdf(HELLO), name, LIMITS)]
    assert (found, parser.pid is None) == (["Hello there"] * 2, False)
    assert parser.memory < len(parent)
    parser.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux alone has a filter of calls")
def test_the_process_has_no_network_and_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "SECRET")
    parser = process.Parser()
    list(parser.read(pdf(HELLO), "a.pdf", LIMITS))
    assert "SECRET" not in Path(f"/proc/{parser.pid}/environ").read_text()
    assert "Seccomp:\t2" in Path(f"/proc/{parser.pid}/status").read_text()
    parser.close()
