"""Cases in `cases/*.sql`: a script after `-- case: name`, then what is expected, in comment lines.

`-- rows:` is followed by the rows of the last table as JSON, `-- error:` by lines that the error must hold, and
`-- printed:` by the lines that the script prints. `-- with: key=value` lines first set what a script cannot; `-- rare`
marks a case of which `make test-all` alone runs the script.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sqlllm.session import Session

FOLDER = Path(__file__).parent / "cases"
_CASE = re.compile(
    r"^-- case: (?P<name>[^\n]+)\n(?P<script>.*?)^-- (?P<kind>rows|error|printed):\n(?P<expected>(?:--[^\n]*\n?)*)",
    re.M | re.S,
)


@dataclass(frozen=True)
class Case:
    name: str
    script: str
    kind: str
    expected: str

    @property
    def settings(self) -> list[tuple[str, str]]:
        return [(key, value) for key, value in re.findall(r"^-- with: ([\w.]+)=(.*)$", self.script, re.M)]

    @property
    def is_rare(self) -> bool:
        return "-- rare\n" in self.script

    def __str__(self) -> str:
        return self.name


def load() -> list[Case]:
    return [case for path in sorted(FOLDER.glob("*.sql")) for case in _load(path)]


def _load(path: Path) -> list[Case]:
    text = path.read_text()
    found = [
        Case(
            f"{path.stem}: {match['name']}",
            match["script"],
            match["kind"],
            re.sub(r"^-- ?", "", match["expected"], flags=re.M).strip(),
        )
        for match in _CASE.finditer(text)
    ]
    assert len(found) == text.count("-- case: "), f"{path}: a case has no expectation"
    return found


def rows_of(session: Session, script: str, name: str = "<script>") -> list[dict[str, object]]:
    """The rows of a script's last table."""
    result = session.run(script, name)
    return [row.asDict(recursive=True) for row in result.rows()] if result else []
