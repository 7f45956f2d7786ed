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
    """As `make_synthetic_run`, which takes `more`; the map ``atlas-2d`` is there without sinks too."""
    capture = mock.patch.object(synthetic, "make_capture", _capture_with_sink)
    with capture, mock.patch.object(synthetic, "add_map", _two_maps):
        return synthetic.make_synthetic_run(folder, run_id, **more)


def _capture_with_sink(rng: np.random.Generator, site: Any, *arguments: Any) -> SiteCapture:
    plain = _plain(rng, site, *arguments)
    queries, keys = plain.queries.copy(), plain.keys.copy()
    queries[1:, :, -1] = 4
    keys[:, :, -1] = 0
    n_tokens = queries.shape[1]
    keys[:, SINK, -1] = np.log(14 * n_tokens) / (4 * site.scale)  # as if it were 14 times as many keys as there are
    allowed = (site.band or Band()).allowed(n_tokens)
    attention = recompute(queries, keys, allowed, site.scale, site.softcap)
    return SiteCapture(site, plain.input_id, queries, keys, plain.value_norms, allowed, attention)


_plain = synthetic.make_capture


def _two_maps(writer: Any, method: str, dims: int, sites: list, n_tokens: int, seed: int = 0) -> None:
    _plain_map(writer, method, dims, sites, n_tokens, seed)
    if method != "atlas":
        return
    put = writer.put_projection

    def without_sinks(name: str, method: str, target: str, *more: Any) -> str:
        return put(name, method, "without_sinks", *more)

    with mock.patch.object(writer, "put_projection", without_sinks):
        _plain_map(writer, method, dims, sites, n_tokens, seed + 1)


_plain_map = synthetic.add_map
