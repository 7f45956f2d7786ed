"""Under the picture of a text read from left to right: how far its tokens look back, and which ones are returned to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from functools import partial

import numpy as np
import streamlit as st

from analysis.errors import UserError
from analysis.metrics.windowed import PUBLISHED, Influence, Windows, influence_in_windows
from analysis.types import KEY, QUERY, Site, head_name
from app import cache, widgets
from app.cache import long_inputs
from app.cache.windowed import token_rhythm
from app.charts.scales import weight_exactly
from app.charts.windowed import FAI, MOST_BARS, WAAD, highest_of_blocks, make_rhythm, rhythm_table
from app.state import Selection
from app.views.input_parts.clicks import clickable
from app.views.input_parts.link_words import HIDE, WEIGH, WORDS
from app.views.input_parts.one_input import OneInput, seconds_words
from app.views.input_parts.tables import save_csv, show_table

RHYTHM = "rhythm"
"""Word of the link: the settings, as in ``30.10.10.50.0``: per cent of the heads, window, nearest, farthest, first."""

_MOST_TOKENS = 100_000
_HELP = (
    "Local heads look back least on this text, global heads most. WAAD, windowed average attention distance: how far a "
    "token looks back in the mean of the local heads. FAI, future attention influence: how much later tokens look at "
    "it in the mean of the global heads. Peaks, by a rule of ours: above both neighbours and in the upper fifth. "
    "Source: “Attention Illuminates LLM Reasoning: The Preplan-and-Anchor Rhythm” (2025); 30 % is the paper's, "
    "window 10 and reach 10 to 50 are those of one reimplementation, and the paper groups heads over many texts."
)
_SETTINGS = {
    "share": ("Local and global heads, % of all", 1, 50),
    "window": ("WAAD counts at most so many tokens", 1, _MOST_TOKENS),
    "nearest": ("FAI: tokens later, from", 1, _MOST_TOKENS),
    "farthest": ("FAI: tokens later, to", 1, _MOST_TOKENS),
    "first": ("First token that counts as a query", 0, _MOST_TOKENS),
}


def rhythm(one: OneInput, stack: list[Site]) -> None:
    """The two strips with their words, settings and table; nothing for images and where tokens see later ones."""
    if one.is_image or not is_causal(one, stack):
        return
    st.markdown("###### How far tokens look back, and which are returned to", help=_HELP)
    n = len(one.tokens)
    if n > cache.LONG_TOKENS and not st.toggle(
        f"Read all heads ({n:,} tokens: {seconds_words(one)})", key="input_rhythm"
    ):
        return
    try:
        windows = windows_of(one.selection.options.get(RHYTHM, ""))
        found = _found(one, stack, windows)
    except UserError as error:
        st.caption(widgets.plain(str(error)))
        _settings(one)
        return
    _draw(one, found, windows, [head_name(site.depth, head) for site in stack for head in range(site.n_heads)])


def windows_of(said: str) -> Windows:
    """The settings that the link names; the published ones where it names none, or not in full.

    Raises:
        UserError: They mean nothing together.
    """
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6}){4}", said, re.ASCII):
        return PUBLISHED
    share, *others = (int(word) for word in said.split("."))
    return Windows(share / 100, *others)


def is_causal(one: OneInput, stack: list[Site]) -> bool:
    """Whether no token of this text sees a later one in any layer of the tower."""
    bands = [site.band for site in stack]
    if any(band is not None and not band.is_causal for band in bands):
        return False
    odd = (site for site, band in zip(stack, bands) if band is None)
    return not any(np.triu(one.source.allowed(site.label), 1).any() for site in odd)


def _found(one: OneInput, stack: list[Site], windows: Windows) -> Influence:
    if one.is_long:
        where = one.run_id, one.source.input_id
        return long_inputs.kept(
            f"rhythm {where[1]} {stack[0].stack_label} {windows}", one.run_id,
            lambda: influence_in_windows((_windows_of(*where, *each) for each in heads_of(stack)), windows),
        )  # fmt: skip
    own = one.source.query_positions(one.site)
    at = np.ix_(own, own)
    return token_rhythm(
        one.run_id, one.source.key, stack[0].stack_label, windows,
        lambda: (attention[at] for _, _, attention in one.source.each_head(stack)),
    )  # fmt: skip


def heads_of(stack: list[Site]) -> list[tuple[str, int]]:
    """Label of the site and number of every head of a tower."""
    return [(site.label, head) for site in stack for head in range(site.n_heads)]


def _windows_of(run_id: str, input_id: int, site: str, head: int) -> Iterator[tuple[int, np.ndarray]]:
    return ((first, weights) for first, weights, _ in long_inputs.drawn(run_id, site, head, input_id, hides=False))


def _draw(one: OneInput, found: Influence, windows: Windows, names: list[str]) -> None:
    own = one.source.query_positions(one.site)
    table = rhythm_table(found, one.tokens["text"].astype(str).iloc[own].tolist())
    first = table[FAI].iloc[0]
    has_fai = bool(table[FAI].iloc[1:].notna().any())
    drawn = {measure: highest_of_blocks(table, measure) for measure in (WAAD, FAI)}
    clickable(
        make_rhythm(drawn[WAAD], WAAD, one.token, is_lowest=not has_fai),
        {"pick": lambda mark: one.pick(int(mark["position"]), kind=QUERY)},
        "input_waad",
    )  # fmt: skip
    local, far = (_listed([names[place] for place in group]) for group in (found.local, found.far))
    beyond = f"farther than {windows.window} counts as {windows.window}"
    st.caption(f"WAAD: how many tokens back, in the mean of the local heads {local}; {beyond}.")
    if has_fai:
        clickable(
            make_rhythm(drawn[FAI], FAI, one.token), {"pick": lambda mark: one.pick(int(mark["position"]), kind=KEY)},
            "input_fai",
        )  # fmt: skip
        reach = f"{windows.nearest} to {windows.farthest} later"
        said = f"FAI: mean weight from tokens {reach}, in the mean of the global heads {far}."
        st.caption(f"{said} The first token, {weight_exactly(first)}, is not drawn." if np.isfinite(first) else said)
    else:
        st.caption(
            f"No FAI: it needs tokens {windows.nearest} or more after a token, beyond the first one, and this text has "
            f"{len(table):,} in all."
        )
    if len(drawn[WAAD]) < len(table):
        together = -(-len(table) // MOST_BARS)
        st.caption(f"Each bar stands for {together} tokens and is that of the highest of them; the table has all.")
    if one.sinks is not None or any(one.selection.options.get(name) for name in (WORDS, HIDE, WEIGH)):
        st.caption(
            "Both are of the attention as the model has it: every token, sinks counted in, nothing merged, hidden or "
            "weighed."
        )
    left, right = st.columns([1, 0.32])
    with left, st.expander("Table"):
        show_table(table, 240)
        save_csv(f"{len(table):,} tokens", lambda: table.to_csv(index=False), one, "rhythm")
    with right:
        _settings(one)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _settings(one: OneInput) -> None:
    windows = _windows(one.selection)
    with st.popover("Settings · changed" if windows != PUBLISHED else "Settings", width="stretch"):
        for each in fields(Windows):
            label, least, most = _SETTINGS[each.name]
            st.number_input(
                label, least, most,
                **widgets.bound(f"input_rhythm_{each.name}", _shown(windows, each.name), partial(_choose, each.name)),
            )  # fmt: skip


def _windows(selection: Selection) -> Windows:
    try:
        return windows_of(selection.options.get(RHYTHM, ""))
    except UserError:
        return PUBLISHED


def _shown(windows: Windows, name: str) -> int:
    """One setting as the page and the link say it: the share in percent."""
    value = getattr(windows, name)
    return round(value * 100) if name == "share" else int(value)


def _choose(name: str, value: int) -> None:
    windows = _windows(widgets.current())
    said = [value if each.name == name else _shown(windows, each.name) for each in fields(Windows)]
    is_published = said == [_shown(PUBLISHED, each.name) for each in fields(Windows)]
    widgets.select(**{RHYTHM: None if is_published else ".".join(map(str, said))})
