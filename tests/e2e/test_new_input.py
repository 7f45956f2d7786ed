"""A text or image of one's own through the model of a run, in a browser, against the model's own attention."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

import analysis
from analysis.models import BUNDLED_MODELS
from analysis.pipeline.new_input import capture_new, map_new
from analysis.sinks import hide_sinks
from analysis.store import open_run
from tests.e2e.serving import eventually, new_context, served, settle
from tests.e2e.test_head import alone, drawn, links, where
from tests.model_folders import own_attention

TEXTS = ["There was a red ball in the garden.", "The cat sat on the mat and the dog sat on the rug.", "One two three."]
NEW = "The dog and the cat sat in the red garden."
SITE = "text.dec.self.1"
SCENE = BUNDLED_MODELS["demo-vision"].parent / "scenes" / "007.png"
SLOW = 120_000
"""Milliseconds that loading a model for the first time may take here."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two runs made with the bundled models: a new input needs the model itself."""
    folder = tmp_path_factory.mktemp("own")
    data = folder / "texts.txt"
    data.write_text("\n".join(TEXTS), encoding="utf-8")
    asked = {"out_dir": folder / "runs", "layers": "0-1", "projection": ["pca", "linear"]}
    analysis.extract(model="demo-language", data=data, run_id="words", **asked).close()
    analysis.extract(model="demo-vision", data="demo-scenes", limit=3, run_id="scenes", **asked).close()
    return folder / "runs"


@pytest.fixture(scope="module")
def address(serve, runs):
    return serve(runs)


@pytest.fixture(autouse=True)
def patient(page) -> None:
    page.set_default_timeout(SLOW)


def token_weights(page: Page) -> list[tuple[str, float]]:
    """Text and shown weight of every token of the sentence, in order."""
    page.locator(".token").first.wait_for(timeout=SLOW)
    return page.locator(".token").evaluate_all("all => all.map(one => [one.textContent, Number(one.dataset.weight)])")


def open_own(page: Page) -> None:
    page.get_by_role("button").filter(has_text=re.compile("edit")).first.click()


def test_a_typed_text_is_shown_with_the_models_own_attention_and_its_link_restores_it(go, browser):
    page = go("/input?run=words&site=text.dec.self.1&head=2")
    open_own(page)
    page.get_by_role("textbox", name="Try a text of your own").fill(NEW)
    page.locator(".st-key-input_own_go button").click()
    page.wait_for_url("**new=The**")
    own = own_attention(BUNDLED_MODELS["demo-language"], NEW)[1][2]
    eventually(lambda: len(token_weights(page)) == len(own), SLOW / 1000)
    context = new_context(browser)
    other = context.new_page()
    other.set_default_timeout(SLOW)
    other.goto(page.url + "&spot=6")
    settle(other)
    eventually(lambda: [weight for _, weight in token_weights(other)][:7] != [] and _is_row(other, own[6]), 60)
    assert "".join(text.strip() for text, _ in token_weights(other)[1:]) == NEW.replace(" ", "")
    context.close()


def _is_row(page: Page, row: np.ndarray) -> bool:
    shown = np.array([weight for _, weight in token_weights(page)][:7])
    return bool(np.allclose(shown, row[:7], atol=1e-5))


def test_the_new_points_stand_on_the_linear_map_where_its_matrices_place_them(go, runs):
    page = go(f"/head?run=words&site=text.dec.self.1&head=2&map=linear-2d&new={NEW}")
    page.get_by_text("placed by the matrices of this map").wait_for(timeout=SLOW)
    page.wait_for_function("window.__qkAtlas?.drawn && window.__qkAtlas.fresh", timeout=SLOW)
    with open_run("words", runs) as run:
        new = capture_new(run, text=NEW)
        placed = np.vstack(map_new(run, new, SITE, 2, "linear-2d"))
        table = run.coordinates(projection="linear-2d", site=SITE, head=2)
        table = table[table["kind"] == "query"].sort_values(["input_id", "position"])
    known = table[["x", "y"]].to_numpy()
    expect(page.get_by_text(f"the {len(new.tokens)} queries and {len(new.tokens)} keys")).to_be_visible()
    seen = np.array(page.evaluate("n => [...Array(n).keys()].map(window.__qkAtlas.where)", len(known)))
    stars = np.array(page.evaluate("n => [...Array(n).keys()].map(window.__qkAtlas.fresh)", len(placed)))
    scale = np.ptp(seen[:, 0]) / np.ptp(known[:, 0])
    expected = seen[0] + scale * (placed - known[0]) * [1, -1]
    np.testing.assert_allclose(stars, expected, atol=1)


def test_a_new_point_is_picked_as_others_are_with_lines_within_the_new_text(go, runs, browser):
    address = f"/head?run=words&site=text.dec.self.1&head=2&map=linear-2d&new={NEW}"
    page = go(address)
    page.wait_for_function("window.__qkAtlas?.drawn && window.__qkAtlas.fresh", timeout=SLOW)
    row = own_attention(BUNDLED_MODELS["demo-language"], NEW)[1][2][6]
    with open_run("words", runs) as run:
        n, new = len(run.tokens()), capture_new(run, text=NEW)
    m, text = len(new.tokens), new.tokens["text"].iloc[6].strip()
    drawn(page)
    x, y = page.evaluate("window.__qkAtlas.fresh(6)")
    page.mouse.move(x, y)
    hovered = re.escape(text) + r".*query.*position 6 · new text · norm \d.*looks most at"
    expect(page.locator(".tip.on")).to_contain_text(re.compile(hovered, re.S))
    page.mouse.click(x, y)
    page.wait_for_url("**spot=6**")
    strongest = [int(key) for key in np.argsort(-row, kind="stable")[:12] if row[key] > 0]
    expect(page.locator(".panel .headline")).to_contain_text(text)
    expect(page.locator(".panel")).to_contain_text(f"position 6 of 0–{m - 1} in the new input")
    eventually(lambda: [end for end, _ in links(page)] == [2 * n + m + key for key in strongest])
    np.testing.assert_allclose([weight for _, weight in links(page)], row[strongest], atol=1e-5)
    assert page.locator(".qk-host[data-picked]").get_attribute("data-picked") == str(2 * n + 6)
    stars = np.array(
        page.evaluate("([n, m]) => [...Array(m).keys()].map((at) => window.__qkAtlas.where(n + at))", [2 * n, 2 * m])
    )
    np.testing.assert_allclose(stars, page.evaluate("m => [...Array(m).keys()].map(window.__qkAtlas.fresh)", 2 * m))
    other = browser.new_page(viewport={"width": 1280, "height": 800})
    other.set_default_timeout(SLOW)
    other.goto(page.url)
    settle(other)
    drawn(other)
    eventually(
        lambda: (
            (links(other), other.locator(".panel").inner_text()) == (links(page), page.locator(".panel").inner_text())
        )
    )
    other.close()
    page.get_by_role("button", name="More like this point").click()
    with open_run("words", runs) as run:
        apart = np.linalg.norm(run.queries(SITE, 2).astype(float) - new.queries(SITE, 2)[6], axis=1)
    rows = page.locator(".similar .row")
    expect(rows).to_have_count(12)
    nearest = np.argsort(apart, kind="stable")[:12].tolist()
    assert [int(each.get_attribute("data-point")) for each in rows.all()] == nearest
    assert [each.locator(".figure").inner_text() for each in rows.all()] == [f"{apart[at]:.2f}" for at in nearest]
    page.locator(".panel .row").first.click()  # the key its query weighs most
    page.wait_for_url("**kind=key**")
    assert f"spot={strongest[0]}" in page.url
    expect(page.locator("[role=tab][aria-selected=true]")).to_have_text("Looks at it")
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "spot" not in url)
    expect(page.locator(".panel .rows")).to_have_count(0)


def test_hidden_sinks_are_hidden_for_a_new_point_and_a_point_of_the_run_takes_its_place(go, runs):
    page = go(f"/head?run=words&site=text.dec.self.1&head=2&map=linear-2d&spot=6&sinks=hidden&new={NEW}")
    page.wait_for_function("window.__qkAtlas?.drawn && window.__qkAtlas.fresh", timeout=SLOW)
    with open_run("words", runs) as run:
        n, new = len(run.tokens()), capture_new(run, text=NEW)
    rest = hide_sinks(new.attention(SITE, 2), new.allowed(SITE)).weights[6]
    drawn(page)
    eventually(lambda: len(links(page)) == min(12, (rest > 0).sum()))
    np.testing.assert_allclose([weight for _, weight in links(page)], np.sort(rest[rest > 0])[::-1][:12], atol=1e-5)
    page.mouse.click(*where(page, alone(page, n)))
    page.wait_for_url("**token=**")
    assert "spot" not in page.url
    assert "new=" in page.url
    expect(page.locator(".panel")).not_to_contain_text("in the new input")


def test_another_map_says_that_it_takes_no_new_points_and_leads_to_the_linear_one(go):
    page = go(f"/head?run=words&site=text.dec.self.1&head=2&map=pca-2d&new={NEW}")
    page.get_by_text("Only a linear map takes points").wait_for(timeout=SLOW)
    page.get_by_role("button", name="Show the linear map").click()
    page.wait_for_url("**map=linear-2d**")
    page.get_by_text("placed by the matrices of this map").wait_for(timeout=SLOW)
    page.get_by_role("button", name="Take it away").click()
    page.get_by_text("placed by the matrices of this map").wait_for(state="detached")
    assert "new=" not in page.url


def test_a_dropped_image_gets_a_link(go):
    page = go("/input?run=scenes&site=vision.enc.self.1&head=0")
    open_own(page)
    page.locator("input[type=file]").set_input_files(SCENE)
    page.locator(".st-key-input_own_go button").click()
    page.wait_for_url(re.compile("new=[0-9a-f]{32}"), timeout=SLOW)
    page.get_by_text(re.compile("image of 65 tokens")).wait_for(timeout=SLOW)
    go(page.url.split("/", 3)[3].join(["/", ""]))
    page.get_by_text(re.compile("image of 65 tokens")).wait_for(timeout=SLOW)


def test_a_link_to_nothing_kept_and_a_text_too_long_are_one_sentence(go):
    page = go(f"/input?run=scenes&site=vision.enc.self.1&head=0&new={'0' * 32}")
    page.get_by_text("not kept here any more").wait_for(timeout=SLOW)
    page = go(f"/input?run=words&new={'a' * 401}")
    page.get_by_text("at most 400 are taken").wait_for(timeout=SLOW)


def test_a_public_page_offers_no_box_and_runs_no_model(page, runs, tmp_path, monkeypatch):
    monkeypatch.setenv("QK_ATLAS_PUBLIC", "1")
    with served(runs, tmp_path / "log.txt") as address:
        page.goto(address + "/input?run=words&site=text.dec.self.1&head=2")
        settle(page)
        page.locator(".token").first.wait_for()
        expect(page.get_by_role("button").filter(has_text=re.compile("edit"))).to_have_count(0)
        page.goto(address + f"/input?run=words&new={NEW}")
        page.get_by_text("runs no model").wait_for()
