"""Sinks that are to be cut out of a run's model, in words and as a command line. No streamlit in here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.errors import UserError
from analysis.pipeline.sink_cuts.variant import FOUND, IMAGE_CENTRIC, KEEP, POSITION, SPECIAL, TOKEN, CutVariant
from analysis.sinks import USUAL, SinkRule
from app.charts.hidden_words import counted

_RUN_ID = re.compile(r"[A-Za-z0-9][\w.-]*")

MODES = {"mask": "get nothing", "redistribute": f"keep {KEEP:g}, others get the rest"}
"""What becomes of the attention of sinks, as the page says it."""

LIMIT = 50
"""Inputs that are measured."""


def sinks_words(sinks: str) -> str:
    """``sinks of each head``, ``the token .``: what is cut."""
    kind, _, value = sinks.partition(":")
    if kind == POSITION:
        return f"the token at position {value}"
    if kind == TOKEN:
        from app.charts.text_attention import visible_token  # with altair, which no process that guards a job needs

        return f"the token {visible_token(value)}"
    return {FOUND: "the sinks of each head", SPECIAL: "all special tokens"}[kind]


def heads_words(heads: str) -> str:
    """``all heads``, ``image-centric heads``, ``L2H4``: where it is cut."""
    return {"all": "all heads", IMAGE_CENTRIC: "image-centric heads"}.get(heads, heads)


def in_words(variant: CutVariant) -> str:
    """For a list: ``the sinks of each head masked in all heads, layer by layer``."""
    done = "masked" if variant.mode == "mask" else f"keep {variant.kept:g}, others get the rest,"
    by = ", layer by layer" if variant.by else ""
    at = f" (from {variant.rule.threshold:g})" if variant.sinks == FOUND and variant.rule != USUAL else ""
    return f"{sinks_words(variant.sinks)}{at} {done} in {heads_words(variant.heads)}{by}"


def variant_of(facts: Mapping[str, Any]) -> CutVariant:
    """The variant that an add-on's facts tell."""
    return CutVariant(
        facts["sinks"], facts["heads"], facts["mode"], facts["keep"] if facts["mode"] == "redistribute" else None,
        SinkRule(**facts["rule"]), facts["image_share"], facts["sink_part"], facts["by"],
    )  # fmt: skip


def measured_words(facts: Mapping[str, Any]) -> str:
    """On what a cut was measured, and what a reader should know."""
    n, of = facts["n_inputs_cut"], facts["n_inputs"]
    inputs = f"all {of:,} inputs looked at" if n == of else f"{n:,} of {of:,} inputs, those with something to cut"
    heads = f"{facts['n_heads_cut']:,} of {facts['n_heads']:,} heads had something to cut"
    against = f" Held against {facts['truth']}." if facts.get("truth") else ""
    mean = f"{counted(facts['columns_per_head'], 'token', 'tokens')} a head and input"
    return " ".join([f"Measured on {inputs}; {heads}, {mean}.{against}", *facts.get("notes", [])]).strip()


@dataclass(frozen=True)
class CutRequest:
    """A cut that is to be added to a finished run.

    Attributes:
        view: Where its results stand.
        sinks, heads, mode, by: Of `CutVariant`.
        threshold, min_queries, counts_own: Of `SinkRule`, where sinks are found; plain values, as a request is kept.
        model: Folder of the model, for a run made with a model from a folder.
        data: The images, for a run of images that do not come with the project.
    """

    run_id: str
    sinks: str = FOUND
    heads: str = "all"
    mode: str = "mask"
    by: str | None = None
    threshold: float = USUAL.threshold
    min_queries: int = USUAL.min_queries
    counts_own: bool = USUAL.counts_own
    limit: int = LIMIT
    model: str | None = None
    data: str | None = None

    view = "sinks"
    busy = "A cut of the sinks of run"
    doing = "Running the model with and without its sinks"
    makes_run = False
    stopping = "Stopping: the inputs measured so far are kept."
    kept = "What was measured is kept: started again, it goes on from there."

    @property
    def variant(self) -> CutVariant:
        """What is cut."""
        rule = SinkRule(self.threshold, self.min_queries, self.counts_own)
        return CutVariant(self.sinks, self.heads, self.mode, rule=rule, by=self.by)

    @property
    def title(self) -> str:
        """Of its card."""
        return f"{self.run_id} without its sinks: {in_words(self.variant)}"

    def n_passes(self, n_inputs: int, n_layers: int) -> int:
        """How often the model runs at least: uncut and cut on every input."""
        return min(n_inputs, self.limit) * (1 + (n_layers if self.by else 1))

    def arguments(self) -> list[str]:
        """The command's arguments, each value bound to its option.

        Raises:
            UserError: A value no command could use.
        """
        if not _RUN_ID.fullmatch(self.run_id):
            raise UserError(f"“{self.run_id[:80]}” is no run whose sinks can be cut.")
        self.variant.check("vision")
        said = ["cut", self.run_id, f"--limit={int(self.limit)}"]
        more = {"sinks": self.sinks, "heads": self.heads, "mode": self.mode, "by": self.by, "model": self.model,
                "data": self.data}  # fmt: skip
        if self.variant.rule != USUAL:
            more |= {"threshold": self.threshold, "min-queries": self.min_queries}
            said += ["--count-own"] * self.counts_own
        return said + [f"--{name}={value}" for name, value in more.items() if value is not None]
