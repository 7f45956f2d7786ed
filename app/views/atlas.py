"""Atlas: every head of the run as one small map, layers by heads."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import pandas as pd
import streamlit as st

from app import cache, widgets
from app.charts.head_table import leading, summary
from app.components.matrix import Cell, Stack, Tint, draw_card, draw_matrix, pack_matrix
from app.state import EXPLAINED, RunFacts, Selection
from app.views import View

FIDELITY = {"title": "Map explains", "unit": "share of the head's attention; 0 = no better than uniform", "high": ""}
NO_TINT = "none"


def render_atlas(selection: Selection) -> None:
    """Draw the page."""
    facts = cache.facts(selection.run)
    heads = cache.heads(selection.run, selection.map)
    st.markdown(widgets.plain(summary(heads)))
    picture, side = st.columns([3.85, 1])
    with side:
        tint, order = pick_frame(selection, facts, heads)
    with picture:
        message = cache.message(
            f"matrix {selection.map} {tint} {order}", selection.run,
            lambda: matrix_message(selection, facts, heads, tint, order),
        )  # fmt: skip
        opened = draw_matrix(message, key="atlas_matrix", on_select=select_head)
        if tint:
            widgets.ramp_legend(score_title(tint), score_words(tint)["unit"], *limits(heads[tint]))
    with side:
        opened = opened or head_card(selection)
    if opened:
        widgets.open_view("head", **opened, input=None, token=None)
    table(heads)


def pick_frame(selection: Selection, facts: RunFacts, heads: pd.DataFrame) -> tuple[str | None, str]:
    """What the frames show and how the heads are ordered."""
    scores = [EXPLAINED, *facts.scores] if EXPLAINED in heads else list(facts.scores)
    tint = selection.score if selection.score in scores else None
    orders = ("layer", "rank") if tint else ("layer",)
    order = selection.option("order", orders)
    widgets.pick(
        "Frame shows", [NO_TINT, *scores], tint or NO_TINT,
        lambda name: {"score": None if name == NO_TINT else name}, key="pick_tint", format_func=score_title,
    )  # fmt: skip
    if tint:
        widgets.pick(
            "Order", orders, order, set_order,
            key="pick_order", format_func={"layer": "by layer", "rank": "by what the frame shows"}.get,
        )  # fmt: skip
    return tint, order


def set_order(order: str) -> dict[str, str | None]:
    """Only the unusual order is worth a word in the address."""
    return {"order": None if order == "layer" else order}


def select_head() -> None:
    """The matrix says which head was clicked: the address remembers it."""
    place = st.session_state["atlas_matrix"].select
    widgets.select(site=place and place["site"], head=place and place["head"])


def matrix_message(selection: Selection, facts: RunFacts, heads: pd.DataFrame, tint: str | None, order: str) -> bytes:
    """Everything the matrix shows, on hover too."""
    words = cache.metrics()
    stacks = []
    for stack in facts.stacks:
        rows = heads[heads["stack"] == stack].to_dict("records")
        sprite = cache.sprite(selection.run, selection.map, stack) if selection.map else b""
        depths = sorted({row["layer"] for row in rows})
        n_heads = max(row["head"] for row in rows) + 1
        cells = [cell(row, depths.index(row["layer"]), tint, words) for row in rows]
        subtitle = f"{len(depths)} layers × {n_heads} heads"
        stacks.append(
            Stack(widgets.stack_title(stack), subtitle, n_heads, cells, sprite, _png_width(sprite) // n_heads)
        )
    shown = None
    if tint:
        low, high = limits(heads[tint])
        shown = Tint(score_title(tint), score_words(tint)["unit"], low, high)
    alt = f"{len(heads)} maps of queries (green) and keys (magenta), rows are layers, columns are heads"
    return pack_matrix(stacks, shown, order, alt)


def cell(row: Mapping[str, object], place: int, tint: str | None, words: Mapping[str, Mapping[str, str]]) -> Cell:
    """One head, from its row of the head table."""
    return Cell(
        site=row["site"], layer=row["layer"], head=row["head"], name=row["name"], row=place, column=row["head"],
        explains=_figure(row.get(EXPLAINED)), key_only=_figure(row.get("key_only_kl")),
        tint=_figure(row.get(tint)) if tint else None, leading=tuple(leading(row, words)),
    )  # fmt: skip


def head_card(selection: Selection) -> Mapping[str, object] | None:
    """The selected head larger and in words; hovering shows another without a rerun."""
    selected = points = None
    if widgets.current().head is not None:
        selected = {"site": selection.site, "head": selection.head}
        if selection.map:
            points = np.vstack(cache.points(selection.run, selection.map, selection.site, selection.head))[:, :2]
    hint = "Point at a head to see it here. Click keeps it, double click or Enter opens it."
    return draw_card(selected, points, hint, key="atlas_card")


def table(heads: pd.DataFrame) -> None:
    """The same numbers as a table, to read, sort and take away."""
    with st.expander("Table of all heads"):
        shown = heads.rename(columns=score_title).drop(columns=["stack"])
        st.dataframe(shown, hide_index=True, height=320)
        st.download_button("Download CSV", heads.to_csv(index=False), "heads.csv", "text/csv", on_click="ignore")


def score_words(name: str) -> Mapping[str, str]:
    """Title and unit of a head score."""
    return FIDELITY if name == EXPLAINED else cache.metrics().get(name, {"title": name, "unit": "", "high": ""})


def score_title(name: str) -> str:
    """The score as it is called on the page."""
    return name if name in (NO_TINT, "site", "layer", "head", "name") else score_words(name)["title"].replace("_", " ")


def limits(values: pd.Series) -> tuple[float, float]:
    """The ends of the colour ramp: the smallest and largest value there is, from 0 where the values allow it."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return 0.0, 1.0
    return (0.0 if 0 <= finite.min() < finite.max() / 2 else float(finite.min())), float(finite.max())


def _figure(value: object) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)


def _png_width(png: bytes) -> int:
    """Pixels across, from the header (PNG specification, section 11.2.2); 0 for no picture."""
    return struct.unpack(">I", png[16:20])[0] if png else 0


VIEW = View("Atlas", ":material/grid_view:", order=10, render=render_atlas)
