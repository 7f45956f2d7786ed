"""The first look and the tour: the strip over the picture, and the steps, whose number is a word of the address."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from analysis.store.run import runs_dir
from app import cache, widgets
from app.cache import pictures
from app.components.tour import draw_tour, welcome
from app.components.tour.steps import PREVIOUS, Example, Step, make_steps, path_name, pick_example, pick_head
from app.state import RunFacts, Selection

TOUR = "tour"
"""The word of the link that holds the step, from 1."""

LOOKED_AT = 8
"""Inputs in which the example of the tour is looked for."""

LONGEST_TOKENS = 300
"""Longer inputs are not looked at, unless all are longer."""


def guide(selection: Selection, facts: RunFacts | None, page: str, is_first_look: bool) -> None:
    """Draw strip and tour, and go where they ask to.

    Args:
        page: Name of the view shown.
        is_first_look: It is the landing page, and the address has no words.
    """
    picked = pick_head(cache.heads(facts.run, selection.map)) if facts is not None and facts.sites else None
    now = _step(selection.options.get(TOUR), facts)
    steps = _steps(facts.run, str(runs_dir()), cache.stamp(facts.run), selection.map) if now else []
    starts = welcome(is_first_look and facts is not None and now is None, path_name(picked[1]) if picked else None)
    now = step_on(page, [step.page for step in steps], now) if now else None
    to = draw_tour(steps, now)
    if starts and facts is not None:
        _go(_steps(facts.run, str(runs_dir()), cache.stamp(facts.run), selection.map), 1)
    elif to == 0:
        widgets.select(**{TOUR: None})
        st.rerun()
    elif to is not None and now:
        _go(steps, int(to))


def step_on(page: str, pages: Sequence[str], now: int) -> int | None:
    """The step to show on a page: the one of the link, or the nearest there is for somebody who went ahead.

    Args:
        pages: View of every step.
        now: Step of the link, from 1; may be beyond the last.
    """
    now = min(now, len(pages))
    here = [step for step, each in enumerate(pages, start=1) if each == page]
    ahead = [step for step in here if step >= now]
    return ahead[0] if ahead else here[-1] if here else None


def _go(steps: list[Step], number: int) -> None:
    number = min(max(number, 1), len(steps))
    step = steps[number - 1]
    widgets.open_view(step.page, **step.words, **{TOUR: number})


def _step(said: str | None, facts: RunFacts | None) -> int | None:
    """The step of the link; None where there is no tour, or nothing to tour."""
    if facts is None or not facts.sites or not re.fullmatch(r"[1-9]", said or ""):
        return None
    return int(said)


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
        attention = cache.attention(run_id, site, head, input_id)
        if attention.shape != (len(rows), len(rows)):
            return None
        worth = _worth_showing(rows, score) & pictures.allowed(run_id, site, input_id)
        place = pick_example(attention, worth, score)
        if place is not None and (best is None or attention[place] > best.weight):
            texts = rows["text"].astype(str).str.strip().to_list()
            best = Example(input_id, *place, float(attention[place]), texts[place[0]], texts[place[1]])
    return best


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
