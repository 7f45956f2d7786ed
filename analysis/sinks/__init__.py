"""Attention sinks: which tokens swallow attention, from which layer, for how long. Numpy in, numpy and tables out."""

from analysis.sinks.columns import USUAL, SinkRule, is_sink, sink_columns

__all__ = ["USUAL", "SinkRule", "is_sink", "sink_columns"]
