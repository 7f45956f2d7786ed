"""The frame of every page: navigation, left column, and the view that the address names.

Start it from the repository root with ``python -m streamlit run app/main.py``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from analysis.errors import UserError
from app import widgets
from app.components.nav import pages_row
from app.state import read_link, resolve
from app.style import LAYOUT, LOGO
from app.views import VIEWS, View


def main() -> None:
    st.set_page_config("QK Atlas", page_icon=str(Path(__file__).parent / "icon.png"), layout="wide")
    st.html(LAYOUT)
    st.logo(LOGO, size="medium")
    pages = {view.name: to_page(view, default=view is VIEWS[0]) for view in VIEWS}
    widgets.remember_pages(pages)
    st.navigation(list(pages.values()), position="hidden").run()


def to_page(view: View, default: bool) -> st.Page:
    return st.Page(partial(draw, view), title=view.title, icon=view.icon, url_path=view.name, default=default)


def draw(view: View) -> None:
    """Navigation, left column and the view, or the sentence that says why it cannot be drawn."""
    go = pages_row([(each.name, each.title) for each in VIEWS], view.name)
    if go is not None:
        widgets.open_view(go)
    selection, notes = read_link(st.query_params.to_dict())
    facts, problem = None, None
    try:
        facts = widgets.open_facts(widgets.choose_run(selection))
    except UserError as error:
        problem = str(error)
    if facts is not None:
        selection, more = resolve(selection, facts)
        notes += more
    widgets.search_box(selection)
    widgets.sidebar(selection, facts)
    widgets.say_notes(notes)
    if facts is None and view.needs == "run":
        return widgets.say_problem(problem) if problem else widgets.say_empty()
    try:
        view.render(selection)
    except UserError as error:
        widgets.say_problem(str(error))


main()
