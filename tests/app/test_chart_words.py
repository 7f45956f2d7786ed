"""Every chart has an alternative text, and every page that draws one shows its numbers too: read from the code, so that
a new chart cannot forget either."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[2] / "app"
CHARTS = {
    node.name: node
    for path in sorted((APP / "charts").glob("*.py"))
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef)
}
"""Every function of `app.charts`, by name."""

PUBLIC = [name for name, node in CHARTS.items() if name.startswith("make_") and "Chart" in ast.unparse(node.returns)]

DRAWS = {
    "altair_chart",
    "clickable",
    "draw",
    "headboard",
    "headgrid",
    "headstrip",
    "textmap",
    "draw_matrix",
    "draw_scatter",
}
TABLES = {"dataframe", "show_table", "title_row", "under", "pair_table", "table_of_all"}
"""Names by which views draw, and by which they show numbers."""

DRAWN_ELSEWHERE = {
    "input_parts/clicks.py": "draws what others give it",
    "input_parts/picture_of_text.py": "one picture of `text_pictures`, among which is the table",
}


def names_in(node: ast.AST) -> set[str]:
    """Every name that is read, and what is read of a module."""
    return {each.attr if isinstance(each, ast.Attribute) else each.id
            for each in ast.walk(node) if isinstance(each, ast.Attribute | ast.Name)}  # fmt: skip


def is_described(name: str, above: frozenset[str] = frozenset()) -> bool:
    """Whether the function sets a chart's description, or calls one of `app.charts` that does."""
    node = CHARTS[name]
    for each in ast.walk(node):
        if isinstance(each, ast.keyword) and each.arg == "description":
            return True
        if isinstance(each, ast.Attribute) and each.attr == "description" and isinstance(each.ctx, ast.Store):
            return True
    return any(is_described(other, above | {name}) for other in (names_in(node) & CHARTS.keys()) - above - {name})


def test_there_are_charts():
    assert len(PUBLIC) > 20


@pytest.mark.parametrize("name", PUBLIC)
def test_a_chart_has_an_alternative_text(name):
    assert is_described(name)


def test_who_draws_a_chart_shows_its_numbers():
    files = {path.relative_to(APP / "views").as_posix(): names_in(ast.parse(path.read_text()))
             for path in (APP / "views").rglob("*.py")}  # fmt: skip
    drawing = {name for name, called in files.items() if called & DRAWS}
    assert len(drawing) > 10
    assert {name for name in drawing if not files[name] & TABLES} == set(DRAWN_ELSEWHERE)
