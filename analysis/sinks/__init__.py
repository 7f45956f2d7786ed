"""Attention sinks: which tokens swallow attention, from which layer, for how long. Numpy in, numpy and tables out."""

from analysis.sinks.columns import USUAL, SinkRule, is_sink, sink_columns
from analysis.sinks.hiding import Hidden, HiddenFigures, hide_columns, hide_sinks, joined
from analysis.sinks.reading import received_at
from analysis.sinks.table import PUBLISHED, SinkFindings, find_sinks
from analysis.sinks.token_classes import token_classes

__all__ = [
    "PUBLISHED", "USUAL", "Hidden", "HiddenFigures", "SinkFindings", "SinkRule", "find_sinks", "hide_columns",
    "hide_sinks", "is_sink", "joined", "received_at", "sink_columns", "token_classes",
]  # fmt: skip
