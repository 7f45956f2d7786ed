"""What the lasso of the link holds, kept between reruns."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.errors import InputError
from analysis.store.run import runs_dir
from app import cache
from app.cache import atlas
from app.charts.colouring import kept_points
from app.charts.lasso import points_inside
from app.charts.lasso_word import Lasso, read_lasso
from app.state import KIND_COLOUR, cycle_of


def lassoed(run_id: str, word: str) -> tuple[Lasso, np.ndarray]:
    """The lasso, and which points it holds: flags of all queries, then of all keys. Not to be written to.

    Raises:
        InputError: The word cannot be read, or the run has no such map; one sentence.
    """
    return _lassoed(run_id, str(runs_dir()), cache.stamp(run_id), word)


@st.cache_resource(max_entries=16, show_spinner=False)
def _lassoed(run_id: str, folder: str, stamp: str, word: str) -> tuple[Lasso, np.ndarray]:
    lasso = read_lasso(word)
    _check(run_id, lasso)
    colour = lasso.colour if _is_colour(run_id, lasso.colour) else KIND_COLOUR
    kept = kept_points(atlas.colouring(run_id, colour), lasso.hide, lasso.range, lasso.kinds)
    places = cache.points(run_id, lasso.map, lasso.site, lasso.head)
    inside = [points_inside(each, lasso.polygon, lasso.rotation) & shown for each, shown in zip(places, kept)]
    return lasso, cache.frozen(np.concatenate(inside))


def _check(run_id: str, lasso: Lasso) -> None:
    facts = cache.facts(run_id)
    site = next((each for each in facts.sites if each.label == lasso.site), None)
    if site is None or lasso.head >= site.n_heads or lasso.map not in facts.maps:
        place = f"head {lasso.head} of {lasso.site[:40]!r} under {lasso.map[:40]!r}"
        raise InputError(f"The link’s lasso was drawn on {place}, which this run has not: clear it, or draw another.")


def _is_colour(run_id: str, colour: str | None) -> bool:
    return colour is not None and (colour in cache.facts(run_id).columns or cycle_of(colour) is not None)
