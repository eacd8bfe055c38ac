"""What must not be shown: values of secret-looking options, variables and settings, and hidden variables."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlllm.errors import VariableError
from sqlllm.places import SECRET_KEY, mask_secrets

if TYPE_CHECKING:
    from sqlllm.dialect import Variables
    from sqlllm.dialect.statements import Option
    from sqlllm.settings import Settings

# A shorter value of a name that only looks like a secret's, as in `max_token`, stands in many a message.
_SHORTEST = 5


class Secrets:
    """The secrets of a session, by value: an error may quote a secret where no key marks it."""

    def __init__(self, variables: Variables, settings: Settings) -> None:
        self._variables = variables
        self._settings = settings
        self._of_options: set[str] = set()

    def remember(self, options: Mapping[str, Option]) -> None:
        """Keep the secret values among a statement's options."""
        for key in filter(SECRET_KEY.search, options):
            with suppress(VariableError):  # which the statement raises itself
                self._of_options.add(options[key].value.resolve(self._variables))

    def mask(self, text: str) -> str:
        """`text` with every secret starred out."""
        for value in sorted(self._values(), key=len, reverse=True):
            text = text.replace(value, "***")
        return mask_secrets(text)

    def _values(self) -> set[str]:
        named = set(self._of_options)
        for name in filter(SECRET_KEY.search, self._variables.names()):
            with suppress(VariableError):  # it waits for another variable
                named.add(self._variables.get(name) or "")
        if key := self._settings.serving.api_key:
            named.add(key.get_secret_value())
        named |= {secret.get_secret_value() for secret in self._settings.secrets.values()}
        return {*filter(None, self._variables.hidden_values()), *(value for value in named if len(value) >= _SHORTEST)}
