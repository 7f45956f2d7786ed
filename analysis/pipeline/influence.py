"""Windowed attention distance and future influence of the tokens of one text of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.errors import UserError
from analysis.metrics.windowed import PUBLISHED, Windows, influence, influence_in_windows
from analysis.pipeline.long_sums import is_read_in_windows, widened
from analysis.types import Site, head_name

if TYPE_CHECKING:
    import pandas as pd

    from analysis.store import Run

TOGETHER_TOKENS = 512
"""Longest text of which all heads are held in memory at once; of longer ones one head at a time."""


class TokenInfluence(NamedTuple):
    """What `token_influence` finds.

    Attributes:
        tokens: One row a token, ``position, text, waad_tokens, fai``; NaN where a measure says nothing of it.
        local_heads: Names of the heads behind WAAD, as in ``L0H3``, the nearest-looking first.
        global_heads: Names of the heads behind FAI, the farthest-looking first.
    """

    tokens: pd.DataFrame
    local_heads: list[str]
    global_heads: list[str]


def token_influence(
    run: Run, input_id: int, *, stack: str | None = None, windows: Windows = PUBLISHED
) -> TokenInfluence:
    """How far back each token of a text looks in the local heads, and how much later ones look at it in global ones.

    Args:
        run: A run of a model of texts whose tokens see only what came before.
        input_id: One of its texts.
        stack: Label of a tower, as in ``text.dec.self``; the first causal one where none is given.
        windows: Share of heads, window, reach, and the first query that counts.

    Returns:
        See `analysis.metrics.windowed.influence` for the measures and their source.

    Raises:
        UserError: The run has no such text, or the tower looks both ways.
    """
    sites = causal_stack(run.sites, stack)
    tokens = run.tokens()
    of_input = tokens[tokens["input_id"] == input_id].sort_values("position")
    if of_input.empty:
        raise UserError(f"Run {run.run_id!r} has no input {input_id}: give one of its input_id.")
    of_input = of_input.iloc[run.query_positions(sites[0], input_id)]
    for site in sites:
        if site.band is None and np.triu(run.allowed(site, input_id), 1).any():
            raise UserError(_both_ways(site.stack_label))

    def each_head() -> Iterator[np.ndarray]:
        if len(of_input) <= TOGETHER_TOKENS:
            everything = run.shares_all(input_id)
            for site in sites:
                yield from everything[site.key]
        else:
            for site in sites:
                yield from (run.shares(site, head, input_id) for head in range(site.n_heads))

    if is_read_in_windows(sites[0], len(of_input), has_text=True):
        n = len(of_input)
        each = ((site, head) for site in sites for head in range(site.n_heads))
        rows = (
            ((window.rows.start, widened(window, n)[0]) for window in run.attention_windows(*one, input_id))
            for one in each
        )
        found = influence_in_windows(rows, windows)
    else:
        found = influence(each_head, windows)
    names = [head_name(site.depth, head) for site in sites for head in range(site.n_heads)]
    table = of_input[["position", "text"]].assign(waad_tokens=found.waad_tokens, fai=found.fai)
    return TokenInfluence(
        table.reset_index(drop=True), [names[place] for place in found.local], [names[place] for place in found.far]
    )


def causal_stack(sites: list[Site], stack: str | None = None) -> list[Site]:
    """The sites of a tower in which no token sees a later one, as far as their bands say.

    Raises:
        UserError: There is none, or not under this label.
    """
    labels = list(dict.fromkeys(site.stack_label for site in sites))
    if stack is not None and stack not in labels:
        raise UserError(f"There is no tower {stack!r}; known: {', '.join(labels)}.")
    for label in labels if stack is None else [stack]:
        found = [site for site in sites if site.stack_label == label]
        if stack is not None and found[0].is_cross:
            raise UserError(
                f"{stack} looks from one sequence at another, between whose places there is no distance: windowed "
                "distance and future influence are of causal self-attention."
            )
        if all(not site.is_cross and (site.band is None or site.band.is_causal) for site in found):
            return found
    raise UserError(_both_ways(stack or ", ".join(labels)))


def _both_ways(stack: str) -> str:
    return (
        f"{stack} looks both ways: windowed distance and future influence are defined for causal attention only; "
        "choose a run of a language model that reads from left to right."
    )
