"""Queries, keys and attention of any transformer, recorded from its own forward pass. Torch lives here."""

from analysis.capture.batch import run_batch
from analysis.capture.edits import Edit, Gate, Knockout, Redistribute, SetOutput
from analysis.capture.interface import Call, Capture
from analysis.capture.layout_probe import patch_order
from analysis.capture.plan import CapturePlan, make_plan
from analysis.capture.residual import ResidualTrace

__all__ = [
    "Call", "Capture", "CapturePlan", "Edit", "Gate", "Knockout", "Redistribute", "ResidualTrace", "SetOutput",
    "make_plan", "patch_order", "run_batch",
]  # fmt: skip
