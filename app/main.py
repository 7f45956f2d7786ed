"""The frame of every page; start it from the repository root with ``python -m streamlit run app/main.py``."""

from __future__ import annotations

from functools import partial

import streamlit as st

from analysis.errors import UserError
from app import widgets
from app.chosen_run import open_chosen
from app.guide import guide
from app.hosted import sign_in
from app.left_column import sidebar
from app.state import read_link, resolve
from app.style import ICON, LAYOUT, LEFT_COLUMN_PX, LOGO, PAGE_ICON, ROOM
from app.top_row import top_row
from app.views import VIEWS, View


def main() -> None:
    st.set_page_config("QK Atlas", page_icon=PAGE_ICON, layout="wide", initial_sidebar_state=LEFT_COLUMN_PX)
    st.html(LAYOUT + ROOM)
    shown = draw if sign_in.admitted() else sign_in.nothing
    if not st.context.is_embedded:
        st.logo(LOGO, size="medium", icon_image=ICON)
    pages = {
        view.name: st.Page(
            partial(shown, view), title=view.title, icon=view.icon, url_path=view.name, default=view is VIEWS[0]
        )
        for view in VIEWS
    }
    widgets.remember_pages(pages)
    st.navigation(list(pages.values()), position="hidden").run()


def draw(view: View) -> None:
    """Top row, left column and the view, or why it cannot be drawn; embedded (``?embed=true``) the view alone."""
    selection, notes = read_link(st.query_params.to_dict())
    is_alone = bool(st.context.is_embedded)
    if not is_alone:
        top_row(view, selection)
    facts, problem = open_chosen(selection)
    selection, more = resolve(selection, facts) if facts is not None else (selection, [])
    notes += more
    if not is_alone:
        guide(selection, facts, view.name, is_first_look=view is VIEWS[0] and not st.query_params)
        sidebar(selection, facts)
    with st.container(key="view"):
        widgets.say_notes(notes)
        if facts is None and view.needs == "run":
            return widgets.say_nothing(problem)
        try:
            view.render(selection)
        except UserError as error:
            widgets.say_problem(str(error))


main()
