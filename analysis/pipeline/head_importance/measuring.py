"""The measuring itself: input by input, many heads in a batch, every input kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.pipeline.asking import ask, duration, timed
from analysis.progress import Progress, Report, silent

if TYPE_CHECKING:
    import pandas as pd

    from analysis.capture.ablation import Ablation
    from analysis.models import HeadedModel
    from analysis.pipeline.asking import Questions
    from analysis.pipeline.head_importance.request import Request
    from analysis.store import Run
    from analysis.store.unfinished import Unfinished

_COLUMNS = ["metric", "site", "head", "input_id", "value", "null"]


@dataclass(frozen=True)
class Plan:
    """What measuring importance would do and cost.

    Attributes:
        name: Of the add-on.
        n_heads: Heads that are taken away, each alone.
        n_inputs: Inputs it is done on.
        n_passes: Sequences that go forward through the model.
        n_backward: Sequences that also go backward.
        seconds: Estimated from one timed batch.
        facts: As in the add-on.
    """

    name: str
    n_heads: int
    n_inputs: int
    n_passes: int
    n_backward: int
    seconds: float
    facts: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """The cost in one line."""
        backward = f" and {self.n_backward:,} backward" if self.n_backward else ""
        return (
            f"{self.name}: {self.n_heads:,} heads on {self.n_inputs:,} inputs, {self.n_passes:,} forward{backward} "
            f"passes, about {duration(self.seconds)}"
        )


class Measuring:
    """A request with its model and inputs loaded.

    Args:
        run: The run.
        request: What is measured.
        model: See `load_run_model`.
        data: See `Questions`.
        report: Told what is being loaded.
    """

    def __init__(
        self, run: Run, request: Request, model: str | Path | None, data: str | Path | None, report: Report = silent
    ) -> None:
        self.request = request
        self._questions: Questions = ask(run, model, data, request.seed, report)
        self._model: HeadedModel = self._questions.model
        self._estimates_gradient = request.variant.is_whole_zero and self._model.predicts is not None

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader of the results should know."""
        return {
            **asdict(self.request.variant),
            "n_inputs": len(self.request.input_ids),
            "n_heads": len(self.request.heads),
            "seed": self.request.seed,
            "predicts": self._model.predicts,
            "truth": self._questions.truth,
            "notes": [*self.request.notes, *self._questions.notes],
        }

    def plan(self) -> Plan:
        """The cost, from a timed batch on the longest input of the sample."""
        from analysis.capture.ablation import ablate, rows_per_batch

        request, lengths = self.request, self._questions.lengths(self.request.input_ids)
        n_heads, n_inputs = len(request.heads), len(request.input_ids)
        longest_id = request.input_ids[int(np.argmax(lengths))]
        longest, ablation = self._questions.question(longest_id), self._ablation(longest_id, means=None)
        size = rows_per_batch(self._model, longest.n_tokens)
        seconds = timed(lambda: next(ablate(self._model, longest, request.heads[:size], ablation)))
        per_token = seconds / (longest.n_tokens * (min(size, n_heads) + 1))
        n_batches = [-(-n_heads // rows_per_batch(self._model, n_tokens)) for n_tokens in lengths.tolist()]
        n_backward = n_inputs if self._estimates_gradient else 0
        for_means = 1 if request.variant.mode == "mean" else 0
        of_input = n_heads + np.array(n_batches) + for_means + (n_backward > 0)
        # A backward pass costs about two forward ones.
        seconds = per_token * float((lengths * (of_input + 2 * (n_backward > 0))).sum())
        return Plan(request.name, n_heads, n_inputs, int(of_input.sum()), n_backward, seconds, self.facts)

    def go_on(self, parts: Unfinished, report: Report) -> None:
        """Measure every input that `parts` does not hold yet."""
        held = parts.done()
        waiting = [input_id for input_id in self.request.input_ids if input_id not in held]
        n_heads = len(self.request.heads)
        done, total = (len(self.request.input_ids) - len(waiting)) * n_heads, len(self.request.input_ids) * n_heads
        cost = self.plan().as_text() if waiting else "All inputs were measured before"
        again = f"; {len(self.request.input_ids) - len(waiting):,} inputs were measured before" if done else ""
        report(Progress("capture", done, total, "heads x inputs", message=f"{cost}{again}."))
        means = self._means() if self.request.variant.mode == "mean" and waiting else None
        for input_id in waiting:
            found = []
            for n_measured, rows in self._of_input(input_id, means):
                found.append(rows)
                done += n_measured
                report(Progress("capture", done, total, "heads x inputs"))
            parts.put(input_id, _frame(found, input_id))

    def summary(self, parts: Unfinished, run: Run) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
        """Scores per input, scores per head, and the rank agreement with the gradient estimate."""
        import pandas as pd

        from analysis.metrics.importance_measures import GRADIENT, normalise_gradients, rank_agreement
        from analysis.metrics.over_inputs import over_inputs

        per_input = parts.read(self.request.input_ids)
        is_gradient = per_input["metric"] == GRADIENT
        if is_gradient.any():
            gradients = normalise_gradients(per_input[is_gradient])
            per_input = pd.concat([per_input[~is_gradient], gradients], ignore_index=True)
        scores = over_inputs(per_input, seed=self.request.seed)
        compared = per_input
        if not self.request.variant.is_whole_zero:
            known = run.head_input_scores(GRADIENT)
            compared = pd.concat([per_input, known[known["site"].isin(scores["site"])]], ignore_index=True)
        return per_input, scores, rank_agreement(compared)

    def _of_input(self, input_id: int, means: dict | None) -> Iterator[tuple[int, list[tuple]]]:
        """Batch by batch how many heads are done and their rows: metric, site, head, value, null."""
        from analysis.capture.ablation import ablate, gate_gradients
        from analysis.metrics.importance_measures import GRADIENT

        request, question = self.request, self._questions.question(input_id)
        n_done = 0
        for measured in ablate(self._model, question, request.heads, self._ablation(input_id, means)):
            n_measured = len(next(iter(measured.values())))
            heads = request.heads[n_done : n_done + n_measured]
            n_done += n_measured
            yield (
                n_measured,
                [
                    (f"ablation_{name}{request.variant.suffix}", site.key, head, value, 0.0)
                    for name, values in measured.items()
                    if not request.variant.says_nothing_of(name)
                    for (site, head), value in zip(heads, values.tolist(), strict=True)
                ],
            )
        if self._estimates_gradient:
            gradients = gate_gradients(self._model, question, request.sites)
            yield (
                0,
                [
                    (GRADIENT, site, head, value, np.nan)
                    for site, values in gradients.items()
                    for head, value in enumerate(values.tolist())
                ],
            )

    def _ablation(self, input_id: int, means: dict | None) -> Ablation:
        from analysis.capture.ablation import Ablation

        if self.request.variant.ring is not None:
            return Ablation(blocked=self._questions.ring(input_id, self.request.variant.ring))
        return Ablation(means=means, queries=self._edited_queries(input_id))

    def _edited_queries(self, input_id: int) -> np.ndarray | None:
        part = self.request.variant.part
        return None if part is None else self._questions.part(input_id, part)

    def _means(self) -> dict[str, np.ndarray]:
        """The mean output of every head over the edited queries of the whole sample, fp32, by site key."""
        from analysis.capture.ablation import sum_outputs

        sums: dict[str, np.ndarray] = {}
        n_queries = 0
        for input_id in self.request.input_ids:
            of_input, n = sum_outputs(
                self._model, self._questions.question(input_id), self.request.sites, self._edited_queries(input_id)
            )
            sums = {key: sums.get(key, 0) + value for key, value in of_input.items()}
            n_queries += n
        return {key: (value / n_queries).astype(np.float32) for key, value in sums.items()}


def _frame(found: list[list[tuple]], input_id: int) -> pd.DataFrame:
    import pandas as pd

    rows = [(metric, site, head, input_id, value, null) for part in found for metric, site, head, value, null in part]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table[table["value"].notna()]
