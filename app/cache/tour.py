"""The steps of the tour kept between reruns: they look for a clear example in the attention of the run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.store.run import runs_dir
from app import cache
from app.cache import long_inputs, pictures
from app.components.tour.steps import PREVIOUS, Example, Step, make_steps, pick_example, pick_head

LOOKED_AT = 8
"""Inputs in which the example of the tour is looked for."""

LONGEST_TOKENS = 300
"""Longer inputs are not looked at, unless all are longer; of one that is read in windows the beginning is."""


def steps(run_id: str, map_name: str | None) -> list[Step]:
    """The steps of the tour through a run."""
    return _steps(run_id, str(runs_dir()), cache.stamp(run_id), map_name)


@st.cache_data(max_entries=8, show_spinner=False)
def _steps(run_id: str, folder: str, stamp: str, map_name: str | None) -> list[Step]:
    heads = cache.heads(run_id, map_name)
    head, score = pick_head(heads)
    values = heads[score].dropna() if score else pd.Series([0.0])
    is_image = not any(cache.input_texts(run_id).values())
    return make_steps(
        head, score, _example(run_id, head["site"], int(head["head"]), score),
        is_image=is_image, has_map=map_name is not None, low=float(values.min()), high=float(values.max()),
    )  # fmt: skip


def _example(run_id: str, site: str, head: int, score: str | None) -> Example | None:
    """The clearest weight of the head among the first inputs."""
    lengths = cache.facts(run_id).n_tokens
    short = [each for each, n in lengths.items() if n <= LONGEST_TOKENS] or list(lengths)[:1]
    best: Example | None = None
    tokens = cache.tokens(run_id)
    for input_id in short[:LOOKED_AT]:
        rows = tokens[tokens["input_id"] == input_id].sort_values("position")
        if long_inputs.is_long(run_id, input_id, cache.run(run_id).site(site)):
            rows = rows.iloc[:LONGEST_TOKENS]
            attention, allowed = _beginning(run_id, site, head, input_id)
        else:
            attention = cache.attention(run_id, site, head, input_id)
            allowed = pictures.allowed(run_id, site, input_id)
        if attention.shape != (len(rows), len(rows)):
            return None
        worth = _worth_showing(rows, score) & allowed
        place = pick_example(attention, worth, score)
        if place is not None and (best is None or attention[place] > best.weight):
            texts = rows["text"].astype(str).str.strip().to_list()
            best = Example(input_id, *place, float(attention[place]), texts[place[0]], texts[place[1]])
    return best


def _beginning(run_id: str, site: str, head: int, input_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Attention among the first tokens of a long input, and who may attend to whom."""
    weights, allowed = cache.run(run_id).attention_among(site, head, input_id, np.arange(LONGEST_TOKENS))
    return weights[:, :LONGEST_TOKENS], allowed[:, :LONGEST_TOKENS]


def _worth_showing(rows: pd.DataFrame, score: str | None) -> np.ndarray:
    """Pairs of content tokens; for induction, where the key follows an earlier occurrence of the query's text."""
    content = ~rows["is_special"].to_numpy(dtype=bool)
    content[0] = False
    pairs = content[:, None] & content[None, :]
    if score in (None, PREVIOUS):
        return pairs
    texts = rows["text"].astype(str).to_numpy()
    same = np.zeros_like(pairs)
    same[:, 1:] = texts[:, None] == texts[None, :-1]
    return pairs & same if (pairs & same).any() else pairs
