"""What the Head page offers beyond points: lasso, lines, filters, sizes, labels, marks, patches, strip."""

from __future__ import annotations

import io
import json
import re
from urllib.parse import parse_qs, urlparse
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import vl_convert
from PIL import Image
from playwright.sync_api import Page, expect

from analysis.store.run import open_run
from tests.e2e.serving import eventually, new_context, settle
from tests.e2e.test_head import HEAD, SITE, alone, drawn, links, token_row, weight_words, where

OPEN = f"/head?run=text&site={SITE}&head={HEAD}"


def words(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}


def states(page: Page) -> np.ndarray:
    return np.array(page.evaluate("window.__qkAtlas.states()"))


def tokens_of(runs, run_id: str = "text") -> pd.DataFrame:
    with open_run(run_id, runs) as run:
        return run.tokens()


def all_places(page: Page, n_tokens: int) -> np.ndarray:
    return np.array(page.evaluate("n => [...Array(n).keys()].map(window.__qkAtlas.where)", 2 * n_tokens))


def winding_inside(places: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Inside by the angle that the border sweeps as seen from each point."""
    towards = polygon[None] - places[:, None]
    angles = np.arctan2(towards[..., 1], towards[..., 0])
    turns = np.diff(angles, axis=1, append=angles[:, :1])
    return np.abs(np.round(((turns + np.pi) % (2 * np.pi) - np.pi).sum(axis=1) / (2 * np.pi))) > 0.5


def draw_lasso(page: Page) -> np.ndarray:
    """A five-cornered lasso over the middle of the map; its corners on the screen."""
    box = page.locator(".stage").bounding_box()
    share = np.array([[0.25, 0.3], [0.6, 0.22], [0.72, 0.55], [0.5, 0.85], [0.3, 0.7]])
    corners = share * [box["width"], box["height"]] + [box["x"], box["y"]]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        page.mouse.move(*corner, steps=6)
    page.mouse.up()
    return corners


def clear_of_border(places: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Points at least two pixels from the border, on which rounding does not decide."""
    starts, ends = polygon, np.roll(polygon, -1, axis=0)
    along = ends - starts
    share = np.clip(((places[:, None] - starts) * along).sum(-1) / (along**2).sum(-1), 0, 1)
    return np.linalg.norm(places[:, None] - (starts + share[..., None] * along), axis=-1).min(axis=1) > 2


def test_lasso_finds_the_points_and_their_attention(go, runs):
    page = go(OPEN + "&labels=off")
    drawn(page)
    with open_run("text", runs) as run:
        tokens, n = run.tokens(), len(run.tokens())
        attention = {i: run.attention(SITE, HEAD, int(i)) for i in tokens["input_id"].unique()}
        allowed = {i: run.allowed(SITE, int(i)) for i in tokens["input_id"].unique()}
    places = all_places(page, n)
    page.keyboard.press("l")
    polygon = draw_lasso(page)
    inside = winding_inside(places, polygon)
    sure = clear_of_border(places, polygon)
    counts = page.locator(".panel .counts")
    expect(counts).to_contain_text("queries and")
    shown = [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", counts.inner_text())]
    assert abs(shown[0] - inside[:n].sum()) <= (~sure[:n]).sum()
    assert abs(shown[1] - inside[n:].sum()) <= (~sure[n:]).sum()
    seen = states(page)
    assert (seen[inside & sure] == 1).all()
    marked = inside[:n] | inside[n:]
    rest = ~np.concatenate([marked, marked]) & np.tile(sure[:n] & sure[n:], 2)
    assert (seen[rest] == 0.25).all()
    if sure.all():
        weights = [
            attention[i][a, b]
            for i, group in tokens.groupby("input_id")
            for a in np.flatnonzero(inside[:n][group.index])
            for b in np.flatnonzero(inside[n:][group.index])
            if allowed[i][a, b]
        ]
        expect(page.locator(".panel .mean")).to_have_text(weight_words(np.mean(weights)))
        cell = page.locator(".between td[data-mean]:not([data-mean=''])").first
        row, column = cell.evaluate(
            "td => [td.parentElement.querySelector('th').title,"
            " td.closest('table').rows[0].cells[[...td.parentElement.cells].indexOf(td)].title]"
        )
        is_row, is_column = (tokens["text"] == name for name in (row, column))
        pairs = [
            attention[i][a, b]
            for i, group in tokens.groupby("input_id")
            for a in np.flatnonzero(inside[:n][group.index] & is_row[group.index])
            for b in np.flatnonzero(inside[n:][group.index] & is_column[group.index])
            if allowed[i][a, b]
        ]
        np.testing.assert_allclose(float(cell.get_attribute("data-mean")), np.mean(pairs), rtol=1e-4)
    expect(page.locator("[data-testid=stSidebar]")).to_contain_text("lasso in L1H2")
    expect(page.locator(".legend .said")).to_contain_text(f"{shown[0]} queries, {shown[1]} keys")
    page.keyboard.press("Escape")
    eventually(lambda: (states(page) == 1).all())
    expect(page.locator("[data-testid=stSidebar]")).not_to_contain_text("lasso in L1H2")


def test_lasso_on_a_turned_map_takes_what_it_is_seen_to_hold(go, runs):
    page = go(f"/head?run=text&map=pca-3d&site={SITE}&head={HEAD}&labels=off")
    drawn(page)
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 340, steps=3)
    page.mouse.up()
    drawn(page)
    n = len(tokens_of(runs))
    places = all_places(page, n)
    page.keyboard.press("l")
    polygon = draw_lasso(page)
    inside, sure = winding_inside(places, polygon), clear_of_border(places, polygon)
    counts = page.locator(".panel .counts")
    expect(counts).to_contain_text("in")
    shown = [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", counts.inner_text())]
    assert inside.sum() > 5
    assert abs(shown[0] - inside[:n].sum()) <= (~sure[:n]).sum()
    assert abs(shown[1] - inside[n:].sum()) <= (~sure[n:]).sum()
    eventually(lambda: (states(page)[inside & sure] == 1).all())


def test_keys_go_from_one_labelled_point_to_the_next_and_menus_keep_the_focus(go):
    page = go(OPEN)
    drawn(page)
    eventually(lambda: page.evaluate("window.__qkAtlas.labelled().length") > 5)
    first, second = [each["point"] for each in page.evaluate("window.__qkAtlas.labelled()")][:2]
    host = page.locator(".qk-host[data-picked]")
    page.keyboard.press(".")
    expect(host).to_have_attribute("data-picked", str(first))
    page.wait_for_url("**token=**")
    settle(page)
    page.keyboard.press(".")
    expect(host).to_have_attribute("data-picked", str(second))
    page.keyboard.press(",")
    expect(host).to_have_attribute("data-picked", str(first))
    lines = page.get_by_label("Lines")
    lines.select_option("top5")
    lines.focus()
    page.wait_for_url("**lines=top5**")
    settle(page)
    expect(lines).to_be_focused()


def test_lasso_by_shift_leaves_out_what_the_legend_hides(go, runs):
    page = go(OPEN + "&kinds=key")
    drawn(page)
    n = len(tokens_of(runs))
    assert (states(page)[n:] == 0).all()
    page.keyboard.down("Shift")
    draw_lasso(page)
    page.keyboard.up("Shift")
    expect(page.locator(".panel .counts")).to_contain_text("and 0 keys")
    expect(page.locator(".panel .note").first).to_contain_text("no keys inside")


def test_lines_follow_the_share_of_attention(go, runs):
    page = go(OPEN + "&input=3&token=9&lines=mass90")
    drawn(page)
    row, n = token_row(runs, "text", 3, 0)
    with open_run("text", runs) as run:
        weights = run.attention(SITE, HEAD, 3)[9]
    order = np.argsort(-weights, kind="stable")
    held = np.cumsum(weights[order].astype(float)) / weights.sum(dtype=float)
    mass = order[: int(np.argmax(held >= 0.9)) + 1]
    expect(page.locator(".panel .row")).to_have_count(len(mass))
    assert [end for end, _ in links(page)] == [n + row + int(key) for key in mass]
    page.get_by_label("Lines").select_option("top3")
    page.wait_for_url("**lines=top3**")
    expect(page.locator(".panel .row")).to_have_count(3)
    assert [end for end, _ in links(page)] == [n + row + int(key) for key in order[:3]]


def test_shift_click_adds_the_lines_of_another_query(go, runs, browser):
    page = go(OPEN + "&labels=off")
    drawn(page)
    tokens = tokens_of(runs)
    n, first = len(tokens), alone(page, len(tokens))
    page.mouse.click(*where(page, first))
    page.wait_for_url("**token=**")
    places = all_places(page, n)
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + 1e6 * np.eye(2 * n)
    mine = np.tile(tokens["input_id"] == tokens["input_id"].iloc[first], 2)
    good = mine & (places[:, 1] > 240) & (places[:, 0] < 950) & (places[:, 1] < 640)
    good[[first, *range(n, 2 * n)]] = False
    other = int(np.argmax(np.where(good, gaps.min(axis=1), -1)))
    page.keyboard.down("Shift")
    page.mouse.click(*where(page, other))
    page.keyboard.up("Shift")
    page.wait_for_url("**also=**")
    token = tokens.iloc[other]
    assert words(page)["also"] == f"{token['input_id']}.{token['position']}q"
    with open_run("text", runs) as run:
        weights = run.attention(SITE, HEAD, int(token["input_id"]))[token["position"]]
    start = other - int(token["position"])
    strongest = [at for at in np.argsort(-weights, kind="stable")[:12] if weights[at] > 0]
    told = page.locator(".qk-host[data-also]")
    eventually(lambda: json.loads(told.get_attribute("data-also")) != [])
    [[begin, rows]] = json.loads(told.get_attribute("data-also"))
    assert (begin, [end for end, _ in rows]) == (other, [n + start + int(at) for at in strongest])
    page.get_by_title("Take query").click()
    page.wait_for_url(lambda url: "also" not in url)


def test_hover_tells_norm_and_strongest_keys(go, runs):
    page = go(OPEN + "&labels=off")
    drawn(page)
    with open_run("text", runs) as run:
        tokens = run.tokens()
        point = alone(page, len(tokens))
        token = tokens.iloc[point]
        weights = run.attention(SITE, HEAD, int(token["input_id"]))[token["position"]]
        norm = np.linalg.norm(run.queries(SITE, HEAD)[point])
    expect(page.locator(".qk-host[data-extra]").first).not_to_have_attribute("data-extra", "")
    page.mouse.move(*where(page, point))
    tip = page.locator(".tip")
    expect(tip).to_contain_text(f"norm {norm:.2f}" if norm < 10 else f"norm {norm:.1f}")
    strongest = [int(at) for at in np.argsort(-weights, kind="stable")[:3] if weights[at] > 0]
    shown = tip.locator(".ties .figure").all_inner_texts()
    assert shown == [each for at in strongest for each in (str(at), weight_words(weights[at]))]


def test_search_dims_the_rest_and_counts(go, runs):
    page = go(OPEN + "&find=the")
    drawn(page)
    tokens = tokens_of(runs)
    found = tokens["text"].str.contains("the").to_numpy()
    expect(page.locator(".legend .said")).to_contain_text(f"{found.sum()} queries, {found.sum()} keys")
    np.testing.assert_array_equal(states(page), np.where(np.tile(found, 2), 1, 0.25).astype(np.float32))
    expect(page.locator(".qk-host[data-extra]").first).not_to_have_attribute("data-extra", "")
    eventually(lambda: page.evaluate("window.__qkAtlas.labelled().length"))
    labelled = [each["point"] for each in page.evaluate("window.__qkAtlas.labelled()")]
    assert np.tile(found, 2)[labelled].all()


def test_the_colour_bar_keeps_a_range_and_the_link_restores_it(go, runs):
    page = go(OPEN + "&colour=length")
    drawn(page)
    values = np.tile(tokens_of(runs)["length"].to_numpy(dtype=float, na_value=np.nan), 2)
    box = page.locator(".legend .bar").bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 5, steps=4)
    page.mouse.up()
    page.wait_for_url("**range=length**")
    low, high = (float(end) for end in words(page)["range"].removeprefix("length:").split("~"))
    kept = (values >= low) & (values <= high)
    assert 0 < kept.sum() < len(kept)
    eventually(lambda: np.array_equal(states(page) > 0, kept))
    page.reload()
    settle(page)
    drawn(page)
    eventually(lambda: np.array_equal(states(page) > 0, kept))
    page.locator(".legend .bar").click()
    page.wait_for_url(lambda url: "range" not in url)
    eventually(lambda: (states(page) > 0).all())


def test_chips_hide_classes_and_kinds(go, runs):
    page = go(OPEN + "&colour=is_special")
    drawn(page)
    special = tokens_of(runs)["is_special"].to_numpy()
    page.locator(".chip", has_text="True").click()
    page.wait_for_url("**hide=is_special**")
    eventually(lambda: np.array_equal(states(page) == 0, np.tile(special, 2)))
    page.locator(".chip", has_text="query").click()
    page.wait_for_url("**kinds=query**")
    eventually(lambda: np.array_equal(states(page) == 0, np.concatenate([np.ones_like(special), special])))


def test_position_mod_k_is_a_cyclic_colour_with_k_in_the_link(go, runs):
    page = go(OPEN + "&colour=position_mod_4&labels=off")
    drawn(page)
    expect(page.locator(".legend-title")).to_have_text("position mod 4")
    tokens = tokens_of(runs)
    point = alone(page, len(tokens))
    page.mouse.move(*where(page, point))
    expect(page.locator(".tip")).to_contain_text(f"position mod 4: {tokens['position'].iloc[point] % 4} tokens")
    k = page.get_by_label("k of position mod k")
    k.fill("5")
    k.press("Enter")
    page.wait_for_url("**colour=position_mod_5**")
    expect(page.locator(".legend-title")).to_have_text("position mod 5")


def test_size_follows_the_norms(go, runs):
    page = go(OPEN)
    drawn(page)
    page.get_by_label("Size").select_option("norm")
    page.wait_for_url("**size=norm**")
    eventually(lambda: page.evaluate("window.__qkAtlas.factors()"))
    factors = np.array(page.evaluate("window.__qkAtlas.factors()"))
    with open_run("text", runs) as run:
        norms = np.concatenate(
            [np.linalg.norm(run.queries(SITE, HEAD), axis=1), np.linalg.norm(run.keys(SITE, HEAD), axis=1)]
        )
    low, high = np.quantile(norms, [0.01, 0.99])
    share = np.clip((norms - low) / (high - low), 0, 1)
    np.testing.assert_allclose(factors**2, 0.6**2 + (2.6**2 - 0.6**2) * share, rtol=1e-3)
    expect(page.locator(".legend .sizes")).to_contain_text("norm")


def test_labels_do_not_overlap_and_can_be_put_away(go):
    page = go(OPEN)
    drawn(page)
    eventually(lambda: page.evaluate("window.__qkAtlas.labelled().length") > 5)
    boxes = page.evaluate("window.__qkAtlas.labelled()")
    for at, one in enumerate(boxes):
        for other in boxes[:at]:
            apart = one["left"] >= other["right"] or other["left"] >= one["right"]
            assert apart or one["top"] >= other["bottom"] or other["top"] >= one["bottom"]
    page.get_by_role("button", name="Labels").click()
    page.wait_for_url("**labels=off**")
    eventually(lambda: page.evaluate("window.__qkAtlas.labelled().length") == 0)


def test_patches_are_drawn_at_their_points(go, runs):
    page = go("/head?run=vision&draw=patches")
    drawn(page)
    with open_run("vision", runs) as run:
        tokens = run.tokens()
        is_patch = tokens["row"].fillna(-1).to_numpy() >= 0
        host = page.locator(".qk-host[data-patches]")
        expect(host).to_have_attribute("data-patches", str(is_patch.sum()))
        places = all_places(page, len(tokens))
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + 1e6 * np.eye(len(places))
        stage = page.locator(".stage").bounding_box()
        good = (places[:, 1] > stage["y"] + 60) & (places[:, 0] < stage["x"] + stage["width"] - 60)
        point = int(np.argmax(np.where(np.tile(is_patch, 2) & good, gaps.min(axis=1), -1)))
        token = tokens.iloc[point % len(tokens)]
        image = np.asarray(Image.open(io.BytesIO(run.image(int(token["input_id"])))).convert("RGB"), dtype=float)
    side = image.shape[0] // (int(tokens["row"].max()) + 1)
    top, left = int(token["row"]) * side, int(token["column"]) * side
    wanted = image[top : top + side, left : left + side].mean(axis=(0, 1))

    def middle() -> np.ndarray:
        pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), dtype=float)
        x, y = (round(each) for each in places[point])
        return pixels[y - 3 : y + 4, x - 3 : x + 4].mean(axis=(0, 1))

    eventually(lambda: np.abs(middle() - wanted).max() < 45)
    page.get_by_role("button", name="Patches").click()
    page.wait_for_url("**draw=points**")
    expect(host).to_have_attribute("data-patches", "")


def test_strip_goes_to_a_head_a_layer_and_back_to_all(go):
    page = go(OPEN)
    drawn(page)
    expect(page.locator(".strip .head[aria-current=true]")).to_have_attribute("data-head", str(HEAD))
    page.locator(".strip .head[data-head='0']").click()
    expect(page.locator(".walk b")).to_have_text("L1H0")
    expect(page.locator(".strip .head[aria-current=true]")).to_have_attribute("data-head", "0")
    settle(page)
    page.get_by_role("button", name="Layer below").click()
    expect(page.locator(".walk b")).to_have_text("L2H0")
    settle(page)
    page.get_by_role("button", name="‹ All heads").click()
    page.wait_for_url(lambda url: "/head" not in url)
    expect(page.locator(".cell").first).to_be_visible()


def test_points_glide_unless_less_motion_is_asked_for(browser, address, runs):
    for motion, glides in (("no-preference", 1), ("reduce", 0)):
        context = new_context(browser, reduced_motion=motion)
        page = context.new_page()
        page.goto(address + OPEN)
        settle(page)
        drawn(page)
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".walk b")).to_have_text("L1H1")
        page.wait_for_function("window.__qkAtlas.rested?.view.endsWith('|1')")
        assert page.evaluate("window.__qkAtlas.glides ?? 0") == glides
        drawn(page)
        with open_run("text", runs) as run:
            table = run.coordinates(projection="atlas-2d", site=SITE, head=1).sort_values(["input_id", "position"])
        truth = np.vstack([table.loc[table["kind"] == kind, ["x", "y"]].to_numpy() for kind in ("query", "key")])
        seen = all_places(page, len(truth) // 2) * [1, -1]
        scale = np.ptp(seen[:, 0]) / np.ptp(truth[:, 0])
        np.testing.assert_allclose(seen - seen.mean(axis=0), scale * (truth - truth.mean(axis=0)), atol=0.05)
        context.close()


def test_the_picture_is_saved_with_its_points_words_and_legend(go, runs):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}&colour=position")
    page.wait_for_function("window.__qkAtlas?.drawn?.view")
    with page.expect_download() as fetched:
        page.get_by_role("button", name="Save the picture (PNG)").click()
    assert fetched.value.suggested_filename == f"text-L{SITE[-1]}H{HEAD}-atlas-2d.png"
    with Image.open(fetched.value.path()) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    box = page.locator("canvas.points").bounding_box()
    assert pixels.shape[1] == pytest.approx(box["width"], abs=1)
    assert 60 < pixels.shape[0] - box["height"] < 110
    coloured = np.ptp(pixels, axis=2) > 60
    head, foot = pixels.shape[0] - round(box["height"]) - 36, pixels.shape[0] - 36
    for part in (coloured[head:foot], coloured[foot:]):  # the points, which WebGL keeps for a moment only; the legend
        assert part.sum() > 200
    assert (pixels[: head - 4] < 120).all(axis=2).sum() > 100  # the words over it
    with page.expect_download() as fetched:
        page.get_by_role("button", name="Save the picture (SVG)").click()
    assert fetched.value.suggested_filename == f"text-L{SITE[-1]}H{HEAD}-atlas-2d.svg"
    drawing = fetched.value.path().read_text(encoding="utf-8")
    with Image.open(io.BytesIO(vl_convert.svg_to_png(drawing, scale=1))) as image:
        vectors = np.asarray(image.convert("RGB")).astype(int)
    assert vectors.shape == pixels.shape
    drawn_as, both = np.ptp(vectors, axis=2) > 60, coloured & (np.ptp(vectors, axis=2) > 60)  # words are grey
    assert both[head:foot].sum() > 0.75 * coloured[head:foot].sum()
    assert (drawn_as & ~coloured)[head:foot].sum() < 0.25 * coloured[head:foot].sum()
    assert np.median(np.abs(vectors - pixels)[both].max(axis=1)) < 30
    root = ElementTree.fromstring(drawing)
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {f"L{SITE[-1]}H{HEAD}", "position"} <= set(words)
    shapes = root.findall(".//{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}path[@fill-opacity]")
    assert 0 <= 2 * len(tokens_of(runs)) - len(shapes) <= 4  # a far point or two lie outside of what is seen
