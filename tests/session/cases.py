"""Cases in `cases/*.sql`: a script after `-- case: name`, then what is expected, in comment lines.

`-- rows:` is followed by the rows of the last table as JSON, `-- error:` by lines that the error must hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "cases"
_CASE = re.compile(
    r"^-- case: (?P<name>[^\n]+)\n(?P<script>.*?)^-- (?P<kind>rows|error):\n(?P<expected>(?:--[^\n]*\n?)*)", re.M | re.S
)


@dataclass(frozen=True)
class Case:
    name: str
    script: str
    kind: str
    expected: str

    def __str__(self) -> str:
        return self.name


def load(file: str) -> list[Case]:
    text = (FOLDER / file).read_text()
    found = [
        Case(match["name"], match["script"], match["kind"], re.sub(r"^-- ?", "", match["expected"], flags=re.M).strip())
        for match in _CASE.finditer(text)
    ]
    assert len(found) == text.count("-- case: "), f"{file}: a case has no expectation"
    return found
