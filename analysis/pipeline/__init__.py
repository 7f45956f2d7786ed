"""The order of the calls: load, encode, capture, store, score, project, publish. No maths and no SQL of its own."""

from analysis.pipeline.estimate import ExtractionPlan, plan_extraction
from analysis.pipeline.extraction import extract
from analysis.pipeline.head_importance import Importance, importance, plan_importance
from analysis.pipeline.maps import project
from analysis.pipeline.patterns import add_patterns
from analysis.pipeline.request import parse_layers, parse_numbers
from analysis.pipeline.sink_cuts import CutVariant, SinkCut, cut_sinks, plan_cut

__all__ = [
    "CutVariant",
    "ExtractionPlan",
    "Importance",
    "SinkCut",
    "add_patterns",
    "cut_sinks",
    "extract",
    "importance",
    "parse_layers",
    "parse_numbers",
    "plan_cut",
    "plan_extraction",
    "plan_importance",
    "project",
]
