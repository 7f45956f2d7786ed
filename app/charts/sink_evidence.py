"""What speaks for a mark of the page Sinks: its figures in a sentence, the heads that look most, tokens as examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from analysis.types import Site, head_name
from app.charts.scales import weight_words

MOST_HEADS = 4


@dataclass(frozen=True)
class HeadSaid:
    """A head and what it gives.

    Attributes:
        name: As in ``L2H4``.
        site, head: Label of its site, index in it.
        value: 0..1.
    """

    name: str
    site: str
    head: int
    value: float


@dataclass(frozen=True)
class Evidence:
    """What speaks for a mark.

    Attributes:
        title: What was picked.
        said: Its figures, in sentences.
        heads: Those that look most, the strongest first.
        heads_are: What their values are.
        rows: Tokens as examples, in the token table.
        values: What each receives.
        values_are: What these are.
    """

    title: str
    said: str
    heads: Sequence[HeadSaid]
    heads_are: str
    rows: Int[np.ndarray, " found"]
    values: Float[np.ndarray, " found"]
    values_are: str


def rate_words(row: Any) -> str:
    """Score against its null and rate with its interval, of a row of `analysis.sinks.find_sinks`."""
    rate = f"{row.rate:.0%}" if row.rate >= 0.1 or row.rate == 0 else f"{100 * row.rate:.2g}%"
    between = f" (95 % interval {100 * row.ci_low:.2g} to {100 * row.ci_high:.2g} %)" if np.isfinite(row.ci_low) else ""
    return (
        f"It receives {figure(row.score)} of attention on average, where even attention would give "
        f"{figure(row.null)}; it is a sink in {rate.replace('%', ' %')} of heads and tokens{between}; {row.n:,} "
        f"{'input' if row.n == 1 else 'inputs'}."
    )


def figure(value: float) -> str:
    """Three digits, without those that say nothing."""
    return weight_words(round(float(value), 4))


def heads_of_rows(by_head: pd.DataFrame, sites: Sequence[Site]) -> list[HeadSaid]:
    """The heads of some rows of the table by head, the highest score first; heads of other towers left out."""
    known = {site.key: site for site in sites}
    rows = by_head[by_head["site"].isin(list(known))].nlargest(MOST_HEADS, "score")
    return [
        HeadSaid(head_name(known[row.site].depth, row.head), known[row.site].label, int(row.head), float(row.score))
        for row in rows.itertuples()
    ]


def heads_by_value(values: Sequence[Float[np.ndarray, " head"]], sites: Sequence[Site]) -> list[HeadSaid]:
    """The heads with the largest values.

    Args:
        values: Of the heads of each site.
    """
    every = [
        HeadSaid(head_name(site.depth, head), site.label, head, float(value))
        for site, of_site in zip(sites, values, strict=True)
        for head, value in enumerate(of_site)
    ]
    return sorted(every, key=lambda head: -head.value)[:MOST_HEADS]


def layer_words(row: Any, share_others: float, norm: float | None) -> str:
    """What a row of `app.charts.sink_layers.layer_table` says.

    Args:
        share_others: Share of the other tokens that are a sink of some head in this layer.
        norm: Norm of the primary sink over the median token's in front of the layer; None where not measured.
    """
    between = (
        f" (95 % interval {row.received_low:.2f} to {row.received_high:.2f})" if np.isfinite(row.received_low) else ""
    )
    said = (
        f"The primary sink receives {row.received:.2f} of attention{between}, where even attention would give "
        f"{figure(row.null)}, and is a sink in {100 * row.rate:.0f} % of the heads. {100 * share_others:.2g} % of the "
        "other tokens are a sink of some head here."
    )
    return said if norm is None else f"{said} Its state in front of the layer is {norm:.2g} times the median token's."


def most_received(score: Float[np.ndarray, " point"], able: Bool[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """The score of tokens that enough queries see; NaN elsewhere."""
    return np.where(able, np.nan_to_num(score), np.nan)
