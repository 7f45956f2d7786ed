"""Two heads, or one head under two maps, side by side: what is picked or pointed at on one is so on the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from analysis.types import Site, head_name
from app import widgets
from app.state import RunFacts, Selection

BESIDE, BESIDE_MAP = "beside", "beside_map"
"""Words of the link: another head, as in ``text.dec.self.2.4`` for site and head; another map."""


def beside(selection: Selection, facts: RunFacts) -> Selection | None:
    """What the right picture shows; None where the link names nothing else, or nothing this run has."""
    changes: dict[str, Any] = {}
    label, _, head = selection.options.get(BESIDE, "").rpartition(".")
    site = next((each for each in _sites(facts) if each.label == label), None)
    if site is not None and head.isascii() and head.isdigit() and len(head) < 6 and int(head) < site.n_heads:
        changes |= {"site": site.label, "head": int(head)}
    if selection.options.get(BESIDE_MAP) in facts.maps:
        changes["map"] = selection.options[BESIDE_MAP]
    right = selection.having(**changes)
    return None if _shown(right) == _shown(selection) else right


def pick_beside(selection: Selection, facts: RunFacts) -> None:
    """The choice of what is set beside the picture."""
    with st.popover("Compare", width="stretch", help="Set another head, or another map of this one, beside it."):
        _choose(selection, selection, facts)
        st.caption("Choose another head or another map. Tokens that you pick or point at are marked on both.")
        _say_problem(selection)


def _choose(selection: Selection, here: Selection, facts: RunFacts) -> None:
    _pick_head(here, facts)
    if len(facts.maps) > 1:
        widgets.pick(
            "Under the map", list(facts.maps), here.map,
            lambda name: {BESIDE_MAP: name if name != selection.map else None}, key="beside_map",
        )  # fmt: skip


def render_compare(
    selection: Selection,
    right: Selection,
    facts: RunFacts,
    draw_picture: Callable[[Selection, str], None],
    draw_panel: Callable[[Selection, str], None],
) -> None:
    """Both pictures, each with its name and fidelity, and under each the strongest keys of what is picked.

    Args:
        draw_picture, draw_panel: Of the Head page; they take a selection and ``""`` or ``"beside"``.
    """
    with st.container(key="head_two"):
        columns = st.columns(2, gap="small")
        for column, each, side in zip(columns, (selection, right), ("", BESIDE)):
            with column:
                _heading(selection, each, facts, side)
                draw_picture(each, side)
                draw_panel(each, side)


def both_names(selection: Selection, right: Selection, facts: RunFacts) -> str:
    """What is compared, for the line above."""
    left_name, right_name = (f"**{head_name(facts.site(each.site).depth, each.head)}**" for each in (selection, right))
    what = (
        f"{left_name} under two maps" if (right.site, right.head) == (selection.site, selection.head)
        else f"{left_name} beside {right_name}"
    )  # fmt: skip
    return f"{what}. What you pick, point at or lasso on one is marked on the other; arrow keys walk the left one."


def say_close() -> None:
    """The way back to one picture."""
    st.button("Close", key="beside_close", icon=":material/close:", on_click=close, width="stretch")


def walk_beside(selection: Selection, right: Selection, target: dict[str, Any]) -> None:
    """The right picture's own arrows: its head changes; where both show one head, it changes on both."""
    if (right.site, right.head) == (selection.site, selection.head):
        widgets.select(site=target["site"], head=target["head"])
    else:
        widgets.select(**{BESIDE: f"{target['site']}.{target['head']}"})


def close() -> None:
    """One picture again."""
    widgets.select(**{BESIDE: None, BESIDE_MAP: None})


def _heading(selection: Selection, each: Selection, facts: RunFacts, side: str) -> None:
    """The head and the map; on the right they can be changed."""
    site = facts.site(each.site)
    name = f"**{head_name(site.depth, each.head)}**, {widgets.plain(widgets.stack_title(site.stack_label))}, map "
    words, change = st.columns([1, 0.3], vertical_alignment="center", gap="small")
    words.markdown(f"{name}**{widgets.plain(each.map)}**")
    with change:
        if side:
            with st.popover("Change", width="stretch"):
                _choose(selection, each, facts)
        else:
            st.html("<div style='height:2.5rem'></div>")


def _pick_head(here: Selection, facts: RunFacts) -> None:
    sites = _sites(facts)
    stack = facts.site(here.site).stack_label
    if len({site.stack_label for site in sites}) > 1:
        first = {each.stack_label: each.label for each in reversed(sites)}
        widgets.pick(
            "Stack", list(dict.fromkeys(site.stack_label for site in sites)), stack,
            lambda chosen: {BESIDE: f"{first[chosen]}.0"}, key="beside_stack", format_func=widgets.stack_title,
        )  # fmt: skip
    layers = [site for site in sites if site.stack_label == stack]
    depth, head = st.columns(2, gap="small")
    with depth:
        widgets.pick(
            "Layer", [site.label for site in layers], here.site,
            lambda label: {BESIDE: f"{label}.{_within(facts.site(label), here.head)}"}, key="beside_layer",
            format_func=lambda label: str(facts.site(label).depth),
        )  # fmt: skip
    with head:
        widgets.pick(
            "Head", list(range(facts.site(here.site).n_heads)), here.head,
            lambda chosen: {BESIDE: f"{here.site}.{chosen}"}, key="beside_head",
        )  # fmt: skip


def _within(site: Site, head: int) -> int:
    return min(head, site.n_heads - 1)


def _say_problem(selection: Selection) -> None:
    asked = [selection.options[word] for word in (BESIDE, BESIDE_MAP) if selection.options.get(word)]
    if asked:
        named = " and ".join(f"“{word[:60]}”" for word in asked)
        st.caption(widgets.plain(f"The link sets {named} beside this, which is the same or not in this run."))


def _sites(facts: RunFacts) -> list[Site]:
    """Where maps are made: wherever the run says whose tokens queries and keys are."""
    return [site for site in facts.sites if site.role == "self" or site.is_cross]


def _shown(selection: Selection) -> tuple[str | None, int | None, str | None]:
    return selection.site, selection.head, selection.map
