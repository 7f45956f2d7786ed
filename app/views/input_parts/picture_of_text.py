"""A text with a picture among its words: how much of the picked token's attention goes to each part of the picture."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.types import KEY
from app import widgets
from app.charts.image_attention import make_overlay, patch_table
from app.charts.scales import make_scale
from app.charts.words import percent
from app.views.input_parts import text_pictures
from app.views.input_parts.clicks import clickable
from app.views.input_parts.image_pictures import GROWS
from app.views.input_parts.one_input import OneInput

PICTURE = "picture"
"""Word of the link: ``show=picture``."""


def patches_of(one: OneInput) -> np.ndarray:
    """Positions of the tokens that are parts of a picture and whose place in it is known."""
    if one.is_image or "left" not in one.tokens:
        return np.array([], dtype=int)
    return np.flatnonzero(one.tokens["left"].notna())


def pictures_of_text(one: OneInput) -> dict[str, str]:
    """Words of the link and of the page: first of all the picture, where a text has one."""
    own = {PICTURE: "On the picture"} if len(patches_of(one)) else {}
    return {**own, **text_pictures.PICTURES}


def picture_of_text(one: OneInput) -> None:
    """The picture with its parts shaded; a click picks the token of a part."""
    places = patches_of(one)
    weights = one.by_token(one.weights())
    table = patch_table(weights[places], one.tokens.iloc[places]).assign(position=places)
    chart = make_overlay(
        table, one.source.image(), make_scale(weights[places], one.scale.name), one.token, one.selection.kind,
        title=one.title, marked=None if one.marked_tokens is None else one.marked_tokens.tolist(),
        sinks=None if one.sinks is None else [place for place in places.tolist() if one.sinks.columns[place]],
    )  # fmt: skip
    st.html(GROWS)
    with st.container(key="input_picture"):
        clickable(chart, {"pick": lambda point: _pick(one, point)}, "input_overlay_picture")
    st.caption(widgets.plain(_words(one, weights, places)))


def _pick(one: OneInput, point: dict) -> None:
    if point.get("position") is not None:
        one.pick(int(point["position"]))


def _words(one: OneInput, weights: np.ndarray, places: np.ndarray) -> str:
    """How much of the attention the picture gets."""
    total = float(np.nansum(weights)) or 1.0
    share = percent(float(np.nansum(weights[places])) / total)
    n, whole = len(places), ""
    if "crop" in one.tokens and (one.tokens["crop"] == "whole").any():
        whole = " Beside it the whole picture made small, which the model sees too."
    if one.picked is None:
        return f"{share} of a token's weight lies on the {n:,} tokens of the picture on average. Pick a token.{whole}"
    name = one.labels[one.picked]
    if one.selection.kind == KEY:
        return f"How much the {n:,} tokens of the picture look at “{name}”.{whole}"
    if not np.isfinite(weights[places]).any():
        return f"“{name}” comes before the picture and does not see it.{whole}"
    return f"“{name}” puts {share} of its weight on the {n:,} tokens of the picture.{whole}"
