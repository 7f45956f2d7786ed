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
    "bound", "current", "open_view", "pick", "plain", "ramp_legend", "remember_pages", "say", "say_notes",
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


def bound(key: str, shown: Any, write: Callable[[Any], object]) -> dict[str, Any]:
    """The `key` and `on_change` of a widget that shows `shown` and, when used, calls ``write(value)``.

    What a slow browser sends along with a click need not be what its user sees: it holds values of widgets that went
    away, and old values of those that show another one by now, and Streamlit takes both for something picked. So what
    was shown last is not written, and a value that comes from elsewhere makes a new widget.

    Args:
        key: The widget's name in this session, unique on the page; a widget made anew has a number after it.

    Example:
        ``st.toggle("Less null", **bound("less_null", is_less, lambda is_on: select(null="1" if is_on else None)))``
    """
    before, number = st.session_state.get(f"{key}:shown", (shown, 0))
    if st.session_state.get(_numbered(key, number), before) != shown:
        number += 1
    name = _numbered(key, number)
    st.session_state[f"{key}:shown"] = (shown, number)
    st.session_state[name] = shown

    def changed() -> None:
        nonlocal shown
        if st.session_state[name] != shown:
            shown = st.session_state[name]
            write(shown)

    return {"key": name, "on_change": changed}


def _numbered(key: str, number: int) -> str:
    return f"{key}_{number}" if number else key


def pick(
    label: str, options: Sequence[Any], chosen: Any, then: Callable[[Any], dict[str, Any]], *, key: str, **more: Any
) -> None:
    """A select box that shows `chosen` and, when changed, writes ``then(value)`` to the address.

    Args:
        then: From the new value to the changes of the selection, as in ``lambda head: {"head": head}``.
        key: As of `bound`.
    """
    shown = chosen if chosen in options else options[0]
    st.selectbox(label, options, **bound(key, shown, lambda value: select(**then(value))), **more)


def search_box(selection: Selection) -> None:
    """The search of the top row: what it finds stands out in every view."""
    with st.container(key="search"):
        st.text_input(
            "Search tokens", placeholder="search tokens …", label_visibility="collapsed", max_chars=LONGEST_SEARCH,
            icon=":material/search:", **bound("find", selection.options.get(marks.FIND, ""), search_for),
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
