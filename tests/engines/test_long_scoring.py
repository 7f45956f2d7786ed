"""A long text is scored window of queries by window: the figures are those of the whole attention."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.attention import recompute
from analysis.engines import long_scoring, sink_figures
from analysis.engines.scoring import score_captures
from analysis.metrics import METRICS, PerInput, metric_names
from analysis.metrics.tokens import TokenFacts
from analysis.sinks import reading
from analysis.types import Band, Site, SiteCapture

N, N_HEADS, D_HEAD = 57, 4, 6
BANDS = {"causal": Band(None, 0), "sliding": Band(9, 0), "both ways": Band()}


def _capture(band, sinks=None):
    rng = np.random.default_rng(1)
    site = Site(0, "a#0", "text.dec.self.0", "text", "dec", "self", 0, N_HEADS, 2, D_HEAD, D_HEAD, 0.4, band)
    site = replace(site, has_sink_logits=sinks is not None)
    queries, keys = (rng.normal(size=(n, N, D_HEAD)).astype(np.float32) * 2 for n in (N_HEADS, 2))
    allowed = band.allowed(N)
    weights = recompute(queries, keys, allowed, site.scale, None, sinks)
    return SiteCapture(site, 0, queries, keys, np.ones((2, N), np.float32), allowed, weights)


def _facts():
    rng = np.random.default_rng(2)
    fields = {
        "identity": rng.integers(0, 12, N), "special": np.arange(N) == 0, "punctuation": rng.random(N) < 0.2,
        "sentence": np.where(np.arange(N) == 0, -1, np.arange(N) // 11), "segment": np.arange(N) // 30,
        "written": np.arange(N) >= 40, "separator": np.arange(N) == 30, "cls": np.arange(N) == 0,
    }  # fmt: skip
    return TokenFacts(np.array([0, N]), fields)


def _scores(captured):
    table = captured.scores.astype({"metric": str}).sort_values(["metric", "head"]).reset_index(drop=True)
    return table.astype({"site": int, "head": int, "input_id": int})


@pytest.mark.parametrize("n_rows", [1, 7, 56])
@pytest.mark.parametrize("band", BANDS)
def test_windows_give_the_figures_of_the_whole(band, n_rows, monkeypatch):
    sinks = np.linspace(-1, 1, N_HEADS).astype(np.float32) if band == "sliding" else None
    capture, logits = _capture(BANDS[band], sinks), {} if sinks is None else {"a#0": sinks}
    whole = score_captures([[capture]], metric_names(), logits, _facts())
    monkeypatch.setattr(long_scoring, "WINDOW_CELLS", n_rows * N)
    seen = []
    windows = long_scoring._windows
    monkeypatch.setattr(long_scoring, "_windows", lambda *given: (seen.append(w) or w for w in windows(*given)))
    parts = score_captures([[replace(capture, attention=None)]], metric_names(), logits, _facts())
    assert len(seen) == N_HEADS * -(-N // n_rows)
    assert {window.attention.shape[2] for window in seen} <= {n_rows, N % n_rows or n_rows}
    pd.testing.assert_frame_equal(_scores(parts), _scores(whole), check_exact=False, rtol=1e-4, atol=1e-5)
    assert len(_scores(whole)) > 15 * N_HEADS
    assert parts.profiles.keys() == whole.profiles.keys()
    for key, sums in whole.profiles.items():
        np.testing.assert_allclose(parts.profiles[key], sums, rtol=1e-4, atol=1e-5)
    for key, both in whole.received.items():
        for one, other in zip(parts.received[key], both, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_measure_that_cannot_be_summed_sees_the_whole_text(monkeypatch):
    def largest(attended):
        value = attended.attention.max(axis=(2, 3))
        return PerInput(value, np.full_like(value, attended.allowed.shape[1]))

    monkeypatch.setattr(long_scoring, "WINDOW_CELLS", 7 * N)
    entry = replace(METRICS["entropy"], compute=largest, name="entropy")
    monkeypatch.setitem(METRICS._entries, "entropy", entry)
    capture = _capture(BANDS["causal"])
    found = score_captures([[replace(capture, attention=None)]], ["entropy"], {}, _facts()).scores
    np.testing.assert_allclose(found["value"], capture.attention.max(axis=(1, 2)), rtol=1e-5)
    assert set(found["null"]) == {N}


@pytest.mark.parametrize("n_rows", [1, 4, 99])
def test_what_is_made_of_masks_is_made_some_rows_at_a_time(n_rows, monkeypatch):
    for n_queries, n_keys in ((7, 7), (9, 5), (5, 9)):
        monkeypatch.setattr(reading, "AT_ONCE", n_rows * n_keys)
        for mask in (np.tri(n_queries, n_keys, dtype=bool), np.random.default_rng(0).random((n_queries, n_keys)) < 0.5):
            even = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
            expected = even.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
            np.testing.assert_allclose(reading.even_received(mask), expected, rtol=1e-12)
            if n_queries == n_keys:
                others = mask & ~np.eye(n_keys, dtype=bool)
                np.testing.assert_array_equal(sink_figures._seen_by_others(mask), others.sum(axis=0))
                expected = (even * others).sum(axis=0) / np.maximum(others.sum(axis=0), 1)
                np.testing.assert_allclose(reading.even_received(mask, counts_own=False), expected, atol=1e-12)


def test_a_band_knows_its_own_mask_over_many_windows():
    for band in (*BANDS.values(), Band(2, 5)):
        mask = band.allowed(3000, 2500)
        assert band.describes(mask)
        mask[2999, 2400] ^= True
        assert not band.describes(mask)


def test_a_window_is_given_back_as_soon_as_the_next_one_is_read(monkeypatch):
    monkeypatch.setattr(long_scoring, "WINDOW_CELLS", 4 * N)
    capture, windows, alive = _capture(BANDS["causal"]), [], []

    def weights_of(rows):
        alive.append(sum(window() is not None for window in windows))
        weights = capture.attention[0, rows].copy()
        windows.append(weakref.ref(weights))
        return weights

    gc.disable()
    try:
        long_scoring.score_long(weights_of, capture.allowed, _facts().batch([0], N, ""), metric_names())
    finally:
        gc.enable()
    assert len(windows) > 10
    assert max(alive) <= 1
