"""Why vLLM failed, in its own words.

Its engine runs in child processes that write the exception to the log; their parent hears only "see root cause above".
"""

from __future__ import annotations

import re

from .output import tail

# "(Worker pid=93) ERROR 11-20 22:25:18 [core.py:944] RuntimeError: Cannot find any model weights", or without the
# logger's part. Lines of the stack trace are indented and do not match.
_EXCEPTION = re.compile(
    r"^\((?P<process>Worker|EngineCore)[^)]*\) (?:ERROR [^\]]*\] )?(?P<kind>[\w.]+(?:Error|Exception)): (?P<words>.+)$",
    re.MULTILINE,
)
_POINTS_ELSEWHERE = re.compile(r"root cause|initialization failed", re.IGNORECASE)
_VALIDATION = re.compile(
    r"validation errors? for \w+\n(?:(?P<key>\w+)\S*\n)?  (?:Value error, )?(?P<words>.*?)(?: \[type=|$)", re.DOTALL
)


def reason(error: BaseException) -> str:
    """The root cause of a failure to start or to go on, in one or two lines."""
    found = root_cause() if _POINTS_ELSEWHERE.search(str(error)) else None
    if found is None:
        # A wrong argument: pydantic's text without the dump of all arguments.
        wrong = _VALIDATION.search(str(error))
        found = f"{wrong['key']}: {wrong['words']}".removeprefix("None: ") if wrong else str(error)
    first_paragraph = found.strip().partition("\n\n")[0]
    return " ".join(first_paragraph.split()) or type(error).__name__


def root_cause() -> str | None:
    """The last exception that the engine's processes have logged; they share this process's output files."""
    last: dict[str, str] = {}
    for descriptor in (2, 1):
        for match in _EXCEPTION.finditer(tail(descriptor)):
            if not _POINTS_ELSEWHERE.search(match["words"]):
                last[match["process"]] = f"{match['kind'].rpartition('.')[2]}: {match['words']}"
    return last.get("Worker") or last.get("EngineCore")
