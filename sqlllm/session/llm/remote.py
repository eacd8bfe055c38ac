"""pretrainedModelType="saas/...": a provider's model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sqlllm.errors import OptionError
from sqlllm.jobs.serving import ModelSpec
from sqlllm.jobs.serving.worker.engines.remote.options import ignored, parse
from sqlllm.jobs.serving.worker.engines.remote.providers import PROVIDERS, resolve

from .. import options as checks
from .setup import requested

if TYPE_CHECKING:
    from ..session import Session

KIND = "saas/"
BARE = ("gpt_url",)  # written without `saas.` in Byzer-LLM's own examples

_LOCAL = ("backend.", "localModelDir", "inferBackend", "infer_backend", "autoscale.", "resource.", "load_balance")


def spec(session: Session, options: dict[str, str]) -> ModelSpec:
    """What to deploy: one worker, which has as many requests under way as the setup has workers, times their own."""
    checks.require(options, ["udfName"], "infer")
    if found := next((key for key in options if key.startswith(_LOCAL)), None):
        raise OptionError(f"{found} has no effect on a provider's model", cure="Its options are saas.*", key=found)
    provider = options["pretrainedModelType"].removeprefix(KIND)
    given = {key.removeprefix("saas."): value for key, value in options.items() if key.startswith(("saas.", *BARE))}
    given["provider"] = provider
    _add_key(given)
    typed = parse(given)
    for key, why in ignored(given).items():
        session.observer.warned(f"saas.{key} has no effect: {why}")
        del given[key]
    wanted = requested(session, options)
    at_once = wanted.workers * (wanted.concurrency or 1) if wanted.workers > 1 or wanted.concurrency else None
    values = {
        "name": options["udfName"],
        "aliases": options.get("served_model_name"),
        "engine": "remote",
        "model_path": f"{KIND}{typed.provider}/{typed.model}",
        "concurrency": at_once,
        "engine_options": given,
    }
    return ModelSpec.parse(**{key: value for key, value in values.items() if value is not None})


def _add_key(given: dict[str, str]) -> None:
    """The provider's own variable of the environment, for its own address only: else a script could send it away."""
    provider = PROVIDERS.get(resolve(given))
    elsewhere = "base_url" in {provider.aliases.get(key, key) for key in given} if provider else True
    key = os.environ.get(provider.environment) if provider and not elsewhere else None
    if key and not {"api_key", "access_token", "aws_access_key"} & given.keys():
        given["api_key"] = key
