"""Images in a chat: Markdown's `![what](file or address)` in the text becomes a part of the message."""

from __future__ import annotations

import re
from base64 import b64encode
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlllm.errors import TableError

from .. import guard

if TYPE_CHECKING:
    from sqlllm.places import Place

    from ..session import Session

_IMAGE = re.compile(r"(?<!\\)!\[[^\]\n]*\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"\n]*\")?\s*\)")
_LARGEST = 20 * 2**20  # bytes


def named(text: str) -> bool:
    """Whether `text` holds an image."""
    return bool(_IMAGE.search(text))


def parts(session: Session, text: str, place: Place) -> list[dict[str, Any]] | None:
    r"""`text` as the parts of a message in OpenAI's shape; None if it holds no image. `\![` is text.

    A file is sent as it is; what is behind an address the model's engine fetches. Raises TableError, ForbiddenError.
    """
    if not named(text):
        return None
    found: list[dict[str, Any]] = []
    pieces = _IMAGE.split(text)
    for index, piece in enumerate(pieces):
        if index % 2:
            found.append({"type": "image_url", "image_url": {"url": _url(session, piece, place)}})
        elif piece.strip():
            found.append({"type": "text", "text": piece.strip().replace(r"\![", "![")})
    return found


def _url(session: Session, name: str, place: Place) -> str:
    if name.startswith(("https://", "http://", "data:")):
        return name
    guard.check_path(session, name, place)
    file = Path(name.removeprefix("file://")).expanduser()
    kind = guess_type(file.name)[0] or ""
    if not kind.startswith("image/"):
        raise TableError(
            f"{name} is not an image", cure="Its name has to end with .png, .jpg or the like.", place=place
        )
    try:
        if file.stat().st_size > _LARGEST:
            raise TableError(f"{name} has more than {_LARGEST // 2**20} MiB", cure="Make it smaller.", place=place)
        content = file.read_bytes()
    except OSError as error:
        cure = r"Or do you mean the text? Write \![...](...)."
        raise TableError(f"cannot read {name}: {error.strerror}", cure=cure, place=place) from None
    return f"data:{kind};base64,{b64encode(content).decode()}"
