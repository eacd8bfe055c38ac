"""The built-in variable `date`: `${date.toString("yyyyMMdd")}`, `${date.minusDays("7").toString("yyyy-MM-dd")}`."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from ..errors import VariableError, suggest
from .text import Call

_SHIFT = re.compile(r"(plus|minus)(Years|Months|Weeks|Days|Hours|Minutes|Seconds)")
METHODS = ("toString", *(f"{way}{unit}" for way in ("plus", "minus") for unit in ("Days", "Weeks", "Months", "Years")))
_LETTERS = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|.", re.DOTALL)


def call(moment: datetime, steps: tuple[Call, ...]) -> str:
    """`moment` after the methods `steps`; without `toString` it is shown as yyyy-MM-dd. Raises VariableError."""
    for step in steps:
        shift = _SHIFT.fullmatch(step.method)
        if step.method == "toString":
            if step is not steps[-1]:
                raise VariableError("toString comes last")
            return show(moment, *step.arguments[:1])
        if shift is None:
            raise VariableError(f"date has no method {step.method}", cure=suggest(step.method, METHODS, what="methods"))
        moment = _shift(moment, shift[2], shift[1] + "".join(step.arguments))
    return show(moment)


def show(moment: datetime, pattern: str = "yyyy-MM-dd") -> str:
    """`moment` by a Java date pattern; raises VariableError for a letter that means nothing."""
    out = []
    for match in _LETTERS.finditer(pattern):
        run = match[0]
        if run[0] == "'":
            out.append(run[1:-1].replace("''", "'") or "'")
        elif match[1]:
            out.append(_field(moment, run))
        else:
            out.append(run)
    return "".join(out)


def _field(moment: datetime, run: str) -> str:
    letter, width = run[0], len(run)
    if letter in "yYu":
        return f"{moment.year % 100:02}" if width == 2 else f"{moment.year:0{width}}"
    if letter == "M" and width > 2:
        return calendar.month_name[moment.month] if width > 3 else calendar.month_abbr[moment.month]
    if letter == "E":
        return calendar.day_name[moment.weekday()] if width > 3 else calendar.day_abbr[moment.weekday()]
    if letter == "S":
        return f"{moment.microsecond:06}".ljust(width, "0")[:width]
    if letter == "a":
        return "AM" if moment.hour < 12 else "PM"
    if letter not in _NUMBERS:
        raise VariableError(f"a date pattern has no letter {letter}", cure='Write one like "yyyy-MM-dd HH:mm:ss".')
    value = _NUMBERS[letter](moment)
    return f"{value:0{width}}"


_NUMBERS: dict[str, Callable[[datetime], int]] = {
    "M": lambda moment: moment.month,
    "d": lambda moment: moment.day,
    "D": lambda moment: moment.timetuple().tm_yday,
    "w": lambda moment: moment.isocalendar().week,
    "e": lambda moment: moment.isoweekday(),
    "H": lambda moment: moment.hour,
    "k": lambda moment: moment.hour or 24,
    "K": lambda moment: moment.hour % 12,
    "h": lambda moment: moment.hour % 12 or 12,
    "m": lambda moment: moment.minute,
    "s": lambda moment: moment.second,
}


def _shift(moment: datetime, unit: str, amount: str) -> datetime:
    way, count = (1, amount.removeprefix("plus")) if amount.startswith("plus") else (-1, amount.removeprefix("minus"))
    if not re.fullmatch(r"\d{1,6}", count):
        raise VariableError(f"{unit} must be a whole number, not {count or 'nothing'}")
    steps = way * int(count)
    try:
        if unit in {"Years", "Months"}:
            months = moment.year * 12 + moment.month - 1 + steps * (12 if unit == "Years" else 1)
            year, month = divmod(months, 12)
            return moment.replace(
                year=year, month=month + 1, day=min(moment.day, calendar.monthrange(year, month + 1)[1])
            )
        return moment + timedelta(**{unit.lower(): steps})
    except (ValueError, OverflowError):
        raise VariableError(f"the date moved by {steps} {unit.lower()} is out of range") from None
