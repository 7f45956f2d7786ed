"""The Head page in a browser: points, values and lines against what the run stores."""

from __future__ import annotations

import io
import json
from urllib.parse import parse_qs, quote, urlparse

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from analysis.store.run import open_run
from tests.e2e.conftest import HOSTILE, HOSTILE_IMAGE
from tests.e2e.serving import eventually, new_context, settle

SITE, HEAD = "text.dec.self.1", 2


def links(page: Page) -> list[tuple[int, float]]:
    return [tuple(each) for each in json.loads(page.locator(".qk-host[data-links]").get_attribute("data-links"))]


def drawn(page: Page) -> None:
    page.wait_for_function("window.__qkAtlas?.drawn && window.__qkAtlas.where")
    places = []  # until nothing moves any more: panels and fonts may still be settling
    eventually(lambda: places.append(where(page, 0)) or (len(places) > 2 and len(set(places[-3:])) == 1))


def where(page: Page, point: int) -> tuple[float, float]:
    return tuple(page.evaluate("point => window.__qkAtlas.where(point)", point))


def weight_words(weight: float) -> str:
    """Three significant digits, and small ones are not all zero."""
    return "<0.001" if weight < 0.001 else f"{weight:#.3g}"


def token_row(runs, run_id: str, input_id: int, position: int) -> tuple[int, int]:
    """Row of the token in the token table, and the table's length."""
    with open_run(run_id, runs) as run:
        tokens = run.tokens()
    row = np.flatnonzero((tokens["input_id"] == input_id) & (tokens["position"] == position))[0]
    return int(row), len(tokens)


def alone(page: Page, n_tokens: int) -> int:
    """A query point with no other point near it on the screen."""
    places = np.array(page.evaluate("n => [...Array(n).keys()].map(window.__qkAtlas.where)", 2 * n_tokens))
    far = np.linalg.norm(places[:, None] - places[None], axis=-1) + 1e6 * np.eye(len(places))
    inside = (places[:, 1] > 160) & (places[:, 0] < 950) & (places[:, 1] < 650)
    return int(np.argmax(np.where(inside, far.min(axis=1), 0)[:n_tokens]))


def test_points_lie_where_the_run_says(go, runs):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}")
    drawn(page)
    with open_run("text", runs) as run:
        table = run.coordinates(projection="atlas-2d", site=SITE, head=HEAD).sort_values(["input_id", "position"])
    truth = np.vstack([table.loc[table["kind"] == kind, ["x", "y"]].to_numpy() for kind in ("query", "key")])
    seen = np.array(page.evaluate("n => [...Array(n).keys()].map(window.__qkAtlas.where)", len(truth)))
    seen[:, 1] *= -1
    scale = np.ptp(seen[:, 0]) / np.ptp(truth[:, 0])
    np.testing.assert_allclose(seen - seen.mean(axis=0), scale * (truth - truth.mean(axis=0)), atol=0.05)


def test_hover_tells_token_context_position_and_kind(go, runs):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}&colour=length")
    drawn(page)
    with open_run("text", runs) as run:
        tokens, inputs = run.tokens(), run.inputs()
    point = alone(page, len(tokens))
    token = tokens.iloc[point]
    page.mouse.move(*where(page, point))
    tip = page.locator(".tip")
    expect(tip).to_have_class("tip on")
    expect(tip).to_contain_text(f"{token['text']} query")
    expect(tip).to_contain_text(f"position {token['position']} · text {token['input_id']}")
    expect(tip).to_contain_text(f"length: {token['length']}")
    if token["char_end"] > token["char_start"]:
        text = inputs.loc[inputs["input_id"] == token["input_id"], "text"].iloc[0]
        expect(tip.locator("mark")).to_have_text(text[token["char_start"] : token["char_end"]])


def test_click_draws_lines_to_the_true_strongest_keys(go, runs):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}")
    drawn(page)
    with open_run("text", runs) as run:
        tokens = run.tokens()
        point = alone(page, len(tokens))
        token = tokens.iloc[point]
        attention = run.attention(SITE, HEAD, int(token["input_id"]))
    page.mouse.click(*where(page, point))
    page.wait_for_url("**token=**")
    expect(page.locator(".panel .headline")).to_contain_text(str(token["text"]))
    row = attention[token["position"]]
    strongest = np.argsort(-row, kind="stable")[: min(12, int((row > 0).sum()))]
    first = int(np.flatnonzero(tokens["input_id"] == token["input_id"])[0])
    expect(page.locator(".panel .rows .row")).to_have_count(len(strongest))
    assert [end for end, _ in links(page)] == [len(tokens) + first + int(key) for key in strongest]
    np.testing.assert_allclose([weight for _, weight in links(page)], row[strongest], rtol=1e-5)
    shown = [line.locator(".figure").last.inner_text() for line in page.locator(".panel .row").all()]
    assert shown == [weight_words(weight) for weight in row[strongest]]
    query = parse_qs(urlparse(page.url).query)
    assert (query["input"], query["token"]) == ([str(token["input_id"])], [str(token["position"])])


def test_a_picked_key_shows_the_queries_that_look_at_it(go, runs):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}&input=3&token=2&kind=key")
    drawn(page)
    with open_run("text", runs) as run:
        column = run.attention(SITE, HEAD, 3)[:, 2]
    row, _ = token_row(runs, "text", 3, 0)
    order = [int(q) for q in np.argsort(-column, kind="stable")[:12] if column[q] > 0]
    expect(page.locator("[role=tab][aria-selected=true]")).to_have_text("Looks at it")
    assert [end for end, _ in links(page)] == [row + query for query in order]
    page.get_by_role("tab", name="It looks at").click()
    with open_run("text", runs) as run:
        best = int(run.attention(SITE, HEAD, 3)[2].argmax())
    assert links(page)[0][0] == token_row(runs, "text", 3, best)[0] + token_row(runs, "text", 3, best)[1]


def test_link_restores_pick_lines_and_colour_in_a_fresh_browser(go, browser):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}&colour=is_special")
    drawn(page)
    point = 30
    page.mouse.click(*where(page, point))
    page.wait_for_url("**token=**")
    expect(page.locator(".panel .rows")).to_have_count(1)
    before = (page.locator(".panel").inner_text(), links(page), page.locator(".legend").inner_text())
    other = new_context(browser).new_page()
    other.goto(page.url)
    settle(other)
    expect(other.locator(".panel .rows")).to_have_count(1)
    drawn(other)
    assert (other.locator(".panel").inner_text(), links(other), other.locator(".legend").inner_text()) == before
    other.context.close()


def test_arrow_keys_and_buttons_walk_the_heads(go):
    page = go("/head?run=text&site=text.dec.self.1&head=3")
    name = page.locator(".walk b")
    expect(name).to_have_text("L1H3")
    for key, expected in (("ArrowRight", "L2H0"), ("ArrowUp", "L1H0"), ("ArrowLeft", "L0H3"), ("<", "L0H2")):
        page.keyboard.press(key)
        expect(name).to_have_text(expected)
        settle(page)
    page.get_by_role("button", name="Next head").click()
    expect(name).to_have_text("L0H3")
    page.go_back()
    expect(name).to_have_text("L0H2")


def test_escape_lets_go(go):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}&input=3&token=2")
    drawn(page)
    expect(page.locator(".panel .rows")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".panel .rows")).to_have_count(0)
    page.wait_for_url(lambda url: "token" not in url)
    assert links(page) == []


def test_zoom_and_pan_move_the_points_not_the_choice(go):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}")
    drawn(page)
    box = page.locator(".stage").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    start = np.array([where(page, point) for point in (0, 40)])
    page.mouse.move(*middle)
    page.mouse.wheel(0, -400)
    eventually(lambda: not np.allclose(where(page, 0), start[0], atol=1) or not np.allclose(where(page, 40), start[1]))
    drawn(page)
    zoomed = np.array([where(page, point) for point in (0, 40)])
    factor = np.exp(400 * 0.0016)
    np.testing.assert_allclose(zoomed - middle, factor * (start - middle), atol=2)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] - 25, steps=4)
    page.mouse.up()
    moved = np.array([where(page, point) for point in (0, 40)])
    np.testing.assert_allclose(moved - zoomed, [[60, -25]] * 2, atol=0.5)
    assert "token" not in page.url
    page.wait_for_url("**camera=**")
    page.mouse.click(*where(page, 40))
    page.wait_for_url(lambda url: "token=" in url and "camera=" in url)
    page.goto(page.url)  # who opens the link sees the same part of the map
    settle(page)
    drawn(page)
    np.testing.assert_allclose([where(page, point) for point in (0, 40)], moved, atol=1.5)
    page.keyboard.press("ArrowLeft")  # another head is another picture, seen whole
    expect(page.locator(".walk b")).to_have_text(f"L1H{HEAD - 1}")
    drawn(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".walk b")).to_have_text(f"L1H{HEAD}")
    page.keyboard.press("0")
    page.wait_for_url(lambda url: "camera=" not in url)


def test_hostile_tokens_stay_text(go, runs):
    with open_run("hostile", runs) as run:
        tokens = run.tokens()
    token = tokens[tokens["text"] == HOSTILE].iloc[0]
    page = go(f"/head?run=hostile&input={token['input_id']}&token={token['position']}")
    drawn(page)
    expect(page.locator(".panel .headline")).to_contain_text(HOSTILE)
    page.mouse.move(*where(page, int(token.name)))
    page.wait_for_timeout(200)
    assert page.evaluate("window.__hurt") is None
    for view in ("/?run=hostile", f"/head?run=hostile&colour={quote(HOSTILE_IMAGE)}"):
        go(view)
        assert page.evaluate("window.__hurt") is None


def test_legend_dims_what_is_clicked(go, runs):
    """Dimmed keys are drawn faint and can no longer be hovered; queries stay."""
    page = go(f"/head?run=text&site={SITE}&head={HEAD}")
    drawn(page)
    n_tokens = token_row(runs, "text", 0, 0)[1]
    query = alone(page, n_tokens)
    key = page.locator(".chip", has_text="key")
    eventually(lambda: pinkness(page) > 0)
    magenta = pinkness(page)
    key.click()
    expect(key).to_have_attribute("aria-pressed", "false")
    eventually(lambda: pinkness(page) < magenta / 4)
    page.mouse.move(*where(page, query))
    expect(page.locator(".tip")).to_contain_text("query")
    places = np.array([where(page, point) for point in range(2 * n_tokens)])
    gaps = np.linalg.norm(places[n_tokens:, None] - places[None, :n_tokens], axis=-1).min(axis=1)
    page.mouse.move(*places[n_tokens + int(gaps.argmax())])
    expect(page.locator(".tip")).not_to_contain_text(" key")


def pinkness(page: Page) -> int:
    """Pixels of the picture that are clearly the colour of keys."""
    pixels = np.asarray(Image.open(io.BytesIO(page.locator(".stage").screenshot())).convert("RGB")).astype(int)
    return int(((pixels[..., 0] - pixels[..., 1] > 60) & (pixels[..., 2] - pixels[..., 1] > 40)).sum())


def test_three_dimensions_turn(go):
    page = go(f"/head?run=text&map=pca-3d&site={SITE}&head={HEAD}")
    drawn(page)
    before = np.array([where(page, point) for point in range(8)])
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 420, box["y"] + 330, steps=3)
    page.mouse.up()
    after = np.array([where(page, point) for point in range(8)])
    shift = after - before
    assert np.ptp(shift[:, 0]) > 5  # turned, not moved: the points shift by different amounts
    page.wait_for_url("**camera=**")
    page.goto(page.url)
    settle(page)
    drawn(page)
    np.testing.assert_allclose([where(page, point) for point in range(8)], after, atol=1.5)


def test_without_webgl_the_plain_canvas_draws_the_same_view(browser, address, runs):
    context = new_context(browser)
    context.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext ="
        " function (kind, ...rest) { return kind === 'webgl2' ? null : get.call(this, kind, ...rest); };"
    )
    page = context.new_page()
    page.goto(f"{address}/head?run=text&site={SITE}&head={HEAD}")
    drawn(page)
    host = page.locator(".qk-host[data-drawer]")
    expect(host).to_have_attribute("data-drawer", "canvas")
    x, y = where(page, alone(page, token_row(runs, "text", 0, 0)[1]))
    page.mouse.click(x, y)
    page.wait_for_url("**token=**")
    context.close()


def test_fidelity_of_this_head_stands_beside_the_map(go, runs):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}")
    with open_run("text", runs) as run:
        table = run.fidelity("atlas-2d")
        mine = table[(table["site"] == run.site(SITE).key) & (table["head"] == HEAD)].iloc[0]
    caption = page.locator(".st-key-head_fidelity [data-testid=stCaptionContainer]").first
    expect(caption).to_contain_text(f"explains {mine['kl_explained'] * 100:.0f}")
    expect(caption).to_contain_text(f"popularity of keys alone: {mine['key_only_kl'] * 100:.0f}")
    page.get_by_role("button", name="All figures").click()
    table = page.get_by_test_id("stPopoverBody").locator("table")
    for name in ("kl_explained", "key_only_kl", "mass3_skill", "recall3_content", "kept_queries", "kept_keys", "mix"):
        if np.isfinite(mine[name]):
            expect(table).to_contain_text(f"{mine[name] * 100:.0f}\u00a0%")
    warning = page.locator(".warning")
    if mine["kl_explained"] < 0.25 or mine["kl_explained"] <= mine["key_only_kl"]:
        expect(warning).to_be_visible()
    else:
        expect(warning).to_be_hidden()


@pytest.mark.parametrize("run", ["vision", "text"])
def test_head_view_fits_the_window(go, run):
    page = go(f"/head?run={run}")
    drawn(page)
    box = page.locator(".stage").bounding_box()
    assert box["width"] >= 760
    assert box["y"] + box["height"] <= 800
