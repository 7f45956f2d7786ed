"""The page Sinks in a browser: it says what the library says, a click selects, a button opens, a link restores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from analysis.pipeline.sinks import sinks_of, sum_up_sinks, width_of
from analysis.sinks import SinkRule
from analysis.sinks.massive import VisualSinkRule, large_norms, visual_sinks
from analysis.sinks.towers import read_tower
from analysis.store import open_run
from tests.e2e.serving import calm, settle
from tests.e2e.test_steady_layout import LAPTOP, TABLET, WALL, context, stands_still  # noqa: F401
from tests.sinks.run_with_states import make_run_with_states

RATIO, NORM, LAYER, IMAGE = 1.3, 1.1, 3, 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("sinks")
    make_run_with_states(runs, "scenes", modality="vision", n_inputs=3, n_tokens=17, n_layers=6, n_heads=2)
    make_run_with_states(runs, "words", n_inputs=6, n_tokens=20, n_layers=6, n_heads=3, causal=True)
    return runs


@pytest.fixture(scope="module")
def address(serve: Callable[[Path], str], folder: Path) -> str:
    return serve(folder)


def word(page: Page, name: str) -> str | None:
    return parse_qs(urlparse(page.evaluate("location.href")).query).get(name, [None])[0]


def test_the_sentence_and_the_first_row_are_those_of_the_library_and_a_row_is_picked(go, folder):
    with open_run("words", folder) as run:
        said, overall = sum_up_sinks(run), sinks_of(run).overall
    best = overall[overall["kind"] == "token"].sort_values("score", ascending=False, kind="stable").iloc[0]
    page = go("/sinks?run=words")
    expect(page.locator(".st-key-sinks_page p.qk-sentence").first).to_have_text(said)
    row = page.locator(".ranking tbody tr").first
    cells = row.locator("td")
    expect(cells.nth(0)).to_have_text(best["token"])
    expect(cells.nth(1)).to_have_attribute("title", f"{best['score']:.4f}; if attention were even {best['null']:.4f}")
    told = f"{best['rate']:.4f} (95 %: {best['ci_low']:.4f} to {best['ci_high']:.4f})"
    expect(cells.nth(2)).to_have_attribute("title", told)
    expect(cells.nth(3)).to_have_text(str(best["n"]))
    calm(page)
    row.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    second = page.locator(".ranking tbody tr").nth(1)
    expect(second).to_have_attribute("aria-selected", "true")
    page.wait_for_url("**mark=token*")
    name = second.get_attribute("data-name")
    expect(page.locator(".st-key-sinks_evidence strong")).to_have_text(name)
    settle(page)
    example = page.locator(".st-key-sinks_evidence .similar button").first
    place = example.locator(".place").inner_text()
    page.get_by_role("button", name="Open in Input").click()
    page.wait_for_url("**/input?**")
    assert place == f"position {word(page, 'token')}, text {word(page, 'input')}"


def test_a_head_of_the_grid_is_picked_by_a_click_and_opened_by_a_button(go, folder):
    with open_run("words", folder) as run:
        share = read_tower(run).mass[2].mean(axis=1)[1]
    page = go("/sinks?run=words")
    cell = page.locator(".cell[data-head=L2H1]")
    expect(cell.locator(".text")).to_have_text(f"{share:.2f}".removeprefix("0"))
    calm(page)
    cell.click()
    page.wait_for_url("**head=1**")
    assert urlparse(page.url).path == "/sinks"  # a click that selects does not navigate
    expect(cell).to_have_attribute("aria-selected", "true")
    expect(page.locator(".st-key-sinks_evidence")).to_contain_text(f"{100 * share:.0f} % of its attention lies on its")
    settle(page)
    page.get_by_role("button", name="Open L2H1").click()
    page.wait_for_url("**/head?**")
    assert (word(page, "site"), word(page, "head")) == ("text.dec.self.2", "1")
    expect(page.locator(".walk b")).to_have_text("L2H1")


def test_a_link_restores_thresholds_and_the_mark_and_a_layer_is_picked_in_a_chart(go, folder):
    with open_run("words", folder) as run:
        said = sum_up_sinks(run, rule=SinkRule(0.45))
    page = go("/sinks?run=words&threshold=0.45&mark=layer:3")
    expect(page.locator(".st-key-sinks_page p.qk-sentence").first).to_have_text(said)
    expect(page.get_by_role("button", name="Settings · 1 changed")).to_be_visible()
    expect(page.locator(".st-key-sinks_evidence strong")).to_have_text("Layer 3")
    expect(page.get_by_role("combobox", name="Evidence for")).to_have_value("layer 3")
    expect(page.locator(".st-key-sinks_first")).to_contain_text("threshold 0.45")
    calm(page)
    box = page.locator(".st-key-sinks_layers svg.marks").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 20, box["y"] + 60)
    page.wait_for_url("**mark=layer%3A5**")
    expect(page.locator(".st-key-sinks_evidence strong")).to_have_text("Layer 5")


def test_what_is_drawn_on_an_image_is_what_was_found(go, folder):
    with open_run("scenes", folder) as run:
        tower, figures, tokens = read_tower(run), run.state_figures("vision.enc.self"), run.tokens()
        is_patch = (tokens["row"].fillna(-1) >= 0).to_numpy()
        rule = VisualSinkRule(RATIO, norm=NORM)
        visual = visual_sinks(figures, is_patch, width_of(run, tower.stack), rule)[LAYER]
        large = large_norms(figures["norm"], is_patch, tower, rule)[LAYER]
    mine = (tokens["input_id"] == IMAGE).to_numpy() & is_patch
    n_sinks, n_visual, n_large = (int(np.sum(found[mine])) for found in (tower.share[LAYER] > 0, visual, large))
    assert n_sinks > 0 < n_visual != n_large > 0
    page = go(f"/sinks?run=scenes&input={IMAGE}&layer={LAYER}&ratio={RATIO}&norm={NORM}")
    told = page.get_by_text("of 16 patches")
    expect(told).to_have_text(
        f"{n_sinks} of 16 patches {'is' if n_sinks == 1 else 'are'} a sink of some head; {n_visual} visual sink"
        f"{'' if n_visual == 1 else 's'}; {n_large} large norm{'' if n_large == 1 else 's'}."
    )
    picture = page.locator(".st-key-sinks_picture svg.marks")
    picture.scroll_into_view_if_needed()
    expect(picture.locator('path[stroke="#E69F00"]')).to_have_count(n_visual)
    expect(picture.locator('path[fill="#56B4E9"]')).to_have_count(n_large)


@pytest.mark.parametrize(("run", "size"), [("words", LAPTOP), ("words", WALL), ("words", TABLET), ("scenes", TABLET)])
def test_nothing_jumps_while_the_page_loads(context, address, run, size):  # noqa: F811
    stands_still(context, f"{address}/sinks?run={run}", size)
