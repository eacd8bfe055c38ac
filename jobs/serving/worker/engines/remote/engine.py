"""The engine `remote`: a provider's model as one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ....spec import ModelSpec
from .. import Model
from .anthropic import AnthropicModel
from .azure_speech import AzureSpeech
from .bedrock import BedrockModel
from .openai import OpenAIModel
from .options import Options, parse
from .volcengine_speech import VolcengineSpeech

_ADAPTERS: dict[str, type[OpenAIModel | AnthropicModel | BedrockModel | AzureSpeech | VolcengineSpeech]] = {
    "openai": OpenAIModel,
    "anthropic": AnthropicModel,
    "bedrock": BedrockModel,
    "azure_speech": AzureSpeech,
    "volcengine_speech": VolcengineSpeech,
}


class Remote:
    """The engine `remote`."""

    name: ClassVar[str] = "remote"
    generates: ClassVar[bool] = False  # it does, but a first token costs money
    packages: ClassVar[tuple[str, ...]] = ()  # its answers follow from the provider
    constrains: ClassVar[bool] = False  # some providers can be held to a schema, others refuse one

    @staticmethod
    def parse(options: Mapping[str, str]) -> dict[str, Any]:
        """The fields of `Options`."""
        return parse(options).model_dump()

    @staticmethod
    def check(spec: ModelSpec, options: Mapping[str, Any]) -> None:
        """There is no folder."""

    @staticmethod
    def resources(spec: ModelSpec, options: Mapping[str, Any], gpus: float) -> dict[str, Any]:  # noqa: ARG004
        """None: it waits more than it works."""
        return {"ray_actor_options": {"num_cpus": 0, "num_gpus": 0}}

    @staticmethod
    async def load(spec: ModelSpec, options: dict[str, Any], gpus: float) -> Model:  # noqa: ARG004
        """Ready to call; the provider is not asked yet."""
        typed = Options(**options)
        return _ADAPTERS[typed.spoken.protocol].load(spec, typed)
