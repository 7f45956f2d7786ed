"""One input through a model with some keys cut from the attention of chosen heads, all at once, and what that does.

Row 0 of every batch is the model as it is, and every other row one cut: see `analysis.capture.ablation`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool

from analysis.capture.ablation import rows_per_batch
from analysis.capture.answers import LargestChange, Question, before_and_after, judged, largest_change
from analysis.capture.batch import pad
from analysis.capture.changes import Redistribute
from analysis.capture.edits import Edit
from analysis.capture.interface import Call, Capture
from analysis.capture.states import StateChanges
from analysis.models import HeadedModel, forward_module


@dataclass(frozen=True)
class Cut:
    """Which keys lose their attention, in which heads, for which queries.

    Attributes:
        sinks: True at the keys that lose, by site key.
        queries: True where the cut is meant, by the same site keys; a head that is left alone has none.
        keep: Share of their weights that the sinks keep, 0..1.
        receivers: True at the keys that gain; None for all other keys. A head's own sinks never gain.
    """

    sinks: Mapping[str, Bool[np.ndarray, "head key"]]
    queries: Mapping[str, Bool[np.ndarray, "head query"]]
    keep: float = 0.0
    receivers: Bool[np.ndarray, " key"] | None = None

    @property
    def n_cells(self) -> int:
        """Pairs of head and query that the cut is meant for."""
        return sum(int(queries.sum()) for queries in self.queries.values())

    def heads(self, site: str) -> list[int]:
        """The heads of a site in which something is cut."""
        if site not in self.sinks:
            return []
        return np.flatnonzero(self.sinks[site].any(axis=1) & self.queries[site].any(axis=1)).tolist()

    def changes(self, row: int) -> list[Redistribute]:
        """What makes the cut in one row of a batch."""
        to = None if self.receivers is None else torch.from_numpy(self.receivers)
        return [
            Redistribute(
                site, head, torch.from_numpy(self.sinks[site][head]), self.keep, to,
                torch.from_numpy(self.queries[site][head]), [row],
            )
            for site in self.sinks
            for head in self.heads(site)
        ]  # fmt: skip


@dataclass(frozen=True)
class CutEffect:
    """What one cut did to one input.

    Attributes:
        figures: Measure to its value before and after: those of `before_and_after`; ``<group>_change`` (relative L2
            distance of the states at the end, 0 before; mean over the tokens of a group of the question); and
            ``sink_mass`` (attention on the cut keys, mean over the heads and queries that the cut is meant for, 0..1).
        largest: Where the answer changed most; None where the model gives none.
    """

    figures: dict[str, tuple[float, float]]
    largest: LargestChange | None


def measure_cuts(model: HeadedModel, question: Question, cuts: Sequence[Cut]) -> Iterator[CutEffect]:
    """Make each cut alone and measure what becomes of the model's answer, its states and the cut keys' attention.

    Args:
        cuts: Each of them changes something.
    """
    size = rows_per_batch(model, question.n_tokens)
    for start in range(0, len(cuts), size):
        yield from _measure_batch(model, question, cuts[start : start + size])


def _measure_batch(model: HeadedModel, question: Question, cuts: Sequence[Cut]) -> list[CutEffect]:
    inputs, _ = pad(model, [question.tensors])
    inputs = {name: value.expand(len(cuts) + 1, *value.shape[1:]) for name, value in inputs.items()}
    changes = [change for row, cut in enumerate(cuts, start=1) for change in cut.changes(row)]
    states = StateChanges(model.module, [None] * len(cuts), question.n_tokens)
    mass = _Mass(cuts)
    with Edit(model.module, changes), states, Capture(model.module, on_call=mass.take, trace=False):
        output = forward_module(model.whole, inputs)
    figures = [{"sink_mass": found} for found in mass.shares()]
    largest: list[LargestChange | None] = [None] * len(cuts)
    if model.predicts is not None and not question.judges_nothing:
        with torch.inference_mode():
            log_p = judged(output.logits, question)
            for name, moments in before_and_after(log_p, question).items():
                for row, (before, after) in enumerate(moments.tolist()):
                    figures[row][name] = before, after
            largest = [largest_change(log_p[0], of_row, question) for of_row in log_p[1:]]
    for name, tokens in question.groups.items():
        for row, change in enumerate(states.at_end[:, tokens].mean(axis=1).tolist()):
            figures[row][f"{name}_change"] = 0.0, change
    return [CutEffect(*found) for found in zip(figures, largest, strict=True)]


class _Mass:
    """Adds up the attention on the cut keys as it was and as it became, call by call."""

    def __init__(self, cuts: Sequence[Cut]) -> None:
        self._cuts = cuts
        self._sums = np.zeros((len(cuts), 2))

    def take(self, call: Call) -> None:
        with torch.inference_mode():
            for place, cut in enumerate(self._cuts):
                rows = torch.tensor([0, place + 1], device=call.q.device)
                for head in cut.heads(call.key):
                    weights = call.attention_of(rows, head)
                    queries, keys = (
                        torch.from_numpy(cells[call.key][head]).to(weights.device) for cells in (cut.queries, cut.sinks)
                    )
                    self._sums[place] += weights[:, queries][..., keys].sum(dim=(1, 2)).double().cpu().numpy()

    def shares(self) -> list[tuple[float, float]]:
        """Before and after, for each cut."""
        n_cells = np.array([max(cut.n_cells, 1) for cut in self._cuts])
        return [tuple(pair) for pair in (self._sums / n_cells[:, None]).tolist()]
