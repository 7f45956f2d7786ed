"""Tokens of a run in groups: by position, by class and by string, those that some head looks at most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.sinks.columns import SinkRule

if TYPE_CHECKING:
    import pandas as pd

POSITION, CLASS, STRING, LEARNED = "position", "class", "token", "learned"
"""What a row of the table stands for."""

MOST_POSITIONS, MOST_STRINGS = 16, 24
"""Of positions and of strings so many are told, those that some head looks at most."""

SAME_SHARE = 0.9
"""A position is told with the string that stands there in this share of the inputs; with none where they differ."""


class SiteReceived(NamedTuple):
    """The attention that tokens receive at one site, in token-table order.

    Attributes:
        site: Key of the site.
        received: Mean over the queries that see the token, 0..1; see `analysis.sinks.received`.
        n_queries: How many these are.
        even: What it would be if every query looked evenly at all it may see.
        n_all: How many queries see the token, its own counted.
        learned: Mean attention that a learned sink takes on each input; None where there is none.
    """

    site: str
    received: Float[np.ndarray, "head point"]
    n_queries: Int[np.ndarray, " point"]
    even: Float[np.ndarray, " point"]
    n_all: Int[np.ndarray, " point"]
    learned: Float[np.ndarray, "head input"] | None = None


@dataclass(frozen=True)
class Groups:
    """One way to group tokens: by position, by class or by string.

    Attributes:
        kind: Which.
        codes: Group of every token; -1 for none.
        positions: Position of each group, -1 where it has none.
        names: String or class of each group; None where it has none.
    """

    kind: str
    codes: Int[np.ndarray, " point"]
    positions: Int[np.ndarray, " group"]
    names: list[str | None]


def choose_groups(
    sites: Iterable[SiteReceived],
    tokens: pd.DataFrame,
    classes: np.ndarray,
    inputs: Int[np.ndarray, " point"],
    rule: SinkRule,
) -> list[Groups]:
    """The positions and strings that some head looks at most, and all classes."""
    import pandas as pd

    position = tokens["position"].to_numpy(np.int64)
    text, strings = pd.factorize(tokens["text"].astype(str), sort=True)
    best = [np.full(n, -1.0) for n in (int(position.max()) + 1, len(strings))]
    anywhere = np.zeros(len(inputs), dtype=bool)
    for site in sites:
        able = able_tokens(site.n_queries, inputs, rule)
        anywhere |= able
        for place, codes in enumerate((position, text)):
            best[place] = np.maximum(best[place], _best_mean(site.received[:, able], codes[able], len(best[place])))
    groups = [_positions(_most(best[0], _enough(position, inputs, anywhere), MOST_POSITIONS), tokens, inputs)]
    code, names = pd.factorize(classes, sort=True)
    groups.append(Groups(CLASS, code.astype(np.int64), np.full(len(names), -1), [str(name) for name in names]))
    if "word_class" in tokens:
        kept = _most(best[1], _enough(text, inputs, anywhere), MOST_STRINGS)
        chosen = np.full(len(strings), -1)
        chosen[kept] = np.arange(len(kept))
        groups.append(Groups(STRING, chosen[text], np.full(len(kept), -1), [str(strings[k]) for k in kept]))
    return groups


def able_tokens(
    n_queries: Int[np.ndarray, " point"], inputs: Int[np.ndarray, " point"], rule: SinkRule
) -> Bool[np.ndarray, " point"]:
    """Tokens that enough queries see: as many as the rule asks for, or as the most-seen token of a short input has."""
    most = np.zeros(int(inputs.max()) + 1, dtype=np.int64)
    np.maximum.at(most, inputs, n_queries)
    return n_queries >= np.minimum(rule.min_queries, np.maximum(most, 1))[inputs]


def _positions(kept: Int[np.ndarray, " group"], tokens: pd.DataFrame, inputs: np.ndarray) -> Groups:
    position = tokens["position"].to_numpy(np.int64)
    names = []
    for place in kept:
        found = tokens.loc[position == place, "text"].value_counts(normalize=True)
        names.append(str(found.index[0]) if len(found) and found.iloc[0] >= SAME_SHARE else None)
    codes = np.full(int(position.max()) + 1, -1)
    codes[kept] = np.arange(len(kept))
    return Groups(POSITION, codes[position], kept, names)


def _best_mean(received: Float[np.ndarray, "head able"], codes: np.ndarray, n: int) -> Float[np.ndarray, " group"]:
    count = np.maximum(np.bincount(codes, minlength=n), 1)
    means = [np.bincount(codes, np.nan_to_num(of_head), minlength=n) / count for of_head in received]
    return np.max(means, axis=0)


def _enough(
    codes: Int[np.ndarray, " point"], inputs: Int[np.ndarray, " point"], able: Bool[np.ndarray, " point"]
) -> Bool[np.ndarray, " group"]:
    """Groups that a twentieth of the inputs have, two of them at least where there are two."""
    n_inputs = int(inputs.max()) + 1
    pairs = np.unique(codes[able] * n_inputs + inputs[able])
    return np.bincount(pairs // n_inputs, minlength=int(codes.max()) + 1) >= min(n_inputs, max(2, 0.05 * n_inputs))


def _most(best: Float[np.ndarray, " group"], able: Bool[np.ndarray, " group"], most: int) -> Int[np.ndarray, " kept"]:
    order = np.argsort(-np.where(able, best, -np.inf), kind="stable")
    return np.sort(order[: min(most, int(able.sum()))])
