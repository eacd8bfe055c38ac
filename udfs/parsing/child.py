"""The process that parses: one file after another, each by a request on stdin, until that ends.

A request is a line of JSON and the file's bytes; the answer is a frame for each page, then one for the end. A frame is
its length in four bytes, a JSON object, and after it the bytes of an image if the object names their number.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import resource
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from . import kinds, office, pdf, texts
from .pages import Limits, Page, Refused

_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_READERS = {
    "docx": office.docx, "eml": texts.eml, "html": office.html, "md": texts.plain, "pptx": office.pptx,
    "txt": texts.plain, "xlsx": office.xlsx,
}  # fmt: skip


def read(content: bytes, name: str, limits: Limits, only: str, password: str, images: bool) -> Iterator[Page]:
    """The pages of a file, then a page with an error for what cannot be read."""
    number = letters = 0
    try:
        kind = kinds.kind(content, name, limits)
        if only and kind != only:
            raise Refused(f"the file is not a {only.upper()}; load documents reads it")
        found = (
            pdf.pages(content, limits, password=password, images=images)
            if kind == "pdf"
            else _READERS[kind](content, limits)
        )
        for page in found:
            number += 1
            page.text = page.text and page.text.replace("\0", "").encode("utf-8", "replace").decode()
            letters += len(page.text or "")
            if letters > limits.letters:
                raise Refused(f"the text has more than {limits.letters >> 20} million letters")
            yield page
        if not number:
            raise Refused("the file has no text")
    except Refused as error:
        yield Page(error=str(error))
    except MemoryError:
        yield Page(error="the file needs too much memory")
    except RecursionError:
        yield Page(error="the file is damaged: it refers to itself")
    except Exception as error:  # noqa: BLE001 (parsers raise anything; it is the file's error)
        words = str(error).strip() or type(error).__name__
        yield Page(error=f"the file is damaged: {words.splitlines()[0][:300]}")


def confine(memory: int) -> None:
    """Give up the network, writing and more memory than `memory` for good; end with the process that asked."""
    if not sys.platform.startswith("linux"):
        return
    from sqlllm.client import confined_child

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_AS, memory)):
        resource.setrlimit(limit, (value, value))
    if platform.machine() in confined_child.REFUSED:
        with suppress(OSError):  # a kernel without filters
            confined_child.refuse_calls(libc)


def _send(out: BinaryIO, answer: dict[str, object], image: bytes | None = None) -> None:
    head = json.dumps(answer | ({"image": len(image)} if image else {})).encode()
    out.write(struct.pack("<I", len(head)) + head + (image or b""))
    out.flush()


def _preload() -> None:
    """What is loaded on use elsewhere: the filter of the kernel lets no thread start that an import may want."""
    import bs4  # noqa: F401
    import lxml.etree  # noqa: F401
    import mammoth  # noqa: F401
    import markdownify  # noqa: F401
    import openpyxl  # noqa: F401
    import PIL.PngImagePlugin  # noqa: F401
    import pptx  # noqa: F401


def main() -> None:
    """Answer requests until stdin ends."""
    asked, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not an answer
    _preload()
    _send(out, {"ready": True})
    first = True
    while line := asked.readline():
        request = json.loads(line)
        content = asked.read(request["size"])
        if len(content) != request["size"]:
            return
        limits = Limits(**request["limits"])
        if first:
            confine(limits.memory)
            first = False
        for page in read(content, request["name"], limits, request["only"], request["password"], request["images"]):
            image, page.image = page.image, None
            _send(out, {"page": asdict(page)}, image)
        del content
        _send(out, {"end": True, "memory": _peak()})


def _peak() -> int:
    """The most bytes that this process has had. On Linux `ru_maxrss` begins with those of its parent."""
    try:
        found = re.search(rb"VmHWM:\s+(\d+)", Path("/proc/self/status").read_bytes())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
