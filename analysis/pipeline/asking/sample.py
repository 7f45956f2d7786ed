"""On which inputs and heads of a run something is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.errors import CaptureRefused, UserError

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


def refuse_pairs(run: Run, what: str) -> None:
    """Refuse a run whose model reads two sequences.

    Args:
        run: A run.
        what: Begins the sentence, as in ``What cutting sinks does``.

    Raises:
        CaptureRefused: The run is of an encoder-decoder.
    """
    if len(run.sequences) > 1:
        raise CaptureRefused(
            f"{what} is not measured in encoder-decoder models yet, and run {run.run_id} is of one; it is in a run of "
            "the encoder alone, made with --part encoder."
        )


def editable(sites: list[Site]) -> tuple[tuple[Site, ...], tuple[str, ...]]:
    """Sites whose attention passes the seam where heads can be edited, and a note on the others.

    Raises:
        CaptureRefused: There are none.
    """
    reached = tuple(site for site in sites if site.route == "interface")
    others = [site.label for site in sites if site.route != "interface"]
    if not reached:
        raise CaptureRefused(
            f"The heads of this model cannot be taken away one by one: its attention was read by {sites[0].route}, and "
            "edits need the attention interface of transformers."
        )
    note = f"Not measured, for their attention does not pass the interface of transformers: {', '.join(others)}."
    return reached, (note,) if others else ()
