"""Nothing jumps while a view loads, on a laptop, a wall and a tablet, and nothing has to be scrolled sideways there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.e2e.serving import calm, new_context, settle
from tests.e2e.test_head import SITE

MOST_SHIFT = 0.1
"""Sum of layout shifts nobody asked for; 0.1 is the usual mark of a page that is felt to stand still."""

LAPTOP, WALL, TABLET = (1280, 800), (1920, 1080), (820, 1180)

AT_ONCE = "/"
ATLAS, RUNS = "/?run=text", "/runs"
HEAD = f"/head?run=text&site={SITE}&head=2&input=3&token=6"
INPUT, IMAGE = f"/input?run=text&site={SITE}&input=3&token=6", "/input?run=vision&input=2&token=7"
HEADS = f"/heads?run=text&site={SITE}&head=2"

OBSERVE = """
window.__shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.__shift += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""

WIDE = "each => [each.scrollWidth, each.clientWidth]"


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all: Streamlit's own scripts are fetched once. Motion and tabs are those of a visitor, who comes anew."""
    made = new_context(browser, reduced_motion="no-preference")
    made.add_init_script(OBSERVE)
    yield made
    made.close()


def opened(context: BrowserContext, url: str, size: tuple[int, int]) -> Page:
    """A page to which nothing comes any more."""
    page = context.new_page()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(url, wait_until="commit")
    settle(page)
    calm(page)
    return page


def stands_still(context: BrowserContext, url: str, size: tuple[int, int]) -> None:
    """Open it and see: no jumps, nothing beyond the right edge."""
    page = opened(context, url, size)
    shift, (whole, seen) = page.evaluate("window.__shift"), page.locator("[data-testid=stMain]").evaluate(WIDE)
    page.close()
    assert shift < MOST_SHIFT
    assert whole <= seen


@pytest.mark.parametrize(
    ("path", "size"),
    [*((path, LAPTOP) for path in (AT_ONCE, ATLAS, HEAD, INPUT, IMAGE, HEADS, RUNS)),
     *((path, TABLET) for path in (AT_ONCE, HEAD, INPUT, IMAGE, HEADS)),
     *((path, WALL) for path in (INPUT, HEADS))],
)  # fmt: skip
def test_nothing_jumps_while_a_view_loads(context, address, path, size):
    stands_still(context, address + path, size)


def test_nothing_jumps_where_the_left_column_was_folded(context, address):
    opened(context, address + RUNS, TABLET).close()  # which folds it, and the browser remembers
    stands_still(context, address + RUNS, LAPTOP)


def test_on_a_tablet_the_details_of_an_input_are_whole_under_the_picture(context, address):
    page = opened(context, address + INPUT, TABLET)
    table = page.locator("[data-testid=stDataFrame] .dvn-scroller").first
    assert len(set(table.evaluate(WIDE))) == 1
    picture, details = (page.locator(f".st-key-{name}").bounding_box() for name in ("input_window", "input_kind"))
    assert details["y"] >= picture["y"] + picture["height"]
    assert details["width"] > 700
    page.close()
