"""What README and docs show: SQL parses, Python runs, links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sqlllm.dialect import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sql_parses_and_links_lead_somewhere(page: Path) -> None:
    for block in blocks(page, "sql"):
        script = parse(block, page.name)
        assert not script.errors, "\n".join(map(str, script.errors))
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs_jupyter") is None, reason="no mkdocs here: pip install 'sqlllm[docs]'")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    mkdocs = [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--site-dir", tmp_path]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    shown = subprocess.run(mkdocs, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert shown.returncode == 0, shown.stderr
    assert "<polyline points" in (tmp_path / "tutorials" / "quickstart.html").read_text()  # the loss, as it was drawn
    register = (tmp_path / "sql" / "register.html").read_text()
    assert '<span class="k">unregister</span>' in register  # by the dialect's own lexer


@pytest.mark.slow
def test_the_readmes_python_runs() -> None:
    session, _ = blocks(ROOT / "README.md", "python")
    # A process of its own: it starts and ends its own Spark.
    shown = subprocess.run([sys.executable, "-c", session], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "split='train', n=5000" in shown.stdout
    assert shown.stderr == ""
