"""What the measures of a cut of sinks are called and mean. Measured in `analysis.pipeline.sink_cuts`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CutMeasure:
    """One measure of a cut, as a page names it.

    Attributes:
        name: As in the table ``sink_cuts``.
        title: As on the page.
        unit: The unit, or what 0 and 1 mean.
        more: What it says when the value is larger after the cut.
        definition: One sentence.
    """

    name: str
    title: str
    unit: str
    more: str
    definition: str


def _states(name: str, tokens: str) -> CutMeasure:
    return CutMeasure(
        name, f"Change of {tokens}", "relative L2 distance; 0 = no change", "the states rest on what was cut",
        f"Distance of the states of {tokens} at the end of the model, behind its last normalisation, cut from uncut, "
        "over the norm of the uncut; mean over tokens.",
    )  # fmt: skip


MEASURES: dict[str, CutMeasure] = {
    measure.name: measure
    for measure in (
        CutMeasure(
            "loss", "Loss", "nats", "the model predicts worse without the sinks",
            "Cross-entropy of the true next token, masked token or class; mean over predictions.",
        ),
        CutMeasure(
            "probability", "Probability of the truth", "0 to 1", "the truth became likelier without the sinks",
            "Probability of the true next token, masked token or class; mean over predictions.",
        ),
        CutMeasure(
            "top_1_right", "Predictions that are right", "share, 0 to 1", "more are right without the sinks",
            "Share of predictions whose likeliest answer is the true one.",
        ),
        CutMeasure(
            "kl_bits", "Divergence from the uncut answer", "bits; 0 = the same", "the model answers otherwise",
            "KL(before || after) of the predicted distributions; mean over predictions.",
        ),
        CutMeasure(
            "divergence_bits", "Jensen-Shannon divergence", "bits; 0 = the same, 1 = nothing in common",
            "the model answers otherwise",
            "Jensen-Shannon divergence of the predicted distributions before and after; mean over predictions.",
        ),
        CutMeasure(
            "flips", "Predictions that change", "share, 0 to 1", "the likeliest answer is another without the sinks",
            "Share of predictions whose likeliest token or class is another than before.",
        ),
        CutMeasure(
            "top_5_kept", "Top 5 kept", "share, 0 to 1", "the likeliest answers stay the same ones",
            "Share of the five likeliest answers before that are among the five likeliest after.",
        ),
        CutMeasure(
            "sink_mass", "Attention on what was cut", "share, 0 to 1", "the cut keys get more attention",
            "Attention that the cut keys get, measured in the model with and without the cut; mean over the heads and "
            "queries that the cut is meant for. Queries that see nothing else keep what they have.",
        ),
        _states("token_change", "token states"),
        _states("cls_change", "the CLS state"),
        _states("patch_change", "patch states"),
    )
}  # fmt: skip
"""In the order in which a table shows them. Sources: replacing attention of sinks is Kang et al. (2025), "See What You
Are Told: Visual Attention Sink in Large Multimodal Models"; the measures are standard practice, states ours."""
