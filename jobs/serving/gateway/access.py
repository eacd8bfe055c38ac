"""Who may call which model: the key of the whole gateway, and those of its users."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pydantic import SecretStr

from sqlllm.wire import MODEL_NOT_ALLOWED

from ..protocol import RequestError

if TYPE_CHECKING:
    from sqlllm.settings import UserSettings


@dataclass(frozen=True)
class Caller:
    """Who sent a request: a user with a key, or, without a name, whoever may do everything."""

    name: str = ""
    models: tuple[str, ...] = ("*",)  # patterns, as of files

    def may(self, model: str) -> bool:
        """Whether the caller may use it."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)

    def check(self, model: str) -> None:
        """RequestError 403 if it may not."""
        if not self.may(model):
            message = f"user {self.name} may not use model {model}; allowed: {', '.join(self.models)}"
            raise RequestError(message, status=403, kind="permission_error", param="model", code=MODEL_NOT_ALLOWED)

    def check_all(self) -> None:
        """RequestError 403 for a user's key, where only the gateway's will do."""
        if self.name:
            raise RequestError("this needs the gateway's own key", status=403, kind="permission_error")


class Access:
    """The keys; without any, everybody may do everything."""

    def __init__(self, api_key: SecretStr | None, users: Mapping[str, UserSettings]) -> None:
        self._callers = [(api_key.get_secret_value().encode(), Caller())] if api_key else []
        self._callers += [
            (user.key.get_secret_value().encode(), Caller(name, tuple(user.models))) for name, user in users.items()
        ]

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Whose key it is, in `Authorization` or `x-api-key`; RequestError 401 if it is nobody's."""
        if not self._callers:
            return Caller()
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = (key if scheme.lower() == "bearer" else headers.get("x-api-key", "")).encode()
        # All are compared, each in the same time: how long it takes reveals nothing of a key.
        found = [caller for known, caller in self._callers if hmac.compare_digest(given, known)]
        if not found:
            raise RequestError("the API key is missing or wrong; send `Authorization: Bearer KEY`", status=401)
        return found[0]
