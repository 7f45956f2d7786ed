"""What a run's add-ons of importance say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.pipeline import asking

if TYPE_CHECKING:
    from analysis.store import Run


def published(run: Run) -> dict[str, dict[str, Any]]:
    """Name of the add-on to its facts: mode, part, ring, n_inputs, truth, rank agreement with the gradient estimate."""
    return asking.published(run, "importance")
