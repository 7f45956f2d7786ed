"""What a table of coverage says of one model type."""

from __future__ import annotations

import re
from dataclasses import dataclass

from analysis.errors import first_line

INTERFACE, OPTRACE, BOTH, IMPLICIT = "interface", "op trace", "both", "implicit"
ONLY_ATTENTION, REFUSED, NO_ATTENTION, NOT_TESTED = "output_attentions", "refused", "no attention", "not tested"
MOST_ATTENTION, MOST_OUTPUT = 1e-5, 0.0
"""Largest differences, in fp32, at which a type counts as exact: of weights from the model's own; of its outputs."""


@dataclass(frozen=True)
class TypeReport:
    """What was found for one model type.

    Attributes:
        model_type: As transformers names it.
        modality: What the model reads, as in ``text`` or ``text+vision``.
        route: One of the constants of this module.
        n_sites: Attention calls that hold.
        n_left_out: Attention calls found that do not.
        attention_max_abs_diff: Largest difference of their weights from the model's own; None where none hold.
        outputs_max_abs_diff: Of the model's outputs with and without capture.
        n_own: Attention matrices that the model itself returns for ``output_attentions``.
        n_own_missing: Those that no captured call gives.
        inputs: What it was run on.
        note: Why it is refused, not tested or not exact; or what of it is missing.
    """

    model_type: str
    modality: str
    route: str
    n_sites: int = 0
    n_left_out: int = 0
    attention_max_abs_diff: float | None = None
    outputs_max_abs_diff: float | None = None
    n_own: int = 0
    n_own_missing: int = 0
    inputs: str = ""
    note: str = ""

    @property
    def is_exact(self) -> bool:
        """Every attention call that the model makes or returns is captured, and nothing else changes."""
        return (
            self.route in (INTERFACE, OPTRACE, BOTH)
            and self.n_left_out == self.n_own_missing == 0
            and self.attention_max_abs_diff is not None
            and self.attention_max_abs_diff <= MOST_ATTENTION
            and self.outputs_max_abs_diff == MOST_OUTPUT
        )

    @property
    def is_tested(self) -> bool:
        """A tiny model of the type was built and ran."""
        return self.route != NOT_TESTED

    @property
    def has_attention(self) -> bool:
        """The model attends in some way, also where it cannot be captured."""
        return self.route not in (NOT_TESTED, NO_ATTENTION)

    @property
    def is_usable(self) -> bool:
        """Some attention of the model can be looked at."""
        return self.route in (INTERFACE, OPTRACE, BOTH, IMPLICIT, ONLY_ATTENTION)


def not_tested(model_type: str, error: Exception) -> TypeReport:
    """The report on a type that no tiny model could be made of, or that runs on no made-up input."""
    line = re.sub(r" from '[^']*\.py'", "", first_line(error, 1000))  # the file of a module
    return TypeReport(model_type, "", NOT_TESTED, note=line[:300])
