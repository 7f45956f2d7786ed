"""Whether a model is supported, and what is particular to models with position biases, in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

import analysis
from tests.e2e.serving import settle
from tests.e2e.test_input import told_of_cell
from tests.model_folders import save_tiny_bloom


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "texts.txt").write_text("The cat sat near the water and the dog sat.\n", encoding="utf-8")
    model = save_tiny_bloom(tmp_path_factory.mktemp("bloom"))
    analysis.extract(
        model=str(model), data=str(folder / "texts.txt"), out_dir=folder, projection=("linear",), run_id="bloom"
    )
    (folder / "texts.txt").unlink()
    return folder


@pytest.fixture(scope="module")
def address(serve, runs):
    return serve(runs)


def test_the_page_says_whether_a_model_is_supported(go):
    page = go("/models")
    expect(page.locator(".st-key-view")).to_contain_text("are captured exactly with their queries and keys")
    box = page.get_by_role("textbox", name="Is my model supported?")
    box.fill("meta-llama/Llama-3.1-8B")
    box.press("Enter")
    settle(page)
    expect(page.locator(".st-key-view")).to_contain_text("Yes: llama is captured")
    assert "type=meta-llama" in page.url
    page.goto(page.url.replace("meta-llama%2FLlama-3.1-8B", "rwkv"))
    settle(page)
    expect(page.locator(".st-key-view")).to_contain_text("No: rwkv cannot be captured; recurrent RWKV layers have no")


@pytest.mark.parametrize(("part", "place"), [("content", 0), ("position", 1)])
def test_content_and_position_can_be_looked_at_apart(go, runs, part, place):
    with analysis.open_run("bloom", runs) as run:
        expected = run.score_parts(run.sites[0], 0, 0)[place]
        whole = run.attention(run.sites[0], 0, 0)
    page = go(f"/input?run=bloom&head=0&input=0&part={part}")
    expect(page.locator(".st-key-view")).to_contain_text(f"{part.capitalize()} alone")
    assert abs(expected - whole).max() > 0.05
    for query, key in [(3, 1), (6, 6), (8, 2)]:
        assert told_of_cell(page, query, key, query, key) == pytest.approx(expected[query, key], rel=1e-3)


def test_the_part_is_chosen_under_show(go):
    page = go("/input?run=bloom&head=0&input=0")
    page.get_by_test_id("stPopover").filter(has_text="Show").get_by_role("button").click()
    page.get_by_text("position alone", exact=True).click()
    settle(page)
    assert "part=position" in page.url
    expect(page.locator(".st-key-view")).to_contain_text("Position alone: what the model adds")
