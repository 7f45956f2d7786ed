"""Primary and secondary sinks: from which layer a token's state points where the primary sink's does, and how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.errors import UserError
from analysis.metrics.importance_measures import spearman
from analysis.sinks.towers import Tower

if TYPE_CHECKING:
    import pandas as pd

PRIMARY, LIKE_PRIMARY, SECONDARY, NOISE = "primary", "like the primary", "secondary", "noise"

Figures = dict[str, Float[np.ndarray, "_ _"]]
"""As `Run.state_figures` gives them, [layer, point]."""


@dataclass(frozen=True, slots=True)
class LevelRule:
    """Which tokens point where the primary sink points, and what their lifetime makes of them.

    Attributes:
        similar: Absolute cosine to the primary sink's state above which a token is sink-like in a layer; published.
        long: Layers from which on a token is like the primary sink; None for the published L - 15 in a model of
            `deep` layers or more. In one of fewer L - 15 would be next to nothing: there it is 17/32 of the layers
            looked at, the share that L - 15 is at 32 layers. Ours.
        short: Layers up to which it is noise; None for the published 4, or 1/8 of the layers looked at.
        massive: The primary sink has a large state where its norm is this many times the median token's. Ours; below
            it the layers are not cut to those of the large state.
    """

    similar: float = 0.9
    long: int | None = None
    short: int | None = None
    massive: float = 2.0
    deep: int = 24

    def __post_init__(self) -> None:
        if not 0 < self.similar < 1:
            raise UserError(f"Sink-like is a cosine above {self.similar:g}; give a number between 0 and 1.")

    def lifetimes(self, n_layers: int, n_looked_at: int) -> tuple[int, int]:
        """The longest lifetime of noise, and the shortest of what is like the primary sink, in layers."""
        n = n_looked_at
        short, long = (4, n_layers - 15) if n_layers >= self.deep else (n // 8, -(-17 * n // 32))
        short = short if self.short is None else self.short
        return short, max(long if self.long is None else self.long, short + 1)


class Levels(NamedTuple):
    """What `find_levels` finds in one tower.

    Attributes:
        tokens: A row a token that is sink-like in some layer, primary sinks too: ``row`` (of the token table),
            input_id, position, text, first_layer, lifetime (layers), label, score (mean attention received in these
            layers, over all heads), max_norm, mlp_norm and mlp_cosine (of what the MLP in front of its first layer
            adds; NaN where it begins in front of all layers or the MLP was not found).
        levels: A row a (first_layer, lifetime): n (tokens), label, score, strings (the commonest three); primary sinks
            left out.
        first, last: Layers that are looked at, by the state in front of them. The state behind the last layer is read
            by no attention and left out.
        norm_ratio: Norm of the primary sink over the median token's, in the layer where it is largest.
        share: Share of all other tokens and layers looked at that are sink-like. Where it is large, states point one
            way altogether, and a level says nothing.
        norm_score, norm_lifetime: Rank correlation of the MLP's norm with score and lifetime of secondary sinks;
            NaN where fewer than three have one.
    """

    tokens: pd.DataFrame
    levels: pd.DataFrame
    first: int
    last: int
    norm_ratio: float
    share: float
    norm_score: float
    norm_lifetime: float


def find_levels(tower: Tower, figures: Figures, tokens: pd.DataFrame, rule: LevelRule | None = None) -> Levels:
    """The levels of all sink-like tokens of one tower.

    Args:
        tower: What its tokens receive.
        figures: What was measured of their states.
        tokens: The token table.
        rule: The thresholds; the published ones where they apply.

    Source: "On the Existence and Behaviour of Secondary Attention Sinks": the clip to the layers between the largest
        rise and the later largest fall of the primary sink's norm, the cosine of 0.9, lifetime, first layer and the
        labels. Ours: the primary sink is found by attention, not taken to be BOS; cosines are held against the primary
        sink of the same input; the fractions for models of few layers; no clip where the primary sink has no large
        state; the share of sink-like tokens as a warning.
    """
    rule = rule or LevelRule()
    n_layers = len(tower.sites)
    primary = figures["is_primary"][0] > 0
    first, last, ratio = clip_layers(figures["norm"][:n_layers], primary, rule)
    alike = np.abs(figures["cosine"][:n_layers]) > rule.similar
    alike[:first] = alike[last + 1 :] = False
    found = np.flatnonzero(alike.any(axis=0) | primary)
    lifetimes = rule.lifetimes(n_layers, last - first + 1)
    table = _describe(found, alike, primary, tower, figures, tokens, lifetimes)
    secondary = table[(table["label"] == SECONDARY) & table["mlp_norm"].notna()]
    norm, score, lifetime = (secondary[name].to_numpy(dtype=float) for name in ("mlp_norm", "score", "lifetime"))
    others = alike[first : last + 1][:, ~primary]
    share = float(others.mean()) if others.size else 0.0
    return Levels(table, _count(table), first, last, ratio, share, spearman(norm, score), spearman(norm, lifetime))


def clip_layers(
    norm: Float[np.ndarray, "layer point"], primary: Bool[np.ndarray, " point"], rule: LevelRule
) -> tuple[int, int, float]:
    """The first and last layer that reads the primary sinks' large state, and how many times the median norm it has.

    Returns:
        The layer behind the largest rise of their mean norm, and the one in front of the largest later fall; all layers
        where the norm is not `rule.massive` times the median anywhere.
    """
    of_primary = norm[:, primary].mean(axis=1)
    usual = np.median(norm[:, ~primary] if (~primary).any() else norm, axis=1)
    ratio = float((of_primary / np.maximum(usual, 1e-30)).max())
    last = len(norm) - 1
    if ratio < rule.massive:
        return 0, last, ratio
    change = np.diff(of_primary)
    first = int(np.argmax(change)) + 1
    falls = change[first:]
    if len(falls) and falls.min() < 0:
        last = first + int(np.argmin(falls))
    return first, last, ratio


def weakening(tower: Tower, levels: Levels) -> pd.DataFrame:
    """What the primary sink receives in inputs where secondary sinks live in a layer, beside inputs where none does.

    Returns:
        A row a layer: layer, with_secondary and without (mean attention the primary sink receives over all heads,
        0..1, NaN where there is no such input), n_with, n_without (inputs). Inputs differ in length too, which by
        itself changes what a token receives.

    Source: the question is that of "On the Existence and Behaviour of Secondary Attention Sinks"; the comparison over
        inputs is ours.
    """
    import pandas as pd

    secondary = levels.tokens[levels.tokens["label"] == SECONDARY]
    rows = []
    for layer in range(len(tower.sites)):
        begins = secondary["first_layer"].to_numpy()
        live = secondary[(begins <= layer) & (layer < begins + secondary["lifetime"].to_numpy())]
        has = np.zeros(tower.n_inputs, dtype=bool)
        has[tower.inputs[live["row"].to_numpy(dtype=np.int64)]] = True
        score = tower.of_primary[layer].mean(axis=0)
        means = [float(score[which].mean()) if which.any() else np.nan for which in (has, ~has)]
        rows.append((layer, *means, int(has.sum()), int((~has).sum())))
    return pd.DataFrame(rows, columns=["layer", "with_secondary", "without", "n_with", "n_without"])


def _describe(
    found: Int[np.ndarray, " kept"],
    alike: Bool[np.ndarray, "layer point"],
    primary: Bool[np.ndarray, " point"],
    tower: Tower,
    figures: Figures,
    tokens: pd.DataFrame,
    lifetimes: tuple[int, int],
) -> pd.DataFrame:
    alike = alike[:, found]
    begins, lifetime = alike.argmax(axis=0), alike.sum(axis=0)
    table = tokens.iloc[found][["input_id", "position", "text"]].reset_index(drop=True)
    score = np.where(alike, tower.score[:, found], 0).sum(axis=0) / np.maximum(lifetime, 1)
    is_long, is_longer = lifetime > lifetimes[0], lifetime >= lifetimes[1]
    label = np.select([primary[found], is_longer, is_long], [PRIMARY, LIKE_PRIMARY, SECONDARY], NOISE)
    made = [_made_by(figures.get(name), begins, found) for name in ("mlp_norm", "mlp_cosine")]
    return table.assign(
        row=found, first_layer=begins, lifetime=lifetime, label=label, score=score,
        max_norm=figures["norm"][:, found].max(axis=0), mlp_norm=made[0], mlp_cosine=made[1],
    )  # fmt: skip


def _made_by(
    of_layer: Float[np.ndarray, "layer point"] | None, begins: Int[np.ndarray, " kept"], found: Int[np.ndarray, " kept"]
) -> Float[np.ndarray, " kept"]:
    """The figure of the MLP right in front of each token's first layer."""
    if of_layer is None:
        return np.full(len(found), np.nan)
    return np.where(begins > 0, of_layer[np.maximum(begins - 1, 0), found], np.nan)


def _count(table: pd.DataFrame) -> pd.DataFrame:
    others = table[table["label"] != PRIMARY]
    grouped = others.groupby(["first_layer", "lifetime"], sort=True)
    counted = grouped.agg(n=("row", "size"), label=("label", "first"), score=("score", "mean")).reset_index()
    strings = [list(rows["text"].value_counts().index[:3]) for _, rows in grouped]
    return counted.assign(strings=strings)
