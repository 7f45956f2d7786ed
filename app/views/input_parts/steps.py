"""Going through what the model wrote, step by step: a slider, whose place is in the link as ``step=3``."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.types import QUERY
from app import cache, widgets
from app.cache.new_input import asked_for
from app.charts.steps import Step, lookback_at, step_of, written_places
from app.charts.text_attention import short_token
from app.state import Selection
from app.views.input_parts.link_words import STEP, written_tokens
from app.views.input_parts.one_input import OneInput
from app.views.input_parts.sources import Source


def at_step(selection: Selection, source: Source) -> Selection:
    """The selection with the row of the step picked, where the link names a step and no token."""
    written = written_tokens(selection, source)
    step = None if written is None else step_of(selection.options.get(STEP), written)
    if step is None or selection.token is not None:
        return selection
    return selection.having(token=step.row + getattr(source, "first", 0), kind=QUERY)


def steps(one: OneInput) -> None:
    """The slider and what it says; nothing where the model wrote no token of this input."""
    if one.written is None or asked_for(one.selection) is not None:
        return
    places = written_places(one.written)
    slider, says = st.columns([1, 1.6], gap="medium", vertical_alignment="center")
    now = 0 if one.step is None else one.step.number

    def move(number: int) -> None:
        step = step_of(str(number), one.written)
        if step is None:
            widgets.select(**{STEP: None, "at": None})
        else:
            one.pick(step.row, **{STEP: step.number, "kind": QUERY, "at": None})

    with slider:
        st.slider(
            "Step of the writing; 0 is the whole text", 0, len(places), label_visibility="collapsed",
            **widgets.bound("input_step", now, move),
        )  # fmt: skip
    with says, st.container(key="input_step_says"):
        widgets.say(_words(one, len(places)), quiet=True)


def _words(one: OneInput, n_steps: int) -> str:
    step = one.step
    if step is None:
        tokens = "token" if n_steps == 1 else f"{n_steps:,} tokens"
        return f"The model wrote the last {tokens}: the slider or its arrow keys go through them, one a step."
    names = [f"“{short_token(str(one.tokens['text'].iloc[place]))}”" for place in (step.written, step.row)]
    chose = f"Step {step.number:,} of {step.n_steps:,}: the model wrote {names[0]} after {names[1]} ({step.row})"
    return f"{chose}, whose row is shown. {_lookback(one, step)}"


def _lookback(one: OneInput, step: Step) -> str:
    if one.is_long:
        run, at = cache.run(one.run_id), (one.source.input_id, np.array([step.row]))
        rows, allowed = zip(*(run.attention_among(site, head, *at) for site, head in one.heads))
        ratio = lookback_at(step, np.stack(rows), allowed[0], one.written, first=step.row)
    else:
        attention = np.stack([one.source.attention(site.label, head) for site, head in one.heads])
        ratio = lookback_at(step, attention, one.source.allowed(one.site.label), one.written)
    if ratio is None:
        return "Nothing of its own was there yet, so there is no lookback ratio."
    return f"Lookback ratio of {one.names} here: {ratio:.2f} (1 = looks at what it was given alone, 0.5 = evenly)."
