"""llama.cpp, through xllamacpp: models in GGUF files, on the CPU or on GPUs."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sqlllm.errors import ModelError, OptionError, PackageError, suggest

from ...spec import ModelSpec
from . import gguf_header, output, parse_value

if TYPE_CHECKING:
    from .llama_cpp_model import LlamaCppModel

_CONTEXT = 8192  # tokens of a request, unless it is asked for more: each slot has memory for as many
_TEMPLATE = "tokenizer.chat_template"
_STDERR = 2
_END = "exiting due to"  # in the last line of a server that does not start
_CACHE_MIB = 1024  # of memory for prompts that have left their slots
# Fields of xllamacpp's CommonParams that change what is loaded or answered, and where they are.
_FIELDS = {
    **{
        name: name
        for name in (
            "n_ctx", "n_parallel", "n_batch", "n_ubatch", "cache_type_k", "cache_type_v", "cache_ram_mib",
            "n_gpu_layers", "split_mode", "main_gpu", "no_kv_offload", "flash_attn_type", "load_mode", "numa",
            "rope_scaling_type", "rope_freq_base", "rope_freq_scale",
            "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "yarn_orig_ctx",
            "chat_template", "embedding", "pooling_type", "verbosity",
        )
    },
    "n_threads": "cpuparams.n_threads",
    "n_threads_batch": "cpuparams_batch.n_threads",
    "seed": "sampling.seed",
    "penalty_last_n": "sampling.penalty_last_n",
}  # fmt: skip
_SPELLINGS = {  # of llama-cpp-python and Byzer-LLM, and what other engines call it
    "num_gpu_layers": "n_gpu_layers",
    "type_k": "cache_type_k",
    "type_v": "cache_type_v",
    "last_n_tokens_size": "penalty_last_n",
    "chat_format": "chat_template",
    "max_model_len": "n_ctx",
}
_SWITCHES = ("use_mmap", "use_mlock", "offload_kqv", "flash_attn", "verbose")  # which are not fields any more
_LEAST = {
    "n_ctx": 32,
    "n_parallel": 1,
    "n_batch": 32,
    "n_ubatch": 32,
    "n_threads": 1,
    "n_threads_batch": 1,
    "penalty_last_n": 0,
}
NAMES = (*_FIELDS, *_SPELLINGS, *_SWITCHES)


class LlamaCpp:
    """The engine `llama_cpp`."""

    name: ClassVar[str] = "llama_cpp"
    packages: ClassVar[tuple[str, ...]] = ("xllamacpp",)
    generates: ClassVar[bool] = True

    @staticmethod
    def parse(options: Mapping[str, str]) -> dict[str, Any]:
        """Fields of xllamacpp's `CommonParams`, with the types that they have there."""
        params = _xllamacpp().CommonParams()
        values: dict[str, Any] = {}
        switches: dict[str, bool] = {}
        for key, text in options.items():
            name = _SPELLINGS.get(key, key)
            if name in _SWITCHES:
                switches[name] = _typed(key, text, False)
            elif name not in _FIELDS:
                cure = suggest(key, sorted(NAMES), what="options of llama.cpp")
                raise OptionError(f"unknown option backend.{key}", key=f"backend.{key}", cure=cure)
            else:
                values[name] = _typed(key, text, _get(params, _FIELDS[name]), _LEAST.get(name))
        template = values.get("chat_template", "chatml")
        if template != "chatml" and "{" not in template:
            raise OptionError(
                f"chat_template {template!r} is not a template",
                cure="Write the template in Jinja, or chatml. Without it the file's own is used.",
                key="backend.chat_template",
            )
        return _switched(switches) | values

    @staticmethod
    def check(spec: ModelSpec, options: Mapping[str, Any]) -> None:  # noqa: ARG004
        """A GGUF file of a model that writes text or makes vectors."""
        file = gguf_header.find(Path(spec.model_path))
        if file is None:
            raise ModelError(
                f"there is no GGUF file in {spec.model_path}",
                cure='localModelDir is a .gguf file or a folder with one; action="convert" with format="gguf" '
                "makes one of a folder in Hugging Face's layout.",
            )
        if gguf_header.kind(gguf_header.read(file)) == "rerank":
            raise ModelError(f"{file} ranks texts, which the engine llama_cpp does not do", cure="Use transformers.")

    @staticmethod
    def resources(spec: ModelSpec, options: Mapping[str, Any], gpus: float) -> dict[str, Any]:  # noqa: ARG004
        """One process."""
        return {"ray_actor_options": {"num_cpus": spec.cpus_per_worker, "num_gpus": gpus}}

    @staticmethod
    async def load(spec: ModelSpec, options: dict[str, Any], gpus: float) -> LlamaCppModel:
        """Start llama.cpp's server in this process; it listens on this machine only, for whoever has its key."""
        LlamaCpp.check(spec, options)
        file = gguf_header.find(Path(spec.model_path))
        assert file is not None
        return await asyncio.to_thread(_load, spec, file, options, gpus)


def _load(spec: ModelSpec, file: Path, options: dict[str, Any], gpus: float) -> LlamaCppModel:
    from .llama_cpp_model import LlamaCppModel

    library = _xllamacpp()
    metadata = gguf_header.read(file)
    embeds = options.get("embedding", gguf_header.kind(metadata) == "embed")
    trained = gguf_header.context(metadata) or _CONTEXT
    context = options.get("n_ctx") or min(trained, _CONTEXT)
    if context > trained:  # llama.cpp would cut it, and say so in its log
        raise ModelError(f"n_ctx={context} is more than the {trained} tokens that the model was trained on")
    slots = options.get("n_parallel", 1 if embeds else 4)
    threads = int(os.environ.get("OMP_NUM_THREADS", "1")) if not gpus else None
    _check_gpu(library, options, gpus)
    if embeds:  # a text goes through the model whole
        options = {"n_ubatch": context, "n_batch": context} | options
    params = library.CommonParams()
    defaults = {"n_gpu_layers": -1 if gpus else 0, "cache_ram_mib": _CACHE_MIB, "verbosity": 1}
    if threads is not None:
        defaults |= {"n_threads": threads, "n_threads_batch": threads}
    for name, value in (defaults | options).items():
        _set(params, _FIELDS[name], value)
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.embedding = context * slots, slots, embeds
    params.fit_params = bool(gpus)
    # A request says how its answer is drawn, as with the other engines; what the file recommends comes before these.
    sampling = params.sampling
    sampling.temp, sampling.top_k, sampling.top_p, sampling.min_p = 1.0, 0, 1.0, 0.0
    if "penalty_last_n" not in options:
        sampling.penalty_last_n = context  # all of it, as with the other engines
    params.ui, params.cors_origins, params.api_keys = False, "", [key := secrets.token_urlsafe()]
    params.n_threads_http = 2 * slots + 4
    mark = output.size(_STDERR)
    try:
        server = library.Server(params)
    except (RuntimeError, MemoryError) as error:
        raise ModelError(_reason(mark) or f"{error} llama.cpp's log says more") from error
    return LlamaCppModel(spec.name, server, key, embeds, "chat_template" in options or _TEMPLATE in metadata)


def _check_gpu(library: Any, options: Mapping[str, Any], gpus: float) -> None:
    """ModelError for GPUs that are asked for and that the installed build of llama.cpp cannot use."""
    layers = options.get("n_gpu_layers", -1 if gpus else 0)
    if not layers or any(device["type"].name.endswith("GPU") for device in library.get_device_info()):
        return
    raise ModelError(
        "layers are to be on a GPU, and the installed xllamacpp finds none that it can use",
        cure='Install its build for your GPU (docs: Serving, llama.cpp), or set num_gpus="0" and n_gpu_layers="0".',
    )


def _reason(mark: int) -> str:
    """The first error in what llama.cpp has logged since; it logs in a thread of its own, a little later."""
    for _ in range(20):
        lines = output.tail(_STDERR, mark).splitlines()
        if any(_END in line for line in lines):
            break
        time.sleep(0.05)
    errors = [words.strip() for line in lines if (words := line.partition(" E ")[2])]
    return next((words.rpartition("error loading model: ")[2] for words in errors), "")


def _switched(switches: Mapping[str, bool]) -> dict[str, Any]:
    """llama-cpp-python's switches as the fields that took their place."""
    library = _xllamacpp()
    values: dict[str, Any] = {}
    if "use_mmap" in switches or "use_mlock" in switches:
        mapped, locked = switches.get("use_mmap", True), switches.get("use_mlock", False)
        name = {(True, True): "MMAP_MLOCK", (True, False): "MMAP", (False, True): "MLOCK"}.get((mapped, locked), "NONE")
        values["load_mode"] = library.llama_load_mode[f"LLAMA_LOAD_MODE_{name}"]
    if "offload_kqv" in switches:
        values["no_kv_offload"] = not switches["offload_kqv"]
    if "flash_attn" in switches:
        name = "ENABLED" if switches["flash_attn"] else "DISABLED"
        values["flash_attn_type"] = library.llama_flash_attn_type[f"LLAMA_FLASH_ATTN_TYPE_{name}"]
    if "verbose" in switches:
        values["verbosity"] = 3 if switches["verbose"] else 1
    return values


def _typed(key: str, text: str, default: Any, least: int | None = None) -> Any:
    """The text as a value of the default's type; OptionError if it is none."""
    if isinstance(default, str):
        return text
    if isinstance(default, Enum):
        members = {_short(member): member for member in type(default) if not member.name.endswith("_COUNT")}
        if text.lower() in members:
            return members[text.lower()]
        raise OptionError(
            f"backend.{key}: {text!r} is unknown", cure=f"Known: {', '.join(members)}.", key=f"backend.{key}"
        )
    kind = type(default)
    value = parse_value(text, kind.__name__)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise OptionError(f"backend.{key}: {text!r} is not a valid {kind.__name__}", key=f"backend.{key}")
    if least is not None and value < least:
        raise OptionError(f"backend.{key} must be at least {least}", key=f"backend.{key}")
    return value


def _short(member: Enum) -> str:
    """`layer` of `LLAMA_SPLIT_MODE_LAYER`."""
    prefix = type(member).__name__.upper() + "_"
    return member.name.removeprefix(prefix).lower()


def _get(params: Any, path: str) -> Any:
    for name in path.split("."):
        params = getattr(params, name)
    return params


def _set(params: Any, path: str, value: Any) -> None:
    parent, _, name = path.rpartition(".")
    setattr(_get(params, parent) if parent else params, name, value)


def _xllamacpp() -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise PackageError.from_import_error(error, package="xllamacpp", extra="llama-cpp") from error
    return xllamacpp
