"""The options `saas.*` of a remote model, typed and checked against its provider."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sqlllm.errors import OptionError, suggest

from .providers import PROVIDERS, Provider, resolve

_SPECIAL = frozenset().union(*(provider.extra for provider in PROVIDERS.values()))


class Options(BaseModel):
    """What a remote model is called with. Times are seconds, prices per million tokens."""

    model_config = ConfigDict(extra="forbid")

    provider: str = Field("openai", description="a name of `PROVIDERS`")
    api_key: str = Field("", repr=False, description="the key; `secret:NAME` or `${env:NAME}` keep it out of scripts")
    model: str = Field("", description="the provider's name of the model")
    base_url: str = Field("", description="where the API answers, if not at the provider's own address")
    timeout: float = Field(120, gt=0, description="seconds that one try may take")
    max_retries: int = Field(10, ge=0, description="times that a request is sent again after 408, 429 and 5xx")
    proxies: str = Field("", repr=False, description="proxy's URL; without it HTTPS_PROXY and its kin count")
    local_address: str = Field("", description="address of this machine to call from")
    https_verify: bool | str = Field(True, description="check certificates; or a file of authorities to trust")
    requests_per_minute: int = Field(0, ge=0, description="that the provider allows; 0: any number")
    tokens_per_minute: int = Field(0, ge=0, description="of prompts and answers, that the provider allows; 0: any")
    input_price: float = Field(0, ge=0, description="price of a million tokens of prompts")
    output_price: float = Field(0, ge=0, description="price of a million tokens of answers")
    max_output_tokens: int | None = Field(None, ge=1, description="of an answer, where the request does not say")
    is_reasoning: bool = Field(False, description="it takes no sampling parameters, and max_completion_tokens")
    # Of single providers.
    api_version: str = Field("", description="azure_openai's")
    api_type: str = Field("", pattern=r"^(open_?ai|azure|azure_ad)?$", description="`azure` makes it azure_openai")
    organization: str = Field("", description="openai's")
    group_id: str = Field("", description="minimax's")
    api_secret: str = Field("", repr=False, description="sparkdesk's")
    aws_access_key: str = Field("", repr=False, description="aws_bedrock's")
    aws_secret_key: str = Field("", repr=False, description="aws_bedrock's")
    aws_session_token: str = Field("", repr=False, description="aws_bedrock's, of keys that expire")
    region_name: str = Field("", description="aws_bedrock's, as us-east-1")
    service_region: str = Field("eastus", description="azure_speech's")
    app_id: str = Field("", description="volcengine_speech's")

    @field_validator("proxies")
    @classmethod
    def _one_proxy(cls, text: str) -> str:
        """A URL; of `{"https": URL}`, as Python programs write it, the one for HTTPS."""
        if not text.startswith("{"):
            return text
        urls = json.loads(text.replace("'", '"'))
        return str(urls.get("https") or urls.get("https://") or next(iter(urls.values()), ""))

    @field_validator("https_verify", mode="before")
    @classmethod
    def _a_switch_or_a_file(cls, value: object) -> object:
        return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("it begins with https:// or http://")
        return url

    @property
    def spoken(self) -> Provider:
        """The row of the table."""
        return PROVIDERS[self.provider]

    @property
    def secrets(self) -> list[str]:
        """What no message may say."""
        named = (self.api_key, self.api_secret, self.proxies)
        aws = (self.aws_access_key, self.aws_secret_key, self.aws_session_token)
        return sorted(filter(None, (*named, *aws)), key=len, reverse=True)

    @property
    def needs(self) -> tuple[str, ...]:
        """The options that may not be empty."""
        if self.spoken.protocol != "bedrock":
            return self.spoken.needs
        if self.api_key:
            return self.spoken.needs if self.base_url else (*self.spoken.needs, "region_name")
        if self.aws_access_key or self.aws_secret_key or self.base_url:
            return (*self.spoken.needs, "aws_access_key", "aws_secret_key", "region_name")
        return self.spoken.needs


def parse(given: Mapping[str, str]) -> Options:
    """The options of a provider; OptionError for what it does not know or lacks."""
    name = resolve(given)
    if name == "filelogger":
        cure = 'A script runs without a model on pretrainedModelType="oracle/table", which counts what it is asked.'
        raise OptionError("filelogger is not a model", cure=cure, key="pretrainedModelType")
    if name not in PROVIDERS:
        cure = suggest(name, list(PROVIDERS), what="providers")
        raise OptionError(f"unknown provider {name}", cure=cure, key="pretrainedModelType")
    provider = PROVIDERS[name]
    values = {"provider": name, "model": provider.model, "base_url": provider.base_url}
    for key, text in given.items():
        field = provider.aliases.get(key, key)
        known = field in Options.model_fields and (field not in _SPECIAL or field in provider.extra)
        if key in provider.unused or field == "provider":
            continue
        if not known:
            allowed = {*Options.model_fields, *provider.aliases} - (_SPECIAL - provider.extra) - {"provider"}
            cure = suggest(key, sorted(allowed), what=f"options of {name}")
            raise OptionError(f"{name} has no option saas.{key}", key=f"saas.{key}", cure=cure)
        values[field] = text
    values["base_url"] = _base_url(name, provider, values["base_url"])
    try:
        options = Options(**values)
    except (ValidationError, json.JSONDecodeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": ("proxies",), "msg": str(error)}
        raise OptionError(f"saas.{first['loc'][0]}: {first['msg']}", key=f"saas.{first['loc'][0]}") from None
    for key in options.needs:
        if not getattr(options, key):
            spelled = next((alias for alias, field in provider.aliases.items() if field == key), key)
            cure = f'Write: `saas.{spelled}`="..."'
            if key == "api_key":
                variable = provider.environment or "NAME"
                cure += f" with secret:NAME or ${{env:{variable}}}, which keep it out of the script."
            raise OptionError(f"{name} needs saas.{spelled}", cure=cure, key=f"saas.{spelled}")
    return options


def ignored(given: Mapping[str, str]) -> dict[str, str]:
    """Options that have no effect with this provider, and why."""
    provider = PROVIDERS.get(resolve(given))
    return {key: why for key, why in provider.unused.items() if key in given} if provider else {}


def _base_url(name: str, provider: Provider, url: str) -> str:
    """The address without its end slash and route; the provider's own for one of an API that is gone."""
    url = url.rstrip("/").removesuffix("/chat/completions")
    if name == "sparkdesk" and url.startswith(("ws:", "wss:")):  # the socket API; the same models answer over HTTP
        return provider.base_url
    if name == "minimax" and "/text/chatcompletion" in url:
        return url.partition("/text/chatcompletion")[0]
    return url
