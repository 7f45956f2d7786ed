"""Sentences of the page: plain ones with their terms explained, errors, empty states, and the legend of a ramp."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from app.charts.words import stack_title
from app.glossary import find_terms
from app.palette import VIRIDIS

__all__ = ["plain", "ramp_legend", "say", "say_notes", "say_problem", "stack_title", "with_terms"]


def say(text: str, *, quiet: bool = False) -> None:
    """A sentence whose terms are underlined and explain themselves under the pointer and on focus.

    Args:
        text: As it shall be read; nothing in it is taken for markup, so it may hold data.
        quiet: In the smaller, grey type of secondary facts.
    """
    st.html(f'<p class="qk-sentence{" qk-quiet" if quiet else ""}">{with_terms(text)}</p>')


def with_terms(text: str) -> str:
    """The sentence as HTML, everything in it escaped; a term is focusable and named by ``data-term``."""
    return "".join(
        escape(piece)
        if term is None
        else f'<span class="qk-term" tabindex="0" data-term="{escape(term.name)}">{escape(piece)}</span>'
        for piece, term in find_terms(text)
    )


def plain(text: str) -> str:
    """Text that markdown leaves as it is."""
    return "".join("\\" + letter if letter in r"\`*_{}[]()<>#+-.!|~$:" else letter for letter in text)


def say_problem(sentence: str) -> None:
    """An error as one sentence, with nothing else in its way."""
    st.error(plain(sentence), icon=":material/error:")


def say_notes(notes: Sequence[str]) -> None:
    """What of a link could not be followed."""
    if notes:
        st.warning("  \n".join(plain(note) for note in notes), icon=":material/link_off:")


def ramp_legend(title: str, unit: str, low: float, high: float) -> None:
    """What the colours of a ramp say: name, ends, unit."""
    stops = ", ".join(VIRIDIS)
    st.html(
        f'<div style="display:flex;align-items:center;gap:8px;font-size:12.5px"><span>{with_terms(title)}</span>'
        f"<span>{low:.3g}</span>"
        f'<span style="width:140px;height:9px;border-radius:4px;background:linear-gradient(90deg,{stops})"></span>'
        f'<span>{high:.3g}</span><span class="qk-quiet">{escape(unit)}</span></div>'
    )
