"""Where a client sends its requests, and the key that it sends with them."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlllm import gateways
from sqlllm.errors import ModelError, OptionError

_LOCAL = ("127.", "localhost", "[::1]", "0.0.0.0")  # noqa: S104 (an address to call)
# Variables of well-known providers; a key is sent to nobody but whom it is of.
_KEYS = {"api.openai.com": "OPENAI_API_KEY", "api.deepseek.com": "DEEPSEEK_API_KEY"}


class Key:
    """A key that is shown nowhere and leaves the process in no pickle.

    `env:NAME` names a variable, which is read when the key is needed, in whatever process that is.
    """

    __slots__ = ("_lost", "_value")

    def __init__(self, value: str = "", lost: bool = False) -> None:
        self._value = value.strip()  # a file's last line break, most often
        if not self._value.isascii() or not self._value.isprintable():
            raise OptionError(
                "api_key is not a valid key", cure="A key is ASCII text without line breaks.", key="api_key"
            )
        self._lost = lost

    def __bool__(self) -> bool:
        return bool(self._value) or self._lost

    def __repr__(self) -> str:
        return "'****'" if self else "''"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[Any, ...]:
        named = self._value.startswith("env:")
        return Key, (self._value if named else "", bool(self) and not named)

    def __copy__(self) -> Key:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Key:
        return self

    def reveal(self) -> str:
        """The key itself. Raises: ModelError if it is in this process no more, or its variable is not set."""
        if self._value.startswith("env:"):
            name = self._value.removeprefix("env:")
            if value := os.environ.get(name, ""):
                return value
            raise ModelError(f"the variable {name} with the API key is not set", cure=f"Set {name} in this process.")
        if self._lost:
            if value := os.environ.get(gateways.KEY_VARIABLE, ""):
                return value
            raise ModelError(
                "the API key did not travel with the pickled client",
                cure=f'Set {gateways.KEY_VARIABLE} where it is unpickled, or name a variable: api_key="env:NAME".',
            )
        return self._value

    def mask(self, text: str) -> str:
        """`text` without the key."""
        try:
            value = self.reveal()
        except ModelError:
            return text
        return text.replace(value, "****") if len(value) > 3 else text


@dataclass(frozen=True)
class Endpoint:
    """A gateway or a provider: `base` ends in `/v1` or the like; `certificate` is PEM text, trusted alone."""

    base: str
    key: Key = field(default_factory=Key)
    certificate: str = field(default="", repr=False)
    headers: tuple[tuple[str, Key], ...] = field(default=(), repr=False)

    @property
    def root(self) -> str:
        """The address without `/v1`."""
        return self.base.removesuffix("/v1")

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, which no proxy is for."""
        return urlsplit(self.base).netloc.startswith(_LOCAL)

    def url(self, path: str) -> str:
        """The address of a route."""
        return f"{self.root}/{path[2:]}" if path.startswith("//") else f"{self.base}/{path}"

    def sent(self) -> list[tuple[str, str]]:
        """The headers of every request, the key among them."""
        key = self.key.reveal()
        authorization = [("authorization", key if key.startswith("Basic ") else f"Bearer {key}")] if key else []
        return authorization + [(name.lower(), value.reveal()) for name, value in self.headers]

    def mask(self, text: str) -> str:
        """`text` without the key, should a provider repeat it."""
        for secret in (self.key, *(value for _, value in self.headers)):
            text = secret.mask(text)
        return text

    def mask_bytes(self, body: bytes) -> bytes:
        """The same for a body."""
        return self.mask(body.decode("latin-1")).encode("latin-1")


def find(
    base_url: str | None = None,
    api_key: str | None = None,
    certificate: str = "",
    headers: Mapping[str, str] | None = None,
) -> Endpoint:
    """The endpoint of an address, or the gateway that is found: see `sqlllm.gateways`.

    Raises: ModelError if there is none, OptionError for a wrong address.
    """
    more = tuple((name, Key(value)) for name, value in (headers or {}).items())
    if base_url is None:
        found = gateways.find()
        if found is None:
            raise ModelError(
                "there is no gateway to ask",
                cure=f"Start one with `sqlllm up`, or set {gateways.ADDRESS_VARIABLE}, or give base_url=...",
            )
        base, given = normal(found.url)
        key = found.key if api_key is None else api_key
        return Endpoint(base, Key(key or given), certificate or found.certificate, more)
    base, given = normal(base_url)
    if api_key is None:
        name = _KEYS.get(urlsplit(base).hostname or "", "")
        api_key = f"env:{name}" if name in os.environ else ""
    if api_key and given:
        raise OptionError(
            "base_url has a user and a password, and api_key is given too", cure="Give one of the two.", key="api_key"
        )
    if certificate and "-----BEGIN" not in certificate:
        from sqlllm import tls

        certificate = tls.read(certificate)
    return Endpoint(base, Key(api_key or given), certificate, more)


def normal(address: str) -> tuple[str, str]:
    """An address as requests need it, and the basic authorization of its user and password, if it has them.

    The address gets `/v1` where it has no path, and loses a slash at its end.
    """
    text = address.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError
        _ = parts.port
    except ValueError:
        raise OptionError(
            "base_url is not a valid address",
            cure='Write it as in base_url="http://127.0.0.1:8000/v1".',
            key="base_url",
        ) from None
    user, at, host = parts.netloc.rpartition("@")
    base = f"{parts.scheme}://{host}{parts.path or '/v1'}"
    return base, "Basic " + b64encode(unquote(user).encode()).decode() if at else ""
