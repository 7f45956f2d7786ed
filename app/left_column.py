"""The left column, the same in every view: run, stack, map, colour, hidden sinks, and what is marked."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis.errors import UserError
from app import cache, marks
from app.glossary import meaning
from app.hosted import sign_in
from app.sentences import plain, stack_title
from app.state import CYCLE, KIND_COLOUR, LONGEST_CYCLE, OF_ONE_RUN, RunFacts, Selection, cycle_of, switch_sinks
from app.widgets import SEARCH_HELP, bound, current, pick, search_for, select

MAPS_HELP = "Each map says beside it how much it keeps."


def sidebar(selection: Selection, facts: RunFacts | None) -> None:
    """Draw it. `facts` is None when the run does not open."""
    _choices(selection, facts)
    sign_in.who()


def _choices(selection: Selection, facts: RunFacts | None) -> None:
    with st.sidebar:
        _pick_run(selection)
        if facts is None or not facts.sites:
            return
        if len(facts.stacks) > 1:
            _pick_stack(selection, facts)
        if facts.maps:
            pick("Map", facts.maps, selection.map, lambda name: {"map": name}, key="pick_map",
                 help=meaning("map", MAPS_HELP))  # fmt: skip
        cycle = cycle_of(selection.colour)
        columns = (KIND_COLOUR, *facts.columns, f"{CYCLE}{cycle or 8}")
        pick(
            "Colour", columns, selection.colour, lambda name: {"colour": name}, key="pick_colour",
            format_func=_colour_name, help=meaning("colour"),
        )  # fmt: skip
        if cycle is not None:
            _pick_cycle(cycle)
        _hide_sinks(selection, facts)
        _say_marks(selection)


SHOWN_NAME = 17
"""Letters of a run's name that the box shows; a longer one stands below it, whole."""


def _colour_name(name: str) -> str:
    if name == KIND_COLOUR:
        return "query / key"
    return f"position mod {cycle_of(name)}" if cycle_of(name) else name.replace("_", " ")


def _pick_cycle(cycle: int) -> None:
    """The k of position mod k."""
    st.number_input(
        "k of position mod k", 2, LONGEST_CYCLE,
        **bound("pick_cycle", cycle, lambda k: select(colour=f"{CYCLE}{k}")),
    )  # fmt: skip


def _pick_run(selection: Selection) -> None:
    runs = cache.runs(selection.run)
    status = dict(zip(runs["run_id"], runs["status"]))
    options = [run for run, state in status.items() if state != "partial"]
    if not options:
        return
    asked = selection.run if selection.run in options else None
    pick(
        "Run", options if asked else [None, *options], asked, lambda run: _other_run(run), key="pick_run",
        format_func=lambda run: _run_name(run, status), help=meaning("run"),
    )  # fmt: skip
    if asked and len(asked) > SHOWN_NAME:
        st.caption(plain(asked))


def _run_name(run: str | None, status: dict[str, str]) -> str:
    if run is None:
        return "choose a run"
    return run if status[run] == "complete" else f"{run} ({status[run].split(':')[0]})"


def _other_run(run: str | None) -> dict[str, Any]:
    """Another run: what belonged to the last one goes, what is about looking stays."""
    return {**dict.fromkeys(OF_ONE_RUN), "run": run}


def _pick_stack(selection: Selection, facts: RunFacts) -> None:
    first_sites = {stack: next(s.label for s in facts.sites if s.stack_label == stack) for stack in facts.stacks}
    pick(
        "Stack", facts.stacks, facts.site(selection.site).stack_label,
        lambda stack: {"site": first_sites[stack], "head": 0}, key="pick_stack", format_func=stack_title,
        help=meaning("stack"),
    )  # fmt: skip


def _hide_sinks(selection: Selection, facts: RunFacts) -> None:
    """The switch; what it hides is said where it is hidden."""
    st.toggle(
        "Hide sinks", help=meaning("hidden sinks"),
        **bound("hide_sinks", selection.hides_sinks, lambda _: select(**switch_sinks(current(), facts))),
    )  # fmt: skip


def _say_marks(selection: Selection) -> None:
    """How much is marked, and the way to clear it."""
    try:
        marked = marks.marks(selection)
    except UserError as error:
        st.caption(f":material/error: {plain(str(error))}")
        return _clear()
    if marked is None:
        return None
    n, where = marked.n_tokens, cache.tokens(selection.run).loc[marked.tokens, "input_id"].nunique()
    what = f"{n:,} queries and {n:,} keys in {where:,} inputs" if n else f"nothing. {SEARCH_HELP}"
    st.caption(f"{plain(marked.title)}: {what}", help=SEARCH_HELP)
    return _clear()


def _clear() -> None:
    st.button("Clear", key="clear_marks", type="tertiary", on_click=lambda: search_for(""))
