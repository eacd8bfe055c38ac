"""PDFs made on the spot: any letters, anywhere, at any angle, with a font that no machine has to have."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

A4 = (595, 842)


@dataclass
class Text:
    x: float
    y: float
    text: str
    size: float = 10
    turned: float = 0  # degrees to the left


@dataclass
class Sheet:
    """A page: texts in the order in which they are drawn."""

    texts: Sequence[Text] = ()
    size: tuple[float, float] = A4
    rotate: int = 0
    image: bool = False  # a grey picture over all of it
    links: Sequence[str] = ()
    extra: bytes = b""  # operators after the texts
    boxes: dict[str, str] = field(default_factory=dict)


def width(text: str, size: float = 10) -> float:
    """Letters are half as wide as high; Chinese ones as wide."""
    return size * sum(1.0 if "\u2e80" <= one < "\ufb00" or one >= "\uff00" else 0.5 for one in text)


def lines(x: float, y: float, texts: Sequence[str], size: float = 10, leading: float = 1.2) -> list[Text]:
    return [Text(x, y - index * size * leading, text, size) for index, text in enumerate(texts)]


def wrapped(text: str, letters: int) -> list[str]:
    """`text` in lines of up to that many letters; Chinese text may end its line anywhere."""
    found = [""]
    for word in text.split(" ") if " " in text else text:
        between = " " if found[-1] and " " in text else ""
        if len(found[-1]) + len(between) + len(word) > letters:
            found.append(word)
        else:
            found[-1] += between + word
    return found


def pdf(sheets: Sequence[Sheet], *, title: str = "", catalog: str = "", compress: bool = False) -> bytes:
    """A whole file. `catalog` is added to the document's catalogue, such as an action in JavaScript."""
    letters = sorted({letter for sheet in sheets for text in sheet.texts for letter in text.text})
    codes = {letter: number for number, letter in enumerate(letters, 1)}
    objects: dict[int, bytes] = {}

    def stream(content: bytes, entries: str = "") -> bytes:
        if compress:
            content, entries = zlib.compress(content), entries + "/Filter/FlateDecode"
        return f"<<{entries}/Length {len(content)}>>stream\n".encode() + content + b"\nendstream"

    widths = " ".join(f"{codes[one]} [{round(width(one, 1000))}]" for one in letters)
    objects[3] = (
        b"<</Type/Font/Subtype/Type0/BaseFont/Made/Encoding/Identity-H/DescendantFonts[4 0 R]/ToUnicode 6 0 R>>"
    )
    objects[4] = (
        "<</Type/Font/Subtype/CIDFontType2/BaseFont/Made/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)"
        f"/Supplement 0>>/FontDescriptor 5 0 R/DW 500/W[{widths}]>>"
    ).encode()
    objects[5] = (
        b"<</Type/FontDescriptor/FontName/Made/Flags 4/FontBBox[0 -200 1000 800]/ItalicAngle 0/Ascent 800"
        b"/Descent -200/CapHeight 700/StemV 80>>"
    )
    pairs = "".join(f"<{codes[one]:04x}> <{one.encode('utf-16-be').hex()}>\n" for one in letters)
    blocks = "".join(
        f"{len(part)} beginbfchar\n{''.join(part)}endbfchar\n"
        for part in (pairs.splitlines(True)[at : at + 100] for at in range(0, len(letters), 100))
    )
    objects[6] = stream(
        (
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /M def /CMapType 2 def\n"
            f"1 begincodespacerange <0000> <ffff> endcodespacerange\n{blocks}endcmap end end"
        ).encode()
    )
    objects[7] = stream(
        bytes([128] * 16), "/Type/XObject/Subtype/Image/Width 4/Height 4/ColorSpace/DeviceGray/BitsPerComponent 8"
    )
    kids, number = [], 10
    for sheet in sheets:
        page, content, number = number, number + 1, number + 2
        annotations = []
        for link in sheet.links:
            objects[number] = (
                f"<</Type/Annot/Subtype/Link/Rect[10 10 90 30]/Border[0 0 0]/A<</S/URI/URI({link})>>>>".encode()
            )
            annotations.append(f"{number} 0 R")
            number += 1
        drawn = [f"q {sheet.size[0]} 0 0 {sheet.size[1]} 0 0 cm /I Do Q".encode()] if sheet.image else []
        for text in sheet.texts:
            cos, sin = math.cos(math.radians(text.turned)), math.sin(math.radians(text.turned))
            shown = "".join(f"{codes[one]:04x}" for one in text.text)
            place = f"{cos:.6f} {sin:.6f} {-sin:.6f} {cos:.6f} {text.x} {text.y}"
            drawn.append(f"BT /F {text.size} Tf {place} Tm <{shown}> Tj ET".encode())
        objects[content] = stream(b"\n".join([*drawn, sheet.extra]))
        boxes = "".join(f"/{key}[{value}]" for key, value in sheet.boxes.items())
        objects[page] = (
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {sheet.size[0]} {sheet.size[1]}]{boxes}/Rotate {sheet.rotate}"
            f"/Resources<</Font<</F 3 0 R>>/XObject<</I 7 0 R>>>>/Contents {content} 0 R"
            f"/Annots[{' '.join(annotations)}]>>"
        ).encode()
        kids.append(f"{page} 0 R")
    objects[1] = f"<</Type/Catalog/Pages 2 0 R{catalog}>>".encode()
    objects[2] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>".encode()
    named = ("\ufeff" + title).encode("utf-16-be").hex()
    objects[8] = f"<</Title<{named}>>>".encode() if title else b"<<>>"
    return assembled(objects, "/Root 1 0 R/Info 8 0 R")


def assembled(objects: dict[int, bytes], trailer: str) -> bytes:
    """A file of these objects, with its table of where each is."""
    out, places = bytearray(b"%PDF-1.7\n"), {}
    for number, content in sorted(objects.items()):
        places[number] = len(out)
        out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    start, count = len(out), max(objects) + 1
    out += f"xref\n0 {count}\n0000000000 65535 f \n".encode()
    for number in range(1, count):
        out += f"{places[number]:010} 00000 n \n".encode() if number in places else b"0000000000 65535 f \n"
    return bytes(out) + f"trailer\n<</Size {count}{trailer}>>\nstartxref\n{start}\n%%EOF".encode()
