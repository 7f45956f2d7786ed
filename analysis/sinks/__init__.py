"""Attention sinks: which tokens swallow attention, from which layer, for how long. Numpy in, numpy and tables out."""

from analysis.sinks.columns import USUAL, SinkRule, is_sink, sink_columns
from analysis.sinks.hiding import Hidden, hide_sinks

__all__ = ["USUAL", "Hidden", "SinkRule", "hide_sinks", "is_sink", "sink_columns"]
