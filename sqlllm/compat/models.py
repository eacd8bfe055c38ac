"""Models by the names that Byzer-LLM's users give them: at a provider, or behind the gateway that is found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlllm.client import LLM
from sqlllm.errors import OptionError, SetupError, suggest

_KEYS = Path("~/.auto-coder/keys")
# The models that auto-coder knows without a file: name at the provider, address, file of the key.
_BUILT_IN = {
    "v3_chat": ("deepseek-chat", "https://api.deepseek.com/v1", "api.deepseek.com"),
    "deepseek_chat": ("deepseek-chat", "https://api.deepseek.com/v1", "api.deepseek.com"),
    "r1_chat": ("deepseek-reasoner", "https://api.deepseek.com/v1", "api.deepseek.com"),
}
_GENERATION = ("generation.", "gen.")
_RENAMED = {"max_length": "max_tokens", "max_new_tokens": "max_tokens", "stopping_sequences": "stop"}


def known(name: str) -> LLM:
    """The model of that name: that of auto-coder's files, else behind the gateway."""
    for entry in _entries():
        if entry.get("name") == name:
            key = entry.get("api_key") or _key(str(entry.get("api_key_path") or name))
            return LLM(str(entry.get("model_name") or name), entry.get("base_url"), key or None)
    if name in _BUILT_IN:
        model, address, file = _BUILT_IN[name]
        if key := _key(file):
            return LLM(model, address, key)
    return LLM(name)


def provided(kind: str, params: Mapping[str, Any]) -> LLM | None:
    """The model of a deployment of `saas/...` whose provider speaks OpenAI's protocol; None for another."""
    from sqlllm.jobs.serving.worker.engines.remote.providers import PROVIDERS

    name = kind.removeprefix("saas/").removeprefix("official_")
    provider = PROVIDERS.get(name)
    if provider is None:
        raise OptionError(f"unknown provider saas/{name}", cure=suggest(name, list(PROVIDERS), what="providers"))
    given = {key.removeprefix("saas."): value for key, value in params.items() if key.startswith("saas.")}
    given = {provider.aliases.get(key, key): value for key, value in given.items()}
    address = given.get("base_url") or provider.base_url
    if provider.protocol != "openai" or not address or provider.chat_path != "/chat/completions":
        return None
    model = given.get("model") or provider.model
    if not model:
        raise OptionError(f"saas/{name} needs saas.model", cure='Give infer_params={"saas.model": "..."}.')
    return LLM(str(model), str(address), str(given.get("api_key") or f"env:{provider.environment}"))


def generation(config: Mapping[str, Any]) -> dict[str, Any]:
    """Byzer-LLM's `llm_config` as fields of a request: `gen.` and `generation.` go, some names are OpenAI's."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = key
        for prefix in _GENERATION:
            name = name.removeprefix(prefix)
        found[_RENAMED.get(name, name)] = value
    return found


def _entries() -> Iterator[dict[str, Any]]:
    file = (_KEYS / "models.json").expanduser()
    if file.is_file():
        try:
            listed = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SetupError(f"{file} is not valid JSON: {error}") from None
        yield from (entry for entry in listed if isinstance(entry, dict))


def _key(name: str) -> str:
    file = (_KEYS / name).expanduser()
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""
