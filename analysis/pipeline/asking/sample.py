"""On which inputs and heads of a run something is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.errors import CaptureRefused, UserError
from analysis.types import DECODER, IMPLICIT, RETURNED

if TYPE_CHECKING:
    from analysis.store import Run
    from analysis.types import Site


def sample_inputs(n_inputs: int, limit: int | None, seed: int) -> tuple[int, ...]:
    """Ids of the inputs to measure on, rising: all, or a seeded draw.

    Raises:
        UserError: A limit below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"The limit on inputs is {limit}; give a number from 1 up.")
    if limit is None or limit >= n_inputs:
        return tuple(range(n_inputs))
    return tuple(sorted(np.random.default_rng(seed).choice(n_inputs, limit, replace=False).tolist()))


def why_not(run: Run, what: str) -> str:
    """Why something cannot be measured in a run by editing its heads, a sentence; empty where it can.

    Args:
        what: Begins the sentence, as in ``What cutting sinks does``.
    """
    if DECODER in run.sequences:
        return (
            f"{what} is not measured in encoder-decoder models yet, and run {run.run_id} is of one; it is in a run of "
            "the encoder alone, made with --part encoder."
        )
    if len(run.sequences) > 1:
        return (
            f"{what} is not measured yet where an input is several sequences ({', '.join(run.sequences)}), as in run "
            f"{run.run_id}; it is in runs of texts or images alone."
        )
    if run.modality not in ("text", "vision"):
        return f"{what} is measured on texts and images, and run {run.run_id} is of neither."
    if not any(site.route == "interface" for site in run.sites):
        return (
            f"{what} is not measured in run {run.run_id}: {_REACHED[run.sites[0].route]}, and a head can be edited "
            "only where its attention passes the attention interface of transformers."
        )
    return ""


_REACHED = {
    "optrace": "its attention was found by following the model's operations",
    RETURNED: "its attention is what the model returns of itself",
    IMPLICIT: "its attention is implicit, computed by a formula",
}


def editable(run: Run, sites: list[Site], what: str) -> tuple[tuple[Site, ...], tuple[str, ...]]:
    """Sites whose attention passes the seam where heads can be edited, and a note on the others.

    Args:
        sites: Of the run, those that are asked for.
        what: Begins the sentence where there are none.

    Raises:
        CaptureRefused: There are none; see `why_not`.
    """
    if reason := why_not(run, what):
        raise CaptureRefused(reason)
    reached = tuple(site for site in sites if site.route == "interface")
    others = [site.label for site in sites if site.route != "interface"]
    if not reached:
        raise CaptureRefused(
            f"{what} is not measured at {', '.join(others[:5])}: {_REACHED[sites[0].route]}, and a head can be edited "
            "only where its attention passes the attention interface of transformers."
        )
    note = f"Not measured, for their attention does not pass the interface of transformers: {', '.join(others)}."
    return reached, (note,) if others else ()
