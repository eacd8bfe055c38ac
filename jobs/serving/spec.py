"""What a user asks to deploy, and what is deployed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sqlllm.errors import OptionError, suggest


class ModelSpec(BaseModel):
    """One model to serve; equal specs are the same deployment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, pattern=r"^[^/#\s]+$", description="name of the model in requests")
    engine: str = Field("vllm", description="what runs the model: an entry point of the group sqlllm.engines")
    model_path: str = Field(description="folder in Hugging Face's layout, as the worker sees it")
    replicas: int = Field(1, ge=1, description="workers, each with a whole copy of the model")
    gpus_per_worker: float | None = Field(None, ge=0, description="GPUs of one worker; default: 1 if there are any")
    cpus_per_worker: float = Field(1, ge=0, description="CPUs that Ray sets aside for one worker")
    concurrency: int = Field(256, ge=1, description="requests that one worker takes at once; more wait in the queue")
    engine_options: dict[str, str] = Field(default_factory=dict, description="the engine's own options, as text")

    @field_validator("engine_options")
    @classmethod
    def _without_prefix(cls, options: dict[str, str]) -> dict[str, str]:
        return {key.removeprefix("backend."): value for key, value in options.items()}

    @classmethod
    def parse(cls, **values: Any) -> Self:
        """A spec; a wrong value is an OptionError that names its key."""
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                cure = suggest(key, list(cls.model_fields), what="options")
                raise OptionError(f"unknown option {key}", key=key, cure=cure) from None
            raise OptionError(f"{key}: {first['msg']}", key=key) from None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed model, as `run command as LLM` shows it."""

    name: str
    backend: str
    state: str  # Serve's: RUNNING, DEPLOYING, UNHEALTHY, DEPLOY_FAILED, DELETING
    endpoint: str
    model: str  # the folder
    replicas: int
    seconds: float  # until the model answered; 0 for one that was there
