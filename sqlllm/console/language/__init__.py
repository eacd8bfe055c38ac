"""What editors ask about a script: what can stand here, what is this, is it finished. Kernel, magics and shell use it.

    language = Language(names_of(session))
    language.complete("load cs", 7)  # [Completion(text="csv", kind="format", ...)]

Nothing here runs a script, starts Spark or raises on half-written text.
"""

from __future__ import annotations

from .names import Names, SessionNames
from .service import Completion, Language

__all__ = ["Completion", "Language", "Names", "SessionNames"]
