"""A run of a language model that sees, in a browser: its picture, and what a word of its text sees of the picture."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

import analysis
from analysis.store import open_run
from tests.vision_language_folders import save_pictures, save_tiny_smolvlm


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeing")
    model, data = save_tiny_smolvlm(folder / "model"), save_pictures(folder / "data", 2, (64, 32))
    analysis.extract(model=model, data=data, out_dir=folder / "runs", run_id="seeing", projection=[]).close()
    return folder / "runs"


@pytest.fixture(scope="module")
def address(serve, runs):
    return serve(runs)


def test_a_word_shows_on_the_picture_what_it_sees_of_it(go, runs):
    with open_run(runs / "seeing") as run:
        tokens = run.tokens()
        tokens = tokens[(tokens["input_id"] == 0) & (tokens["sequence"] == "text")].reset_index(drop=True)
        word = int((tokens["span"] == "user").to_numpy().nonzero()[0][-1])
        weights = run.attention("text.dec.self.1", 2, 0)[word]
    first, is_patch = 48, (tokens["span"] == "image").to_numpy()
    page = go(f"/input?run=seeing&site=text.dec.self.1&head=2&input=0&token={first + word}")
    expect(page.locator(".st-key-input_said")).to_contain_text(f"On this text of {len(tokens)} tokens")
    said = page.get_by_text("of its weight on the 12 tokens of the picture")
    expect(said).to_contain_text(f"puts {100 * weights[is_patch].sum():.0f}")
    shades = page.locator(".st-key-input_picture path[aria-roledescription='rect mark']")
    expect(shades.first).to_be_attached()
    labels = shades.evaluate_all("all => all.map(each => each.getAttribute('aria-label'))")
    drawn = {int(re.search(r"position: (\d+)", label)[1]) for label in labels if "position" in label}
    assert drawn == set(is_patch.nonzero()[0].tolist())

    page = go("/input?run=seeing&site=vision.enc.self.0&input=0")
    expect(page.locator(".st-key-input_said")).to_contain_text("On this image of 48 tokens")
    for path in ("/", "/head?run=seeing&site=vision.enc.self.0", "/heads?run=seeing", "/sinks?run=seeing"):
        expect(go(path).locator("[data-testid=stException]")).to_have_count(0)
