"""A run of an encoder-decoder in a browser: attention from the decoder's tokens to the encoder's, in every view."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from analysis.store import open_run
from tests.e2e.serving import calm, eventually
from tests.e2e.test_input import tokens_of, told_of_cell
from tests.store.synthetic_pairs import make_pair_run

CROSS = "text.dec.cross.1"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    make_pair_run(folder)
    return folder


@pytest.fixture(scope="module")
def address(serve, runs):
    return serve(runs)


def test_the_heat_map_is_rectangular_and_tells_the_runs_attention(runs, go):
    with open_run("pairs", runs) as run:
        attention = run.attention(CROSS, 2, 1)
    n_queries, n_keys = attention.shape
    page = go(f"/input?run=pairs&site={CROSS}&head=2&input=1")
    canvas = page.locator("canvas.cells")
    said = f"queries 7–17 of {n_queries}, keys 0–6 of {n_keys}, queries down, keys across"
    expect(canvas).to_have_attribute("aria-label", re.compile(re.escape(said)))
    for query, key in [(0, 0), (0, 6), (10, 0), (10, 6), (5, 3), (3, 5), (7, 1), (1, 2), (9, 4), (6, 6)]:
        told = told_of_cell(page, query, key, n_keys + query, key)
        assert told == pytest.approx(attention[query, key], rel=6e-4)


def test_pointing_at_a_token_of_the_decoder_shades_the_encoders_sentence(runs, go):
    with open_run("pairs", runs) as run:
        attention = run.attention(CROSS, 2, 1)
    page = go(f"/input?run=pairs&site={CROSS}&head=2&input=1")
    resting = tokens_of(page)
    np.testing.assert_allclose([weight for _, weight in resting][:7], attention.mean(axis=0), atol=1e-6)
    page.locator('.token[data-position="9"]').hover()
    eventually(lambda: abs(tokens_of(page)[0][1] - attention[2, 0]) < 1e-6)
    shaded = [weight for _, weight in tokens_of(page)]
    np.testing.assert_allclose(shaded[:7], attention[2], atol=1e-6)
    assert not any(shaded[7:])  # nothing of its own sentence
    boxes = page.locator(".token").evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    assert max(boxes[:7]) + 5 < min(boxes[7:])  # the decoder's text has a line of its own
    page.locator('.token[data-position="1"]').click()
    expect(page.get_by_text("has no weights of its own in this head")).to_be_visible()  # the encoder's: keys alone


@pytest.mark.parametrize("view", ["", "head", "input", "heads", "sinks"])
def test_every_view_opens_on_cross_attention(go, view):
    page = go(f"/{view}?run=pairs&site={CROSS}&head=1&input=0&token=10&kind=query")
    calm(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    if view == "input":
        page.get_by_text("Lines", exact=True).click()
        expect(
            page.get_by_text("Left the queries, the decoder’s tokens, right the keys, the encoder’s tokens")
        ).to_be_visible()
    if view == "head":
        expect(page.get_by_text("decoder, position 10 of 0–14 in input 0")).to_be_visible()
    if view == "heads":
        expect(page.get_by_text("cross-attention, whose queries and keys are tokens of two sequences")).to_be_visible()
    if view == "sinks":
        expect(page.get_by_text("of the decoder's attention").first).to_be_visible()
