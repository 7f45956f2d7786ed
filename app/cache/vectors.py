"""The vectors of one head, kept while somebody looks for like points: tens of megabytes each, so only a few."""

from __future__ import annotations

import base64
import io

import numpy as np
import streamlit as st

from analysis.store import runs_dir
from analysis.types import QUERY
from app import cache
from app.cache import whole
from app.charts.nearest import Nearest, nearest, nearest_to

SMALL_PIXELS = 96


def vectors(run_id: str, site: str, head: int, kind: str) -> np.ndarray:
    """Every query, or every key, of a head: float32 ``[token, d_head]`` in token-table order, NaN for tokens that have
    none. Not to be changed."""
    return _vectors(run_id, str(runs_dir()), cache.stamp(run_id), site, head, kind)


def nearest_points(run_id: str, site: str, head: int, kind: str, row: int, n: int, other_words: bool) -> Nearest:
    """The points of the same kind nearest to that of one token, in the head's own space, over all inputs.

    Args:
        row: The token's row of the token table.
        other_words: Only tokens of another text than its own.
    """
    return _nearest(run_id, str(runs_dir()), cache.stamp(run_id), site, head, kind, row, n, other_words)


def nearest_to_new(
    run_id: str, site: str, head: int, kind: str, vector: np.ndarray, word: str, n: int, other_words: bool
) -> Nearest:
    """The points of a run nearest to the query, or the key, of a token that the run does not hold.

    Args:
        vector: float32 ``[d_head]``.
        word: The token's text.
        other_words: Only tokens of another text than it.
    """
    found = vectors(run_id, site, head, kind)
    return nearest_to(found, vector, n, _among(run_id, found, word if other_words else None))


def small_image(run_id: str, input_id: int) -> str:
    """The picture a model saw, small, as a data address."""
    return _small_image(run_id, str(runs_dir()), cache.stamp(run_id), input_id)


@st.cache_resource(max_entries=4, show_spinner=False)
def _vectors(run_id: str, folder: str, stamp: str, site: str, head: int, kind: str) -> np.ndarray:
    run = cache.run(run_id)
    found = whole.rows(run, site, kind, (run.queries if kind == QUERY else run.keys)(site, head))
    found.flags.writeable = False
    return found


@st.cache_data(max_entries=64, show_spinner=False)
def _nearest(
    run_id: str, folder: str, stamp: str, site: str, head: int, kind: str, row: int, n: int, other_words: bool
) -> Nearest:
    found = vectors(run_id, site, head, kind)
    word = str(cache.tokens(run_id)["text"].iloc[row])
    return nearest(found, row, n, _among(run_id, found, word if other_words else None))


def _among(run_id: str, found: np.ndarray, but_for: str | None) -> np.ndarray | None:
    """The tokens that have a point here, without those of one text; None for all."""
    has_point = ~np.isnan(found[:, 0])
    if but_for is None:
        return None if has_point.all() else has_point
    texts = cache.tokens(run_id)["text"].astype(str).str.strip().str.casefold()
    return (texts != but_for.strip().casefold()).to_numpy() & has_point


@st.cache_data(max_entries=256, show_spinner=False)
def _small_image(run_id: str, folder: str, stamp: str, input_id: int) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(cache.image(run_id, input_id))) as opened:
        opened.thumbnail((SMALL_PIXELS, SMALL_PIXELS))
        small = io.BytesIO()
        opened.save(small, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"
