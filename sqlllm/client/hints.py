"""Annotations of a function as types, also postponed ones, and names of the scope it was defined in."""

from __future__ import annotations

import sys
import typing
from typing import Any

from sqlllm.errors import OptionError


def resolve(function: Any, what: str) -> dict[str, Any]:
    """The types of the parameters and of `return`.

    Raises: OptionError that names `what`, if a name of an annotation is not defined.
    """
    found: dict[str, Any] = {}
    while True:
        try:
            return typing.get_type_hints(function, localns=found, include_extras=True)
        except NameError as error:
            # A postponed annotation makes no closure: the name is looked up in the scopes that are being run.
            name = error.name or ""
            scope = sys._getframe(1)
            while scope is not None and name not in scope.f_locals:
                scope = scope.f_back  # type: ignore[assignment]
            if scope is None or name in found:
                raise OptionError(
                    f"{what}: the name {name} of an annotation is not defined", cure=f"Define {name} before it."
                ) from None
            found[name] = scope.f_locals[name]
        except (TypeError, SyntaxError) as error:
            raise OptionError(f"{what}: an annotation is not valid: {error}", cure="Annotate with types.") from None
