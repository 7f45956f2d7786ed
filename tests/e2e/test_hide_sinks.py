"""The switch that hides sinks, in every view: weights, masses and maps against the run, done by hand here."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from analysis.store.run import open_run
from tests.e2e.test_head import drawn, links, weight_words
from tests.e2e.test_head_tools import words
from tests.e2e.test_input import told_at, told_of_cell
from tests.sinks.made import SINK, make_run_with_sinks

INPUT, TOKEN = 1, 9


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    make_run_with_sinks(folder, "images", modality="vision", n_inputs=3, n_tokens=37, n_heads=3)
    make_run_with_sinks(folder, "texts", n_inputs=4, n_tokens=20, n_heads=4, causal=True)
    return folder


@pytest.fixture(scope="module")
def address(serve, runs):
    return serve(runs)


def by_hand(run, site: str, head: int, input_id: int) -> tuple[np.ndarray, list[int], float]:
    """Rows without sinks, the sinks, and the share of attention they took: row by row, by nothing of ours."""
    weights, allowed = run.attention(site, head, input_id).astype(float), run.allowed(site, input_id)
    n, sinks = len(weights), []
    for key in range(n):
        others = [query for query in range(n) if allowed[query, key] and query != key]
        if len(others) >= 8 and np.mean([weights[query, key] for query in others]) >= 0.3:
            sinks.append(key)
    rest = weights.copy()
    rest[:, sinks] = 0
    left = rest.sum(axis=1, keepdims=True)
    return np.where(left > 1e-6, rest / np.maximum(left, 1e-6), 0), sinks, float(weights[:, sinks].sum(axis=1).mean())


def sink_head(run) -> tuple[str, int]:
    """A head whose sink is found in the input looked at."""
    places = [(site.label, head) for site in run.sites for head in range(site.n_heads)]
    return next(place for place in places if by_hand(run, *place, INPUT)[1] == [SINK])


def switch(page: Page) -> None:
    page.locator(".st-key-hide_sinks label").click()


def shown_rows(page: Page) -> list[str]:
    return [line.locator(".figure").last.inner_text() for line in page.locator(".panel .row").all()]


def test_head_lines_and_map_without_sinks_and_back(go, runs):
    with open_run("texts", runs) as run:
        site, head = sink_head(run)
        rest, _, _ = by_hand(run, site, head, INPUT)
        shares = [by_hand(run, site, head, each) for each in run.inputs()["input_id"]]
        whole = run.attention(site, head, INPUT)
    page = go(f"/head?run=texts&site={site}&head={head}&input={INPUT}&token={TOKEN}&map=atlas-2d")
    drawn(page)
    before = (page.locator(".panel").inner_text(), links(page), words(page))
    strongest = np.sort(whole[TOKEN])[::-1]
    assert shown_rows(page) == [weight_words(weight) for weight in strongest[strongest > 0][:12]]
    switch(page)
    page.wait_for_url("**sinks=hidden**")
    page.wait_for_url("**map=atlas-2d-without-sinks**")
    share, n = np.mean([each[2] for each in shares]), np.mean([len(each[1]) for each in shares])
    tokens = f"{n:.1f}".removesuffix(".0") + (" token" if n == 1 else " tokens")
    said = (
        f"{share * 100:.0f}\u00a0% of L{site[-1]}H{head}’s attention, on {tokens} an input, is hidden; rows are scaled"
    )
    expect(page.locator(".st-key-head_top")).to_contain_text(said)
    expect(page.locator(".panel .note")).to_contain_text("of its attention without sinks")
    row = np.sort(rest[TOKEN])[::-1]
    assert shown_rows(page) == [weight_words(weight) for weight in row[row > 0][:12]]
    np.testing.assert_allclose(sum(weight for _, weight in links(page)), 1, atol=1e-4)
    switch(page)
    page.wait_for_url(lambda url: "sinks" not in url)
    expect(page.locator(".panel .note")).not_to_contain_text("without sinks")
    assert (page.locator(".panel").inner_text(), links(page), words(page)) == before


def test_a_link_restores_the_heat_map_without_sinks_and_off_brings_the_old_weights_back(go, runs):
    with open_run("texts", runs) as run:
        site, head = sink_head(run)
        rest, _, mass = by_hand(run, site, head, INPUT)
        whole = run.attention(site, head, INPUT)
        word = run.tokens().query("input_id == @INPUT")["text"].iloc[SINK]
    page = go(f"/input?run=texts&site={site}&head={head}&input={INPUT}&token={TOKEN}&sinks=hidden")
    expect(page.locator(".st-key-hide_sinks input")).to_be_checked()
    hidden = page.locator(".qk-sentence", has_text="is hidden")
    expect(hidden).to_contain_text(f"{mass * 100:.0f}\u00a0% of L{site[-1]}H{head}’s attention here, on 1 token")
    expect(hidden).to_contain_text(f"(“{word}” at {SINK}), is hidden; rows are scaled to sum to 1.")
    assert told_of_cell(page, TOKEN, 5, TOKEN, 5) == pytest.approx(rest[TOKEN, 5], rel=6e-4)
    sink, other = (page.locator(f'.token[data-position="{place}"]') for place in (SINK, 7))
    expect(sink).to_have_class(re.compile(r"\bsink\b"))
    assert sink.get_attribute("data-weight") == ""
    assert float(other.get_attribute("data-weight")) == pytest.approx(rest[TOKEN, 7], abs=1e-6)
    switch(page)
    expect(hidden).to_have_count(0)
    expect(sink).not_to_have_class(re.compile(r"\bsink\b"))
    for place, token in ((SINK, sink), (7, other)):
        assert float(token.get_attribute("data-weight")) == pytest.approx(whole[TOKEN, place], abs=1e-6)
    assert told_of_cell(page, TOKEN, SINK, TOKEN, SINK) == pytest.approx(whole[TOKEN, SINK], rel=6e-4)


def test_the_atlas_measures_again_says_on_what_and_how_much_of_each_head_is_hidden(go, runs):
    with open_run("texts", runs) as run:
        site, head = sink_head(run)
        ids = run.inputs()["input_id"].tolist()
        found = [by_hand(run, site, head, each) for each in ids]
        heads = [(each.label, number) for each in run.sites for number in range(each.n_heads)]
        everything = np.mean([[by_hand(run, *place, each)[2] for each in ids] for place in heads])
    previous = np.mean([np.diagonal(rest, -1).mean() for rest, _, _ in found])
    page = go("/?run=texts&sinks=hidden&score=previous_token")
    said = page.locator(".qk-sentence", has_text="is hidden")
    expect(said).to_contain_text(f"{everything * 100:.0f}\u00a0% of attention")
    expect(said).to_contain_text(f"mean of {len(heads)} heads over all {len(ids)} inputs")
    expect(page.locator(".legend")).to_contain_text("previous token without sinks")
    expect(page.locator(".legend")).to_contain_text(f"on all {len(ids)} inputs")
    cell = page.locator(f'.cell[data-site="{site}"][data-head="L{site[-1]}H{head}"]')
    name = cell.get_attribute("aria-label")
    share = f"{np.mean([mass for _, _, mass in found]) * 100:.0f}"
    assert re.search(rf"· {share}.% hidden · previous token without sinks {previous:.2f}", name), name
    cell.hover()
    expect(page.locator(".card")).to_contain_text(re.compile(rf"Hidden with sinks{share}.%"))


def test_patches_of_an_image_without_sinks_and_the_next_page_hides_them_too(go, runs):
    with open_run("images", runs) as run:
        site, head = sink_head(run)
        rest, _, mass = by_hand(run, site, head, INPUT)
    page = go(f"/input?run=images&site={site}&head={head}&input={INPUT}&token={TOKEN}&sinks=hidden")
    said = page.locator(".qk-sentence", has_text="is hidden")
    expect(said).to_contain_text(f"{mass * 100:.0f}\u00a0% of L{site[-1]}H{head}’s attention here, on 1 token")
    patches = page.locator(".st-key-input_picture svg.marks [aria-roledescription='rect mark']")
    told = told_at(page, patches.nth(36 + 6))  # behind the 36 patches of the plain picture come CLS and the patches
    assert float(told["weight"]) == pytest.approx(rest[TOKEN, int(told["position"])], rel=6e-4)
    dashed = page.locator(".st-key-input_picture svg.marks path[stroke-dasharray='3,3']")
    expect(dashed).to_have_count(2)
    page.get_by_role("link", name="Head", exact=True).click()
    expect(page.locator(".st-key-head_top")).to_contain_text("is hidden")
    expect(page.locator(".st-key-hide_sinks input")).to_be_checked()
    assert words(page)["sinks"] == "hidden"
