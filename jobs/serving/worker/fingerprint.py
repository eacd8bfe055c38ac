"""What makes two deployments the same model: its files, the engine and its version, the engine's options."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

import orjson

from sqlllm.version import __version__

from ..spec import ModelSpec
from .engines import get_engine

_WHOLE = 64 * 2**20  # bytes; a larger file is sampled
_SAMPLES = 256
_SAMPLE = 2**16


def fingerprint(spec: ModelSpec) -> str:
    """A digest of what the model's answers follow from. Reads files: not for the event loop.

    A file of more than 64 MiB counts by its size and 256 samples of its content.
    """
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
    size = file.stat().st_size
    digest.update(size.to_bytes(8, "big"))
    with file.open("rb") as opened:
        if size <= _WHOLE:
            while block := opened.read(2**20):
                digest.update(block)
            return
        for number in range(_SAMPLES):
            opened.seek(number * (size - _SAMPLE) // (_SAMPLES - 1))
            digest.update(opened.read(_SAMPLE))


def _versions(engine: str) -> list[str]:
    """Of this package, and of those of the engine: the one that it is called after, if it names no others."""
    names = getattr(get_engine(engine), "packages", (engine,))
    return [__version__, *(version(one) for name in names for one in _distributions().get(name, []))]


@cache  # it reads a file of every installed package: a second
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
