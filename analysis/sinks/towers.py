"""One tower of a run as sinks see it: what each token receives in each layer, and the primary sink of each input."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.errors import UnknownName
from analysis.sinks.columns import USUAL, SinkRule, is_sink
from analysis.sinks.groups import able_tokens
from analysis.sinks.reading import received_at
from analysis.types import Site


@dataclass(frozen=True)
class Tower:
    """The sites of one tower, over all tokens of the run in token-table order: those of its key sequence where an input
    is several, see `analysis.store.one_sequence.OneSequence`.

    Attributes:
        stack: Its label.
        sites: Its sites, in forward order.
        inputs: Place of each token's input among the inputs.
        score: Mean attention received, the mean over the heads of a layer, 0..1.
        share: Share of the heads of a layer in which the token is a sink, 0..1.
        mass: Of each head and input, the share of all attention that its sinks take, 0..1, by site.
        n_sinks: Of each head and input, how many tokens are its sinks, by site.
        primary: Row in the token table of each input's primary sink: the token that gets most attention over all heads
            of the tower. See `analysis.sinks.state_figures.primary_of`.
        of_primary: Attention the primary sink receives in each head, by site, 0..1.
        rule: What a sink is.
    """

    stack: str
    sites: list[Site]
    inputs: Int[np.ndarray, " point"]
    score: Float[np.ndarray, "layer point"]
    share: Float[np.ndarray, "layer point"]
    mass: list[Float[np.ndarray, "head input"]]
    n_sinks: list[Int[np.ndarray, "head input"]]
    primary: Int[np.ndarray, " input"]
    of_primary: list[Float[np.ndarray, "head input"]]
    rule: SinkRule

    @property
    def n_inputs(self) -> int:
        """Inputs of the run."""
        return len(self.primary)

    @property
    def is_primary(self) -> Bool[np.ndarray, " point"]:
        """True at the primary sink of each input."""
        found = np.zeros(len(self.inputs), dtype=bool)
        found[self.primary] = True
        return found


def read_tower(run: Any, stack: str | None = None, rule: SinkRule = USUAL) -> Tower:
    """Read what the tokens of a run receive in one tower.

    Args:
        run: An open run.
        stack: Label of the tower, as in ``text.dec.self``; the first one where none is given.
        rule: What a sink is; by default tokens' own queries are left out.

    Raises:
        UnknownName: There is no such tower.
        RunError: The run was made before sinks were measured.
    """
    labels = list(dict.fromkeys(site.stack_label for site in run.sites))
    if stack is None and labels:
        stack = labels[0]
    if stack not in labels:
        raise UnknownName(f"There is no tower {str(stack)[:100]!r}; known: {', '.join(labels)}.")
    sites = [site for site in run.sites if site.stack_label == stack]
    lengths = run.inputs()["n_tokens"].to_numpy()
    n_queries = np.array(list(run.lengths_of(sites[0].query_sequence).values())) if sites[0].is_cross else lengths
    inputs = np.repeat(np.arange(len(lengths)), lengths)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    every, scores, shares, mass, n_sinks, able = [], [], [], [], [], np.zeros(len(inputs), dtype=bool)
    for found in received_at(run, rule, sites):
        received = np.nan_to_num(found.received)
        sinks = is_sink(received, found.n_queries, rule)
        able |= able_tokens(found.n_queries, inputs, rule)
        every.append(received)
        scores.append(received.mean(axis=0))
        shares.append(sinks.mean(axis=0))
        whole = np.nan_to_num(run.received(found.site, counts_own=True))
        weight = np.where(sinks, whole * found.n_all, 0) / n_queries[inputs]
        mass.append(np.add.reduceat(weight, bounds[:-1], axis=1))
        n_sinks.append(np.add.reduceat(sinks.astype(np.int64), bounds[:-1], axis=1))
    score = np.stack(scores)
    of_heads = np.average(score, axis=0, weights=[site.n_heads for site in sites])
    ranked = np.where(able, of_heads, -1.0)
    primary = np.array([first + int(np.argmax(ranked[first:last])) for first, last in pairwise(bounds)])
    return Tower(
        stack, sites, inputs, score, np.stack(shares), mass, n_sinks, primary,
        [received[:, primary] for received in every], rule,
    )  # fmt: skip
