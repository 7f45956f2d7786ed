"""Importance measured from the page: the real command as a job, and its scores in the grid of heads."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

import analysis
from analysis.store.run import open_run
from tests.e2e.serving import calm, settle

TITLE = "Importance: take heads away and see what the model loses"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("importance")
    analysis.extract(
        model="demo-vision", data="demo-scenes", limit=3, out_dir=runs, projection=["none"], run_id="scenes"
    ).close()
    return runs


def test_importance_is_measured_from_the_page_and_then_stands_in_the_grid(page, serve, folder):
    address = serve(folder)
    page.goto(f"{address}/heads?run=scenes")
    settle(page)
    calm(page)
    page.get_by_text(TITLE).click()
    expect(page.get_by_text("36 heads on each of 3 inputs, 108 times in all")).to_be_visible()
    page.get_by_role("button", name="Measure", exact=True).click()
    done = page.get_by_text(
        "Measured with the head set to zero, on 3 inputs, held against the class in the column label"
    )
    expect(done).to_be_visible(timeout=180_000)
    with open_run("scenes", folder) as run:
        scores = run.head_scores()
        divergence = scores[scores["metric"] == "ablation_divergence"].set_index(["site", "head"])["value"]
        site = run.sites[4]
    page.goto(f"{address}/heads?run=scenes&score=ablation_divergence")
    settle(page)
    calm(page)
    for head in range(6):
        expected = divergence[site.key, head]
        text = page.locator(f".cell[data-head=L4H{head}] .text")
        expect(text).to_be_visible()
        assert float(text.inner_text()) == pytest.approx(expected, abs=0.006)
    page.get_by_text(TITLE).click()
    offered = page.get_by_role("combobox", name="What is done to each head in turn")
    expect(offered).to_have_value("head replaced by its mean")


def test_a_run_whose_model_nobody_knows_says_the_command(go):
    page = go("/heads?run=text")
    calm(page)
    page.get_by_text(TITLE).click()
    expect(page.get_by_text("python -m analysis importance text --help")).to_be_visible()
