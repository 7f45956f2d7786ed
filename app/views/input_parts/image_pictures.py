"""An image: patches shaded for the picked token, arrows to the strongest keys, the strong flows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.types import KEY
from app.charts.image_attention import make_overlay, patch_table
from app.charts.image_flows import FLOWS, strongest_arrows, strongest_flows
from app.charts.scales import make_scale, weight_words
from app.charts.words import percent
from app.views.input_parts.clicks import clickable
from app.views.input_parts.looks import FLOW_COUNT, SMOOTH
from app.views.input_parts.one_input import OneInput
from app.views.input_parts.tables import pair_table

PICTURES = {"map": "Picture", "arrows": "Arrows", "flows": "Strong flows", "table": "Table", "all": "Over all inputs"}
"""Words of the link (``show=``) and of the page."""


GROWS = """
<style>
.st-key-input_picture div:has(svg.marks) { width: 100% !important; max-width: none; }
.st-key-input_picture svg.marks { width: 100%; height: auto; max-height: max(360px, calc(100vh - 430px)); }
</style>
"""
"""The drawing takes the width of its column, as far as the screen is high enough. No data goes in here."""


def token_names(one: OneInput) -> list[str]:
    """``CLS``, ``patch 0, 4``: of every token."""
    return patch_table(np.zeros(len(one.tokens)), one.tokens)["name"].tolist()


def unit_names(one: OneInput) -> list[str]:
    """Of every token that is shown."""
    names = token_names(one)
    return [names[first] for first in one.shown.first]


def image_picture(one: OneInput, shown: str) -> None:
    """The picture that the link asks for."""
    if shown == "table":
        return pair_table(one, unit_names(one))
    selection = one.selection
    weights = one.by_token(one.weights())
    table = patch_table(weights, one.tokens)
    arrows, said = None, _words(table, one)
    scale = make_scale(weights, one.scale.name)
    if shown in ("arrows", "flows"):
        matrix = one.by_token(one.shown.seen().astype(float))
        arrows, said = _arrows(matrix, table, one) if shown == "arrows" else _flows(matrix, table, one)
        scale = make_scale(arrows["weight"].to_numpy(), one.scale.name)
    chart = make_overlay(
        table, one.source.image(), scale, one.token, selection.kind, title=one.title,
        smooth=selection.options.get(SMOOTH) == "1",
        marked=None if one.marked_tokens is None else one.marked_tokens.tolist(), arrows=arrows,
        sinks=None if one.sinks is None else np.flatnonzero(one.sinks.columns).tolist(),
    )  # fmt: skip
    st.html(GROWS)
    with st.container(key="input_picture"):
        clickable(chart, {"pick": lambda point: _pick(one, point)}, f"input_overlay_{shown}")
    st.caption(said)
    return None


def _pick(one: OneInput, point: dict) -> None:
    if point.get("position") is not None:
        one.pick(int(point["position"]))


def _arrows(matrix: np.ndarray, table: pd.DataFrame, one: OneInput) -> tuple[pd.DataFrame, str]:
    arrows = strongest_arrows(matrix, table)
    n_self = int(arrows["is_self"].sum())
    patches = table.loc[table["is_patch"], "position"].to_numpy()
    seen = np.nan_to_num(matrix[patches], nan=-1)
    n_beside = int((~table["is_patch"].to_numpy()[seen.argmax(axis=1)]).sum())
    said = f"From each patch to the patch it looks at most; {n_self} of {len(patches)} look at themselves (dots)."
    if n_beside:
        said += f" {n_beside} look still more at a square."
    return arrows, said


def _flows(matrix: np.ndarray, table: pd.DataFrame, one: OneInput) -> tuple[pd.DataFrame, str]:
    n = int(one.selection.option(FLOW_COUNT, [str(each) for each in FLOWS], "50"))
    arrows = strongest_flows(matrix, table, n)
    n_pairs = int(np.isfinite(matrix).sum() - np.isfinite(np.diagonal(matrix)).sum())
    low = weight_words(float(arrows["weight"].min())) if len(arrows) else "0"
    said = f"The {len(arrows):,} strongest of {n_pairs:,} pairs of different tokens: weights of {low} and more."
    return arrows, said


def _words(table: pd.DataFrame, one: OneInput) -> str:
    beside = table.loc[~table["is_patch"], "weight"].sum()
    total = float(table["weight"].sum()) or 1.0
    has_squares = (~table["is_patch"] & table["weight"].notna()).any()
    share = f" {percent(beside / total)} of the weight lies on the squares beside the picture." if has_squares else ""
    if one.picked is None:
        return f"Mean weight of every token over all queries.{share} Click a patch or a square to see its own."
    if one.sinks is not None and one.selection.kind == KEY and one.sinks.columns[one.token]:
        return f"The key of {table['name'].iloc[one.token]} (outlined) is a sink and hidden: no weight on it is drawn."
    name = table["name"].iloc[one.token]
    if one.selection.kind == KEY:
        return f"How much each token looks at {name} (outlined); these weights need not add up to 1."
    return f"Where {name} (outlined) looks.{share}"
