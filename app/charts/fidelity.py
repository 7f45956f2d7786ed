"""What can be read off a map, in words: the sentence beside it and the warning where it should not be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from app.charts.words import percent
from app.glossary import meaning

LITTLE = 0.25
"""KL explained under which closeness on the map should not be read as attention at all."""

APART = 0.1
"""Mix under which queries and keys are nearly separate clouds."""


def fidelity_sentence(figures: Mapping[str, Any], target: str) -> str:
    """One sentence with the figures of one head's map; empty where there are none."""
    explained, keys_only = _number(figures, "kl_explained"), _number(figures, "key_only_kl")
    if explained is None:
        return ""
    what = "attention without its sinks" if target == "without_sinks" else "attention"
    said = [f"explains {percent(max(explained, 0))} of this head's {what}"]
    if keys_only is not None:
        said[0] += f" (popularity of keys alone: {percent(max(keys_only, 0))})"
    recall = _number(figures, "recall3_content")
    if recall is not None:
        said.append(f"{percent(recall)} of the three strongest content keys are among the three nearest")
    kept = [_number(figures, name) for name in ("kept_queries", "kept_keys")]
    if None not in kept:
        said.append(f"{percent(kept[0])} of query and {percent(kept[1])} of key neighbours are kept")
    return "Map " + "; ".join(said) + "."


def fidelity_short(figures: Mapping[str, Any], target: str) -> str:
    """The leading figure and what it has to be compared with, in one line; empty where there are none."""
    return fidelity_sentence({name: figures.get(name) for name in ("kl_explained", "key_only_kl")}, target)


def fidelity_rows(figures: Mapping[str, Any], target: str) -> list[dict[str, str]]:
    """Every figure of one head's map with one plain sentence, for a table; those that are not known are left out.

    Returns:
        ``name``, ``value`` (with its unit) and ``meaning`` of each.
    """
    more = ["Here of its attention without its sinks."] if target == "without_sinks" else []
    known = [(title, term, _number(figures, name)) for name, title, term in FIGURES]
    return [
        {"name": title, "value": percent(value), "meaning": meaning(term, *(more if term in _OF_ATTENTION else ()))}
        for title, term, value in known
        if value is not None
    ]


FIGURES = (
    ("kl_explained", "Map explains", "map explains"),
    ("key_only_kl", "Keys alone", "keys alone"),
    ("mass3_skill", "Weight of the 3 nearest keys", "weight of the three nearest keys"),
    ("recall3_content", "Recall", "recall"),
    ("kept_queries", "Query neighbours kept", "neighbours kept"),
    ("kept_keys", "Key neighbours kept", "neighbours kept"),
    ("mix", "Mix", "mix"),
)
"""Each with its title here and the term of the glossary that says what it means."""

_OF_ATTENTION = ("map explains", "keys alone", "weight of the three nearest keys", "recall")


def fidelity_warning(figures: Mapping[str, Any]) -> str:
    """Why this map should be read with care, in one sentence; empty where it need not."""
    explained, keys_only = _number(figures, "kl_explained"), _number(figures, "key_only_kl")
    if explained is None:
        return ""
    if explained < LITTLE:
        share = f"only {percent(explained)} of" if explained > 0 else "none of"
        return f"This map explains {share} this head's attention: do not read closeness as attention."
    if keys_only is not None and explained <= keys_only:
        return (
            f"Popular keys alone explain {percent(keys_only)} of this head, the map {percent(explained)}: "
            "what is near which adds nothing here."
        )
    return ""


def fidelity_note(figures: Mapping[str, Any]) -> str:
    """How to read distances when queries and keys lie apart; empty where they mix."""
    mix = _number(figures, "mix")
    if mix is None or mix >= APART:
        return ""
    return "Queries and keys form separate clouds: read which key is nearer, not how near."


def sample_note(parameters: Mapping[str, Any]) -> str:
    """That a map was fitted on a sample of the tokens; empty where it was fitted on all, or nothing is known.

    Args:
        parameters: Of the layout: ``n_fitted`` and ``n_placed`` count tokens; with a ``query_matrix`` any is placed
            exactly.
    """
    fitted, placed = _number(parameters, "n_fitted"), _number(parameters, "n_placed")
    if fitted is None or not placed:
        return ""
    where = "by the same matrices" if "query_matrix" in parameters else "beside their nearest neighbours"
    return (
        f"Fitted on {fitted:,.0f} of {fitted + placed:,.0f} tokens; the others are placed {where}, and the neighbour "
        "figures are of the sample."
    )


def _number(figures: Mapping[str, Any], name: str) -> float | None:
    value = figures.get(name)
    return None if value is None or not np.isfinite(value) else float(value)
