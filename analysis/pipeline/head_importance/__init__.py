"""How much the model's answer and its states rest on each head: every head taken away in turn, and the gradient."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import __version__
from analysis.pipeline.asking import made_from, measured_before
from analysis.pipeline.head_importance.measuring import Measuring, Plan
from analysis.pipeline.head_importance.request import Request, checked, refuse_measured
from analysis.pipeline.head_importance.variant import Variant
from analysis.progress import Progress, Report, silent

if TYPE_CHECKING:
    import pandas as pd

    from analysis.store import Run

LIMIT = 50
"""Inputs that are measured unless more are asked for."""

__all__ = ["LIMIT", "Importance", "Variant", "importance", "plan_importance"]


@dataclass(frozen=True)
class Importance:
    """What `importance` found.

    Attributes:
        name: Of the add-on.
        scores: ``metric, site, head, value, ci_low, ci_high, null, n``, as in `Run.head_scores`.
        facts: What made it, as in the add-on's manifest: mode, inputs, what the answers were held against, the rank
            agreement of each measure with the gradient estimate.
    """

    name: str
    scores: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)

    def as_text(self) -> str:
        """A row a head and a column a measure, and below it how far the gradient estimate agrees."""
        wide = self.scores.pivot(index=["site", "head"], columns="metric", values="value")
        wide = wide.rename(columns=lambda name: name.removeprefix("ablation_"))
        lines = [wide.to_string(float_format=lambda value: f"{value:.4f}", na_rep="")]
        for name, figures in self.facts.get("agreement", {}).items():
            told = ", ".join(f"{value:.2f} {where.replace('_', ' ')}" for where, value in figures.items())
            lines.append(f"Rank agreement of {name} with the gradient estimate: {told}.")
        if self.facts.get("truth"):
            lines.append(f"Held against {self.facts['truth']}.")
        lines += [f"Note: {note}" for note in self.facts.get("notes", [])]
        return "\n".join(lines)


def importance(
    run: str | Path,
    *,
    mode: str = "zero",
    part: str | None = None,
    ring: int | None = None,
    limit: int | None = LIMIT,
    layers: str | None = None,
    model: str | Path | None = None,
    data: str | Path | None = None,
    seed: int = 0,
    runs_dir: str | Path | None = None,
    report: Report = silent,
) -> Importance:
    """Measure the importance of every head of a run, and add it to the run as an add-on file.

    Stopped, it keeps what it has measured, and the same call goes on from there. Called again when it is done, it
    gives what is there.

    Args:
        run: Id of the run or its folder.
        mode: ``zero`` sets a head's output to zero; ``mean`` to its mean over the rows of the sample.
        part: Only the rows of ``cls`` or of ``patches`` (images); by default all rows.
        ring: Instead, keep patches from the patches at this Chebyshev distance (images).
        limit: How many inputs, drawn by `seed`; None for all of the run.
        layers: Only heads of these layers of each stack, as in ``"0-3,11"``.
        model: Folder of the model, for a run made with a model from a folder.
        data: The images, for a run of images that do not come with the project.
        seed: Of the drawing, of masks and of intervals.
        runs_dir: Folder of the runs, when `run` is an id.
        report: Told the cost first, then how far the work has come.

    Raises:
        UserError: Something about the request, the model or the data; the message says what to do.
    """
    from analysis.store import add_to_run, open_run
    from analysis.store.unfinished import Unfinished

    with open_run(run, runs_dir) as opened:
        request = checked(opened, Variant(mode, part, ring), limit, layers, seed)
        if (finished := _finished(opened, request)) is not None:
            report(Progress("done"))
            return finished
        refuse_measured(opened, request)
        with add_to_run(opened.path, request.name) as addition:
            measuring = Measuring(opened, request, model, data, report)
            parts = Unfinished(opened.path, request.name, request.spec)
            measuring.go_on(parts, report)
            per_input, scores, agreement = measuring.summary(parts, opened)
            facts = {**measuring.facts, "agreement": agreement}
            addition.put_head_input_scores(per_input)
            addition.put_head_scores(scores)
            report(Progress("publish", message=f"Adding {request.name} to {opened.run_id}"))
            made_by = {"spec": request.spec, "metrics": sorted(set(scores["metric"])), "importance": facts}
            addition.publish({**made_from(opened), **made_by, "code_version": __version__})
            parts.remove()
    report(Progress("done"))
    return Importance(request.name, scores, facts)


def plan_importance(
    run: str | Path,
    *,
    mode: str = "zero",
    part: str | None = None,
    ring: int | None = None,
    limit: int | None = LIMIT,
    layers: str | None = None,
    model: str | Path | None = None,
    data: str | Path | None = None,
    seed: int = 0,
    runs_dir: str | Path | None = None,
) -> Plan:
    """What `importance` would do and cost; a few passes are timed and nothing is written. See there."""
    from analysis.store import open_run

    with open_run(run, runs_dir) as opened:
        request = checked(opened, Variant(mode, part, ring), limit, layers, seed)
        if _finished(opened, request) is None:
            refuse_measured(opened, request)
        return Measuring(opened, request, model, data).plan()


def _finished(run: Run, request: Request) -> Importance | None:
    """What an earlier call of the same settings has published."""
    manifest = measured_before(run, request.name, request.spec, "importance")
    if manifest is None:
        return None
    scores = run.head_scores()
    mine = scores["metric"].isin(manifest["metrics"]) & scores["site"].isin([site.key for site in request.sites])
    return Importance(request.name, scores[mine].reset_index(drop=True), manifest.get("importance", {}))
