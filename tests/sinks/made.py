"""Synthetic runs with sinks by design, at a place that is not the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from analysis.attention import recompute
from analysis.types import Band, SiteCapture
from tests.store import synthetic

SINK = 2
"""Position of the token that every head but the first of each site looks at, in every input."""


def make_run_with_sinks(folder: Path, run_id: str, **more: Any) -> Path:
    """As `make_synthetic_run`, its `more` arguments among them."""
    with mock.patch.object(synthetic, "make_capture", _capture_with_sink):
        return synthetic.make_synthetic_run(folder, run_id, **more)


def _capture_with_sink(rng: np.random.Generator, site: Any, *arguments: Any) -> SiteCapture:
    plain = _plain(rng, site, *arguments)
    queries, keys = plain.queries.copy(), plain.keys.copy()
    queries[1:, :, -1] = 4
    keys[:, :, -1] = 0
    keys[:, SINK, -1] = 3
    allowed = (site.band or Band()).allowed(queries.shape[1])
    attention = recompute(queries, keys, allowed, site.scale, site.softcap)
    return SiteCapture(site, plain.input_id, queries, keys, plain.value_norms, allowed, attention)


_plain = synthetic.make_capture
