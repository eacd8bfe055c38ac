"""The options that the installed vLLM has, read from its source: importing it takes 10 s."""

from __future__ import annotations

import ast
import json
import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlllm.errors import PackageError

from ...spec import ModelSpec

_GIB = 2**30
_NO_HOST = "no-host.invalid"  # a name that no host can have
# Set by this package or by Ray.
_RESERVED = {"model", "served_model_name", "distributed_executor_backend"}


@cache
def arguments() -> dict[str, str]:
    """The names and annotations of vLLM's engine arguments."""
    return {
        field.target.id: ast.unparse(field.annotation)
        for node in _source("engine/arg_utils.py").body
        if isinstance(node, ast.ClassDef) and node.name in ("EngineArgs", "AsyncEngineArgs")
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if not field.target.id.startswith("_") and field.target.id not in _RESERVED
    }


@cache
def tool_parsers() -> list[str]:
    """vLLM's names of the forms in which models call tools."""
    (names,) = [
        [key.value for key in node.value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
        for node in _source("tool_parsers/__init__.py").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_TOOL_PARSERS_TO_REGISTER"
        if isinstance(node.value, ast.Dict)
    ]
    return sorted(names)


@cache
def quantizations() -> list[str]:
    """vLLM's names of the ways in which weights are quantised."""
    return [
        name.value
        for node in _source("model_executor/layers/quantization/__init__.py").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "QuantizationMethods"
        for name in ast.walk(node.value)
        if isinstance(name, ast.Constant) and isinstance(name.value, str)
    ]


def _source(file: str) -> ast.Module:
    """A file of the installed vLLM."""
    found = find_spec("vllm")
    if found is None or found.origin is None:
        raise PackageError("vllm is not installed.", cure="Run: pip install 'sqlllm[vllm]', or use another engine.")
    return ast.parse((Path(found.origin).parent / file).read_text())


def media(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the hosts that images, sounds and videos may be fetched from: none by default, `*` any.

    vLLM itself fetches from anywhere unless it is given a host, and follows redirects to any other.
    """
    os.environ.setdefault("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "0")
    hosts = options.get("allowed_media_domains") or [_NO_HOST]
    return {**options, "allowed_media_domains": None if "*" in hosts else hosts}


def cpu_defaults(spec: ModelSpec) -> dict[str, Any]:
    """Defaults of vLLM that do not suit a CPU."""
    # Binding threads to cores, vLLM's default, makes two models on one machine fight for the same cores.
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    options: dict[str, Any] = {
        "enforce_eager": True,  # compiling needs a C++ compiler and minutes
        "max_num_seqs": 256,  # as `vllm.LLM` has it; of a server vLLM expects half of that
    }
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        options["kv_cache_memory_bytes"] = _GIB
    config = json.loads((Path(spec.model_path) / "config.json").read_bytes())
    if (config.get("dtype") or config.get("torch_dtype")) == "float32":
        options["dtype"] = "float32"  # as saved; vLLM's "auto" would round it to 16 bits
    return options
