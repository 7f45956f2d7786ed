"""The popover ``Show``: how the same attention is shown. Everything in it is in the link."""

from __future__ import annotations

import streamlit as st

from app import widgets
from app.cache.new_input import asked_for
from app.charts.image_flows import FLOWS
from app.charts.scales import SCALES
from app.charts.text_attention import visible_token
from app.glossary import meaning
from app.state import Selection
from app.views.input_parts.link_words import HIDE, PART, PARTS, SCALE, WEIGH, WORDS
from app.views.input_parts.one_input import OneInput

SMOOTH, FLOW_COUNT = "smooth", "flows"
"""Words of the link: ``smooth=1``, ``flows=100``."""

_SCALE_HELP = (
    "Linear: from 0 to the largest weight. Log: four powers of ten up to the largest. "
    "Rank: every colour is used equally often."
)
_PART_HELP = (
    "This model adds a number for the positions of query and key to their product before the softmax. The two parts "
    "can be looked at apart: their exponentials multiplied, and brought to sum 1 again, are the weights."
)
_NORM_MORE = "Every weight is multiplied by the value norm of its key."
_WORDS_HELP = "Tokens that touch in the text without a space are one word: mean of their queries, sum of their keys."


def looks_popover(one: OneInput) -> None:
    """Words, hidden tokens, weighing, scale; of images smoothing and the number of flows."""
    options = one.selection.options
    n_changed = sum(bool(options.get(name)) for name in (WORDS, HIDE, WEIGH, SCALE, SMOOTH, FLOW_COUNT))
    n_changed += one.part is not None
    with st.popover(f"Show · {n_changed} changed" if n_changed else "Show", icon=":material/tune:", width="stretch"):
        scale = one.selection.option(SCALE, SCALES)
        if one.site.has_position_bias and asked_for(one.selection) is None:
            _choice("Score", PART, PARTS, one.part or "whole", help=_PART_HELP)
        _choice("Colour scale", SCALE, SCALES, scale, help=_SCALE_HELP)
        if one.what == "text":
            _switch("Merge sub-words into words", WORDS, help=_WORDS_HELP)
        _hide(one)
        _switch("Weigh by value norm", WEIGH, "norm", help=meaning("value norm", _NORM_MORE))
        if one.is_image:
            _switch("Smooth shading", SMOOTH)
            counts = {str(n): f"{n}" for n in FLOWS}
            _choice("Strong flows drawn", FLOW_COUNT, counts, one.selection.option(FLOW_COUNT, counts, "50"))


def _switch(label: str, name: str, value: str = "1", help: str | None = None) -> None:
    is_on = widgets.current().options.get(name) == value
    st.toggle(
        label, help=help,
        **widgets.bound(f"input_look_{name}", is_on, lambda on: widgets.select(**{name: value if on else None})),
    )  # fmt: skip


def _choice(label: str, name: str, words: dict[str, str], chosen: str, help: str | None = None) -> None:
    st.segmented_control(
        label, list(words), format_func=words.get, required=True, help=help,
        **widgets.bound(f"input_look_{name}", chosen, lambda word: widgets.select(**{name: word})),
    )  # fmt: skip


def _hide(one: OneInput) -> None:
    """All special tokens at once, and any others by name."""
    n = len(one.tokens)
    has_special, places = _hidden(one.selection, n)

    def write(has_special: bool, places: list[int]) -> None:
        words = ["special"] * has_special + [str(place) for place in sorted(places)]
        widgets.select(**{HIDE: ",".join(words) or None})

    names = [visible_token(str(text)) for text in one.tokens["text"]]
    n_special = int(one.tokens["is_special"].astype(bool).sum())
    st.toggle(
        f"Hide special tokens ({n_special} here)",
        **widgets.bound(
            "input_hide_special", has_special, lambda is_on: write(is_on, _hidden(widgets.current(), n)[1])
        ),
    )  # fmt: skip
    st.multiselect(
        "Hide tokens", range(n), placeholder="none; type to search",
        format_func=lambda place: f"{place} {names[place]}",
        help="Taken away as query and as key; what is left of a row is scaled up to its old sum.",
        **widgets.bound("input_hide", places, lambda chosen: write(_hidden(widgets.current(), n)[0], chosen)),
    )  # fmt: skip


def _hidden(selection: Selection, n: int) -> tuple[bool, list[int]]:
    """Whether special tokens are hidden, and the positions under `n` that are."""
    said = selection.options.get(HIDE, "").split(",")
    places = [int(word) for word in said if word.isascii() and word.isdigit() and len(word) < 9 and int(word) < n]
    return "special" in said, list(dict.fromkeys(places))
