"""The house of design.md: which room may import which, and where torch and SQL stop.

Torch is allowed in `models` too: loading gives a torch module, with its device and dtype; in `coverage`, which builds
tiny models; and in one file of `patterns`, the autoencoder over attention maps, which learns and takes and gives numpy
arrays."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ANALYSIS = sorted((ROOT / "analysis").rglob("*.py"))

# Room -> rooms of `analysis` it may import. A room missing here may import none.
MAY_IMPORT = {
    "types": set(),
    "errors": set(),
    "registry": {"errors"},
    "attention": {"types"},
    "progress": set(),
    "provenance": set(),
    "stock_umap": set(),
    "models": {"types", "errors"},
    "inputs": {"types", "errors", "models"},
    "capture": {"types", "errors", "models", "inputs", "attention"},
    "metrics": {"types", "errors", "registry"},
    "labels": {"types", "errors"},
    "patterns": {"types", "errors", "progress", "stock_umap"},
    "sinks": {"types", "errors", "metrics"},
    "projection": {"types", "errors", "registry", "attention", "sinks", "stock_umap"},
    "store": {"types", "errors", "attention", "progress", "provenance"},
    "coverage": {"types", "errors", "models", "capture"},
    "pipeline": "all",
    "engines": "all",
    "cli": "all",
    "__main__": "all",
    "__init__": "all",
}


def _room(path: Path) -> str:
    relative = path.relative_to(ROOT / "analysis")
    return relative.parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", ANALYSIS, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_one_way(path):
    room, allowed = _room(path), MAY_IMPORT[_room(path)]
    imported = _imports(path)
    assert not {name for name in imported if name.split(".")[0] in ("app", "streamlit", "altair")}
    if allowed == "all":
        return
    rooms = {name.split(".")[1] for name in imported if name.startswith("analysis.")}
    assert rooms <= allowed | {room}


@pytest.mark.parametrize("path", ANALYSIS, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_stops_at_models_and_capture_and_sql_at_store(path):
    roots = {name.split(".")[0] for name in _imports(path)}
    learns = ROOT / "analysis" / "patterns" / "autoencoder.py"
    if _room(path) not in ("models", "capture", "coverage") and path != learns:
        assert "torch" not in roots
    if _room(path) != "store":
        assert "duckdb" not in roots


def test_the_page_reads_runs_only_through_the_library():
    for path in (ROOT / "app").rglob("*.py"):
        roots = {name.split(".")[0] for name in _imports(path)}
        assert not roots & {"torch", "duckdb", "transformers", "umap", "sklearn", "numba"}, path


def test_what_the_page_keeps_is_kept_in_one_room():
    for path in (ROOT / "app").rglob("*.py"):
        if (ROOT / "app" / "cache") not in path.parents:
            assert "st.cache_" not in path.read_text(encoding="utf-8"), path


def test_importing_the_library_is_light():
    heavy = ("torch", "transformers", "umap", "numba", "duckdb")
    code = f"import analysis, sys; print([m for m in {heavy} if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
