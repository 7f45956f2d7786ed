"""Images: where sinks sit over the data set, and one image with its sinks in one layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.types import KEY
from app import cache, widgets
from app.cache import sinks as kept
from app.charts.sink_layers import LAYER as BY_LAYER
from app.charts.sink_places import LARGE, VISUAL, busiest_layer, count_words, make_image, make_places, token_table
from app.views.sinks_parts.choice import LAYER, Choice
from app.views.sinks_parts.overview import no_states, pick_layer, picked_layer
from app.views.sinks_parts.pictures import legend, show_table, title_row

PLACES_PX = 488
"""Width of the maps on the first screen."""


def places_of(choice: Choice) -> pd.DataFrame:
    """How often the patch at each place is a sink, layer by layer."""
    return kept.places(choice.run, choice.stack, choice.rule)


def places(choice: Choice) -> None:
    """The mean map of every layer over all images."""
    table = places_of(choice)
    title_row("Where on the image", "sink rate", table, f"{choice.run}-sink-places.csv", "places")
    chart, key = make_places(table, layer_in_hand(choice), PLACES_PX), "sinks_places"

    def picked() -> None:
        points = st.session_state[key].selection.get(BY_LAYER) or []
        if points:
            widgets.select(**{LAYER: str(int(points[0]["pick"]))})
            pick_layer(points[0])

    st.altair_chart(chart, width="content", key=key, on_select=picked, selection_mode=[BY_LAYER])
    st.caption(f"Sink rate of each patch, 0 (dark) to {table['rate'].max():.2g} (bright); a click picks the layer.")


def layer_in_hand(choice: Choice) -> int:
    """The layer that was picked, or the one in which patches are sinks most often."""
    if choice.layer is not None:
        return choice.layer
    picked = picked_layer(choice)
    return busiest_layer(places_of(choice)) if picked is None else picked


def one_image(choice: Choice) -> None:
    """The picked image with its sinks in one layer, its visual sinks and large norms."""
    layer = layer_in_hand(choice)
    inputs = cache.inputs(choice.run)["input_id"].tolist()
    shown = choice.selection.input if choice.selection.input in inputs else inputs[0]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="sinks_image_row"):
        widgets.pick("Image", inputs, shown, lambda value: {"input": value, "token": None}, key="sinks_image",
                     format_func=lambda value: f"image {value}", width=150)  # fmt: skip
        _slide(layer, len(choice.sites))
    everything = kept.counted(choice.run, choice.stack)
    mine = (everything["input_id"] == shown).to_numpy()
    tokens = everything[mine].sort_values("position")
    share, is_visual, is_large = (values[layer, mine] for values in marks_of(choice))
    said = count_words(share, is_visual, is_large, tokens)
    chart = make_image(share, is_visual, is_large, tokens, cache.image(choice.run, shown), choice.selection.token)
    left, right = st.columns([3, 1], gap="medium")
    with left, st.container(key="sinks_picture"):
        _draw(chart, shown)
    with right:
        st.markdown(f"**Layer {layer}, image {shown}**")
        widgets.say(said, quiet=True)
        legend({"visual sinks": VISUAL, "large norms": LARGE}, note="shade: share of heads with the sink")
        if not kept.figures(choice.run, choice.stack):
            no_states(choice)
        else:
            _thresholds(choice)
        with st.popover("Table", icon=":material/table:"), st.container(width=480):
            st.caption(f"Image {shown}, layer {layer}: every token")
            own = token_table(share, is_visual, is_large, tokens)
            show_table(own, f"{choice.run}-image-{shown}-layer-{layer}.csv", "image", height=250)
            st.caption("All images, layer by layer")
            show_table(count_table(choice), f"{choice.run}-sinks-of-images.csv", "images", height=250)


def _draw(chart, shown: int) -> None:
    key = "sinks_picture_chart"

    def picked() -> None:
        points = st.session_state[key].selection.get("pick") or []
        if points and points[0].get("position") is not None:
            widgets.select(input=shown, token=int(points[0]["position"]), kind=KEY)

    st.altair_chart(chart, width="content", key=key, on_select=picked, selection_mode=["pick"])


def _slide(layer: int, n_layers: int) -> None:
    if n_layers > 1:
        st.slider("Layer", 0, n_layers - 1, width=260,
                  **widgets.bound("sinks_layer", layer, lambda at: widgets.select(**{LAYER: str(at)})))  # fmt: skip


def _thresholds(choice: Choice) -> None:
    ratio = choice.of_states.threshold(kept.width(choice.run, choice.stack))
    first = choice.of_states.first_layer
    st.caption(
        f"Visual sink: ratio over {ratio:.3g} in the primary sink's two largest dimensions, from layer {first} on "
        f"(“See What You Are Told” 2025). Large norm: over {choice.of_states.norm:g} times the median patch's. Both of "
        "the state in front of the layer; thresholds are in Settings."
    )


def marks_of(choice: Choice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of heads in which a token is a sink, whether it is a visual sink, whether its norm is large, ``[layer,
    point]``; never one of the last two where states were not measured."""
    tower = kept.tower(choice.run, choice.stack, choice.rule)
    return tower.share, *kept.massive_patches(choice.run, choice.stack, choice.rule, choice.of_states)


def count_table(choice: Choice) -> pd.DataFrame:
    """A row a layer: how many patches of all images are sinks, visual sinks, and have a large norm."""
    share, is_visual, is_large = marks_of(choice)
    is_patch = (kept.tokens(choice.run, choice.stack)["row"].fillna(-1) >= 0).to_numpy()
    counts = [
        (layer, int((share[layer, is_patch] > 0).sum()), int(is_visual[layer].sum()), int(is_large[layer].sum()),
         int(is_patch.sum()))
        for layer in range(len(share))
    ]  # fmt: skip
    return pd.DataFrame(counts, columns=["layer", "sinks of some head", "visual sinks", "large norms", "patches"])
