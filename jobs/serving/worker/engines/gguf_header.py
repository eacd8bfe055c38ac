"""What a GGUF file says of itself: its metadata, without the tensors and the lists of tokens."""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path
from typing import Any

from sqlllm.errors import ModelError

_SUFFIX = ".gguf"
_PART = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_RANKS = 4  # llama.cpp's pooling type of a model that ranks


def find(path: Path) -> Path | None:
    """The GGUF file that a path names: itself, or the only model in a folder; of one in parts the first.

    None for a folder in Hugging Face's layout, or without one. ModelError for a folder with several.
    """
    if path.suffix == _SUFFIX:
        return path
    if not path.is_dir() or (path / "config.json").is_file():
        return None
    files = [file for file in sorted(path.glob(f"*{_SUFFIX}")) if not file.name.startswith("mmproj")]
    first = [file for file in files if (part := _PART.search(file.name)) is None or int(part[1]) == 1]
    if len(first) > 1:
        names = ", ".join(file.name for file in first)
        raise ModelError(f"{path} holds several models: {names}", cure="Name one of the files in localModelDir.")
    return first[0] if first else None


def read(file: Path) -> dict[str, Any]:
    """The metadata by their keys, such as `general.architecture`; a list is its length. ModelError if not GGUF."""
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:4] != b"GGUF" or int.from_bytes(data[4:8], "little") not in (2, 3):
                raise ModelError(f"{file} is not a GGUF file", cure="llama.cpp takes GGUF files of version 2 and 3.")
            return _metadata(data)
    except OSError as error:
        raise ModelError(f"the model file {file} cannot be read: {error.strerror}") from None
    except (struct.error, ValueError, KeyError):  # an empty file cannot be mapped
        raise ModelError(f"{file} is cut short or damaged", cure="Copy it again.") from None


def kind(metadata: dict[str, Any]) -> str:
    """What the model does: one of `folders.TASKS`."""
    architecture = metadata.get("general.architecture", "")
    pooling = metadata.get(f"{architecture}.pooling_type", 0)
    if pooling == _RANKS:
        return "rerank"
    return "embed" if pooling or "bert" in architecture else "chat"


def context(metadata: dict[str, Any]) -> int | None:
    """Tokens of the longest text that the model was trained on."""
    return metadata.get(f"{metadata.get('general.architecture')}.context_length")


def _metadata(data: mmap.mmap) -> dict[str, Any]:
    (count,), at = struct.unpack_from("<Q", data, 16), 24
    found: dict[str, Any] = {}
    for _ in range(count):
        key, at = _text(data, at)
        (type_,) = struct.unpack_from("<I", data, at)
        found[key], at = _value(data, at + 4, type_)
    return found


def _text(data: mmap.mmap, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + size
    if end > len(data):
        raise ValueError("cut short")
    return data[at + 8 : end].decode(errors="replace"), end


def _value(data: mmap.mmap, at: int, type_: int) -> tuple[Any, int]:
    if type_ == _TEXT:
        return _text(data, at)
    if type_ != _LIST:
        (value,) = struct.unpack_from(f"<{_NUMBERS[type_]}", data, at)
        return value, at + struct.calcsize(_NUMBERS[type_])
    of, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if of in _NUMBERS:
        return count, at + count * struct.calcsize(_NUMBERS[of])
    for _ in range(count):
        at = at + 8 + struct.unpack_from("<Q", data, at)[0] if of == _TEXT else _value(data, at, of)[1]
    return count, at
