"""The measures of heads as the page speaks of them: their families and order, and all figures as aligned tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metrics import METRICS
from analysis.metrics.importance_measures import every_variant
from analysis.types import Site, head_name

FAMILIES = {
    "position": "where it looks", "structure": "where it looks", "in-context": "in-context role",
    "spread": "reach and spread", "homogeneity": "alike or not",
}  # fmt: skip
"""What the page calls the groups of `analysis.metrics`, in the order in which they are offered."""

FIRST = (
    "previous_token", "next_token", "self_token", "first_token", "last_token", "offset_local", "cls_share",
    "separator_share", "special_share", "punctuation_share", "same_token", "same_row", "same_column", "same_sentence",
    "same_segment", "same_label", "induction", "duplicate_token", "previous_token_probe", "next_token_probe",
    "attention_distance", "entropy", "entropy_share", "effective_keys", "keys_for_mass", "dominant_key", "nmi",
    "map_similarity", "position_share",
)  # fmt: skip
"""The order within a family; a measure that is not here, such as a new one, comes behind them by name."""

IMPORTANCE_PREFIXES = ("ablation_", "gradient_")
IMPORTANCE, OTHER = "importance", "other"

TELLING = (
    "previous_token", "next_token", "self_token", "first_token", "last_token", "cls_share", "separator_share",
    "same_token", "same_row", "same_column", "induction", "duplicate_token", "induction_two_sided",
    "duplicate_token_two_sided",
)  # fmt: skip
"""Mean weights on few keys, which name what a head does where they are high; shares of half the keys do not."""


def measure_words() -> dict[str, dict[str, str]]:
    """Title, unit and meaning of every head metric and measure of importance, by name."""
    known = {**METRICS, **every_variant()}
    return {name: {"title": m.title, "unit": m.unit, "high": m.high} for name, m in known.items()}


def family_of(metric: str) -> str:
    """The family a measure belongs to."""
    if metric.startswith(IMPORTANCE_PREFIXES):
        return IMPORTANCE
    return FAMILIES[METRICS[metric].group] if metric in METRICS else OTHER


def in_families(metrics: Iterable[str]) -> list[str]:
    """The measures family by family, importance next, what nobody knows last by name."""
    families = [*dict.fromkeys(FAMILIES.values()), IMPORTANCE, OTHER]

    def place(metric: str) -> tuple[int, int, str]:
        return families.index(family_of(metric)), _place(metric), metric

    return sorted(metrics, key=place)


def _place(metric: str) -> int:
    """Variants such as ``induction_two_sided`` stand behind their root."""
    roots = [known for known in FIRST if metric == known or metric.startswith(f"{known}_")]
    return FIRST.index(max(roots, key=len)) if roots else len(FIRST)


@dataclass(frozen=True)
class HeadScores:
    """Every figure of every head, one row a head in every table, one column a measure; NaN where there is none.

    Attributes:
        heads: Columns stack, site (label), key, layer, head, name; index 0..n-1.
        value, low, high, null, n: What was measured, the ends of its 95 % interval, what the same rows give with
            keys permuted, and how many inputs it rests on.
    """

    heads: pd.DataFrame
    value: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    null: pd.DataFrame
    n: pd.DataFrame

    @property
    def measures(self) -> list[str]:
        """Those that say something of a head, in the order in which they are offered."""
        return in_families(name for name in self.value if self.value[name].notna().any())

    def of(self, measure: str) -> pd.DataFrame:
        """One measure: columns value, ci_low, ci_high, null, n, one row a head."""
        parts = {"value": self.value, "ci_low": self.low, "ci_high": self.high, "null": self.null, "n": self.n}
        return pd.DataFrame({name: part[measure] for name, part in parts.items()})

    def row_of(self, site: str, head: int) -> int | None:
        """Row of a head, by label of its site and its index; None where there is no such head."""
        found = np.flatnonzero((self.heads["site"] == site) & (self.heads["head"] == head))
        return int(found[0]) if len(found) else None


def spread_scores(sites: Sequence[Site], scores: pd.DataFrame, figures: pd.DataFrame | None = None) -> HeadScores:
    """All scores of a run as aligned tables.

    Args:
        sites: Of the run, in forward order.
        scores: Columns metric, site (key), head, value, ci_low, ci_high, null, n.
        figures: Further columns without interval or null, one row a head: site (label), head, and the figures.
    """
    heads = pd.DataFrame(
        [
            (site.stack_label, site.label, site.key, site.depth, head, head_name(site.depth, head))
            for site in sites
            for head in range(site.n_heads)
        ],
        columns=["stack", "site", "key", "layer", "head", "name"],
    )
    rows = pd.MultiIndex.from_frame(heads[["key", "head"]])
    tables = {
        part: scores.pivot(index=["site", "head"], columns="metric", values=part).reindex(rows).reset_index(drop=True)
        for part in ("value", "ci_low", "ci_high", "null", "n")
    }
    if figures is not None and len(figures):
        found = figures.set_index(["site", "head"]).reindex(pd.MultiIndex.from_frame(heads[["site", "head"]]))
        for name in found:
            for part in tables:
                tables[part][name] = found[name].to_numpy(dtype=float) if part == "value" else np.nan
    return HeadScores(heads, *(tables[part] for part in ("value", "ci_low", "ci_high", "null", "n")))
