"""Ray's LLMServer, without the processes that it and vLLM start for nothing: each takes seconds and 0.4 to 0.7 GB."""

from __future__ import annotations

from typing import Any

from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
from ray.serve.llm.deployment import LLMServer
from typing_extensions import override


class Server(LLMServer):
    """Without the actor that collects usage statistics, which are off."""

    @override
    async def _start_engine(self) -> None:
        engine: Any = self.engine
        await engine.start()


class Engine(VLLMEngine):
    """On a CPU the model runs in the engine's own process: vLLM starts another one for it, to bind its threads."""

    @override
    def _prepare_engine_config(self, callback_ctx: Any) -> Any:
        engine, frontend, config = super()._prepare_engine_config(callback_ctx)
        parallel = config.parallel_config
        if parallel.distributed_executor_backend == "mp" and parallel.world_size == 1:
            parallel.distributed_executor_backend = "uni"
        return engine, frontend, config
