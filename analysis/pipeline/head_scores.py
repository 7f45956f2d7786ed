"""From what was measured on every input, on probes and on a sample to one figure per head: value, interval and null."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.pipeline.probes import score_probes
from analysis.pipeline.samples import score_samples
from analysis.progress import Progress, Report

if TYPE_CHECKING:
    from analysis.capture import CapturePlan
    from analysis.inputs import Inputs
    from analysis.models import LoadedModel
    from analysis.pipeline.samples import MapsOfSample
    from analysis.store import RunWriter


def score_heads(
    writer: RunWriter,
    loaded: LoadedModel,
    plan: CapturePlan,
    inputs: Inputs,
    *,
    seed: int,
    maps: MapsOfSample | None = None,
    report: Report,
) -> None:
    """Score the heads of a run whose inputs are all captured, and store scores and profiles.

    Args:
        writer: The run; it holds the scores of every input.
        loaded: The model, which runs once more on probes, and on those inputs of a sample that `maps` lacks.
        plan: Its sites.
        inputs: The data.
        seed: Of probes, sample and intervals.
        maps: Of the sample with this seed, as far as it was captured by this job.
        report: Told of every kind of score.
    """
    import pandas as pd

    from analysis.metrics import metric_names
    from analysis.metrics.over_inputs import summary
    from analysis.metrics.profiles import ProfileSums

    names = metric_names()
    reader = writer.reader()
    # Metric by metric: over many inputs their scores together are larger than anything else that is held.
    tables = []
    for done, name in enumerate(names):
        report(Progress("scores", done, len(names) + 2, "scores", run_id=writer.run_id))
        scores = reader.unsorted_scores(name)
        if len(scores):
            tables.append(summary(scores, seed=seed).assign(metric=name))
    report(Progress("scores", len(names), len(names) + 2, "scores", run_id=writer.run_id))
    tables.append(score_probes(loaded, plan, seed))
    report(Progress("scores", len(names) + 1, len(names) + 2, "scores", run_id=writer.run_id))
    tables.append(score_samples(loaded, plan, inputs, seed, maps))
    told = [table for table in tables if len(table)]
    if told:
        writer.put_head_scores(pd.concat(told, ignore_index=True))
    profiles = [
        ProfileSums.from_array(name, sums).table().assign(site=site)
        for (name, site), sums in writer.profile_sums().items()
    ]
    if profiles:
        writer.put_head_profiles(pd.concat(profiles, ignore_index=True))
    report(Progress("scores", len(names) + 2, len(names) + 2, "scores", run_id=writer.run_id))
