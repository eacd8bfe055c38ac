"""What a user asks to deploy, and what is deployed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from sqlllm.errors import OptionError, suggest
from sqlllm.places import is_secret

_PREFIX = re.compile(r"^(backend|saas)\.")
_REFERENCE = "secret:"


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
    secrets: dict[str, SecretStr] = Field(default_factory=dict, description="those of them that are not shown")

    @model_validator(mode="before")
    @classmethod
    def _sorted(cls, values: Any) -> Any:
        """The engine's options without their prefix; the secret ones apart."""
        if not isinstance(values, dict) or not isinstance(given := values.get("engine_options"), dict):
            return values
        options = {_PREFIX.sub("", key): value for key, value in given.items()}
        hidden = {key: value for key, value in options.items() if isinstance(value, str) and is_secret(key, value)}
        shown = {key: value for key, value in options.items() if key not in hidden}
        return {**values, "engine_options": shown, "secrets": {**values.get("secrets", {}), **hidden}}

    @property
    def options(self) -> dict[str, str]:
        """The engine's options, the secret ones too."""
        return self.engine_options | {key: value.get_secret_value() for key, value in self.secrets.items()}

    def with_secrets(self, known: Mapping[str, SecretStr]) -> Self:
        """`secret:NAME` replaced by what the setting `secrets` holds under that name; OptionError if there is none."""
        found = dict(self.secrets)
        for key, value in self.secrets.items():
            text = value.get_secret_value()
            if not text.startswith(_REFERENCE):
                continue
            if (name := text.removeprefix(_REFERENCE)) not in known:
                cure = f"Set it where scripts are not: SQLLLM_SECRETS__{name.upper()}=..., or [secrets] in sqlllm.toml."
                raise OptionError(f"there is no secret {name}", cure=cure, key=f"saas.{key}")
            found[key] = known[name]
        return self.model_copy(update={"secrets": found})

    def shown(self) -> dict[str, Any]:
        """All of it as plain values, secrets starred out."""
        return self.model_dump(mode="json")

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
