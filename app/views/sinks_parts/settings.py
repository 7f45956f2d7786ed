"""Thresholds, each with its published default; what is changed is in the link."""

from __future__ import annotations

import streamlit as st

from analysis.sinks import USUAL
from analysis.sinks.levels import LevelRule
from analysis.sinks.massive import PUBLISHED_RATIO, PUBLISHED_WIDTH, VisualSinkRule
from app import widgets
from app.cache import sinks as kept
from app.views.sinks_parts.choice import (
    COSINE,
    LIMITS,
    LONG,
    NORM,
    OWN,
    OWN_WORDS,
    QUERIES,
    RATIO,
    SETTINGS,
    SHORT,
    THRESHOLD,
    Choice,
)

_GU = "Gu et al. 2024, “When Attention Sink Emerges in Language Models”"
_SECONDARY = "“On the Existence and Behaviour of Secondary Attention Sinks”"


def settings(choice: Choice) -> None:
    """The popover."""
    options = choice.selection.options
    n_changed = sum(bool(options.get(name)) for name in SETTINGS)
    label = f"Settings · {n_changed} changed" if n_changed else "Settings"
    with st.popover(label, icon=":material/tune:", width="stretch", help="Thresholds; what is changed is in the link."):
        _number(THRESHOLD, "Sink from a mean attention of", choice.rule.threshold, 0.05, "%.2f",
                f"Published: 0.3. Mean attention received from which a token is a sink, 0 to 1 ({_GU}).")  # fmt: skip
        _number(QUERIES, "Seen by so many queries", choice.rule.min_queries, 1, "%d",
                f"Ours: {USUAL.min_queries}. Tokens that fewer queries see are passed over: the last tokens of a "
                "causal input are seen by so few that looking at themselves would make sinks of them.")  # fmt: skip
        _own(options.get(OWN, ""))
        _levels(choice)
        _states(choice)
        st.button("Back to the defaults", key="sinks_defaults", disabled=not n_changed,
                  on_click=lambda: widgets.select(**dict.fromkeys(SETTINGS)))  # fmt: skip


def _levels(choice: Choice) -> None:
    found = kept.levels(choice.run, choice.stack, choice.rule, choice.of_levels)
    n_layers = len(choice.sites)
    looked = n_layers if found is None else found.last - found.first + 1
    short, long = choice.of_levels.lifetimes(n_layers, looked)
    usual = LevelRule().lifetimes(n_layers, looked)
    deep = n_layers >= choice.of_levels.deep
    why = "" if deep else f" This tower has {n_layers} layers, under {choice.of_levels.deep}: the same share is taken."
    _number(COSINE, "Sink-like from a cosine of", choice.of_levels.similar, 0.05, "%.2f",
            f"Published: 0.9. Absolute cosine to the primary sink's state ({_SECONDARY}).")  # fmt: skip
    _number(SHORT, "Noise up to so many layers", short, 1, "%d",
            f"Published: 4 of the layers looked at.{why} Here {usual[0]} ({_SECONDARY}).")  # fmt: skip
    _number(LONG, "Like the primary from so many layers", long, 1, "%d",
            f"Published: number of layers less 15.{why} Here {usual[1]} ({_SECONDARY}).")  # fmt: skip


def _states(choice: Choice) -> None:
    if choice.is_text:
        return
    width = kept.width(choice.run, choice.stack)
    usual = VisualSinkRule()
    scaled = "" if width >= PUBLISHED_WIDTH else (
        f" This model is {width:,} wide, under {PUBLISHED_WIDTH:,}: the same share of the largest ratio is taken, "
        f"{usual.threshold(width):.2f}."
    )  # fmt: skip
    _number(RATIO, "Visual sink from a ratio of", choice.of_states.threshold(width), 0.1, "%.2f",
            f"Published: {PUBLISHED_RATIO:g}. Largest value of a state in the massive dimensions over its root mean "
            f"square (“See What You Are Told” 2025).{scaled}")  # fmt: skip
    _number(NORM, "Large norm from so many times the median", choice.of_states.norm, 0.5, "%.1f",
            f"Ours: {usual.norm:g}. Darcet et al. 2024, “Vision Transformers Need Registers”, cut the norms by "
            "hand.")  # fmt: skip


def _number(name: str, label: str, now: float, step: float, how: str, explains: str) -> None:
    limit = LIMITS[name]
    kind = int if limit.is_whole else float
    st.number_input(
        label, kind(limit.low), kind(limit.high), step=kind(step), format=how, help=explains,
        **widgets.bound(f"sinks_set_{name}", kind(now), lambda value: widgets.select(**{name: f"{value:g}"})),
    )  # fmt: skip


def _own(now: str) -> None:
    widgets.pick(
        "A token's own query counts", list(OWN_WORDS), now if now in OWN_WORDS else "",
        lambda word: {OWN: word or None}, key="sinks_set_own", format_func=OWN_WORDS.get,
        help=f"The published score counts it ({_GU}), so the tables do; to find sinks it is left out, for a token that "
        "only looks at itself is no sink.",
    )  # fmt: skip
