"""Input: one text or image through one head, or through the average of several."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import UserError
from analysis.types import Site, head_name
from app import cache, widgets
from app.cache import pictures
from app.components.headstrip import headstrip
from app.state import Selection, resolve
from app.views import View
from app.views.input_parts import OneInput, render_image, render_text

LISTED_INPUTS = 2000
"""Up to so many inputs are offered in one list; beyond, a search narrows them first."""

LONG_TOKENS = 1024
"""From here on the small maps of all heads take seconds and wait for a click."""


def render_input(selection: Selection) -> None:
    """Draw the page."""
    _draw(selection.run)


@st.fragment
def _draw(run_id: str) -> None:
    try:
        _view(run_id)
    except UserError as error:
        widgets.say_problem(str(error))


def _view(run_id: str) -> None:
    facts = cache.facts(run_id)
    if not facts.n_tokens or not facts.sites:
        raise UserError(f"Run {run_id} has no inputs or no attention: extract it again.")
    selection, _ = resolve(widgets.current().having(run=run_id), facts)
    inputs = cache.inputs(run_id)
    if selection.input is None:
        selection = selection.having(input=int(inputs["input_id"].iloc[0]))
    site = facts.site(selection.site)
    stack = [each for each in facts.sites if each.stack_label == site.stack_label]
    _pick(selection, inputs, site, stack)
    one = _read(selection, site, _averaged(selection, stack), inputs)
    (render_image if one.is_image else render_text)(one)
    _strip(one, stack)


def _pick(selection: Selection, inputs: pd.DataFrame, site: Site, stack: list[Site]) -> None:
    """One row: the input, its neighbours, the head and the heads it is averaged with."""
    ids = inputs["input_id"].astype(int).tolist()
    names = dict(zip(ids, (_input_name(row) for row in inputs.to_dict("records"))))
    widths = [1, 0.075, 0.075, 0.075, 0.16, 0.16, 0.24]
    box, before, after, chance, layer, head, average = st.columns(widths, vertical_alignment="bottom", gap="small")
    with box:
        listed = ids if len(ids) <= LISTED_INPUTS else _search(ids, names, selection.input)
        widgets.pick(
            f"Input ({len(ids):,} in this run; type to search)", listed, selection.input,
            lambda chosen: {"input": chosen, "token": None, "at": None}, key="input_pick",
            format_func=lambda each: names[each],
        )  # fmt: skip
    here = ids.index(selection.input)
    steps = ((before, "‹", ids[here - 1], "Previous input"), (after, "›", ids[(here + 1) % len(ids)], "Next input"))
    for column, sign, other, says in steps:
        column.button(sign, key=f"input_{says}", help=says, on_click=_go_to, args=(other,), width="stretch")
    others = [each for each in ids if each != selection.input] or ids
    chance.button(
        "", icon=":material/shuffle:", key="input_random", help="A random input", width="stretch",
        on_click=lambda: _go_to(random.choice(others)),
    )  # fmt: skip
    with layer:
        widgets.pick(
            "Layer", [each.label for each in stack], site.label, lambda label: {"site": label}, key="input_layer",
            format_func=lambda label: str(next(each.depth for each in stack if each.label == label)),
        )  # fmt: skip
    with head:
        heads = list(range(site.n_heads))
        widgets.pick("Head", heads, selection.head, lambda chosen: {"head": chosen}, key="input_head")
    with average:
        _pick_average(selection, stack)


def _pick_average(selection: Selection, stack: list[Site]) -> None:
    names = [head_name(each.depth, head) for each in stack for head in range(each.n_heads)]
    chosen = [name for name in _with(selection) if name in names]
    with st.popover(f"Mean of {len(chosen) + 1}" if chosen else "Average", width="stretch"):
        st.session_state["input_with"] = chosen
        st.multiselect(
            "Average the head with", names, key="input_with", placeholder="no other head",
            on_change=lambda: widgets.select(**{"with": ",".join(st.session_state["input_with"]) or None}),
            help="Show the plain mean of the attention of these heads and the picked one.",
        )  # fmt: skip


def _go_to(input_id: int) -> None:
    widgets.select(input=input_id, token=None, at=None)


def _search(ids: list[int], names: dict[int, str], chosen: int) -> list[int]:
    words = st.text_input(
        "Search the inputs", key="input_search", placeholder=f"{len(ids):,} inputs: words to look for"
    )
    found = [each for each in ids if words.lower() in names[each].lower()]
    if len(found) > LISTED_INPUTS:
        st.caption(f"{len(found):,} match; the first {LISTED_INPUTS:,} are listed. More words narrow them.")
    return sorted({chosen, *found[:LISTED_INPUTS]})


def _input_name(row: dict) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        told = [str(row[name]) for name in ("name", "label", "class") if isinstance(row.get(name), str)]
        text = " · ".join(told) or f"{row.get('width')} × {row.get('height')} pixels"
    text = " ".join(text[:400].split()) or "(empty)"
    return f"{row['input_id']} · {text if len(text) <= 110 else text[:109] + '…'}"


def _with(selection: Selection) -> list[str]:
    return [name for name in selection.options.get("with", "").split(",") if name]


def _averaged(selection: Selection, stack: list[Site]) -> list[tuple[Site, int]]:
    """The picked head and those it is averaged with, each once."""
    known = {head_name(site.depth, head): (site, head) for site in stack for head in range(site.n_heads)}
    own = next((site, selection.head) for site in stack if site.label == selection.site)
    return list(dict.fromkeys([own, *(known[name] for name in _with(selection) if name in known)]))


def _read(selection: Selection, site: Site, heads: list[tuple[Site, int]], inputs: pd.DataFrame) -> OneInput:
    run_id, input_id = selection.run, selection.input
    attention = np.mean([cache.attention(run_id, each.label, head, input_id) for each, head in heads], axis=0)
    allowed = np.any([pictures.allowed(run_id, each.label, input_id) for each, _ in heads], axis=0)
    tokens = cache.tokens(run_id)
    rows = tokens[tokens["input_id"] == input_id].sort_values("position").reset_index(drop=True)
    text = inputs.loc[inputs["input_id"] == input_id].to_dict("records")[0].get("text")
    return OneInput(
        run_id=run_id,
        selection=selection,
        heads=heads,
        attention=attention,
        allowed=allowed,
        tokens=rows,
        text=text if isinstance(text, str) else None,
    )


def _strip(one: OneInput, stack: list[Site]) -> None:
    selection = one.selection
    st.markdown("###### All heads on this input")
    n = len(one.tokens)
    if n > LONG_TOKENS and not st.toggle(
        f"Draw the small maps of all heads ({n:,} tokens: some seconds)", key="input_all"
    ):
        return
    names = [head_name(site.depth, head) for site in stack for head in range(site.n_heads)]
    places = [(site, head) for site in stack for head in range(site.n_heads)]
    if one.is_image:
        sprite, shape = pictures.image_sprite(
            one.run_id, stack[0].stack_label, selection.input, selection.token, selection.kind
        )
        shown = "the weights of the picked token" if selection.token is not None else "the mean weight on each patch"
    else:
        sprite, shape = pictures.text_sprite(one.run_id, stack[0].stack_label, selection.input)
        shown = "queries down, keys across"
    st.caption(
        f"Rows are layers, columns heads: {shown}. Each map runs from 0 to its own largest weight, on a square-root "
        "scale. A click shows the head above."
    )
    headstrip(
        sprite, names, names, max(site.n_heads for site in stack), [f"L{site.depth}" for site in stack], shape,
        [places.index(each) for each in one.heads],
        lambda place: widgets.select(site=places[place][0].label, head=places[place][1]),
        key="input_strip",
    )  # fmt: skip


VIEW = View("Input", ":material/article:", order=30, render=render_input)
