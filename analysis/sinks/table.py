"""Which tokens are sinks over a whole run: by position, by class and by string, for every head and for the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from analysis.metrics.over_inputs import bootstrap_interval
from analysis.sinks.columns import SinkRule
from analysis.sinks.groups import LEARNED, Groups, SiteReceived, able_tokens, choose_groups

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = SinkRule(counts_own=True)
"""The rule of the tables: the published score counts a token's own query."""

COLUMNS = ["site", "head", "position", "token", "score", "rate", "ci_low", "ci_high", "n", "null", "kind"]


class SinkFindings(NamedTuple):
    """What `find_sinks` makes.

    Attributes:
        by_head: `COLUMNS`: a row a site, head and position, class or string. score: mean attention received, the mean
            over inputs of the mean over the tokens meant, 0..1; rate: share of these tokens with the rule's threshold
            or more, 0..1, with its 95 % bootstrap interval over inputs; n: inputs that have such a token; null: the
            score if attention were even; kind: what is meant, see `analysis.sinks.groups`.
        overall: The same for the whole model, without site and head; rate is the share of (layer, head) in which the
            token is a sink.
    """

    by_head: pd.DataFrame
    overall: pd.DataFrame


def find_sinks(
    each_site: Callable[[], Iterable[SiteReceived]],
    tokens: pd.DataFrame,
    classes: np.ndarray,
    *,
    rule: SinkRule = PUBLISHED,
    seed: int = 0,
) -> SinkFindings:
    """The sinks of a run.

    Tokens that fewer queries see than the rule asks for are left out, in inputs that have others.

    Args:
        each_site: Called twice; gives every site in turn, so that one is held at a time.
        tokens: The token table.
        classes: Class of every token, as `token_classes` gives it.
        rule: The threshold; its `counts_own` says how `SiteReceived.received` was made.
        seed: Of the intervals.

    Source: sink rate: 1/L sum_l 1/H sum_h 1(alpha_k > 0.3) of Gu et al. (2024), "When Attention Sink Emerges in
        Language Models", section 3.1, there for one position k, averaged over inputs. By class and by string, the
        interval and the null are ours.
    """
    import pandas as pd

    inputs, _ = pd.factorize(tokens["input_id"], sort=True)
    groups = choose_groups(each_site(), tokens, classes, inputs, rule)
    tables: list[pd.DataFrame] = []
    totals: dict[str, _Sums] = {}
    for site in each_site():
        for group in groups:
            told = _tell(site, group, inputs, rule)
            tables.append(told.table(group, site.site, seed))
            totals.setdefault(group.kind, _Sums.like(told)).add(told)
        if site.learned is not None:
            tables.append(_learned(site, rule, seed))
    overall = [totals[group.kind].mean().table(group, "", seed) for group in groups]
    whole = pd.concat(overall, ignore_index=True)[[name for name in COLUMNS if name not in ("site", "head")]]
    return SinkFindings(pd.concat(tables, ignore_index=True)[COLUMNS], whole)


class _Told(NamedTuple):
    """Of each group on each input: mean score, share of sinks, and the score of even attention; NaN without tokens."""

    score: Float[np.ndarray, "head group input"]
    hits: Float[np.ndarray, "head group input"]
    even: Float[np.ndarray, "1 group input"]

    def table(self, groups: Groups, site: str, seed: int) -> pd.DataFrame:
        """The rows of these groups."""
        import pandas as pd

        n_heads, n_groups, _ = self.score.shape
        low, high = _interval(self.hits.reshape(n_heads * n_groups, -1), seed)
        positions = np.tile(groups.positions, n_heads)
        frame = pd.DataFrame(
            {
                "site": site,
                "head": np.repeat(np.arange(n_heads), n_groups),
                "position": pd.array(positions, dtype="Int64"),
                "token": groups.names * n_heads,
                "score": _mean(self.score).ravel(),
                "rate": _mean(self.hits).ravel(),
                "ci_low": low,
                "ci_high": high,
                "n": np.isfinite(self.score).sum(axis=2).ravel(),
                "null": np.broadcast_to(_mean(self.even), (n_heads, n_groups)).ravel(),
                "kind": groups.kind,
            }
        )
        frame.loc[positions < 0, "position"] = pd.NA
        return frame[frame["n"] > 0]


@dataclass
class _Sums:
    """Sums over the heads of all sites, and of how many heads; masks may let a token count at some sites only."""

    told: _Told
    n_heads: Float[np.ndarray, "1 group input"]

    @classmethod
    def like(cls, told: _Told) -> _Sums:
        """Nothing yet, for groups and inputs like these."""
        empty = np.zeros((1, *told.score.shape[1:]))
        return cls(_Told(empty, empty.copy(), empty.copy()), empty.copy())

    def add(self, told: _Told) -> None:
        """One site."""
        n_heads = len(told.score)
        for whole, part in zip(self.told, (told.score, told.hits, told.even * n_heads), strict=True):
            whole += np.nan_to_num(part).sum(axis=0, keepdims=True)
        self.n_heads += np.isfinite(told.score).sum(axis=0, keepdims=True)

    def mean(self) -> _Told:
        """The mean over heads."""
        n_heads = np.where(self.n_heads > 0, self.n_heads, np.nan)
        return _Told(*(part / n_heads for part in self.told))


def _tell(site: SiteReceived, groups: Groups, inputs: Int[np.ndarray, " point"], rule: SinkRule) -> _Told:
    """Score and share of sinks of each group on each input."""
    n_inputs, n_groups = int(inputs.max()) + 1, len(groups.names)
    places = np.flatnonzero(able_tokens(site.n_queries, inputs, rule) & (groups.codes >= 0))
    cells = groups.codes[places] * n_inputs + inputs[places]
    order = np.argsort(cells, kind="stable")
    present, first = np.unique(cells[order], return_index=True)
    chosen = places[order]
    received = np.nan_to_num(site.received[:, chosen])

    def means(values: Real[np.ndarray, "row chosen"]) -> Float[np.ndarray, "row group input"]:
        whole = np.full((len(values), n_groups * n_inputs), np.nan)
        if len(first):
            whole[:, present] = np.add.reduceat(values, first, axis=1, dtype=np.float64)
            whole[:, present] /= np.diff([*first, len(chosen)])
        return whole.reshape(-1, n_groups, n_inputs)

    return _Told(means(received), means((received >= rule.threshold) * 1), means(site.even[None, chosen]))


def _learned(site: SiteReceived, rule: SinkRule, seed: int) -> pd.DataFrame:
    """The mass that a learned sink takes in each head; its null is 0, rows that sum to 1."""
    mass = np.asarray(site.learned, dtype=np.float64)[:, None]
    hits = (mass >= rule.threshold).astype(np.float64)
    groups = Groups(LEARNED, np.empty(0, np.int64), np.array([-1]), ["learned sink"])
    return _Told(mass, hits, np.zeros((1, 1, mass.shape[2]))).table(groups, site.site, seed)


def _interval(hits: Float[np.ndarray, "row input"], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Interval of the mean of each row over inputs; rows that are alike on all of them need no resampling."""
    known = np.isfinite(hits)
    low = np.where(known, hits, np.inf).min(axis=1)
    high = np.where(known, hits, -np.inf).max(axis=1)
    varies = low < high
    if varies.any():
        low[varies], high[varies] = bootstrap_interval(hits[varies], seed=seed)
    few = known.sum(axis=1) < 2
    low[few], high[few] = np.nan, np.nan
    return low, high


def _mean(values: Float[np.ndarray, "row group input"]) -> Float[np.ndarray, "row group"]:
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
