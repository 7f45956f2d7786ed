"""Head metrics on generated probes: random tokens of the model's own vocabulary, and the same again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from analysis.attention import shares_of
from analysis.errors import CaptureRefused
from analysis.types import RETURNED

if TYPE_CHECKING:
    import pandas as pd

    from analysis.capture import CapturePlan
    from analysis.models import LoadedModel
    from analysis.types import SiteCapture

N_PROBES = 8
LONGEST_SPAN = 32
"""Random tokens before they return, fewer where the model's limit is shorter. The first probe has the longest span, the
last about half of it, each another length."""

SHORTEST_SPAN = 4

PROBES_TOGETHER = 4
"""Probes that share a forward pass, with their controls: more would be padded more, fewer keep two cores less busy."""

BY_POSITION = ("previous_token_probe", "next_token_probe")
"""Metrics of probes that ask for nothing that returns: their null is that of permuted keys, as on data."""


class Probe(NamedTuple):
    """Random tokens twice, and a control of the same length in which nothing returns.

    Attributes:
        ids: Token ids: what the tokenizer puts in front of any text, a span, the same span, and in models that look
            both ways what the tokenizer puts behind any text.
        control: The same with other random tokens for the second span.
        period: Tokens of the span: so far lies a token from its repetition.
        special: True for what the tokenizer puts there.
    """

    ids: Int[np.ndarray, " token"]
    control: Int[np.ndarray, " token"]
    period: int
    special: Bool[np.ndarray, " token"]


def make_probes(
    loaded: LoadedModel, seed: int, *, both_ways: bool = False, lead: list[int] | None = None
) -> list[Probe]:
    """Probes for a model of texts.

    In a model that looks both ways, and through learned positions in any model, a head may find the other occurrence by
    its distance alone. Every probe therefore has a span of another length, so that a head that looks a fixed distance
    away scores on one of them at most; and a control, which has the same positions and nothing that returns, tells
    what any head of position scores there.

    Args:
        loaded: Its tokenizer's ordinary tokens are drawn from, none twice in a probe where there are enough.
        seed: Of the drawing.
        both_ways: The tokenizer's closing tokens follow, as masked models expect.
        lead: Stands in front of every probe instead of what the tokenizer puts there.

    Returns:
        `N_PROBES` probes; none where the model has no room for them.
    """
    tokenizer = loaded.processor
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    usual, closing = _frame(tokenizer)
    lead = usual if lead is None else lead
    closing = closing if both_ways else []
    n_types = min(len(tokenizer), loaded.module.get_input_embeddings().num_embeddings)
    ordinary = np.setdiff1d(np.arange(n_types), list(special))
    room = 2 * LONGEST_SPAN if loaded.max_tokens is None else loaded.max_tokens - len(lead) - len(closing)
    longest = min(LONGEST_SPAN, room // 2)
    if longest < SHORTEST_SPAN or not len(ordinary):
        return []
    rng = np.random.default_rng(seed)
    probes = []
    for period in np.linspace(longest, max(SHORTEST_SPAN, longest / 2), N_PROBES).round().astype(int).tolist():
        span = rng.choice(ordinary, period, replace=len(ordinary) < period)
        rest = ordinary[~np.isin(ordinary, span)] if len(ordinary) >= 2 * period else ordinary
        other = rng.choice(rest, period, replace=len(rest) < period)
        ids, control = (
            np.concatenate([lead, span, second, closing]).astype(np.int64) for second in (span, other)
        )  # fmt: skip
        place = np.arange(len(ids)) - len(lead)
        probes.append(Probe(ids, control, period, (place < 0) | (place >= 2 * period)))
    return probes


def score_probes(loaded: LoadedModel, plan: CapturePlan, seed: int) -> pd.DataFrame:
    """The metrics that are measured on probes, for models of texts.

    Sites where no token sees a later one are measured on probes without closing tokens, all others on probes with them;
    which metrics say something of which, the metrics know.

    Returns:
        As `over_inputs` makes it, with the site's key; each probe is one input. The null is what the same positions
        score on the control; for those of `BY_POSITION`, what permuted keys do. Empty for models of images.
    """
    import pandas as pd

    from analysis.metrics.over_inputs import COLUMNS, over_inputs

    tables = []
    if loaded.modality == "text":
        sites = [site for site in plan.sites if not site.is_cross]
        backwards = {site.key for site in sites if site.band is not None and site.band.is_causal}
        others = {site.key for site in sites} - backwards
        begins = loaded.decoder_reads([0]) if loaded.sequences else None
        for both_ways, keys in ((False, backwards), (True, others)):
            probes = make_probes(loaded, seed, both_ways=both_ways, lead=None if both_ways else begins) if keys else []
            try:
                for number, (probe, captures) in enumerate(zip(probes, _captures(loaded, plan, probes), strict=True)):
                    tables += [table.assign(input_id=number) for table in _scores(probe, captures, keys)]
            except CaptureRefused:
                if not any(site.route == RETURNED for site in sites):
                    raise
                return pd.DataFrame(columns=COLUMNS)  # it returns matrices for texts as long as the data's alone
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    return over_inputs(pd.concat(tables, ignore_index=True), seed=seed)


def _captures(
    loaded: LoadedModel, plan: CapturePlan, probes: Sequence[Probe]
) -> Iterator[list[tuple[SiteCapture, SiteCapture]]]:
    """What each site does on each probe and on its control. Encoder and decoder both read the probe."""
    from analysis.capture import run_batch

    for first in range(0, len(probes), PROBES_TOGETHER):
        some = probes[first : first + PROBES_TOGETHER]
        sequences = [ids for probe in some for ids in (probe.ids, probe.control)]
        names = ("input_ids", "decoder_input_ids") if loaded.sequences else ("input_ids",)
        batch = [(number, dict.fromkeys(names, ids)) for number, ids in enumerate(sequences)]
        captures = run_batch(loaded, plan, batch, stores_attention=True)
        for repeated, control in zip(captures[::2], captures[1::2], strict=True):
            yield list(zip(repeated, control, strict=True))


def _scores(
    probe: Probe, captures: Sequence[tuple[SiteCapture, SiteCapture]], keys: set[str]
) -> Iterator[pd.DataFrame]:
    """Tables of one probe, ``metric, site, head, value, null``, of the sites with these keys: sites with as many heads
    are scored at once."""
    import pandas as pd

    from analysis.metrics import ON_PROBES, AttentionMap, metric_names
    from analysis.metrics.over_inputs import score_batch
    from analysis.metrics.tokens import Tokens

    pairs = [pair for pair in captures if pair[0].site.key in keys]
    for n_heads in sorted({repeated.site.n_heads for repeated, _ in pairs}):
        alike = [pair for pair in pairs if pair[0].site.n_heads == n_heads]
        both = [*(pair[0] for pair in alike), *(pair[1] for pair in alike)]
        attention = np.stack([shares_of(one.site, one.attention) for one in both])
        allowed = np.stack([one.allowed for one in both])
        tokens = Tokens(special=np.broadcast_to(probe.special, allowed.shape[:2]))
        attended = AttentionMap(attention, allowed, tokens, probe.period)
        sites = np.repeat([repeated.site.key for repeated, _ in alike], n_heads)
        heads = np.tile(np.arange(n_heads), len(alike))
        for name, (value, null) in score_batch(attended, metric_names(ON_PROBES)).items():
            null = null[: len(alike)] if name in BY_POSITION else value[len(alike) :]
            told = np.isfinite(value[: len(alike)]).ravel()
            columns = {"site": sites, "head": heads, "value": value[: len(alike)].ravel(), "null": null.ravel()}
            yield pd.DataFrame(columns)[told].assign(metric=name)


def _frame(tokenizer: object) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and behind any text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, added = encoded["input_ids"], np.array(encoded["special_tokens_mask"], dtype=bool)
    text = np.flatnonzero(~added)
    if not len(text):
        return ids, []
    return ids[: text[0]], ids[text[-1] + 1 :]
