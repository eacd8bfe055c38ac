"""The prose check of `make check`: phrases that made readers stumble, in pages, docstrings, comments and messages.

`python scripts/prose.py [FILE...]` lists each as file:line and what to write instead; without files, in all of the
project's. A line that must keep its words (a quotation, a wire name) is listed in EXCEPTIONS, with the reason.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

_NOTHING = "longer|more|less|fewer|better|different|other|such|need|matter|limit|doubt|use|way"
RULES = {
    rf"(?<!there )(?<!here )\b(?:is|are|was|were) no (?!(?:{_NOTHING})\b)\w": "X is not a valid Y; there is no Y",
    r"\b(?:that|which|what|who) (?:is|are) none\b|\bis (?:no|none) one\b": "name the thing that is missing",
    r"(?<!only )(?<!the )(?<!each )\bone (?:that|which|who) (?:is|are|has|does)\b": "name the noun",
    r"\b(?:tell|tells|telling|told)\b": "report, show, warn, give",
    r"\b(?:hear|hears|heard) (?:of|about|from)\b|\bis heard\b": "receive, learn, be informed",
    r"\b(?:come|comes|came|coming) to (?!an end\b|the same\b)": "cost, amount, become",
    r"\b(?:what|whatever) (?:comes|came|come) of\b|\b(?:comes|came) of (?:it|this)\b": "the result of",
    r"\bso (?:many|much)\b": "the number",
    r"\b(?:he|him|his|himself|she|her|hers)\b": "they, their",
    r"\bin vain\b": "without success",
}
_RULES = [(re.compile(pattern, re.IGNORECASE), cure) for pattern, cure in RULES.items()]

# A file, the words in it that stay, and why.
EXCEPTIONS = {
    ("sqlllm/console/jupyter/board.py", "told"): "a class in the style sheet",
    ("bench/planning.py", "told"): "a column",
    ("sqlllm/session/indexes/answering.py", "he"): "a prompt",
    ("sqlllm/session/operators/topics.py", "tells"): "a prompt",
    ("tests/client/test_prompt.py", "tell"): "prompts",
    ("tests/compat/test_byzerllm.py", "tell"): "prompts of a published guide",
    ("udfs/ai.py", "so many"): "a prompt: another wording would give other answers",
}
# Text that is data: other people's words, or what a test feeds a model.
_DATA = ("docs/tutorials/", "docs/benchmarks.md", "examples/data/", "CHANGELOG.md")
_COMMENT = {".sql": "--", ".sh": "#", ".js": "//", ".yaml": "#", ".toml": "#"}
_KINDS = {".py", ".md", *_COMMENT}
_WORDS = re.compile(r"\S+ \S+ \S+")  # shorter texts are names, keys, SQL


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that people read, with their numbers."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _python(text, tests=path.parts[0] == "tests")
    elif path.suffix == ".md":
        yield from _markdown(text)
    else:
        # In the test cases other comments are rows that are expected.
        marker = "-- case:" if path.parts[0] == "tests" else _COMMENT[path.suffix]
        yield from ((at, line) for at, line in enumerate(text.splitlines(), 1) if line.lstrip().startswith(marker))


def _python(text: str, *, tests: bool) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and test names; outside the tests every string of three words, which may be a message."""
    tree = ast.parse(text)
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    docstrings = {node.lineno for node in texts}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        wanted = token.start[0] in docstrings or (not tests and _WORDS.search(token.string))
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and wanted):
            for offset, line in enumerate(re.sub(r"\{[^{}]*\}|`[^`]*`", "{}", token.string).splitlines()):
                yield token.start[0] + offset, line


def _markdown(text: str) -> Iterator[tuple[int, str]]:
    """All but code."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside:
            yield number, re.sub(r"`+[^`]*`+", "`code`", line)


def faults(path: Path) -> Iterator[str]:
    for number, line in prose(path):
        for rule, cure in _RULES:
            for found in rule.finditer(line):
                if (str(path), found[0].lower()) not in EXCEPTIONS:
                    yield f"{path}:{number}: {found[0].strip()!r}: {cure}\n    {line.strip()}"


def main(names: list[str]) -> int:
    names = names or subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split("\n")
    paths = [Path(name) for name in names if not name.startswith(_DATA) and Path(name).suffix in _KINDS]
    found = [fault for path in paths if path.is_file() and not path.is_symlink() for fault in faults(path)]
    print("\n".join([*found, f"{len(found)} phrases to mend."] if found else ["prose: nothing to mend"]))  # noqa: T201
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
