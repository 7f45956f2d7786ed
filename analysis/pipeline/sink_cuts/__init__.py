"""What a model loses without its attention sinks: they are masked or made to give, and the model runs again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import __version__
from analysis.pipeline import asking
from analysis.pipeline.asking import made_from, measured_before
from analysis.pipeline.sink_cuts.examples import examples
from analysis.pipeline.sink_cuts.measuring import ANSWER, COLUMNS, Measuring, Plan
from analysis.pipeline.sink_cuts.request import LIMIT, Request, checked
from analysis.pipeline.sink_cuts.summary import summarise_cuts
from analysis.pipeline.sink_cuts.variant import CutVariant
from analysis.progress import Progress, Report, silent

if TYPE_CHECKING:
    import pandas as pd

    from analysis.store import Run

__all__ = ["LIMIT", "CutVariant", "SinkCut", "cut_sinks", "plan_cut", "published", "summarise_cuts"]


@dataclass(frozen=True)
class SinkCut:
    """What `cut_sinks` found.

    Attributes:
        name: Of the add-on.
        per_input: ``cut, input_id, measure, before, after``, as in `Run.sink_cuts`.
        summary: ``cut, measure, before, after, change, ci_low, ci_high, n``; see `summarise_cuts`.
        facts: What made it, as in the add-on's manifest, with the predictions that changed most.
    """

    name: str
    per_input: pd.DataFrame
    summary: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)

    def as_text(self) -> str:
        """A row a measure, the predictions that changed most, and what a reader should know."""
        table = self.summary if self.facts["by"] else self.summary.drop(columns="cut")
        lines = [table.to_string(index=False, float_format=lambda value: f"{value:.4f}", na_rep="")]
        for example in self.facts["examples"]:
            told = ", ".join(f"{row['text']!r} {row['before']:.2f} to {row['after']:.2f}" for row in example["changes"])
            where = f" behind {example['context']!r}" if example["context"] else ""
            lines.append(f"Input {example['input_id']}{where}: {told}.")
        if self.facts["truth"]:
            lines.append(f"Held against {self.facts['truth']}.")
        lines += [f"Note: {note}" for note in self.facts["notes"]]
        return "\n".join(lines)


def cut_sinks(
    run: str | Path,
    variant: CutVariant | None = None,
    *,
    limit: int | None = LIMIT,
    model: str | Path | None = None,
    data: str | Path | None = None,
    seed: int = 0,
    runs_dir: str | Path | None = None,
    report: Report = silent,
) -> SinkCut:
    """Cut sinks out of the attention of a run's model, run it again, and add to the run what that changes.

    Stopped, it keeps what it has measured, and the same call goes on from there. Called again when it is done, it
    gives what is there.

    Args:
        run: Id of the run or its folder.
        variant: Which sinks, which heads, masked or redistributed; by default the sinks of every head, masked.
        limit: How many inputs, drawn by `seed`; None for all of the run.
        model: Folder of the model, for a run made with a model from a folder.
        data: The images, for a run of images that do not come with the project.
        seed: Of the drawing, of masked words and of intervals.
        runs_dir: Folder of the runs, when `run` is an id.
        report: Told the cost first, then how far the work has come.

    Raises:
        UserError: Something about the request, the model or the data; the message says what to do.
    """
    from analysis.store import add_to_run, open_run
    from analysis.store.unfinished import Unfinished

    with open_run(run, runs_dir) as opened:
        request = checked(opened, variant or CutVariant(), limit, seed)
        if (finished := _finished(opened, request)) is not None:
            report(Progress("done"))
            return finished
        with add_to_run(opened.path, request.name) as addition:
            measuring = Measuring(opened, request, model, data, report)
            parts = Unfinished(opened.path, request.name, request.spec)
            measuring.go_on(parts, report)
            found = parts.read(measuring.sinks)
            per_input = found.loc[found["measure"] != ANSWER, COLUMNS].reset_index(drop=True)
            summary = summarise_cuts(per_input, seed=seed)
            facts = {**measuring.facts, "examples": examples(found, opened, measuring.questions.model)}
            addition.put_sink_cuts(per_input)
            report(Progress("publish", message=f"Adding {request.name} to {opened.run_id}"))
            made_by = {"spec": request.spec, "sink_cut": facts}
            addition.publish({**made_from(opened), **made_by, "code_version": __version__})
            parts.remove()
    report(Progress("done"))
    return SinkCut(request.name, per_input, summary, facts)


def plan_cut(
    run: str | Path,
    variant: CutVariant | None = None,
    *,
    limit: int | None = LIMIT,
    model: str | Path | None = None,
    data: str | Path | None = None,
    seed: int = 0,
    runs_dir: str | Path | None = None,
) -> Plan:
    """What `cut_sinks` would do and cost; a few passes are timed and nothing is written. See there."""
    from analysis.store import open_run

    with open_run(run, runs_dir) as opened:
        request = checked(opened, variant or CutVariant(), limit, seed)
        return Measuring(opened, request, model, data).plan()


def published(run: Run) -> dict[str, dict[str, Any]]:
    """Name of every add-on with a cut of sinks to its facts; see `SinkCut.facts`."""
    return asking.published(run, "sink_cut")


def _finished(run: Run, request: Request) -> SinkCut | None:
    """What an earlier call of the same settings has published."""
    manifest = measured_before(run, request.name, request.spec, "sink_cut")
    if manifest is None:
        return None
    facts = manifest["sink_cut"]
    per_input = run.sink_cuts()
    per_input = per_input[per_input["cut"].isin([made["cut"] for made in facts["cuts"]])].reset_index(drop=True)
    return SinkCut(request.name, per_input, summarise_cuts(per_input, seed=request.seed), facts)
