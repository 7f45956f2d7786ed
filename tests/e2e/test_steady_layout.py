"""Nothing jumps while a view loads, and nothing has to be scrolled sideways on a tablet."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.serving import calm, settle
from tests.e2e.test_head import SITE

MOST_SHIFT = 0.1
"""Sum of layout shifts nobody asked for; 0.1 is the usual mark of a page that is felt to stand still."""

OBSERVE = """
window.__shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.__shift += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""


def opened(browser: Browser, url: str, width: int = 1280, height: int = 800) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(20_000)
    page.add_init_script(OBSERVE)
    page.goto(url)
    settle(page)
    calm(page)
    page.wait_for_timeout(700)
    return page


@pytest.mark.parametrize(
    "path",
    ["/", "/?run=text", f"/head?run=text&site={SITE}&head=2&input=3&token=6",
     f"/input?run=text&site={SITE}&input=3&token=6", "/input?run=vision&input=2&token=7",
     f"/heads?run=text&site={SITE}&head=2", "/runs"],
)  # fmt: skip
def test_nothing_jumps_while_a_view_loads(browser, address, path):
    page = opened(browser, address + path)
    shift = page.evaluate("window.__shift")
    page.close()
    assert shift < MOST_SHIFT


def test_on_a_tablet_the_details_of_an_input_are_whole_under_the_picture(browser, address):
    page = opened(browser, f"{address}/input?run=text&site={SITE}&input=3&token=6", 820, 1180)
    wide = "each => [each.scrollWidth, each.clientWidth]"
    assert len(set(page.locator("[data-testid=stMain]").evaluate(wide))) == 1
    table = page.locator("[data-testid=stDataFrame] .dvn-scroller").first
    assert len(set(table.evaluate(wide))) == 1
    picture, details = (page.locator(f".st-key-{name}").bounding_box() for name in ("input_window", "input_kind"))
    assert details["y"] >= picture["y"] + picture["height"]
    assert details["width"] > 700
    page.close()
