"""What is made of one batch of inputs, in whichever process: captured by the model and scored in fp32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.capture import ResidualTrace, run_batch
from analysis.engines.scoring import BatchScores, score_captures
from analysis.types import BatchStates, SiteCapture

if TYPE_CHECKING:
    from analysis.capture import CapturePlan
    from analysis.metrics.tokens import TokenFacts
    from analysis.models import LoadedModel


@dataclass(frozen=True)
class Batch:
    """Inputs that go through the model together.

    Attributes:
        input_ids: The longest input first.
        tensors: Each of them encoded, as `analysis.capture.batch.Encoded`.
        is_small: The attention of all heads on all of them can be held.
        keeps_all: The attention of every site is stored, whatever comes.
    """

    input_ids: tuple[int, ...]
    tensors: tuple[Mapping[str, np.ndarray], ...]
    is_small: bool
    keeps_all: bool


@dataclass(frozen=True)
class Wanted:
    """What is made of every batch of a run.

    Attributes:
        attention: ``auto``, ``store`` or ``recompute``: see `analysis.engines.local.stores_attention`.
        metrics: Head metrics to compute, in fp32, before anything is rounded.
        facts: What metrics are told of the tokens.
        states: Measure the residual states too.
    """

    attention: str
    metrics: tuple[str, ...]
    facts: TokenFacts | None = None
    states: bool = False


class Captured:
    """What one batch showed: for each input its sites, and the residual states."""

    def __init__(self, captures: list[list[SiteCapture]], states: Sequence[BatchStates]) -> None:
        self.captures = captures
        self.states = states


class BatchWork:
    """The model at work on batches. A context manager; `capture` is called in the thread that enters it.

    Args:
        loaded: The model.
        plan: Its sites.
        wanted: What is made of every batch.
    """

    def __init__(self, loaded: LoadedModel, plan: CapturePlan, wanted: Wanted) -> None:
        self._loaded, self._plan, self.wanted = loaded, plan, wanted
        self._residuals = ResidualTrace(loaded.module, plan.sites) if wanted.states and wanted.metrics else None
        self._open = ExitStack()

    def __enter__(self) -> BatchWork:
        if self._residuals is not None:
            self._open.enter_context(self._residuals)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def capture(self, batch: Batch) -> Captured:
        """Run the model over a batch.

        Raises:
            CaptureRefused: A site did not call as in the dry run.
        """
        wanted = self.wanted
        must_keep = wanted.attention == "store" or not all(site.recomputable for site in self._plan.sites)
        may_use = bool(wanted.metrics) or wanted.attention != "recompute"
        captures = run_batch(
            self._loaded, self._plan, list(zip(batch.input_ids, batch.tensors, strict=True)),
            want_attention=must_keep or (may_use and batch.is_small),
            stores_attention=batch.keeps_all,
            # Attention that is too large to hold is scored from the exact queries and keys.
            rounded=batch.is_small or not wanted.metrics,
            residuals=self._residuals,
        )  # fmt: skip
        return Captured(captures, [] if self._residuals is None else self._residuals.drain())

    def score(self, captured: Captured) -> BatchScores:
        """Scores, profiles, attention received and figures of states; any thread may ask."""
        wanted = self.wanted
        sinks = self._plan.sink_logits
        return score_captures(captured.captures, wanted.metrics, sinks, wanted.facts, captured.states)

    def release(self, captured: Captured) -> None:
        """Nobody reads the residual states of this batch any more."""
        if self._residuals is not None:
            self._residuals.release(captured.states)
