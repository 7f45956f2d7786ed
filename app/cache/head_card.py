"""What the card of a head keeps: its scores on every input, and small pictures of its attention."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.store.run import runs_dir
from app import cache
from app.cache import long_inputs, pictures
from app.charts.head_card_tiles import make_image_tile, make_text_tile, received
from app.charts.head_maps import TILE_PIXELS, make_sprite
from app.charts.long_shown import Rows, blocks_of


def input_scores(run_id: str, site: str, head: int) -> pd.DataFrame:
    """Scores of one head on every input: metric, input_id, value, null. Measures on probes or samples have none."""
    return _input_scores(run_id, str(runs_dir()), cache.stamp(run_id), site, head).copy(deep=False)


@st.cache_resource(max_entries=16, show_spinner=False)
def _input_scores(run_id: str, folder: str, stamp: str, site: str, head: int) -> pd.DataFrame:
    table = cache.run(run_id).head_input_scores(site=site, head=head)
    return table[["metric", "input_id", "value", "null"]]


def tile(run_id: str, site: str, head: int, input_id: int) -> bytes:
    """Attention of a head on one input as a small PNG: a text's matrix, an image's patches by what they receive."""
    return _tile(run_id, str(runs_dir()), cache.stamp(run_id), site, head, input_id)


@st.cache_data(max_entries=512, show_spinner=False)
def _tile(run_id: str, folder: str, stamp: str, site: str, head: int, input_id: int) -> bytes:
    n = cache.facts(run_id).n_tokens[input_id]
    if long_inputs.is_long(run_id, input_id, cache.run(run_id).site(site)):
        parts = (Rows(*part) for part in long_inputs.drawn(run_id, site, head, input_id, hides=False))
        return make_sprite([[blocks_of(parts, n, TILE_PIXELS)]])
    attention = cache.attention(run_id, site, head, input_id)
    allowed = pictures.allowed(run_id, site, input_id)
    if cache.input_texts(run_id):
        return make_text_tile(attention, allowed)
    tokens = cache.tokens(run_id)
    mine = tokens[tokens["input_id"] == input_id].sort_values("position")
    places = cache.run(run_id).key_positions(site, input_id)
    row, column = (mine[name].fillna(-1).to_numpy(dtype=int)[places] for name in ("row", "column"))
    attention, allowed = (matrix[np.ix_(places, places)] for matrix in (attention, allowed))
    return make_image_tile(cache.image(run_id, input_id), received(np.asarray(attention), allowed, row, column))
