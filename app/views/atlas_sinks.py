"""The atlas while sinks are hidden: how much of every head that is, and scores of the rest in the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from analysis.metrics import METRICS, ON_PROBES, ON_SAMPLE
from analysis.pipeline.without_sinks import is_measurable
from app import cache
from app.cache import hidden
from app.charts.hidden_words import hidden_words, inputs_words
from app.charts.words import within
from app.state import EXPLAINED, RunFacts, Selection

_WHERE = {ON_PROBES: "on probes", ON_SAMPLE: "over pairs of inputs"}


@dataclass(frozen=True)
class SinksOfHeads:
    """What is hidden of every head.

    Attributes:
        heads: One row a head, in the order of the table of heads: site, head, ``hidden`` (share of its attention,
            0..1), ``n_hidden`` (sinks an input), ``learned``, and the scores that were measured again.
        rests_on: As in ``48 of 190 inputs``.
    """

    heads: pd.DataFrame
    rests_on: str

    def has(self, score: str) -> bool:
        """Whether the score was measured again."""
        return score in self.heads

    @property
    def sentence(self) -> str:
        """How much is hidden, over all heads."""
        means = self.heads[["hidden", "n_hidden", "learned"]].mean()
        over = f"mean of {len(self.heads)} heads over {self.rests_on}"
        return hidden_words(
            means["hidden"], means["n_hidden"], "a head and input", rests_on=over, learned=means["learned"]
        )

    def legend(self, score: str) -> tuple[str, str]:
        """What is added to the title and to the unit of the score in the frames."""
        if self.has(score):
            return " without sinks", f"; on {self.rests_on}"
        return "", "" if score == EXPLAINED else "; sinks counted in"


def sinks_of_heads(
    selection: Selection, facts: RunFacts, heads: pd.DataFrame, scores: Sequence[str | None]
) -> SinksOfHeads | None:
    """Measure the heads without their sinks; None while sinks are shown.

    Args:
        heads: All heads, as `app.charts.head_table.head_table` makes them.
        scores: Those that frames or order show.
    """
    if not selection.hides_sinks:
        return None
    again = tuple(sorted({score for score in scores if score is not None and is_measurable(score)}))
    table, n_inputs = hidden.heads(selection.run, again)
    aligned = heads[["site", "head"]].merge(table, on=["site", "head"], how="left")
    return SinksOfHeads(aligned, inputs_words(n_inputs, len(facts.n_tokens)))


def say_counted_in(tint: str | None) -> None:
    """Under the choice of the score: why the frames count sinks in, where they do."""
    if said := counted_in_words(tint):
        st.caption(said)


def counted_in_words(tint: str | None) -> str:
    """Why a score counts sinks in, as said under its choice; empty where it does not."""
    if tint is None or tint == EXPLAINED or is_measurable(tint):
        return ""
    title = within(cache.metrics().get(tint, {"title": tint})["title"])
    where = _WHERE.get(METRICS[tint].measured) if tint in METRICS else "by ablation or gradient"
    return f"Sinks counted in: {title} is measured {where}."
