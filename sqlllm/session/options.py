"""Options of statements, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlllm.errors import OptionError, suggest


def check(options: Mapping[str, str], known: Sequence[str]) -> None:
    """OptionError for an option that is not one of `known`."""
    for key in options:
        if key not in known:
            raise OptionError(f"unknown option {key}", cure=suggest(key, known, what="options"), key=key)


def require(options: Mapping[str, str], keys: Iterable[str], who: str) -> None:
    """OptionError for one of `keys` that is missing or empty."""
    for key in keys:
        if not options.get(key):
            raise OptionError(f"{who} needs {key}", cure=f'Write: {key}="..."', key=key)


def choice(options: Mapping[str, str], key: str, known: Sequence[str]) -> str:
    """The value of `key`, the first of `known` if it is not given; OptionError if it is none of them."""
    value = options.get(key, known[0])
    if value not in known:
        raise OptionError(f"unknown {key} {value}", cure=suggest(value, known, what=f"values of {key}"), key=key)
    return value


def flag(options: Mapping[str, str], key: str, default: bool) -> bool:
    """A `true` or `false`; OptionError if it is neither."""
    return choice({key: str(default).lower(), **options}, key, ("true", "false")) == "true"


def count(options: Mapping[str, str], key: str) -> int:
    """A number from 1; OptionError if it is none."""
    value = options[key]
    if not value.isdecimal() or int(value) == 0:
        raise OptionError(f"{key} is a number from 1, not {value!r}", key=key)
    return int(value)


def share(options: Mapping[str, str], key: str) -> float:
    """A number between 0 and 1, without both; OptionError if it is not one."""
    try:
        value = float(options[key])
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise OptionError(f"{key} is a number between 0 and 1, not {options[key]}", cure="Write 0.95.", key=key)
    return value
