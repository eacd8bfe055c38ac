"""The one typed place for settings.

A value comes from, the later winning: the default here, `sqlllm.toml` in the working folder, the environment
(`SQLLLM_SERVING__PORT=8000`), `--set`, and `set llm.in_flight = "16";` in a script. Spark and Ray read their own
configuration besides.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .errors import OptionError, suggest

_NAME = re.compile(r"""[^\s,"'\[\]]+""")


def listed(text: str) -> list[str]:
    """The names in `a, b`, or in `["a", "b"]`."""
    return _NAME.findall(text)


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class SparkSettings(_Group):
    """How to reach or start Spark."""

    master: str = Field("local[*]", description="Spark master URL; `local[*]` runs Spark in this process")
    remote: str = Field(
        default_factory=lambda: os.environ.get("SPARK_REMOTE", ""),
        description="Spark Connect URL (`sc://host:port`), else SPARK_REMOTE; wins over `master`",
    )
    driver_memory: str = Field("2g", description="memory of the JVM when Spark runs in this process")
    packages: str = Field("", description="Maven packages that Spark loads as it starts: `group:name:version,...`")

    @property
    def is_here(self) -> bool:
        """Whether its Python workers run on this machine."""
        return not self.remote and self.master.startswith("local")


class RaySettings(_Group):
    """How to reach or start Ray."""

    address: str = Field("", description="a Ray cluster; empty: that of `sqlllm up`, else a Ray of the session's own")
    num_cpus: int | None = Field(None, ge=1, description="logical CPUs of an embedded Ray; default: at least 4")
    object_store_memory: int = Field(256 * 2**20, ge=80 * 2**20, description="bytes of an embedded Ray's object store")
    detached_runs: int = Field(
        1, ge=1, description="detached runs that train at once on this machine; the others wait for their turn"
    )


class QuotaSettings(_Group):
    """What one user may use of all models behind the gateway; 0: without limit."""

    calls_per_day: int = Field(0, ge=0, description="prompts sent to models in a day (UTC)")
    tokens_per_day: int = Field(0, ge=0, description="tokens of prompts and answers in a day (UTC)")
    cost_per_day: float = Field(0, ge=0, description="cost in a day (UTC), by `llm.prices`")
    calls_per_minute: int = Field(0, ge=0, description="prompts sent to models in a minute")
    tokens_per_minute: int = Field(0, ge=0, description="tokens of prompts and answers in a minute")


class UserSettings(QuotaSettings):
    """A user of the gateway with a key and a quota of their own."""

    key: SecretStr = Field(min_length=8, description="bearer key")
    models: list[str] = Field(default_factory=lambda: ["*"], description="names of models, with `*` as in files")


class ServingSettings(_Group):
    """The gateway in front of the deployed models."""

    host: str = Field(
        "", description="interface the gateway listens on; empty: 127.0.0.1, on a cluster its head's address"
    )
    port: int = Field(0, ge=0, le=65535, description="port of the gateway; 0 takes a free one")
    api_key: SecretStr | None = Field(None, description="bearer key that clients must send; none asks for no key")
    users: dict[str, UserSettings] = Field(
        default_factory=dict, description="users by name, each with a key, models and a quota"
    )
    load_timeout: float = Field(600, gt=0, description="seconds a model may take to load")
    ssl_certfile: str = Field("", description="PEM file of the gateway's certificate; with one it speaks HTTPS alone")
    ssl_keyfile: str = Field("", description="PEM file of that certificate's key")
    allowed_origins: str = Field(
        "",
        description="whose pages may call the gateway from a browser: `https://a.com, https://b.com`, `*`, or none",
    )
    allowed_methods: str = Field("*", description="HTTP methods of those pages: `GET, POST`")
    allowed_headers: str = Field("*", description="headers that those pages may send")
    allow_credentials: bool = Field(False, description="whether those pages may send cookies and the like")

    @model_validator(mode="after")
    def _a_key_of_its_own(self) -> Self:
        if self.users and not self.api_key:
            raise ValueError("with serving.users, serving.api_key is needed too: the key of SQL's own calls")
        return self


class LLMSettings(_Group):
    """How model functions call their model."""

    batch_size: int = Field(32, ge=1, le=1024, description="conversations in one request")
    rows_per_prompt: int = Field(
        1, ge=1, le=64, description="rows whose prompts may travel as one, when the model can answer with an array"
    )
    in_flight: int = Field(16, ge=1, le=1024, description="requests under way at once, per Spark task")
    timeout: float = Field(600, gt=0, description="seconds one request may take")
    retry_seconds: float = Field(
        120, ge=0, description="seconds a request is tried again after 502, 503, 504 or a broken connection"
    )
    store: Literal["on", "all", "off"] = Field(
        "on", description="answers that are kept and looked up: `on` (temperature 0 or a seed), `all` or `off`"
    )
    on_error: str = Field(
        "null",
        pattern=r"^(null|fail|fail_above\(\s*\d+(\.\d+)?\s*%\s*\))$",
        description="what a row without an answer does: `null`, `fail`, or `fail_above(1%)` of the rows",
    )
    overlong: Literal["error", "truncate"] = Field(
        "error", description="a prompt that leaves no room for the answer: an error of its row, or cut at its end"
    )
    model: str = Field("", description="model that ai_classify and the like ask; empty: the only one that is deployed")
    embedding_model: str = Field("", description="the same for ai_similarity")
    fallback: str = Field("", description="model that gets the rows which the called one has no answer to")
    max_calls: int = Field(0, ge=0, description="prompts that a statement may send to models; 0: any number")
    max_tokens: int = Field(0, ge=0, description="tokens, of prompts and answers, that a statement may use; 0: any")
    max_cost: float = Field(0, ge=0, description="what a statement may cost by `prices`; 0: any")
    max_seconds: float = Field(0, ge=0, description="seconds that a statement may keep models busy; 0: any")
    calls_per_minute: int = Field(0, ge=0, description="prompts a minute that a statement sends to models; 0: any")
    tokens_per_minute: int = Field(0, ge=0, description="tokens a minute that a statement uses; 0: any")
    prices: str = Field(
        "",
        pattern=r"^(\s*[^=,\s]+\s*=\s*\d+(\.\d+)?\s*/\s*\d+(\.\d+)?\s*(,|$))*$",
        description="per million tokens of prompts and of answers: `chat=0.15/0.60, *=0.05/0.10`",
    )
    nulls: Literal["empty", "null", "skip"] = Field(
        "empty",
        description="a NULL in llm_prompt: an empty text, the word NULL, or `skip`, the model is not asked",
    )

    @property
    def price_table(self) -> dict[str, tuple[float, float]]:
        """`prices` by name: of a million tokens of prompts and of answers."""
        parts = (part.strip() for part in self.prices.split(","))
        pairs = (part.partition("=")[::2] for part in parts if part)
        found = ((name.strip(), price.partition("/")) for name, price in pairs)
        return {name: (float(prompt), float(answer)) for name, (prompt, _, answer) in found}

    join_method: Literal["auto", "pairs", "blocks", "classify", "candidates"] = Field(
        "auto", description="how a join over ai_filter asks: the way that costs the least tokens, or the one named here"
    )
    join_rows: int = Field(32, ge=1, le=1024, description="rows of each side of such a join in one prompt, at most")
    cascade: str = Field(
        "off", description="helper of ai_filter and the like: a model, `emb` (a classifier on vectors), `auto` or `off`"
    )
    recall_target: float = Field(0.9, gt=0, lt=1, description="share of the true rows that a cascade finds")
    precision_target: float = Field(0.9, gt=0, lt=1, description="share of a cascade's answers that are right")
    confidence: float = Field(0.95, gt=0, lt=1, description="probability with which both targets of a cascade hold")
    proxy: Literal["off", "auto"] = Field(
        "off",
        description="`auto`: ai_filter trains a classifier on vectors of `embedding_model` where it has no helper",
    )
    planner: bool = Field(True, description="rewrite selects so that they call models less and mean the same")
    reorder_fields: bool = Field(
        False, description="put the lines of llm_prompt's templates in the order that a model's cache serves best"
    )


class StoreSettings(_Group):
    """Where answers are kept, so that no request is paid for twice."""

    url: SecretStr | None = Field(None, description="`redis://host:port/0`, shared by gateways; none: a file in `home`")
    max_bytes: int = Field(4 * 2**30, ge=2**20, description="size of the file; the least recently used go first")
    ttl: float = Field(0, ge=0, description="seconds that an answer is kept; 0: until there is no room")


class AllowSettings(_Group):
    """What a script may not do unless it is allowed here, outside the script."""

    shell: bool = Field(False, description='`set ... where type="shell"`, and SQL that runs commands or loads jars')
    python: bool = Field(False, description="`--%python` cells and Python functions")
    http: bool = Field(False, description="`include http`")
    folders: str = Field(
        default_factory=lambda: os.pathsep.join(_usual_folders()),
        description="folders whose files a script may use, as in PATH: `.:..:~:/tmp`; `/` allows all",
    )


def _usual_folders() -> list[str]:
    """The working folder, those beside it (unless that is the whole machine), the user's and the temporary one."""
    beside = [".."] if len(Path.cwd().parts) > 2 else []
    return [".", *beside, "~", tempfile.gettempdir()]


def default_home() -> Path:
    """Where `Settings.home` is unless it is set otherwise."""
    return Path(os.environ.get("SQLLLM_HOME", "~/.sqlllm")).expanduser()


class Settings(BaseSettings):
    """All settings; see the groups."""

    model_config = SettingsConfigDict(
        extra="forbid",
        validate_assignment=True,
        env_prefix="SQLLLM_",
        env_nested_delimiter="__",
        toml_file="sqlllm.toml",
    )

    home: Path = Field(default_factory=default_home, description="folder of runs, models and histories")
    project: Path = Field(Path(), description="folder that `include project` starts from")
    indexes: str = Field("", description="folder or address (`s3://bucket/indexes`) of indexes; none: in `home`")
    spark: SparkSettings = Field(default_factory=SparkSettings)
    ray: RaySettings = Field(default_factory=RaySettings)
    serving: ServingSettings = Field(default_factory=ServingSettings)
    llm: LLMSettings = Field(default_factory=LLMSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    quota: QuotaSettings = Field(default_factory=QuotaSettings)
    allow: AllowSettings = Field(default_factory=AllowSettings)
    secrets: dict[str, SecretStr] = Field(
        default_factory=dict, description="keys by name, which scripts use as `secret:NAME` and nobody is shown"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings  # the two sources we do not read
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @classmethod
    def load(cls, **values: Any) -> Settings:
        """Settings from file and environment; a wrong value is an OptionError that names it."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise _option_error(error) from None

    @classmethod
    def key_names(cls) -> list[str]:
        """Every key in dotted form, as `set` takes it."""
        names = []
        for name, field in cls.model_fields.items():
            group = field.annotation
            if isinstance(group, type) and issubclass(group, _Group):
                names += [f"{name}.{key}" for key in group.model_fields]
            else:
                names.append(name)
        return names

    @classmethod
    def has(cls, key: str) -> bool:
        """Whether `key` is a setting. OptionError for one that begins as ours do; `spark.` begins Spark's own, too."""
        known = cls.key_names()
        group, dot, _ = key.partition(".")
        near = [name for name in known if dot and group != "spark" and name.startswith(f"{group}.")]
        if near and key not in near:
            raise OptionError(f"unknown setting {key}", cure=suggest(key, near, what="settings"))
        return key in known

    def assign(self, key: str, value: str) -> None:
        """Set one dotted key from text, as `set llm.in_flight = "16";` does."""
        if not self.has(key):
            raise OptionError(f"unknown setting {key}", cure=suggest(key, self.key_names(), what="settings"))
        group, _, name = key.rpartition(".")
        try:
            setattr(getattr(self, group) if group else self, name, value)
        except ValidationError as error:
            raise _option_error(error, key) from None


def _option_error(error: ValidationError, key: str = "") -> OptionError:
    first = error.errors()[0]
    name = key or ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return OptionError(f"unknown setting {name}", cure=suggest(name, Settings.key_names(), what="settings"))
    return OptionError(f"setting {name}: {first['msg']}")
