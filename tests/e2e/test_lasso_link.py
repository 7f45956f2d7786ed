"""A lasso in the link: a fresh browser holds the same points, and Back, Escape and Clear let go of it."""

from __future__ import annotations

import re

import numpy as np
from playwright.sync_api import Browser, Page, expect

from tests.e2e.serving import calm, eventually, new_context, settle
from tests.e2e.test_head import HEAD, SITE, drawn
from tests.e2e.test_head_compare import BESIDE, two_pictures
from tests.e2e.test_head_tools import OPEN, all_places, draw_lasso, states, words


def told(page: Page) -> tuple[str, list, str]:
    """What the panel says of the lasso, which points stand out, and what the tables hold."""
    expect(page.locator(".panel .counts")).to_be_visible()
    eventually(lambda: (states(page) < 1).any())
    return page.locator(".panel").first.inner_text(), states(page).tolist(), page.locator(".legend .said").inner_text()


def fresh(browser: Browser, url: str) -> Page:
    other = new_context(browser).new_page()
    other.goto(url)
    settle(other)
    drawn(other)
    return other


def lassoed(page: Page) -> None:
    drawn(page)
    page.keyboard.press("l")
    draw_lasso(page)
    page.wait_for_url("**lasso=**")
    settle(page)


def test_a_fresh_browser_shows_the_same_points_and_findings_in_every_view(go, browser, address):
    page = go(OPEN + "&labels=off&kinds=key&colour=is_special")
    drawn(page)
    page.keyboard.press("l")
    draw_lasso(page)
    page.wait_for_url("**lasso=**")
    page.locator(".legend button", has_text="key").first.click()  # what the legend hides later changes nothing
    page.wait_for_url(lambda url: "kinds" not in url)
    settle(page)
    before = told(page)
    assert "0 keys" in before[0]
    word = words(page)["lasso"]
    assert len(word) < 400
    other = fresh(browser, page.url)
    eventually(lambda: told(other) == before)
    side = page.locator("[data-testid=stSidebar]")
    expect(side).to_contain_text("lasso in L1H2")
    marked = re.search(r"lasso in L1H2: .+ inputs", side.inner_text()).group()
    for path in ("/?run=text", "/input?run=text&input=3"):
        other.goto(f"{address}{path}&lasso={word}")
        expect(other.locator("[data-testid=stSidebar]")).to_contain_text(marked)
    other.goto(f"{address}{BESIDE}&lasso={word}")
    settle(other)
    two_pictures(other)
    expect(other.get_by_role("tab", name="Lasso")).to_have_count(2)
    other.context.close()


def turn(page: Page) -> None:
    """Drag a 3-D map."""
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 340, steps=3)
    page.mouse.up()


def test_the_matrix_and_the_tables_of_a_turned_map_come_back_and_it_is_turned_again(go, browser):
    page = go(f"/head?run=text&map=pca-3d&site={SITE}&head={HEAD}&labels=off")
    drawn(page)
    turn(page)
    drawn(page)
    lassoed(page)
    expect(page.locator(".between")).to_be_visible()
    before, places = (told(page), page.locator(".between").inner_html()), all_places(page, 40)
    other = fresh(browser, page.url)
    eventually(lambda: (told(other), other.locator(".between").inner_html()) == before)
    np.testing.assert_allclose(all_places(other, 40), places, atol=0.2)
    other.get_by_text("Tables of the selection").click()
    expect(other.get_by_text("Mean attention, rows are queries")).to_be_visible()
    turn(other)  # the reader may turn it on; the lasso keeps what it holds, and is outlined no more
    drawn(other)
    eventually(lambda: np.abs(all_places(other, 40) - places).max() > 5)
    assert told(other)[:2] == before[0][:2]
    other.context.close()


def test_back_takes_the_lasso_back_and_forward_brings_it_again(go):
    page = go(OPEN + "&labels=off")
    lassoed(page)
    before = told(page)
    calm(page)
    page.go_back()
    page.wait_for_url(lambda url: "lasso" not in url)
    eventually(lambda: (states(page) == 1).all())
    expect(page.locator(".panel .counts")).to_have_count(0)
    calm(page)
    page.go_forward()
    eventually(lambda: told(page) == before)
    column = page.locator("[data-testid=stSidebar]")
    expect(column).to_contain_text("lasso in L1H2")
    column.get_by_role("button", name="Clear").click()
    page.wait_for_url(lambda url: "lasso" not in url)
    eventually(lambda: (states(page) == 1).all())
    expect(column).not_to_contain_text("lasso in L1H2")


def test_a_lasso_that_cannot_be_read_or_shown_is_one_sentence(go):
    page = go(f"{OPEN}&lasso=half~a")
    drawn(page)
    expect(page.locator("[data-testid=stSidebar]")).to_contain_text("lasso cannot be read")
    assert (np.array(states(page)) == 1).all()
    page.get_by_role("button", name="Clear").click()
    page.wait_for_url(lambda url: "lasso" not in url)
    page = go(f"{OPEN}&lasso=text.dec.self.9.2~atlas-2d~0_0_2_1~AAAA__AA____AA__")
    expect(page.locator("[data-testid=stSidebar]")).to_contain_text("'text.dec.self.9'")
    expect(page.locator("[data-testid=stSidebar]")).to_contain_text("which this run has not")
