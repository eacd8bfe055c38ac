"""What makes two deployments the same model: its files, the engine and its version, the engine's options."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

import orjson

from sqlllm.version import __version__

from ..spec import ModelSpec
from .engines import get_engine

_PIECE = 64 * 2**20  # bytes that one thread reads of a large file


def fingerprint(spec: ModelSpec) -> str:
    """A digest of what the model's answers follow from. Reads files whole: not for the event loop."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(orjson.dumps([spec.engine, _versions(spec.engine), sorted(spec.engine_options.items())]))
    digest.update(spec.model_path.encode() if not Path(spec.model_path).exists() else b"")
    for place in _places(spec):
        if place.is_file():
            _add(digest, place)
        for file in sorted(place.rglob("*")):
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(place).parts):
                digest.update(str(file.relative_to(place)).encode())
                _add(digest, file)
    return digest.hexdigest()


def _places(spec: ModelSpec) -> list[Path]:
    """The model's folder or file, its base model, its adapters, the module of a function that answers."""
    places = [Path(spec.model_path)] if spec.model_path else []
    adapter = Path(spec.model_path, "adapter_config.json")
    if spec.model_path and adapter.is_file():
        places.append(Path(str(orjson.loads(adapter.read_bytes()).get("base_model_name_or_path"))))
    places += map(Path, orjson.loads(spec.engine_options.get("lora_modules", "{}")).values())
    answers = spec.engine_options.get("function", "").partition(":")[0]
    if answers and (module := find_spec(answers)) is not None and module.origin is not None:
        places.append(Path(module.origin))
    return places


def _add(digest: hashlib.blake2b, file: Path) -> None:
    told = file.stat()
    digest.update(told.st_size.to_bytes(8, "big"))
    if told.st_size <= _PIECE:
        digest.update(file.read_bytes())
    else:
        digest.update(_large(str(file), told.st_size, told.st_dev, told.st_ino, told.st_mtime_ns, told.st_ctime_ns))


@lru_cache(maxsize=256)
def _large(path: str, size: int, *_: int) -> bytes:
    """A digest of a large file's content, read once while it lies where it lay and has not changed."""
    whole = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for piece in threads.map(lambda start: _piece(path, start), range(0, size, _PIECE)):
            whole.update(piece)
    return whole.digest()


def _piece(path: str, start: int) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 (a thread each)
        file.seek(start)
        return hashlib.blake2b(file.read(_PIECE), digest_size=16).digest()


def _versions(engine: str) -> list[str]:
    """Of this package, and of those of the engine: the one that it is called after, if it names no others."""
    names = getattr(get_engine(engine), "packages", (engine,))
    return [__version__, *(version(one) for name in names for one in _distributions().get(name, []))]


@cache  # it reads a file of every installed package: a second
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
