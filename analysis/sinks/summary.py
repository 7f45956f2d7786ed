"""One or two sentences that say what the sinks of a model are, made of the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.sinks.levels import LIKE_PRIMARY, SECONDARY, Levels
from analysis.sinks.token_classes import PATCH
from analysis.sinks.towers import Tower

if TYPE_CHECKING:
    import pandas as pd

PLURALS = {
    "word": "words", "number": "numbers", "newline": "line breaks", "punctuation": "punctuation marks",
    "patch": "patches", "background patch": "patches of the background", "register": "registers",
    "frame": "frames",
}  # fmt: skip

CONSTANT_SHARE = 0.9
"""A string or a position is named where it is that of so many inputs' primary sinks."""


def sum_up(tower: Tower, levels: Levels | None, tokens: pd.DataFrame, classes: np.ndarray) -> str:
    """What swallows attention in this tower, from where on, and what does so beside it.

    Args:
        tower: What its tokens receive.
        levels: Of its residual states; None where they were not measured.
        tokens: The token table.
        classes: Class of every token.

    Returns:
        Sentences in plain words. Layers are counted from 0.
    """
    sentences = [_of_primary(tower, tokens, classes)]
    others = _of_other_sinks(tower, classes)
    if others:
        sentences.append(others)
    if levels is not None:
        sentences.append(_of_levels(levels, classes))
    return " ".join(sentences)


def _of_primary(tower: Tower, tokens: pd.DataFrame, classes: np.ndarray) -> str:
    who = name_primary(tower, tokens, classes)
    site = tower.sites[0]
    whose = f"the {site.query_sequence}'s" if site.is_cross else "the other tokens'"
    by_layer = np.array([received.mean(dtype=np.float64) for received in tower.of_primary])
    strong = np.flatnonzero(by_layer >= tower.rule.threshold)
    if not len(strong):
        best = int(np.argmax(by_layer))
        return (
            f"No token is a sink in whole layers: {who} receives {_percent(by_layer[best])} of {whose} "
            f"attention at most, in layer {best}."
        )
    n_heads = sum(int((received.mean(axis=1) >= tower.rule.threshold).sum()) for received in tower.of_primary)
    total = sum(site.n_heads for site in tower.sites)
    where = _layers(strong, len(by_layer))
    return (
        f"{who[0].upper()}{who[1:]} receives {_percent(by_layer[strong].mean())} of {whose} attention "
        f"{where}, and is a sink in {n_heads} of {total} heads."
    )


def name_primary(tower: Tower, tokens: pd.DataFrame, classes: np.ndarray) -> str:
    """``the first token (<bos>)``, ``CLS`` or ``one token of each input (mostly punctuation)``."""
    of_primary = tokens.iloc[tower.primary]
    text, position = (of_primary[name].value_counts(normalize=True) for name in ("text", "position"))
    at_start = position.index[0] == 0 and position.iloc[0] >= CONSTANT_SHARE
    named = f" ({text.index[0]})" if text.iloc[0] >= CONSTANT_SHARE else ""
    if at_start:
        return f"the first token{named}"
    if named:
        return f"the token{named}"
    kinds, counts = np.unique(classes[tower.primary], return_counts=True)
    kind = PLURALS.get(str(kinds[np.argmax(counts)]), str(kinds[np.argmax(counts)]))
    return f"one token of each input (mostly {kind}, {_percent(counts.max() / counts.sum())})"


def _of_other_sinks(tower: Tower, classes: np.ndarray) -> str:
    """Tokens other than the primary that are sinks of some head in many inputs."""
    other = (tower.share > 0).any(axis=0) & ~tower.is_primary
    if not other.any():
        return "No other token is a sink of any head."
    rest = len(other) - tower.n_inputs
    if other.sum() == 1:
        return f"Beside it one of {rest:,} tokens is a sink of at least one head."
    kinds, counts = np.unique(classes[other], return_counts=True)
    place = int(np.argmax(counts))
    kind = PLURALS.get(str(kinds[place]), str(kinds[place]))
    mostly = f", mostly {kind}," if counts[place] > counts.sum() / 2 and str(kinds[place]) != PATCH else ""
    return f"Beside it {int(other.sum()):,} of {rest:,} tokens{mostly} are a sink of at least one head."


def _of_levels(levels: Levels, classes: np.ndarray) -> str:
    if levels.share > 0.5:
        return "The states of most tokens point the same way, so that their direction tells no sink."
    found = levels.tokens[levels.tokens["label"].isin([SECONDARY, LIKE_PRIMARY])]
    if found.empty:
        return "The state of no other token points the same way: there are no secondary sinks."
    kinds, counts = np.unique(classes[found["row"].to_numpy(dtype=np.int64)], return_counts=True)
    kind = PLURALS.get(str(kinds[np.argmax(counts)]), str(kinds[np.argmax(counts)]))
    first, last = int(found["first_layer"].min()), int((found["first_layer"] + found["lifetime"]).max()) - 1
    where = f"in layer {first}" if first == last else f"in layers {first} to {last}"
    one = len(found) == 1
    return (
        f"The state{'' if one else 's'} of {len(found):,} other token{'' if one else 's'}, "
        f"{'one of the' if one else 'mostly'} {kind}, point{'s' if one else ''} the same way {where}: "
        f"{'a secondary sink' if one else 'secondary sinks'}."
    )


def _layers(strong: np.ndarray, n_layers: int) -> str:
    if len(strong) == n_layers:
        return "in every layer"
    if len(strong) == 1:
        return f"in layer {strong[0]}"
    if strong[-1] - strong[0] + 1 == len(strong):
        return f"from layer {strong[0]} on" if strong[-1] == n_layers - 1 else f"in layers {strong[0]} to {strong[-1]}"
    return f"in {len(strong)} of {n_layers} layers, {strong[0]} to {strong[-1]}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
