"""What the mask of a long input says of its tokens is told from the band alone, and is what the mask itself says."""

import numpy as np
import pytest

import analysis
from analysis.sinks import PUBLISHED, USUAL, reading, received_at
from analysis.types import Band
from tests.store.synthetic import make_synthetic_run

BANDS = [Band(right=0), Band(), Band(left=3, right=0), Band(left=2, right=4), Band(left=4, right=-2), Band(left=0)]


@pytest.mark.parametrize("counts_own", [True, False])
@pytest.mark.parametrize("band", BANDS, ids=str)
def test_a_band_says_what_its_mask_says(band, counts_own):
    for shape in ((9, 9), (12, 7), (7, 12)) if counts_own else ((9, 9), (40, 40)):
        ours, theirs = reading._of_band(band, *shape, counts_own), reading._of_mask(band.allowed(*shape), counts_own)
        for name in ("n_queries", "n_all", "n_tokens"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        np.testing.assert_allclose(ours.even, theirs.even, atol=1e-12)


@pytest.mark.parametrize("rule", [USUAL, PUBLISHED], ids=["usual", "published"])
def test_long_inputs_among_short_ones_have_the_same_figures_without_their_masks(tmp_path, monkeypatch, rule):
    with analysis.open_run(make_synthetic_run(tmp_path, n_inputs=6, n_tokens=24, causal=True)) as run:
        n_tokens = len(run.tokens())
        monkeypatch.setattr(type(run), "received", lambda self, site, counts_own: np.zeros((site.n_heads, n_tokens)))
        whole = list(received_at(run, rule))
        lengths = run.inputs()["n_tokens"]
        monkeypatch.setattr(reading, "AT_ONCE", int(lengths.median()) ** 2)
        asked = []
        monkeypatch.setattr(type(run), "allowed_by_input", _noted(type(run).allowed_by_input, asked))
        windowed = list(received_at(run, rule))
        assert asked == [np.flatnonzero(lengths**2 <= reading.AT_ONCE).tolist()] * len(run.sites)
    for ours, theirs in zip(windowed, whole, strict=True):
        np.testing.assert_array_equal(ours.n_queries, theirs.n_queries)
        np.testing.assert_array_equal(ours.n_all, theirs.n_all)
        np.testing.assert_allclose(ours.even, theirs.even, atol=1e-12)


def _noted(read, asked: list):
    def call(self, site, inputs=None):
        asked.append(inputs)
        return read(self, site, inputs)

    return call
