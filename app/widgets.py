"""Pickers and sentences used by two or more views, and the left column that is the same in all of them.

The address is the only memory: a picker shows what the address says and, when used, writes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import streamlit as st

from analysis.errors import RunError, UserError
from app import cache, marks
from app.palette import VIRIDIS
from app.state import KIND_COLOUR, RunFacts, Selection, read_link, write_link

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
    st.selectbox(
        label, options, key=key, format_func=format_func,
        on_change=lambda: select(**then(st.session_state[key])), **more,
    )  # fmt: skip


def say_problem(sentence: str) -> None:
    """An error as one sentence, with nothing else in its way."""
    st.error(sentence, icon=":material/error:")


def say_notes(notes: Sequence[str]) -> None:
    """What of a link could not be followed."""
    if notes:
        st.warning("  \n".join(plain(note) for note in notes), icon=":material/link_off:")


def say_empty() -> None:
    """No run yet: what would be here, and the one button that brings it."""
    st.markdown("##### No run yet")
    st.markdown(
        "Here you will see every attention head of a model as one small map of its queries and keys. "
        "A run is one model on one set of texts or images. Start the bundled demo with `make app`, "
        "or choose a model and data of your own."
    )
    if st.button("New run", type="primary", icon=":material/add:"):
        open_view("runs")


def choose_run(selection: Selection) -> str | None:
    """The run to show: the one asked for, else the newest complete one; None when there is none at all.

    Raises:
        RunError: The run asked for does not exist, with the ones that do.
    """
    runs = cache.runs()
    if selection.run is not None:
        if selection.run not in set(runs["run_id"]):
            known = ", ".join(runs["run_id"].head(6)) or "no runs yet"
            asked = selection.run if len(selection.run) <= 60 else selection.run[:59] + "…"
            raise RunError(f"There is no run {asked!r} here (there are: {known}); pick one in the left column.")
        return selection.run
    complete = runs[runs["status"] == "complete"].sort_values("created", ascending=False)
    return None if complete.empty else str(complete["run_id"].iloc[0])


def open_facts(run_id: str | None) -> RunFacts | None:
    """What the run offers; None without a run.

    Raises:
        RunError: It is damaged, with what to do.
    """
    if run_id is None:
        return None
    try:
        return cache.facts(run_id)
    except RunError as error:
        runs = cache.runs()
        if "partial" in set(runs.loc[runs["run_id"] == run_id, "status"]):
            raise RunError(
                f"Run {run_id!r} is unfinished: go on with it on the page Runs, or pick another run in the left column."
            ) from error
        cure = "extract it again, or pick another run in the left column"
        raise RunError(f"{str(error).rstrip('.')}; {cure}.") from error


def sidebar(selection: Selection, facts: RunFacts | None) -> None:
    """The left column: what applies in every view. `facts` is None when the run does not open."""
    with st.sidebar:
        _pick_run(selection)
        if facts is None or not facts.sites:
            return
        if len(facts.stacks) > 1:
            _pick_stack(selection, facts)
        if facts.maps:
            pick("Map", facts.maps, selection.map, lambda name: {"map": name}, key="pick_map", help=_MAP_HELP)
        columns = (KIND_COLOUR, *facts.columns)
        pick(
            "Colour", columns, selection.colour, lambda name: {"colour": name}, key="pick_colour",
            format_func=lambda name: "query / key" if name == KIND_COLOUR else name.replace("_", " "),
            help="What the colour of a point says: its kind, or a column of the token table.",
        )  # fmt: skip
        say_marks(selection)


def search_box(selection: Selection) -> None:
    """The search of the top row: what it finds stands out in every view."""
    st.session_state["find"] = selection.options.get(marks.FIND, "")
    with st.container(key="search"):
        st.text_input(
            "Search tokens", key="find", placeholder="search tokens …", label_visibility="collapsed",
            max_chars=marks.LONGEST_SEARCH, icon=":material/search:",
            on_change=lambda: _search(st.session_state["find"]),
        )  # fmt: skip


def _search(words: str) -> None:
    marks.let_go()
    select(**{marks.FIND: words.strip() or None})


def say_marks(selection: Selection) -> None:
    """How much is marked, and the way to let go of it."""
    try:
        marked = marks.marks(selection)
    except UserError as error:
        return st.caption(f":material/error: {plain(str(error))}")
    if marked is None:
        return None
    n, where = marked.n_tokens, cache.tokens(selection.run).loc[marked.tokens, "input_id"].nunique()
    what = f"{n:,} queries and {n:,} keys in {where:,} inputs" if n else f"nothing. {_SEARCH_HELP}"
    st.caption(f"{plain(marked.title)}: {what}", help=_SEARCH_HELP)
    st.button("Clear", key="clear_marks", type="tertiary", on_click=lambda: _search(""))
    return None


_SEARCH_HELP = "Words anywhere in a text; /…/ is a regular expression; column=value looks in a column of the tokens."
_MAP_HELP = "How the queries and keys of a head were placed in one plane. Each map says beside it what it keeps."


def _pick_run(selection: Selection) -> None:
    runs = cache.runs()
    status = dict(zip(runs["run_id"], runs["status"]))
    options = [run for run, state in status.items() if state != "partial"]
    if not options:
        return
    asked = selection.run if selection.run in options else None
    pick(
        "Run", options if asked else [None, *options], asked, lambda run: _other_run(run), key="pick_run",
        format_func=lambda run: _run_name(run, status),
        help="One model on one set of texts or images, with everything computed from it.",
    )  # fmt: skip


def _run_name(run: str | None, status: dict[str, str]) -> str:
    if run is None:
        return "choose a run"
    return run if status[run] == "complete" else f"{run} ({status[run].split(':')[0]})"


def _other_run(run: str | None) -> dict[str, Any]:
    """Another run: what belonged to the last one goes, what is about looking stays."""
    return {"run": run, "site": None, "head": None, "input": None, "token": None, "map": None}


def _pick_stack(selection: Selection, facts: RunFacts) -> None:
    first_sites = {stack: next(s.label for s in facts.sites if s.stack_label == stack) for stack in facts.stacks}
    pick(
        "Stack", facts.stacks, facts.site(selection.site).stack_label,
        lambda stack: {"site": first_sites[stack], "head": 0}, key="pick_stack",
        help="One tower of the model: the attention sites that follow one another on the same tokens.",
    )  # fmt: skip


def plain(text: str) -> str:
    """Text that markdown leaves as it is."""
    return "".join("\\" + letter if letter in r"\`*_{}[]()<>#+-.!|~$:" else letter for letter in text)


_STACK_WORDS = {"enc": "encoder", "dec": "decoder", "self": "self-attention", "cross": "cross-attention"}


def stack_title(stack: str) -> str:
    """``text.dec.self`` as a reader says it: Text decoder, self-attention."""
    modality, *middle, role = stack.split(".")
    middle = " ".join(_STACK_WORDS.get(word, word) for word in middle)
    return f"{modality.capitalize()} {middle}, {_STACK_WORDS.get(role, role)}"


def ramp_legend(title: str, unit: str, low: float, high: float) -> None:
    """What the colours of a ramp say: name, ends, unit."""
    stops = ", ".join(VIRIDIS)
    st.html(
        f'<div style="display:flex;align-items:center;gap:8px;font-size:12.5px"><span>{escape(title)}</span>'
        f"<span>{low:.3g}</span>"
        f'<span style="width:140px;height:9px;border-radius:4px;background:linear-gradient(90deg,{stops})"></span>'
        f'<span>{high:.3g}</span><span style="opacity:.7">{escape(unit)}</span></div>'
    )
