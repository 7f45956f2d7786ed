"""Asking the model of a run again: its inputs encoded once more, what its answers are held against, which inputs and
heads, what it costs, and what was measured before."""

from analysis.pipeline.asking.cost import duration, timed
from analysis.pipeline.asking.measured import made_from, measured_before, published
from analysis.pipeline.asking.questions import Questions, ask
from analysis.pipeline.asking.sample import editable, sample_inputs, why_not

__all__ = [
    "Questions",
    "ask",
    "duration",
    "editable",
    "made_from",
    "measured_before",
    "published",
    "sample_inputs",
    "timed",
    "why_not",
]
