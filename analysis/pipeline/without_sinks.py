"""What every head of a run does without its sinks: how much of its attention they take, and scores of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.metrics import METRICS, ON_DATA, AttentionMap
from analysis.metrics.averages import sample_inputs
from analysis.metrics.over_inputs import score_input
from analysis.metrics.tokens import TokenFacts, Tokens
from analysis.pipeline.attention_in_parts import attention_in_parts
from analysis.pipeline.long_sums import hidden_in_windows, is_read_in_windows, scores_in_windows
from analysis.pipeline.token_facts import facts_of_tables
from analysis.sinks import USUAL, Hidden, SinkRule, hide_sinks

if TYPE_CHECKING:
    import pandas as pd

    from analysis.store.reading import Reader
    from analysis.types import Site

SMALL_CELLS = 30_000_000
"""Weights of all heads on all inputs up to which a run is read whole: about a second of one processor."""

MOST_INPUTS = 48
"""Of larger runs so many inputs at most are read."""

MOST_CELLS = 150_000_000
"""And so many weights at most, but for a single input: some seconds."""

NEAR = 0.02
"""A token is taken for CLS or separator when what was measured of it comes out again as near as this."""

_KINDS = {"cls": "cls_share", "separator": "separator_share"}


class WithoutSinks(NamedTuple):
    """Heads without their sinks.

    Attributes:
        heads: One row a head: site (key), head, ``hidden`` (share of its attention that lay on sinks, 0..1),
            ``n_hidden`` (sinks an input), ``learned`` (share that a sink of the softmax took, 0..1), ``n_emptied``
            (queries an input that looked at sinks only), and one column a metric; each the mean over inputs.
        n_inputs: How many inputs it rests on.
    """

    heads: pd.DataFrame
    n_inputs: int


def is_measurable(metric: str) -> bool:
    """Whether a metric can be measured again from the attention of a run: not on probes, nor over pairs of inputs."""
    return metric in METRICS and METRICS[metric].measured == ON_DATA


def heads_without_sinks(
    run: Reader, metrics: Sequence[str] = (), *, rule: SinkRule = USUAL, most_inputs: int = MOST_INPUTS, seed: int = 0
) -> WithoutSinks:
    """Hide the sinks of every head and measure the rest, on all inputs of a small run or on a sample.

    A score is what the metric gives for the weights of `analysis.sinks.hide_sinks`: a hidden key counts as a key of
    weight 0, and a query that looked at sinks only as a row of zeros.

    Args:
        run: A run.
        metrics: Names of metrics for which `is_measurable` holds.
        rule: From how much attention on a token is a sink.
        most_inputs: Inputs of the sample, where the run is larger than `SMALL_CELLS`.
        seed: Of the sample.
    """
    chosen = _chosen(run, most_inputs, seed)
    facts = facts_of_run(run, list(chosen)) if metrics else None
    names = ("hidden", "n_hidden", "learned", "n_emptied", *metrics)
    heads = [(site, head) for site in run.sites for head in range(site.n_heads)]
    row = {(site.key, head): place for place, (site, head) in enumerate(heads)}
    found = np.full((len(chosen), len(heads), len(names)), np.nan)
    for place, (input_id, n_tokens) in enumerate(chosen.items()):
        tokens = Tokens() if facts is None else facts.batch([place], n_tokens, "")
        for site, head in windowed_heads(run, n_tokens):
            hidden = hidden_in_windows(run, site, head, input_id, n_tokens, rule)
            again = scores_in_windows(run, site, head, input_id, tokens, metrics, hidden.columns) if metrics else {}
            figures = [hidden.share, hidden.n_columns, hidden.learned_share, hidden.n_emptied]
            found[place, row[site.key, head]] = [*figures, *(again.get(name, np.nan) for name in metrics)]
        whole = [site for site in run.sites if not _is_windowed(site, n_tokens)]
        for site, first, weights in attention_in_parts(run, input_id, n_tokens, whole) if whole else ():
            allowed = run.allowed(site, input_id)
            hidden = hide_sinks(weights, allowed, rule.at(site))
            tokens = Tokens() if facts is None else facts.batch([place], allowed.shape[1], site.key_sequence)
            rows = slice(row[site.key, first], row[site.key, first] + len(weights))
            found[place, rows] = np.stack(_figures(hidden, allowed, tokens, metrics, site.is_cross), axis=1)
    return WithoutSinks(_table(heads, names, found), len(chosen))


def windowed_heads(run: Reader, n_tokens: int) -> list[tuple[Site, int]]:
    """The heads whose attention on an input of so many tokens is read some queries at a time."""
    sites = [site for site in run.sites if _is_windowed(site, n_tokens)]
    return [(site, head) for site in sites for head in range(site.n_heads)]


def _is_windowed(site: Site, n_tokens: int) -> bool:
    return is_read_in_windows(site, n_tokens, has_text=site.modality == "text")


def facts_of_run(run: Reader, inputs: Sequence[int]) -> TokenFacts:
    """What metrics were told of the tokens of some inputs, rising, from what a run has stored.

    Which special token is CLS and which the separator only the model's tokenizer knew. Where texts have several, it is
    the one whose share of attention comes out as it was measured.
    """
    table, tokens = run.inputs(), run.tokens()
    own = tokens[tokens["input_id"].isin(inputs)]
    if "word_class" not in own:  # runs that no extraction of texts made
        own = own.assign(word_class="")
    names = {kind: _special_name(run, tokens, kind) for kind in _KINDS}
    return facts_of_tables(table[table["input_id"].isin(inputs)], own, names)


def _figures(
    hidden: Hidden, allowed: np.ndarray, tokens: Tokens, metrics: Sequence[str], is_cross: bool
) -> list[np.ndarray]:
    figures = [hidden.share, hidden.n_columns, hidden.learned_share, hidden.n_emptied]
    if not metrics:
        return figures
    told = [name for name in metrics if METRICS[name].on_cross or not is_cross]
    scores = score_input(AttentionMap.of_one(hidden.weights, allowed, tokens, is_cross=is_cross), told)
    absent = np.full(len(hidden.weights), np.nan)
    return [*figures, *(scores[name][0] if name in scores else absent for name in metrics)]


def _table(heads: list[tuple[Site, int]], names: Sequence[str], found: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    known = np.isfinite(found)
    total = np.where(known, found, 0).sum(axis=0)
    means = np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)
    who = pd.DataFrame({"site": [site.key for site, _ in heads], "head": [head for _, head in heads]})
    return pd.concat([who, pd.DataFrame(means, columns=list(names))], axis=1)


def _chosen(run: Reader, most_inputs: int, seed: int) -> dict[int, int]:
    """The inputs that are read, rising, with their numbers of tokens."""
    table, n_heads = run.inputs()[["input_id", "n_tokens"]].astype(np.int64), sum(site.n_heads for site in run.sites)
    lengths = table["n_tokens"].to_numpy()
    if (lengths**2).sum() * n_heads > SMALL_CELLS:
        table = table.iloc[sample_inputs(lengths, most_inputs, MOST_CELLS // n_heads, seed)]
    return dict(zip(table["input_id"].tolist(), table["n_tokens"].tolist()))


def _special_name(run: Reader, tokens: pd.DataFrame, kind: str) -> str | None:
    """The text of the special token that the run's tokenizer calls by this name; None where it cannot be told."""
    metric, site = _KINDS[kind], run.sites[0]
    stored = run.head_input_scores(metric, site=site)
    tokens = tokens.iloc[run.key_rows(site)]
    texts = tokens.loc[tokens["is_special"].astype(bool), "text"].unique().tolist()
    if stored.empty or len(texts) < 2:
        return texts[0] if len(stored) and texts else None
    sizes = tokens.groupby("input_id").size()
    input_id = int(sizes[stored["input_id"].unique()].idxmin())
    own = tokens[tokens["input_id"] == input_id]
    measured = stored[stored["input_id"] == input_id].sort_values("head")
    heads = measured["head"].tolist()

    def scored(tokens: Tokens) -> np.ndarray:
        if _is_windowed(site, len(own)):
            parts = (scores_in_windows(run, site, head, input_id, tokens, [metric]) for head in heads)
            return np.array([each.get(metric, np.nan) for each in parts])
        return score_input(AttentionMap.of_one(weights, allowed, tokens), [metric])[metric][0]

    if not _is_windowed(site, len(own)):
        weights, allowed = np.stack([run.shares(site, head, input_id) for head in heads]), run.allowed(site, input_id)
    away = {}
    for text in texts:
        such = (own["is_special"].astype(bool) & (own["text"] == text)).to_numpy()[None]
        again = scored(Tokens(**{kind: such}))
        away[text] = np.abs(np.nan_to_num(again, nan=np.inf) - measured["value"].to_numpy()).max()
    best = min(away, key=away.get)
    return best if away[best] <= NEAR else None
