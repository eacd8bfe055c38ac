"""Images and sounds for a model, and from one: from a path, bytes, an address, or an image of Pillow."""

from __future__ import annotations

import base64
import binascii
import io
import os
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import unquote_to_bytes

from sqlllm.errors import OptionError

_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"BM": "image/bmp",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
}
_SOUNDS = {
    b"ID3": "audio/mpeg",
    b"fLaC": "audio/flac",
    b"OggS": "audio/ogg",
    b"#!AMR": "audio/amr",
    b"\x1aE\xdf\xa3": "audio/webm",
}
_FORMATS = {"audio/mpeg": "mp3", "audio/mp4": "m4a"}  # where the format is not the name of the type


def mime(data: bytes) -> str:
    """The MIME type of an image or a sound by its first bytes; empty if they are of neither."""
    for magic, kind in (_IMAGES | _SOUNDS).items():
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(data[8:12], "")
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "image/avif" if brand[:3] == b"avi" else "image/heic" if brand[:3] in (b"hei", b"mif") else "audio/mp4"
    if data[:1] == b"\xff" and data[1:2] and data[1] & 0xE0 == 0xE0:
        return "audio/aac" if data[1] & 0x06 == 0 else "audio/mpeg"
    return ""


class Media:
    """An image or a sound: `data` are its bytes, `url` its address, one of them is empty. Not changed once made."""

    kind: ClassVar[str] = ""

    def __init__(self, source: Any) -> None:
        self.data = b""
        self.url = ""
        if isinstance(source, Media):
            self.data, self.url = source.data, source.url
        elif isinstance(source, bytes | bytearray | memoryview):
            self.data = bytes(source)
        elif isinstance(source, str | os.PathLike):
            self._read(os.fspath(source))
        elif hasattr(source, "save") and hasattr(source, "mode"):
            self.data = _png(source)
        else:
            raise OptionError(
                f"{type(source).__name__} is not a valid {self.kind}",
                cure="Give a path, bytes, an http(s) or data: address, or an image of Pillow.",
            )
        if not self.url:
            self.mime = mime(self.data)
            if not self.mime.startswith(f"{self.kind}/"):
                raise OptionError(
                    f"{_named(source)} is not a valid {self.kind}: it is {self.mime or 'of an unknown format'}",
                    cure="Give PNG, JPEG, WebP or GIF." if self.kind == "image" else "Give WAV, MP3, FLAC, OGG or M4A.",
                )

    mime: str = ""

    def _read(self, text: str) -> None:
        start = text[:8].lower()
        if start.startswith(("http://", "https://")):
            self.url = text
        elif start.startswith("data:"):
            self.data = _from_data_address(text, self.kind)
        else:
            try:
                self.data = Path(text).expanduser().read_bytes()
            except (OSError, ValueError) as error:
                data = _base64(text)
                if data is None:
                    reason = getattr(error, "strerror", "") or "no such file"
                    raise OptionError(
                        f"the {self.kind} {_named(text)} cannot be read: {reason}",
                        cure="Give the path of a file, an address or bytes.",
                    ) from None
                self.data = data

    @classmethod
    def of(cls, source: Any) -> Self:
        """`source` itself if it is one already."""
        return source if isinstance(source, cls) else cls(source)

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode()

    @property
    def address(self) -> str:
        """Its http(s) address, or a `data:` address with its bytes."""
        return self.url or f"data:{self.mime};base64,{self.base64}"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write its bytes to a file. Raises: OptionError if it is an address."""
        if self.url:
            raise OptionError(f"the {self.kind} is an address, its bytes are not here", cure=f"Fetch {self.url} first.")
        written = Path(path)
        written.write_bytes(self.data)
        return written

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Media) and (self.data, self.url) == (other.data, other.url)

    def __hash__(self) -> int:
        return hash((self.data, self.url))

    def __repr__(self) -> str:
        inside = repr(self.url) if self.url else f"<{self.mime}, {len(self.data):,} bytes>"
        return f"{type(self).__name__}({inside})"


class Image(Media):
    """An image in a message: `Image("cat.png")`, `Image(png_bytes)`, `Image("https://...")`, `Image(pillow_image)`."""

    kind = "image"

    def part(self) -> dict[str, Any]:
        """Its part of a message in OpenAI's shape."""
        return {"type": "image_url", "image_url": {"url": self.address}}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, bytes]:
        """In a notebook it is shown."""
        return {self.mime: self.data} if self.data else {}


class Sound(Media):
    """A sound in a message, or to transcribe."""

    kind = "audio"

    @property
    def format(self) -> str:
        """`wav`, `mp3`, ..."""
        return _FORMATS.get(self.mime, self.mime.removeprefix("audio/"))

    def part(self) -> dict[str, Any]:
        """Its part of a message: OpenAI's shape, vLLM's for an address."""
        if self.url:
            return {"type": "audio_url", "audio_url": {"url": self.url}}
        return {"type": "input_audio", "input_audio": {"data": self.base64, "format": self.format}}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": f'<audio controls src="{self.address}"></audio>'}


def _png(image: Any) -> bytes:
    """The bytes of an image of Pillow."""
    out = io.BytesIO()
    (image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I") else image.convert("RGB")).save(out, "PNG")
    return out.getvalue()


def _from_data_address(text: str, kind: str) -> bytes:
    head, comma, body = text.partition(",")
    try:
        if not comma:
            raise ValueError
        # `data:image/jpg,` with base64 behind it is widely written.
        if "base64" in head.lower() or _base64(body) is not None:
            return base64.b64decode(unquote_to_bytes(body), validate=True)
        return unquote_to_bytes(body)
    except (ValueError, binascii.Error):
        raise OptionError(
            f"{_named(text)} is not a valid data: address of an {kind}", cure="Write data:image/png;base64,..."
        ) from None


def _base64(text: str) -> bytes | None:
    """The bytes that a long text of base64 means."""
    if len(text) < 64:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return data if mime(data) else None


def _named(source: Any) -> str:
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        return repr(text if len(text) <= 80 else f"{text[:60]}...")
    return f"what was given ({type(source).__name__})"
