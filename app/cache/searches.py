"""What searches found, kept between reruns."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.store.run import runs_dir
from app import cache
from app.search import find_tokens


def found(words: str, run_id: str) -> np.ndarray:
    """The tokens of a run that a search finds, [token] true; see `app.search.find_tokens`.

    Raises:
        UserError: The search cannot be understood; one sentence.
    """
    return _found(words, run_id, str(runs_dir()), cache.stamp(run_id))


@st.cache_data(max_entries=16, show_spinner=False)
def _found(words: str, run_id: str, folder: str, stamp: str) -> np.ndarray:
    return find_tokens(words, cache.tokens(run_id), cache.input_texts(run_id))
