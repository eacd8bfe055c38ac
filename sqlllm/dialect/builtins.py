"""What Spark's SQL knows: functions, keywords, settings, from Spark 4.3; `scripts/spark_words.py` writes the data."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple


class Builtin(NamedTuple):
    """A function of Spark's; `most` is -1 where it takes any number of arguments, `call` may be empty."""

    call: str
    about: str
    least: int
    most: int

    def takes(self, count: int) -> bool:
        """Whether `count` arguments are a right number."""
        return self.least <= count and (self.most < 0 or count <= self.most)

    @property
    def wanted(self) -> str:
        """How many arguments it takes, in words."""
        return counted(self.least, self.most)


def counted(least: int, most: int) -> str:
    """From `least` to `most` arguments in words; -1: any number more."""
    if most < 0:
        return f"{least} or more arguments"
    if least == most:
        return "no arguments" if most == 0 else f"{most} argument" + "s" * (most > 1)
    return f"{least} {'or' if most == least + 1 else 'to'} {most} arguments"


@cache
def functions() -> dict[str, Builtin]:
    """Spark's functions by name, in lower case."""
    found = {name: Builtin(*row) for name, row in _data()["functions"].items()}
    for name in _WITH_UNIT:  # date_add(day, 1, d) is in Spark's grammar, not among its functions
        known = found.get(name, Builtin(f"{name}(unit, value, date)", "The date, a number of units later", 3, 3))
        found[name] = known._replace(most=3)
    return found


@cache
def keywords() -> frozenset[str]:
    """Spark's keywords, in lower case; most of them may be names, too."""
    return frozenset(_data()["keywords"])


@cache
def settings() -> frozenset[str]:
    """The names of Spark's public SQL settings."""
    return frozenset(_data()["settings"])


@cache
def _data() -> dict[str, Any]:
    text = files("sqlllm.dialect").joinpath("spark.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


_WITH_UNIT = ("date_add", "dateadd", "date_diff", "datediff", "timediff", "timestampadd", "timestampdiff")
