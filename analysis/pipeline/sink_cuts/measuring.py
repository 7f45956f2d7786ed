"""The measuring itself: input by input, uncut and cut side by side, every input kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.pipeline.asking import ask, duration, timed
from analysis.pipeline.sink_cuts.finding import Sinks, find_all
from analysis.progress import Progress, Report, silent
from analysis.types import Site

if TYPE_CHECKING:
    import pandas as pd

    from analysis.capture.cutting import Cut
    from analysis.models import HeadedModel
    from analysis.pipeline.asking import Questions
    from analysis.pipeline.sink_cuts.request import Request
    from analysis.store import Run
    from analysis.store.unfinished import Unfinished

COLUMNS = ["cut", "input_id", "measure", "before", "after"]
"""Of the table ``sink_cuts``."""

ANSWER = "answer"
"""In place of a measure: the row is one answer of the prediction that changed most."""

_PART_COLUMNS = [*COLUMNS, "kl_bits", "position", "truth", "answer"]


@dataclass(frozen=True)
class Plan:
    """What cutting sinks would do and cost.

    Attributes:
        name: Of the add-on.
        n_heads: Heads that are cut.
        n_inputs: Inputs with something to cut, which are measured.
        n_cuts: Cuts of each of them; more than 1 when cut by layer.
        n_passes: Sequences that go forward through the model.
        seconds: Estimated from the shortest and the longest input.
        facts: As in the add-on.
    """

    name: str
    n_heads: int
    n_inputs: int
    n_cuts: int
    n_passes: int
    seconds: float
    facts: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """The cost in one line."""
        by = f", {self.n_cuts:,} layers one at a time" if self.n_cuts > 1 else ""
        return (
            f"{self.name}: {self.n_heads:,} heads on {self.n_inputs:,} inputs{by}, {self.n_passes:,} forward passes, "
            f"about {duration(self.seconds)}"
        )


class Measuring:
    """A request with what is to be cut, its model and its inputs loaded.

    Args:
        run: The run.
        request: What is measured.
        model: See `load_run_model`.
        data: See `Questions`.
        report: Told what is being looked for and loaded.
    """

    def __init__(
        self, run: Run, request: Request, model: str | Path | None, data: str | Path | None, report: Report = silent
    ) -> None:
        self.request = request
        self.sinks: dict[int, Sinks] = find_all(run, request, report)
        self.questions: Questions = ask(run, model, data, request.seed, report)
        self._model: HeadedModel = self.questions.model

    @property
    def cuts(self) -> dict[str, tuple[Site, ...]]:
        """Name of every cut in the table, and the sites it is made in."""
        name, sites = self.request.name, self.request.sites
        if self.request.variant.by is None:
            return {name: sites}
        towers = {site.stack_label for site in sites}
        return {f"{name}.{f'L{site.depth}' if len(towers) == 1 else site.label}": (site,) for site in sites}

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader of the results should know."""
        variant, request = self.request.variant, self.request
        by_layer = variant.by is not None
        return {
            **asdict(variant),
            "keep": variant.kept,
            "cuts": [{"cut": cut, "layer": sites[0].depth if by_layer else None} for cut, sites in self.cuts.items()],
            "receivers": "patches that are no sinks" if self._goes_to_patches else "all other keys",
            "n_inputs": len(request.input_ids),
            "n_inputs_cut": len(self.sinks),
            "n_heads": request.n_heads,
            "n_heads_cut": self._n_heads_cut,
            "columns_per_head": float(np.mean([self._columns_per_head(sinks) for sinks in self.sinks.values()])),
            "query_share": float(np.mean([self._query_share(sinks) for sinks in self.sinks.values()])),
            "seed": request.seed,
            "predicts": self._model.predicts,
            "truth": self.questions.truth,
            "notes": [*request.notes, *self.questions.notes, *self._left_out()],
        }

    def plan(self) -> Plan:
        """The cost, from the shortest and the longest input, timed."""
        from analysis.capture.ablation import rows_per_batch

        n_cuts = np.array([len(self._of_input(input_id)) for input_id in self.sinks])
        lengths = self.questions.lengths(self.sinks)
        n_batches = [-(-n // rows_per_batch(self._model, length)) for n, length in zip(n_cuts, lengths.tolist())]
        n_passes = n_cuts + np.array(n_batches)
        sizes, input_ids = lengths * n_passes, list(self.sinks)
        ends = int(sizes.argmin()), int(sizes.argmax())
        seconds = [timed(lambda place=place: self._measure(input_ids[place])) for place in dict.fromkeys(ends)]
        seconds = np.interp(sizes, sizes[list(dict.fromkeys(ends))], seconds)
        return Plan(
            self.request.name, self.request.n_heads, len(sizes), int(n_cuts.max()), int(n_passes.sum()),
            float(seconds.sum()), self.facts,
        )  # fmt: skip

    def go_on(self, parts: Unfinished, report: Report) -> None:
        """Measure every input that `parts` does not hold yet."""
        held = parts.done()
        waiting = [input_id for input_id in self.sinks if input_id not in held]
        total = len(self.sinks)
        done = total - len(waiting)
        cost = self.plan().as_text() if waiting else "All inputs were measured before"
        again = f"; {done:,} inputs were measured before" if done else ""
        report(Progress("capture", done, total, "inputs", message=f"{cost}{again}."))
        for input_id in waiting:
            parts.put(input_id, self._measure(input_id))
            done += 1
            report(Progress("capture", done, total, "inputs"))

    def _measure(self, input_id: int) -> pd.DataFrame:
        """Rows of the table, and below them the answers of the prediction that changed most."""
        import pandas as pd

        from analysis.capture.cutting import measure_cuts

        cuts, rows = self._of_input(input_id), []
        effects = measure_cuts(self._model, self.questions.question(input_id), list(cuts.values()))
        for name, effect in zip(cuts, effects, strict=True):
            for measure, (before, after) in effect.figures.items():
                if np.isfinite(before):
                    rows.append((name, input_id, measure, before, after, np.nan, None, None, None))
            if (found := effect.largest) is not None:
                answers = zip(found.answers.tolist(), found.before.tolist(), found.after.tolist(), strict=True)
                rows += [
                    (name, input_id, ANSWER, before, after, found.kl_bits, found.position, found.truth, answer)
                    for answer, before, after in answers
                ]
        whole = dict.fromkeys(("position", "truth", "answer"), "Int64")
        return pd.DataFrame(rows, columns=_PART_COLUMNS).astype(whole)

    def _of_input(self, input_id: int) -> dict[str, Cut]:
        """The cuts that change something on an input, by name."""
        from analysis.capture.cutting import Cut

        sinks = self.sinks[input_id]
        made = {}
        for name, sites in self.cuts.items():
            keys = [site.key for site in sites]
            if any(sinks.cuts_in(key).any() for key in keys):
                columns, queries = ({key: cells[key] for key in keys} for cells in (sinks.columns, sinks.queries))
                made[name] = Cut(columns, queries, self.request.variant.kept, sinks.receivers)
        return made

    @property
    def _goes_to_patches(self) -> bool:
        return next(iter(self.sinks.values())).receivers is not None

    @property
    def _n_heads_cut(self) -> int:
        """Heads in which something is cut on some input."""
        keys = [site.key for site in self.request.sites]
        return sum(int(np.any([sinks.cuts_in(key) for sinks in self.sinks.values()], axis=0).sum()) for key in keys)

    def _columns_per_head(self, sinks: Sinks) -> float:
        return _total(sinks.columns.values()) / self.request.n_heads

    def _query_share(self, sinks: Sinks) -> float:
        n_tokens = next(iter(sinks.queries.values())).shape[1]
        return _total(sinks.queries.values()) / (self.request.n_heads * n_tokens)

    def _left_out(self) -> list[str]:
        n_inputs = len(self.request.input_ids)
        n_left = n_inputs - len(self.sinks)
        return [f"Not measured, for there is nothing to cut: {n_left:,} of {n_inputs:,} inputs."] if n_left else []


def _total(cells: Sequence[np.ndarray] | Any) -> int:
    return sum(int(of_site.sum()) for of_site in cells)
