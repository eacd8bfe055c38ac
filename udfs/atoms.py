# ruff: noqa: ARG001, RUF001 - other scripts' marks are meant; all readers have one signature
"""One value of a Spark type from what a model wrote for it."""

from __future__ import annotations

import re
import sys
from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from .kinds import Atom

YES = frozenset(re.findall(r"\S+", "true yes y t 1 correct 是 是的 对 对的 真 正确 はい oui ja sí si sim да 네 예"))
NO = frozenset(
    re.findall(r"\S+", "false no n f 0 incorrect 否 不 不是 不对 错 错误 假 不正确 いいえ non nein não nao нет 아니요")
)
_BITS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
_CURRENCY = r"[$€£¥₹￥]|元|(?:USD|EUR|GBP|JPY|CNY|RMB|CHF|INR)\b"
_NUMBER = re.compile(
    rf"(?P<sign>[-+−]?)(?:(?:{_CURRENCY})\s*)?(?P<digits>\d{{1,3}}(?:,\d{{3}})+(?:\.\d*)?|\d+\.?\d*|\.\d+)"
    rf"(?P<power>[eE][-+]?\d+)?\s*(?:{_CURRENCY})?"
)
_SPECIAL = {"nan": "NaN", "infinity": "Infinity", "-infinity": "-Infinity"}
_LARGEST_FLOAT, _LARGEST_DOUBLE = 3.4028235e38, sys.float_info.max
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
_DATES = [
    re.compile(r"(?P<y>\d{4})\s*[-/.年]\s*(?P<m>\d{1,2})\s*[-/.月]\s*(?P<d>\d{1,2})\s*日?"),
    re.compile(r"(?P<n>[a-z]{3,9})\.? (?P<d>\d{1,2})(?:st|nd|rd|th)?,? (?P<y>\d{4})", re.IGNORECASE),
    re.compile(r"(?P<d>\d{1,2})(?:st|nd|rd|th)?\.?[ -](?:of )?(?P<n>[a-z]{3,9})\.?,?[ -](?P<y>\d{4})", re.IGNORECASE),
]


def read(text: str, atom: Atom) -> str:
    """`text` as the text that Spark casts to `atom`; raises ValueError for what is not such a value."""
    return _READERS[atom.name](text.strip(), atom)


def _string(text: str, atom: Atom) -> str:
    if atom.size and len(text) > atom.size:
        raise ValueError(text)
    return text


def _boolean(text: str, atom: Atom) -> str:
    word = text.casefold()
    if word in YES:
        return "true"
    if word in NO:
        return "false"
    raise ValueError(text)


def _number(text: str) -> Decimal:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(text)
    try:
        value = Decimal(match["digits"].replace(",", "") + (match["power"] or ""))
    except InvalidOperation:  # a power beyond all numbers
        raise ValueError(text) from None
    return -value if match["sign"] in ("-", "−") else value


def _integer(text: str, atom: Atom) -> str:
    value, bits = _number(text), _BITS[atom.name]
    if abs(value) > 2**64 or value != (whole := int(value)) or not -(2 ** (bits - 1)) <= whole < 2 ** (bits - 1):
        raise ValueError(text)
    return str(whole)


def _decimal(text: str, atom: Atom) -> str:
    value = _number(text)
    if value.adjusted() > 40:
        raise ValueError(text)
    value = value.quantize(Decimal(1).scaleb(-atom.scale), ROUND_HALF_UP)
    if len(value.as_tuple().digits) > atom.size and value:
        raise ValueError(text)
    return format(value, "f")


def _float(text: str, atom: Atom) -> str:
    if (special := _SPECIAL.get(text.lower())) is not None:
        return special
    value = float(_number(text))
    if abs(value) > (_LARGEST_FLOAT if atom.name == "float" else _LARGEST_DOUBLE):
        raise ValueError(text)
    return repr(value)


def _date(text: str, atom: Atom) -> str:
    for pattern in _DATES:
        if match := pattern.fullmatch(text):
            found = match.groupdict()
            month = int(found["m"]) if "m" in found else _month(found["n"])
            return date(int(found["y"]), month, int(found["d"])).isoformat()
    return _moment(text).date().isoformat()


def _month(name: str) -> int:
    """From 1; 0 for what is not the name of a month."""
    at = _MONTHS.find(name[:3].lower())
    return at // 4 + 1 if at >= 0 and at % 4 == 0 else 0


def _timestamp(text: str, atom: Atom) -> str:
    moment = _moment(text)
    if atom.name == "timestamp_ntz" and moment.tzinfo:
        moment = moment.replace(tzinfo=None)
    return moment.isoformat()


def _moment(text: str) -> datetime:
    if not re.match(r"\d{4}-?\d\d-?\d\d", text):
        raise ValueError(text)
    return datetime.fromisoformat(re.sub(r"\s*(?:UTC|GMT)$", "Z", text))


def _binary(text: str, atom: Atom) -> str:
    b64decode(text, validate=True)
    return text


_READERS: dict[str, Callable[[str, Atom], str]] = {
    **dict.fromkeys(_BITS, _integer),
    **dict.fromkeys(("string", "varchar", "char", "variant"), _string),
    **dict.fromkeys(("float", "double"), _float),
    **dict.fromkeys(("timestamp", "timestamp_ntz"), _timestamp),
    "boolean": _boolean,
    "decimal": _decimal,
    "date": _date,
    "binary": _binary,
}
IN_JSON = frozenset({*_BITS, "float", "double", "decimal", "boolean"})
"""Types whose text is a value of JSON as it is."""


def is_text(atom: Atom) -> bool:
    """Whether a value of JSON of any type is such a value."""
    return atom.name in ("string", "varchar", "char", "variant")
