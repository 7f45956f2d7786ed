"""The Atlas page in a browser: it uses the room there is, whatever the model and the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.serving import eventually, settle
from tests.store import synthetic


@pytest.fixture(scope="module")
def models(serve, tmp_path_factory) -> str:
    """Address of an app with the runs ``square`` (12 x 12 heads) and ``towers`` (two stacks)."""
    folder = tmp_path_factory.mktemp("models")
    synthetic.make_synthetic_run(folder, "square", n_inputs=2, n_tokens=6, n_layers=12, n_heads=12, d_head=2)
    one_stack = synthetic.make_sites

    def two_stacks(modality, n_layers, n_heads, n_kv_heads, d_head, causal):
        encoder, decoder = (one_stack(modality, n_layers, n_heads, n_kv_heads, d_head, each) for each in (False, True))
        return [*encoder, *(replace(site, index=site.index + n_layers) for site in decoder)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "make_sites", two_stacks)
        synthetic.make_synthetic_run(folder, "towers", n_inputs=2, n_tokens=6, n_layers=2, n_heads=4, d_head=2)
    return serve(folder)


@pytest.fixture
def opened(page: Page, models: str) -> Callable[..., Page]:
    def open_path(path: str, wide: int = 1280, tall: int = 800) -> Page:
        page.set_viewport_size({"width": wide, "height": tall})
        page.goto(models + path)
        settle(page)
        expect(page.locator(".cell").first).to_be_visible()
        return page

    return open_path


def test_square_grid_is_wide_and_wholly_visible(opened):
    page = opened("/?run=square&score=entropy")
    first, last = (page.locator(f"[data-head={name}]").bounding_box() for name in ("L0H0", "L11H11"))
    corner = page.locator(".row .side").first.bounding_box()
    assert last["x"] + last["width"] - corner["x"] >= 800
    legend = page.locator(".legend").bounding_box()
    assert legend["y"] >= last["y"] + last["height"]
    assert legend["y"] + legend["height"] <= 800
    assert first["height"] >= 36
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_larger_window_makes_larger_cells(opened):
    page = opened("/?run=square", 1920, 1080)
    assert page.locator("[data-head=L0H0]").bounding_box()["height"] >= 56


def test_on_a_tablet_the_card_goes_under_the_grid(opened):
    page = opened("/?run=square&site=text.enc.self.1&head=2", 820, 1180)
    card = page.locator(".card b")
    expect(card).to_have_text("L1H2")
    last = page.locator("[data-head=L11H11]")
    eventually(lambda: (box := last.bounding_box())["x"] + box["width"] <= 820)
    assert card.bounding_box()["y"] > last.bounding_box()["y"] + last.bounding_box()["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 820


def test_two_stacks_stand_one_above_the_other_and_arrows_lead_from_one_to_the_next(opened):
    page = opened("/?run=towers")
    expect(page.locator(".title")).to_have_count(2)
    expect(page.locator(".title").first).to_contain_text("Text encoder, self-attention")
    expect(page.locator(".title").last).to_contain_text("Text decoder, self-attention")
    upper = page.locator("[data-site='text.enc.self.1']").nth(2)
    lower = page.locator("[data-site='text.dec.self.0']").nth(2)
    assert upper.bounding_box()["y"] < lower.bounding_box()["y"]
    upper.focus()
    page.keyboard.press("ArrowDown")
    expect(lower).to_be_focused()
    expect(page.locator(".card")).to_contain_text("text.dec.self.0")
    page.keyboard.press("Space")
    page.wait_for_url("**site=text.dec.self.0**")
    expect(lower).to_have_attribute("aria-selected", "true")
    page.get_by_label("Search tokens").fill("cat")
    page.keyboard.press("Enter")
    expect(page.locator(".legend")).to_contain_text("search “cat”")
