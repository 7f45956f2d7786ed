"""Head: all queries and keys of one head in one map, and what a picked token attends to."""

from __future__ import annotations

import base64

import pandas as pd
import streamlit as st

from analysis.types import Site, head_name
from app import cache, widgets
from app.charts.colouring import Colouring, by_column, by_kind
from app.charts.fidelity import FIDELITY_HELP, fidelity_note, fidelity_sentence, fidelity_warning, sample_note
from app.charts.head_table import leading
from app.charts.neighbours import describe_pick
from app.components.scatter import draw_panel, draw_scatter, pack_scatter
from app.state import KIND_COLOUR, RunFacts, Selection
from app.views import View
from app.views.head_parts.similar import render_similar

PICTURE, PANEL = "head_picture", "head_panel"


def render_head(selection: Selection) -> None:
    """Draw the page."""
    facts = cache.facts(selection.run)
    site = facts.site(selection.site)
    if selection.map is None:
        widgets.say_problem(
            f"Run {selection.run} has no map yet; "
            f"make one with: python -m analysis project {selection.run} --method atlas"
        )
        return
    heads = cache.heads(selection.run, selection.map)
    figures = heads[(heads["site"] == site.label) & (heads["head"] == selection.head)].iloc[0].to_dict()
    name = head_name(site.depth, selection.head)
    st.markdown(widgets.plain(f"{name} of {widgets.stack_title(site.stack_label)}: {head_sentence(figures)}"))
    picture, panel = st.columns([3.85, 1])
    view = f"{selection.run}|{selection.map}|{site.label}|{selection.head}"
    with picture:
        message = cache.message(
            f"scatter {view} {selection.colour}", selection.run,
            lambda: map_message(selection, facts, site, view, fidelity_warning(figures)),
        )  # fmt: skip
        draw_scatter(message, key=PICTURE, on_pick=pick_point, on_walk=walk)
        under_picture(selection, figures)
        render_similar(selection, site)
    with panel:
        draw_panel(picked(selection), hint(selection), view=view, key=PANEL, on_pick=pick_in_panel)
    table(selection, site)


def head_sentence(figures: dict) -> str:
    """What the head's scores say, the largest weights first."""
    said = []
    for each in leading(figures, cache.metrics(), 4):
        unit = "" if each["is_share"] else f" {each['unit'].split(';')[0]}"
        said.append(f"{each['title'].lower()} {each['value']:.2f}{unit}")
    return f"mean weights {', '.join(said)}." if said else "no scores yet."


def neighbours(facts: RunFacts, site: Site, head: int) -> dict[str, dict | None]:
    """Where each arrow key leads: left and right along the layer and on to the next, up and down the layers."""
    stack = [each for each in facts.sites if each.stack_label == site.stack_label]
    order = [(each, index) for each in stack for index in range(each.n_heads)]
    at, layer = order.index((site, head)), stack.index(site)
    found = {
        "left": order[at - 1] if at else None,
        "right": order[at + 1] if at + 1 < len(order) else None,
        "up": (stack[layer - 1], head) if layer else None,
        "down": (stack[layer + 1], head) if layer + 1 < len(stack) else None,
    }
    return {
        way: to and {"site": to[0].label, "head": to[1], "name": head_name(to[0].depth, to[1])}
        for way, to in found.items()
    }


def map_message(selection: Selection, facts: RunFacts, site: Site, view: str, caution: str) -> bytes:
    """The packed map; kept, so that a pick does not pack it again."""
    tokens = cache.tokens(selection.run)
    queries, keys = cache.points(selection.run, selection.map, site.label, selection.head)
    name = head_name(site.depth, selection.head)
    alt = f"Map of {len(tokens)} queries and {len(tokens)} keys of head {name} of {site.label}, {selection.map}"
    return pack_scatter(
        queries, keys, tokens, colouring(selection, tokens), view=view, walk=neighbours(facts, site, selection.head),
        name=name, caution=caution,
        alt=alt, input_texts=cache.input_texts(selection.run),
    )  # fmt: skip


def colouring(selection: Selection, tokens: pd.DataFrame) -> Colouring:
    """The colours that the left column asks for."""
    if selection.colour == KIND_COLOUR:
        return by_kind(len(tokens))
    info = cache.run(selection.run).token_columns()[selection.colour]
    title = selection.colour.replace("_", " ")
    return by_column(tokens[selection.colour], info.kind, title, info.unit, info.description)


def under_picture(selection: Selection, figures: dict) -> None:
    """How far the map can be believed."""
    sentence = fidelity_sentence(figures, cache.projection(selection.run, selection.map)["target"])
    sample = sample_note(cache.head_parameters(selection.run, selection.map, selection.site, selection.head))
    if sentence or sample:
        said = (sentence, fidelity_note(figures), sample)
        st.caption(" ".join(part for part in said if part), help=FIDELITY_HELP)


def picked(selection: Selection) -> dict | None:
    """What the panel says of the picked token, with the head's true weights."""
    if selection.input is None or selection.token is None:
        return None
    attention = cache.attention(selection.run, selection.site, selection.head, selection.input)
    text = cache.input_texts(selection.run).get(selection.input)
    tokens = cache.tokens(selection.run)
    found = describe_pick(attention, tokens, selection.input, selection.token, selection.kind, text)
    if text is None:
        png = base64.b64encode(cache.image(selection.run, selection.input)).decode()
        found |= {"image": f"data:image/png;base64,{png}", "image_alt": f"Image {selection.input}"}
    return found


def hint(selection: Selection) -> list[str]:
    """What to do here, for somebody who has picked nothing."""
    return [
        "Each token is two points: its query (what it looks for) and its key (what it offers).",
        "Point at one to read it. Click to see what it looks at, and who looks at it, with exact weights.",
        "Arrow keys walk the heads, + and − zoom, Escape lets go.",
    ]


def pick_point() -> None:
    """A point was clicked on the map, or let go."""
    _pick(st.session_state[PICTURE].pick)


def pick_in_panel() -> None:
    """A row of the panel was clicked, or the pick let go."""
    _pick(st.session_state[PANEL].pick)


def _pick(point: dict | None) -> None:
    if point is None:
        widgets.select(input=None, token=None, kind="query")
    else:
        widgets.select(**point)


def walk() -> None:
    """An arrow asks for the next head; the picked token stays picked."""
    target = st.session_state[PICTURE].walk
    widgets.select(site=target["site"], head=target["head"])


def table(selection: Selection, site: Site) -> None:
    """The points as numbers, to read and to take away."""
    with st.expander("Table of points"):
        tokens = cache.tokens(selection.run)
        queries, keys = cache.points(selection.run, selection.map, site.label, selection.head)
        shown = tokens[["input_id", "position", "text"]].copy()
        for kind, places in (("query", queries), ("key", keys)):
            for axis, values in zip("xyz", places.T):
                shown[f"{kind} {axis}"] = values
        st.dataframe(shown.head(2000), hide_index=True, height=320)
        name = f"{selection.run}-{head_name(site.depth, selection.head)}-{selection.map}.csv"
        st.download_button(
            f"Download all {len(shown):,} tokens as CSV",
            lambda: shown.to_csv(index=False),
            name,
            "text/csv",
            on_click="ignore",
        )


VIEW = View("Head", ":material/scatter_plot:", order=20, render=render_head)
