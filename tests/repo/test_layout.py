"""The links `sqlllm/udfs` and `sqlllm/jobs` hold: one name per module, every file in what is shipped."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def sources() -> set[str]:
    """Every shipped file, by its name in the package."""
    found = subprocess.run(
        ["git", "ls-files", "sqlllm", "udfs", "jobs"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    kept = {path for path in found if Path(path).suffix in {".py", ".sql", ".json"} or path.endswith("py.typed")}
    return {path if path.startswith("sqlllm/") else f"sqlllm/{path}" for path in kept}


def test_the_links_are_links() -> None:
    for name in ("udfs", "jobs"):
        link = ROOT / "sqlllm" / name
        assert link.is_symlink()
        assert link.resolve() == ROOT / name


def test_no_source_imports_a_room_by_its_short_name() -> None:
    for name in sources():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse((ROOT / name).read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                assert not {"udfs", "jobs"} & {imported.partition(".")[0] for imported in names}, name


@pytest.mark.slow
@pytest.mark.rare  # it loads everything, torch and vLLM, too
def test_no_module_is_imported_under_two_names() -> None:
    code = """
import sys, pkgutil, importlib, sqlllm
for found in pkgutil.walk_packages(sqlllm.__path__, "sqlllm."):
    importlib.import_module(found.name)
double = [name for name in sys.modules if name.partition(".")[0] in {"udfs", "jobs"}]
files = {}
for name, module in list(sys.modules.items()):
    if name.startswith("sqlllm") and getattr(module, "__file__", None):
        files.setdefault(__import__("os").path.realpath(module.__file__), []).append(name)
print(double + [names for names in files.values() if len(names) > 1])
"""
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.slow
def test_wheel_and_sdist_hold_every_file(tmp_path: Path) -> None:
    clone = tmp_path / "clone"  # of the work tree as git sees it, so that no build folder is left in it
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(clone)],
        check=True,
        capture_output=True,
    )
    committed = {name for name in sources() if _committed(name)}
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert committed <= set(wheel.namelist())
        assert not {name for name in wheel.namelist() if name.startswith(("udfs/", "jobs/", "tests/"))}
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        shipped = {name.partition("/")[2] for name in sdist.getnames()}
        assert committed <= shipped


def _committed(name: str) -> bool:
    path = name if not name.startswith(("sqlllm/udfs/", "sqlllm/jobs/")) else name.removeprefix("sqlllm/")
    return subprocess.run(["git", "cat-file", "-e", f"HEAD:{path}"], cwd=ROOT, capture_output=True).returncode == 0
