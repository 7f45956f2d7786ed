"""The first look and the tour: the strip over the picture, and the steps, whose number is a word of the address."""

from __future__ import annotations

import re
from collections.abc import Sequence

import streamlit as st

from app import cache, widgets
from app.cache import tour
from app.components.tour import draw_tour, welcome
from app.components.tour.steps import Step, path_name, pick_head
from app.state import RunFacts, Selection

TOUR = "tour"
"""The word of the link that holds the step, from 1."""


def guide(selection: Selection, facts: RunFacts | None, page: str, is_first_look: bool) -> None:
    """Draw strip and tour, and go where they ask to.

    Args:
        page: Name of the view shown.
        is_first_look: It is the landing page, and the address has no words.
    """
    picked = pick_head(cache.heads(facts.run, selection.map)) if facts is not None and facts.sites else None
    now = _step(selection.options.get(TOUR), facts)
    steps = tour.steps(facts.run, selection.map) if now else []
    starts = welcome(is_first_look and facts is not None and now is None, path_name(picked[1]) if picked else None)
    now = step_on(page, [step.page for step in steps], now) if now else None
    to = draw_tour(steps, now)
    if starts and facts is not None:
        _go(tour.steps(facts.run, selection.map), 1)
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
