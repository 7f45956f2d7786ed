"""What two or more views use to read the address, to write to it, and to speak.

The address is the only memory: a picker shows what the address says and, when used, writes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from app import marks
from app.search import LONGEST_SEARCH
from app.sentences import plain, ramp_legend, say, say_notes, say_problem, stack_title
from app.state import Selection, read_link, write_link

__all__ = [
    "current", "open_view", "pick", "plain", "ramp_legend", "remember_pages", "say", "say_notes",
    "say_nothing", "say_problem", "search_box", "search_for", "select", "stack_title",
]  # fmt: skip

SEARCH_HELP = "Words anywhere in a text; /…/ is a regular expression; column=value looks in a column of the tokens."

_GO_TO = "go_to_view"


def current() -> Selection:
    """What the address says now, unchecked."""
    return read_link(st.query_params.to_dict())[0]


def select(**changes: Any) -> None:
    """Change parts of the selection: the address follows, and so does every view."""
    st.query_params.from_dict(write_link(current().having(**changes)))


def open_view(name: str, **changes: Any) -> None:
    """Go to another page with parts of the selection changed. Call it from the body of a view, not in a callback."""
    st.switch_page(st.session_state[_GO_TO][name], query_params=write_link(current().having(**changes)))


def remember_pages(pages: dict[str, Any]) -> None:
    """Tell `open_view` the page objects of this session, by view name."""
    st.session_state[_GO_TO] = pages


def pick(
    label: str,
    options: Sequence[Any],
    chosen: Any,
    then: Callable[[Any], dict[str, Any]],
    *,
    key: str,
    format_func: Callable[[Any], str] = str,
    **more: Any,
) -> None:
    """A select box that shows `chosen` and, when changed, writes ``then(value)`` to the address.

    Args:
        then: From the new value to the changes of the selection, as in ``lambda head: {"head": head}``.
        key: The widget's name in this session; unique on the page.
    """
    st.session_state[key] = chosen if chosen in options else options[0]
    _select_box(label, options, then, key, format_func, more)


def pick_anew(
    label: str, options: Sequence[Any], chosen: Any, then: Callable[[Any], dict[str, Any]], *, key: str, **more: Any
) -> None:
    """As `pick`, for what other parts of the page change too: what they choose makes a new box.

    A box that is given another value can come back from a slow browser with the old one, as if somebody had picked it.

    Args:
        key: The widget's name in this session begins with it.
    """
    shown, number = st.session_state.get(f"{key}:box", (None, 0))
    if st.session_state.get(f"{key}_{number}", shown) != chosen:
        number += 1
    st.session_state[f"{key}:box"] = (chosen, number)
    name = f"{key}_{number}"
    if name not in st.session_state:
        st.session_state[name] = chosen
    _select_box(label, options, then, name, str, more)


def _select_box(
    label: str,
    options: Sequence[Any],
    then: Callable[[Any], dict[str, Any]],
    key: str,
    format_func: Callable[[Any], str],
    more: dict[str, Any],
) -> None:
    st.selectbox(
        label, options, key=key, format_func=format_func,
        on_change=lambda: select(**then(st.session_state[key])), **more,
    )  # fmt: skip


def search_box(selection: Selection) -> None:
    """The search of the top row: what it finds stands out in every view."""
    st.session_state["find"] = selection.options.get(marks.FIND, "")
    with st.container(key="search"):
        st.text_input(
            "Search tokens", key="find", placeholder="search tokens …", label_visibility="collapsed",
            max_chars=LONGEST_SEARCH, icon=":material/search:",
            on_change=lambda: search_for(st.session_state["find"]),
        )  # fmt: skip


def search_for(words: str) -> None:
    """Look for these words in every view instead of what was marked; none lets go of all marks."""
    marks.let_go()
    select(**{marks.FIND: words.strip() or None, marks.LASSO: None})


def say_nothing(problem: str) -> None:
    """No run to show: why it cannot be shown, or without a problem what would be here, and the button that helps."""
    if problem:
        say_problem(problem)
        if st.button("All runs", icon=":material/database:", key="see_runs"):
            open_view("runs", row=current().run, run=None)
        return
    st.markdown("##### No run yet")
    say(
        "Here you will see every attention head of a model as one small map of its queries and keys. "
        "A run is one model on one set of texts or images. The bundled model and its texts take about a minute."
    )
    if st.button("New run", type="primary", icon=":material/add:"):
        open_view("runs", form="1")
