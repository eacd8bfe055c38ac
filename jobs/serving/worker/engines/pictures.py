"""Images of a conversation: `data:` URLs, and addresses on hosts that are allowed."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from sqlllm.errors import PackageError

from ...protocol import RequestError
from . import sounds

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_LARGEST = 20 * 2**20  # bytes of a file
_PIXELS = 50_000_000
_SECONDS = 20  # until a host has answered


def require() -> None:
    """PackageError if Pillow is not there."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise PackageError.from_import_error(error, package="PIL", extra="images") from error


async def load(url: str, hosts: list[str]) -> Image:
    """The image as RGB; RequestError if it is none, is too large, or its host is not one of `hosts` (`*`: any is)."""
    content = sounds.content(url, "image_url") if url.startswith("data:") else await _fetch(url, hosts)
    if len(content) > _LARGEST:
        raise _wrong(f"an image is larger than {_LARGEST >> 20} MiB")
    return await asyncio.to_thread(_decode, content)


def _decode(content: bytes) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > _PIXELS:
                raise _wrong(f"an image has {width} x {height} pixels, more than {_PIXELS:,}")
            return ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError:
        raise _wrong(f"an image is none of {', '.join(_FORMATS)}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _wrong(f"an image cannot be read: {error}") from None


async def _fetch(url: str, hosts: list[str]) -> bytes:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _wrong(f"an image is a data: URL or an http(s) address, not {url[:60]!r}")
    if parts.hostname not in hosts and "*" not in hosts:
        raise _wrong(
            f"images are not fetched from {parts.hostname}: send a data: URL, or deploy the model with"
            f""" backend.allowed_media_domains='["{parts.hostname}"]'"""
        )
    content = b""
    try:
        async with httpx.AsyncClient(timeout=_SECONDS) as http, http.stream("GET", url) as response:
            if response.status_code != 200:  # a redirect, too: it could lead to a host that is not allowed
                raise _wrong(f"{parts.hostname} answers {response.status_code} for an image")
            async for block in response.aiter_bytes():
                content += block
                if len(content) > _LARGEST:
                    break
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _wrong(f"{parts.hostname} gives no image: {str(error) or type(error).__name__}") from None
    return content


def _wrong(message: str) -> RequestError:
    return RequestError(message, param="messages", code="invalid_image")
