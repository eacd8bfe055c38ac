"""What a user asks to deploy, and what is deployed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from sqlllm.errors import OptionError, suggest
from sqlllm.places import is_secret
from sqlllm.settings import listed

_PREFIX = re.compile(r"^(backend|saas)\.")
_REFERENCE = "secret:"
_Alias = Annotated[str, Field(pattern=r"^[^#\s]+$")]


class Autoscale(BaseModel):
    """Workers as requests need them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_workers: int = Field(1, ge=0, description="workers that stay; 0: none while nobody asks")
    max_workers: int = Field(1, ge=1, description="workers there may be")
    target_requests: float = Field(8, gt=0, description="requests under way that one worker is to have; a batch is one")
    busy_seconds: float = Field(5, ge=0, description="seconds that there are more requests until a worker is added")
    idle_seconds: float = Field(300, ge=0, description="seconds that there are fewer until a worker goes, the last too")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is more than max_workers {self.max_workers}")
        return self


class ModelSpec(BaseModel):
    """One model to serve; equal specs are the same deployment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, pattern=r"^[^/#\s]+$", description="name of the model in requests")
    engine: str = Field("vllm", description="what runs the model: an entry point of the group sqlllm.engines")
    aliases: Annotated[
        tuple[_Alias, ...], BeforeValidator(lambda names: listed(names) if isinstance(names, str) else names)
    ] = Field((), description="other names of it in requests")
    model_path: str = Field(description="folder in Hugging Face's layout, as the worker sees it")
    replicas: int = Field(1, ge=1, description="workers, each with a whole copy of the model")
    gpus_per_worker: float | None = Field(None, ge=0, description="GPUs of one worker; default: 1 if there are any")
    cpus_per_worker: float = Field(1, ge=0, description="CPUs that Ray sets aside for one worker")
    resources: dict[str, float] = Field(
        default_factory=dict,
        description="Ray's custom resources of one worker, which places it on nodes that have them",
    )
    autoscale: Autoscale | None = Field(None, description="in place of `replicas`: as many workers as requests need")
    load_balance: Literal["least_busy", "round_robin", "prefix"] | None = Field(
        None, description="which worker gets a request; default: prefix for vLLM, which keeps prefixes, else least_busy"
    )
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

    def whole(self) -> dict[str, Any]:
        """All of it as plain values, the secrets too: for what deploys it, and never shown."""
        return self.shown() | {"secrets": {key: value.get_secret_value() for key, value in self.secrets.items()}}

    @property
    def balance(self) -> str:
        """Which worker gets a request."""
        several = self.replicas > 1 or self.autoscale is not None
        return self.load_balance or ("prefix" if self.engine == "vllm" and several else "least_busy")

    @property
    def least_workers(self) -> int:
        """Workers that it starts with."""
        return max(1, self.autoscale.min_workers) if self.autoscale else self.replicas

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
            if key == "name" and first["type"] == "string_pattern_mismatch":
                given = str(first["input"])
                short = re.sub(r"[#\s]+", "-", given.rpartition("/")[2]) or "model"
                message = f"{given!r} cannot be the name of a model, which has no /, # or space"
                cure = f'Write "{short}".'
                if not re.search(r"[#\s]", given):
                    cure += f' Requests may use the longer name as well: served_model_name="{given}".'
                raise OptionError(message, key=key, cure=cure) from None
            raise OptionError(f"{key}: {first['msg']}", key=key) from None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed model, as `run command as LLM` shows it."""

    name: str
    backend: str
    state: str  # IDLE: no worker until somebody asks; else Serve's: RUNNING, DEPLOYING, UNHEALTHY, DEPLOY_FAILED
    endpoint: str
    model: str  # the folder
    replicas: int  # that answer now
    seconds: float  # until the model answered; 0 for one that was there
    revision: str = ""  # of the spec and the files that it is deployed with
