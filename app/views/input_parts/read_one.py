"""Reading an input as it is shown: the mean of the chosen heads put through what the link says, with its sentences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.errors import UserError
from analysis.types import Site
from app import cache
from app.charts.shown import hidden_tokens, show_attention
from app.charts.steps import not_yet, step_of
from app.charts.words import percent
from app.state import Selection
from app.views.input_parts.hiding import HiddenHere, hide_here
from app.views.input_parts.link_words import HIDE, STEP, WEIGH, WORDS, groups, part_of, written_tokens
from app.views.input_parts.one_input import OneInput
from app.views.input_parts.sources import Source


def read_one(selection: Selection, source: Source, heads: list[tuple[Site, int]]) -> OneInput:
    """Read the heads and apply what the link says.

    Raises:
        UserError: Nothing would be left to show.
    """
    attention = np.mean([source.attention(site.label, head) for site, head in heads], axis=0)
    allowed = np.any([source.allowed(site.label) for site, _ in heads], axis=0)
    part, notes = part_of(selection, heads[0][0]), list(source.notes)
    sinks = hide_here(source, heads) if selection.hides_sinks and part is None else None
    drawn, is_weighed = attention if sinks is None else sinks.mean([each.weights for each in sinks.heads]), False
    if part is not None:
        drawn = np.mean([source.score_part(site, head, part) for site, head in heads], axis=0)
        others = selection.hides_sinks or WEIGH in selection.options
        more = " Sinks stay, and no value norms are taken in." if others else ""
        notes.append(f"{_PART_SAYS[part]}{more}")
    elif selection.options.get(WEIGH) == "norm":
        try:
            drawn, is_weighed = _weighed(source, heads, sinks), True
        except UserError:
            notes.append("This run holds no value vectors of this head, so weights are not multiplied by their norm.")
    hidden = hidden_tokens(selection.options.get(HIDE, ""), source.tokens["is_special"].to_numpy(dtype=bool))
    columns = None if sinks is None else sinks.columns
    written = written_tokens(selection, source)
    step = None if written is None else step_of(selection.options.get(STEP), written)
    ahead = not_yet(step, len(source.tokens))
    shown = show_attention(drawn, allowed, hidden | ahead, groups(selection, source), columns)
    signed = None
    if heads[0][0].is_signed:
        notes.append(implicit_note(selection.run, heads[0][0], is_drawn=sinks is None and not is_weighed))
        if sinks is None and not is_weighed:
            raw = np.mean([source.signed(site.label, head) for site, head in heads], axis=0)
            signed = show_attention(raw, allowed, hidden | ahead, groups(selection, source), scales=False)
    one = OneInput(selection, heads, source, attention, shown, is_weighed, sinks, (), signed)
    return told(one, notes, hidden, ahead)


def told(one: OneInput, notes: list[str], hidden: np.ndarray, ahead: np.ndarray) -> OneInput:
    """The same with its sentences: `notes`, and how what is shown differs from the attention.

    Args:
        hidden: Tokens that the link hides.
        ahead: Tokens that are not written yet at the step shown.
    """
    if one.step is not None and one.token is not None and ahead[one.token]:
        notes.append("The picked token is not written yet at this step.")
    return replace(one, notes=(*notes, *_says(one, hidden & ~ahead)))


def implicit_note(run_id: str, site: Site, is_drawn: bool) -> str:
    """What is shown of a state-space layer, in words."""
    verdict = cache.run(run_id).certificate.get("sites", {}).get(site.key, {})
    n = int(verdict.get("matrices_per_head") or 1)
    of = f" (mean of {n} channels)" if n > 1 else ""
    where = "the heat map and the tables show signed weights; elsewhere" if is_drawn else "shown"
    return (
        f"Implicit attention of a state-space layer{of}, no softmax: {where} their absolute values count, each row "
        "brought to a sum of 1."
    )


_PART_SAYS = {
    "content": "Content alone: the softmax of queries times keys, without what the model adds for positions.",
    "position": "Position alone: what the model adds to queries times keys, after a softmax of its own.",
}


def _weighed(source: Source, heads: list[tuple[Site, int]], sinks: HiddenHere | None) -> np.ndarray:
    """The mean of attention times the length of the key's value vector.

    Source: Kobayashi et al. (2020), "Attention is Not Only a Weight", with the value before the output projection.
    """
    norms = [source.value_norms(site.label, head).astype(np.float32) for site, head in heads]
    if sinks is not None:
        return sinks.mean([each.weights * lengths for each, lengths in zip(sinks.heads, norms)])
    return np.mean([source.attention(site.label, head) * norm for (site, head), norm in zip(heads, norms)], axis=0)


def _says(one: OneInput, hidden: np.ndarray) -> list[str]:
    """How what is shown differs from the attention itself."""
    says = []
    if hidden.any():
        mass, n = one.shown.hidden_mass, int(hidden.sum())
        own_rows = slice(one.spans[0].start, one.spans[0].stop)
        own = "" if one.picked is None else f", {percent(mass[one.picked])} of the picked one's"
        usual = percent(mass[own_rows].mean())
        says.append(
            f"{n:,} hidden token{'s' * (n > 1)} held {usual} of a query's weight on average{own}; "
            "rows are scaled up to their old sum."
        )
        if one.shown.n_emptied:
            says.append(f"{one.shown.n_emptied:,} queries looked at hidden tokens only: their rows are 0.")
        if one.token is not None and one.picked is None:
            says.append("The picked token is hidden.")
    if one.selection.options.get(WORDS) == "1" and not one.is_image:
        says.append("A word attends as the mean of its tokens and receives their sum.")
    if one.is_weighed:
        says.append("Weights are multiplied by the length of the key's value vector: rows do not sum to 1.")
    return says
