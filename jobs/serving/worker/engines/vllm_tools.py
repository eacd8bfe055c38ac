"""Which of vLLM's parsers reads the calls of tools that a model writes: as its chat template has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

OPTION = "tool_call_parser"
NONE = ("", "none", "false")
# What a template writes around a call, the clearest first: later marks also stand in templates of earlier ones.
_BY_MARK = (
    ("<minimax:tool_call>", "minimax_m2"),
    ("<seed:tool_call>", "seed_oss"),
    ("<|tool_calls_section_begin|>", "kimi_k2"),
    ("<|tool_call_start|>", "lfm2"),
    ("<start_function_call>", "functiongemma"),
    ("<|tool_call>", "gemma4"),
    ("<dots_function_call>", "dots"),
    ("<arg_key>", "glm45"),
    ("<function=", "qwen3_coder"),
    ("<function_calls>", "olmo3"),
    ("<|action_start|>", "internlm"),
    ("functools[", "phi4_mini_json"),
    ("[TOOL_CALLS]", "mistral"),
    ("<|python_tag|>", "llama3_json"),
    ("<|tool_call|>", "granite"),
    ("<tool_call>", "hermes"),
)
_BY_TYPE = {
    "gpt_oss": "openai",
    "llama4": "llama4_pythonic",
    "granitemoehybrid": "granite4",
    "ernie4_5_moe": "ernie45",
    "jamba": "jamba",
    "cohere2": "cohere_command3",
    "hunyuan_v1_moe": "hunyuan_a13b",
}
_DEEPSEEK = "<｜tool▁calls▁begin｜>"  # noqa: RUF001 (DeepSeek's own characters)


def arguments(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the parser that they name, or else that of the model's folder, as vLLM's server takes them."""
    name = options.get(OPTION)
    if name is None:
        name = "" if options.get("runner") == "pooling" else parser(folder)
    others = {key: value for key, value in options.items() if key != OPTION}
    return {**others, OPTION: name, "enable_auto_tool_choice": True} if name else others


def parser(folder: Path) -> str:
    """The name of the parser for a model's folder; empty if its template has no tools, or their form is unknown."""
    template = _template(folder)
    if "tools" not in template:
        return ""
    if found := _BY_TYPE.get(_read(folder / "config.json").get("model_type", "")):
        return found
    if _DEEPSEEK in template:  # the older template puts arguments between fences
        return "deepseek_v3" if "```json" in template else "deepseek_v31"
    return next((name for mark, name in _BY_MARK if mark in template), "")


def _template(folder: Path) -> str:
    """The chat templates of a folder, one behind the other."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text()
    found = _read(folder / "tokenizer_config.json").get("chat_template") or ""
    return found if isinstance(found, str) else "\n".join(str(one.get("template")) for one in found)


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    found: dict[str, Any] = orjson.loads(file.read_bytes())
    return found
