"""LoRA adapters of a model on vLLM, which share its weights: `backend.lora_modules`, and a request's `lora_name`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

import orjson

from sqlllm.errors import ModelError, OptionError

from ...protocol import RequestError

OPTION = "lora_modules"
FIELD = "lora_name"


def parse(text: str) -> dict[str, str]:
    """Folders by name, of `{"french": "/models/french"}`."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(folder, str) for folder in found.values()):
        cure = f"Write: `backend.{OPTION}`='''{{\"a_name\": \"/the/adapter\"}}'''"
        raise OptionError(f"{OPTION} are adapters' folders by name", cure=cure, key=f"backend.{OPTION}")
    return found


def check(adapters: Mapping[str, str]) -> None:
    """Refuse what is not an adapter's folder."""
    for name, folder in adapters.items():
        if not Path(folder, "adapter_config.json").is_file():
            raise ModelError(
                f"adapter {name}: {folder} has no adapter_config.json", cure="It is a folder as PEFT saves it."
            )


def arguments(adapters: Mapping[str, str]) -> dict[str, Any]:
    """vLLM's arguments for these."""
    from vllm.config.lora import MaxLoRARanks

    configs = [orjson.loads(Path(folder, "adapter_config.json").read_bytes()) for folder in adapters.values()]
    largest = max(max([config["r"], *(config.get("rank_pattern") or {}).values()]) for config in configs)
    rank = next((rank for rank in get_args(MaxLoRARanks) if rank >= largest), largest)  # vLLM refuses one of more
    return {"enable_lora": True, "max_lora_rank": rank, "max_loras": len(adapters)}


async def load(engine: Any, adapters: Mapping[str, str]) -> None:
    """Load them; ModelError for an adapter that does not fit the model."""
    from ray.llm._internal.serve.core.configs.llm_config import DiskMultiplexConfig

    for number, (name, folder) in enumerate(adapters.items(), 1):
        adapter = DiskMultiplexConfig(
            model_id=name, max_total_tokens=None, local_path=folder, lora_assigned_int_id=number
        )
        try:
            await engine.resolve_lora(adapter)
        except ValueError as error:
            raise ModelError(
                f"adapter {name} does not load: {error}", cure='Merge it (action="merge"), and deploy the result.'
            ) from error


def chosen(request: dict[str, Any], adapters: Mapping[str, str]) -> dict[str, Any]:
    """The request to the adapter that it names, if it names one."""
    if FIELD not in request:
        return request
    request = dict(request)
    name = request.pop(FIELD)
    if name is None:
        return request
    if name not in adapters:
        known = ", ".join(adapters) or f"none; backend.{OPTION} names some"
        raise RequestError(f"there is no adapter {name}; known: {known}", param=FIELD)
    stops = _stops(adapters[name])
    return {**request, "model": name} | ({"stop_token_ids": stops} if stops and "stop_token_ids" not in request else {})


@cache
def _stops(folder: str) -> list[int]:
    """What the adapter's answers end with, which its base may not know."""
    path = Path(folder, "generation_config.json")
    told = orjson.loads(path.read_bytes()).get("eos_token_id") if path.is_file() else None
    return told if isinstance(told, list) else [] if told is None else [told]
