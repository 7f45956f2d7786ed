"""Which keys are cut, in which heads and for which queries of every input, from the run's own attention and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from analysis.errors import UserError
from analysis.pipeline.attention_in_parts import attention_in_parts
from analysis.pipeline.sink_cuts.variant import FOUND, IMAGE_CENTRIC, POSITION, SPECIAL, TOKEN
from analysis.progress import Progress, Report
from analysis.sinks import sink_columns
from analysis.sinks.image_centric import image_centric

if TYPE_CHECKING:
    import pandas as pd

    from analysis.pipeline.sink_cuts.request import Request
    from analysis.store import Run
    from analysis.types import Site


@dataclass(frozen=True)
class Sinks:
    """What is to be cut on one input.

    Attributes:
        columns: True at the keys that lose, by site key; none in heads that are not meant.
        queries: True where the cut is meant, by site key.
        receivers: True at the keys that gain; None for all other keys.
    """

    columns: dict[str, Bool[np.ndarray, "head key"]]
    queries: dict[str, Bool[np.ndarray, "head query"]]
    receivers: Bool[np.ndarray, " key"] | None

    def cuts_in(self, site: str) -> Bool[np.ndarray, " head"]:
        """True at heads of a site in which something is cut."""
        return self.columns[site].any(axis=1) & self.queries[site].any(axis=1)


def find_all(run: Run, request: Request, report: Report) -> dict[int, Sinks]:
    """What is to be cut, for every input of the sample in which there is something.

    Raises:
        UserError: There is nothing in any of them; with what to do.
    """
    report(Progress("scores", message=f"Finding what to cut on {len(request.input_ids):,} inputs"))
    tokens = run.tokens()
    tokens = dict(tuple(tokens[tokens["input_id"].isin(request.input_ids)].groupby("input_id", sort=True)))
    found = {}
    for input_id in request.input_ids:
        sinks = _of_input(run, request, input_id, tokens[input_id])
        if any(sinks.cuts_in(site.key).any() for site in request.sites):
            found[input_id] = sinks
    if not found:
        raise UserError(_why_nothing(run, request, tokens))
    return found


def _of_input(run: Run, request: Request, input_id: int, tokens: pd.DataFrame) -> Sinks:
    variant, n_tokens = request.variant, len(tokens)
    is_patch = ~tokens["is_special"].to_numpy(bool)
    fixed = _fixed(request, tokens)
    columns = {site.key: np.zeros((site.n_heads, n_tokens), dtype=bool) for site in request.sites}
    queries = {site.key: np.zeros((site.n_heads, n_tokens), dtype=bool) for site in request.sites}
    for site, heads, weights in _parts(run, request, input_id, n_tokens):
        found = sink_columns(weights, run.allowed(site, input_id), variant.rule) if fixed is None else fixed[None]
        columns[site.key][heads] = found
        if variant.heads == IMAGE_CENTRIC:
            shares = variant.image_share, variant.sink_part
            queries[site.key][heads] = image_centric(weights, is_patch, columns[site.key][heads], *shares)
        else:
            queries[site.key][heads] = True
    for site in request.sites:
        others = np.setdiff1d(np.arange(site.n_heads), request.heads[site.key])
        columns[site.key][others], queries[site.key][others] = False, False
    goes_to_patches = variant.heads == IMAGE_CENTRIC and variant.mode == "redistribute"
    return Sinks(columns, queries, is_patch if goes_to_patches else None)


def _parts(run: Run, request: Request, input_id: int, n_tokens: int) -> Iterator[tuple[Site, slice, np.ndarray | None]]:
    """Site, heads and their attention; no attention where nobody looks at it."""
    if request.variant.sinks != FOUND and request.variant.heads != IMAGE_CENTRIC:
        yield from ((site, slice(None), None) for site in request.sites)
        return
    for site, first, weights in attention_in_parts(run, input_id, n_tokens, request.sites):
        yield site, slice(first, first + len(weights)), weights


def _fixed(request: Request, tokens: pd.DataFrame) -> Bool[np.ndarray, " key"] | None:
    """The keys that are cut in every head; None where each head has its own."""
    kind, value = request.variant.sinks_asked
    if kind == FOUND:
        return None
    if kind == SPECIAL:
        return tokens["is_special"].to_numpy(bool)
    if kind == POSITION:
        return (tokens["position"] == int(value)).to_numpy(bool)
    texts = tokens["text"].astype(str)
    return ((texts == value) | ((texts.str.strip() == value.strip()) & (value.strip() != ""))).to_numpy(bool)


def _why_nothing(run: Run, request: Request, tokens: dict[int, pd.DataFrame]) -> str:
    kind, value = request.variant.sinks_asked
    inputs = f"the {len(tokens):,} inputs looked at"
    if kind == POSITION and max(map(len, tokens.values())) <= int(value):
        return f"No token has position {int(value)}: the longest of {inputs} has {max(map(len, tokens.values())):,}."
    if kind == SPECIAL and not any(of_input["is_special"].any() for of_input in tokens.values()):
        return f"There are no special tokens in {inputs}: choose --sinks found, position:N or token:TEXT."
    if kind == TOKEN and not any(_fixed(request, rows).any() for rows in tokens.values()):
        return f"No token reads {value[:40]!r} in {inputs}: give it as the page shows it, or a larger --limit."
    if kind == FOUND and request.variant.heads != IMAGE_CENTRIC:
        rule = request.variant.rule
        return (
            f"No sink was found: in the heads asked for, no token of {inputs} gets {rule.threshold:.0%} or more of the "
            f"attention of {rule.min_queries} or more queries; give a lower --threshold, other --heads, or name the "
            "token by --sinks position:N or token:TEXT."
        )
    return (
        f"No query of {inputs} has sinks in an image-centric head: at least {request.variant.image_share:.0%} of its "
        f"attention on patches and at most {request.variant.sink_part:.0%} of that on sinks; give a lower --threshold "
        "or --image-share, a higher --sink-part, or --heads all."
    )
