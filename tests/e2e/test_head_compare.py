"""Like points, two heads side by side, and choosing (or making) a map, in a browser and against what the run stores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from analysis.store.run import open_run
from tests.e2e.serving import eventually, new_context, settle

SITE, HEAD, OTHER, OTHER_HEAD = "text.dec.self.1", 2, "text.dec.self.0", 1
BESIDE = f"/head?run=text&site={SITE}&head={HEAD}&beside={OTHER}.{OTHER_HEAD}"


def hosts(page: Page) -> dict[str, dict]:
    """What each picture says of itself, by the head it shows (``site|head``)."""
    told = page.locator(".qk-host[data-view]").evaluate_all("all => all.map((each) => ({...each.dataset}))")
    return {"|".join(each["view"].split("|")[2:]): each for each in told}


def two_pictures(page: Page) -> None:
    """Wait until both are drawn and nothing moves any more."""
    page.wait_for_function("window.__qkAtlas?.drawn && Object.keys(window.__qkAtlas.whereOn ?? {}).length === 2")
    places: list = []
    eventually(
        lambda: (
            places.append([where(page, 0, side) for side in ("main", "beside")])
            or (len(places) > 2 and places[-1] == places[-2] == places[-3])
        )
    )


def where(page: Page, point: int, side: str) -> tuple[float, float]:
    return tuple(page.evaluate("([point, side]) => window.__qkAtlas.whereOn[side](point)", [point, side]))


def free_point(page: Page, n_tokens: int, side: str) -> int:
    """A query with no other point near it on that picture, and under none of its tools."""
    places = np.array(
        page.evaluate("([n, side]) => [...Array(n).keys()].map(window.__qkAtlas.whereOn[side])", [2 * n_tokens, side])
    )
    box = page.locator(".stage").nth(0 if side == "main" else 1).bounding_box()
    far = np.linalg.norm(places[:, None] - places[None], axis=-1) + 1e6 * np.eye(len(places))
    inside = (places[:, 0] > box["x"] + 10) & (places[:, 0] < box["x"] + box["width"] - 60)
    inside &= (places[:, 1] > box["y"] + 90) & (places[:, 1] < box["y"] + box["height"] - 20)
    return int(np.argmax(np.where(inside, far.min(axis=1), 0)[:n_tokens]))


def strongest(run, site: str, head: int, token) -> list[int]:
    """Points of the keys that a token's query weighs most, strongest first, as the lines end."""
    tokens = run.tokens()
    row = run.attention(site, head, int(token["input_id"]))[int(token["position"])]
    first = int(np.flatnonzero(tokens["input_id"] == token["input_id"])[0])
    keys = np.argsort(-row, kind="stable")[: min(12, int((row > 0).sum()))]
    return [len(tokens) + first + int(key) for key in keys]


def line_ends(told: dict) -> list[int]:
    return [point for point, _ in json.loads(told.get("links") or "[]")]


def test_a_pick_on_either_of_two_heads_marks_the_token_on_both_with_each_heads_own_lines(go, runs):
    page = go(BESIDE)
    two_pictures(page)
    with open_run("text", runs) as run:
        tokens = run.tokens()
        for side in ("main", "beside"):
            point = free_point(page, len(tokens), side)
            page.mouse.click(*where(page, point, side))
            token = tokens.iloc[point]
            for site, head in ((SITE, HEAD), (OTHER, OTHER_HEAD)):
                expected = strongest(run, site, head, token)
                eventually(lambda: line_ends(hosts(page)[f"{site}|{head}"]) == expected)  # noqa: B023
                assert hosts(page)[f"{site}|{head}"]["picked"] == str(point)
    expect(page.locator(".panel .headline")).to_have_count(2)


def test_pointing_at_one_picture_rings_the_token_on_the_other(go, runs):
    page = go(BESIDE)
    two_pictures(page)
    with open_run("text", runs) as run:
        n_tokens = len(run.tokens())
    point = free_point(page, n_tokens, "beside")
    page.mouse.move(*where(page, point, "beside"))
    eventually(lambda: hosts(page)[f"{SITE}|{HEAD}"].get("echo") == str(point))
    assert hosts(page)[f"{OTHER}|{OTHER_HEAD}"].get("echo") == ""
    page.mouse.move(2, 2)
    eventually(lambda: hosts(page)[f"{SITE}|{HEAD}"].get("echo") == "")


def test_a_lasso_on_the_right_marks_the_same_tokens_on_the_left(go, runs):
    page = go(BESIDE)
    two_pictures(page)
    with open_run("text", runs) as run:
        n_tokens = len(run.tokens())
    x, y = where(page, free_point(page, n_tokens, "beside"), "beside")
    page.keyboard.down("Shift")
    page.mouse.move(x - 30, y - 30)
    page.mouse.down()
    for dx, dy in ((30, -30), (30, 30), (-30, 30), (-30, -30)):
        page.mouse.move(x + dx, y + dy, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    expect(page.get_by_role("tab", name="Lasso")).to_have_count(2)
    expect(page.locator("[data-testid=stSidebar]")).to_contain_text("lasso in L0H1")


def test_arrows_walk_the_left_one_and_close_brings_one_picture_back(go):
    page = go(BESIDE)
    two_pictures(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**head=3**")
    eventually(lambda: set(hosts(page)) == {f"{SITE}|3", f"{OTHER}|{OTHER_HEAD}"})
    page.get_by_role("button", name="Next head").nth(1).click()
    page.wait_for_url(f"**beside={OTHER}.{OTHER_HEAD + 1}**")
    eventually(lambda: set(hosts(page)) == {f"{SITE}|3", f"{OTHER}|{OTHER_HEAD + 1}"})
    page.get_by_role("button", name="Close").click()
    eventually(lambda: set(hosts(page)) == {f"{SITE}|3"})
    assert "beside" not in page.url
    page.go_back()
    eventually(lambda: len(hosts(page)) == 2)


def test_a_link_restores_the_comparison_and_what_it_cannot_show_is_one_picture(go, browser):
    page = go(BESIDE + "&input=3&token=6")
    two_pictures(page)
    eventually(lambda: all(told["picked"] for told in hosts(page).values()))
    before = {view: line_ends(told) for view, told in hosts(page).items()}
    context = new_context(browser)
    other = context.new_page()
    other.goto(page.url)
    settle(other)
    two_pictures(other)
    eventually(lambda: {view: line_ends(told) for view, told in hosts(other).items()} == before)
    context.close()
    for wrong in ("text.dec.self.9.1", f"{OTHER}.44", f"{SITE}.{HEAD}", "x"):
        go(f"/head?run=text&site={SITE}&head={HEAD}&beside={wrong}")
        eventually(lambda: list(hosts(page)) == [f"{SITE}|{HEAD}"])


def test_choosing_what_to_compare_by_hand(go):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}")
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("combobox", name="Head").last.click()
    page.get_by_role("option", name="3", exact=True).click()
    page.wait_for_url(f"**beside={SITE}.3**")
    eventually(lambda: set(hosts(page)) == {f"{SITE}|{HEAD}", f"{SITE}|3"})


@pytest.mark.parametrize("kind", ["query", "key"])
def test_like_points_are_the_nearest_vectors_and_can_be_picked_and_marked(go, runs, kind):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}&input=3&token=6&kind={kind}")
    page.get_by_role("button", name="More like this point").click()
    page.wait_for_url("**near=12**")
    with open_run("text", runs) as run:
        tokens = run.tokens()
        vectors = (run.queries if kind == "query" else run.keys)(SITE, HEAD)
    row = int(np.flatnonzero((tokens["input_id"] == 3) & (tokens["position"] == 6))[0])
    apart = np.linalg.norm(vectors.astype(float) - vectors[row].astype(float), axis=1)
    nearest = [at for at in np.argsort(apart, kind="stable").tolist() if at != row][:12]
    rows = page.locator(".similar .row")
    expect(rows).to_have_count(12)
    offset = len(tokens) if kind == "key" else 0
    assert [int(each.get_attribute("data-point")) - offset for each in rows.all()] == nearest
    assert [each.locator(".figure").inner_text() for each in rows.all()] == [f"{apart[at]:.2f}" for at in nearest]
    page.get_by_role("button", name="Mark everywhere").click()
    expect(page.locator("[data-testid=stSidebar]")).to_contain_text("13 queries and 13 keys")
    rows.nth(2).click()
    picked = tokens.iloc[nearest[2]]
    page.wait_for_url(f"**input={picked['input_id']}**")
    eventually(lambda: f"token={picked['position']}" in page.url)


def test_like_points_in_images_show_the_patches(go):
    page = go("/head?run=vision&site=vision.enc.self.1&head=1&input=2&token=7&near=12")
    expect(page.locator(".similar .picture img")).to_have_count(12)
    expect(page.get_by_text("Other tokens only")).to_have_count(0)


@pytest.fixture
def own_runs(runs, tmp_path) -> Path:
    """A run of its own, to which a map may be added."""
    shutil.copytree(runs / "text", tmp_path / "text")
    return tmp_path


def test_a_map_that_is_not_there_is_made_and_shown(page, own_runs, serve):
    page.goto(serve(own_runs) + f"/head?run=text&site={SITE}&head={HEAD}")
    settle(page)
    page.get_by_role("button", name="Map: atlas 2-D").click()
    page.get_by_role("combobox", name="Method").click()
    page.get_by_role("option", name="pca", exact=True).click()
    page.wait_for_url("**want=pca-2d**")
    offer = page.locator(".st-key-map_wanted")
    expect(offer).to_contain_text("no map by pca in 2-D yet")
    expect(offer).to_contain_text("about 10 s")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Compute this map").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    page.wait_for_url("**map=pca-2d**", timeout=180_000)
    assert "want" not in page.url
    expect(page.get_by_role("button", name="Map: pca 2-D")).to_be_visible()
    eventually(lambda: page.locator(".qk-host[data-view]").get_attribute("data-view") == f"text|pca-2d|{SITE}|{HEAD}")
    with open_run("text", own_runs) as run:
        truth = run.coordinates(projection="pca-2d", site=SITE, head=HEAD).sort_values(["input_id", "position"])
    places = truth.loc[truth["kind"] == "query", ["x", "y"]].to_numpy()
    page.wait_for_function("window.__qkAtlas?.rested?.view?.includes('pca-2d')")  # the points have glided there
    seen = np.array(page.evaluate("n => [...Array(n).keys()].map(window.__qkAtlas.where)", len(places)))
    seen[:, 1] *= -1
    scale = np.ptp(seen[:, 0]) / np.ptp(places[:, 0])
    np.testing.assert_allclose(seen - seen.mean(axis=0), scale * (places - places.mean(axis=0)), atol=0.5)


def test_a_map_that_exists_is_shown_at_once_in_the_left_column_too(go):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}")
    page.get_by_role("button", name="Map: atlas 2-D").click()
    page.get_by_role("combobox", name="Method").click()
    page.get_by_role("option", name="pca", exact=True).click()
    page.wait_for_url("**want=pca-2d**")
    page.get_by_role("radio", name="3-D").click()
    page.wait_for_url("**map=pca-3d**")
    column = page.locator("[data-testid=stSidebar]")
    expect(column.get_by_role("combobox", name="Map")).to_have_value("pca-3d")
    expect(page.locator(".st-key-map_wanted")).to_have_count(0)


def test_a_wanted_map_can_be_left_be(go):
    page = go(f"/head?run=text&site={SITE}&head={HEAD}&want=umap-3d")
    expect(page.locator(".st-key-map_wanted")).to_contain_text("umap in 3-D")
    page.get_by_role("button", name="Keep atlas-2d").click()
    expect(page.locator(".st-key-map_wanted")).to_have_count(0)
    assert "want" not in page.url


def test_like_points_of_two_heads_are_each_heads_own_and_of_one_head_come_once(go, runs):
    page = go(BESIDE + "&input=3&token=6")
    page.get_by_role("button", name="More like this point").click()
    page.wait_for_url("**near=12**")
    lists = page.locator(".similar")
    expect(lists).to_have_count(2)
    with open_run("text", runs) as run:
        tokens = run.tokens()
        row = int(np.flatnonzero((tokens["input_id"] == 3) & (tokens["position"] == 6))[0])
        for place, (site, head) in enumerate(((SITE, HEAD), (OTHER, OTHER_HEAD))):
            vectors = run.queries(site, head).astype(float)
            order = np.argsort(np.linalg.norm(vectors - vectors[row], axis=1), kind="stable").tolist()
            expected = [str(at) for at in order if at != row][:12]
            rows = lists.nth(place).locator(".row")
            eventually(lambda: [each.get_attribute("data-point") for each in rows.all()] == expected)  # noqa: B023
    expect(page.get_by_text("in L1H2")).to_be_visible()
    expect(page.get_by_text("in L0H1")).to_be_visible()
    page.get_by_role("button", name="Mark everywhere").nth(1).click()
    expect(page.locator("[data-testid=stSidebar]")).to_contain_text("in L0H1")
    go(f"/head?run=text&site={SITE}&head={HEAD}&map=atlas-2d&beside_map=pca-3d&input=3&token=6&near=12")
    expect(lists.first.locator(".row")).to_have_count(12)
    expect(lists).to_have_count(1)


def test_a_lassos_tables_hold_the_small_matrix_of_both_heads(go, runs):
    word = f"{SITE}.{HEAD}~atlas-2d~-1000_-1000_2000_2000~AAAA__AA____AA__"  # round all points
    page = go(f"{BESIDE}&lasso={word}")
    page.get_by_text("Tables of the selection").click()
    for name in ("L1H2", "L0H1"):
        expect(page.get_by_text(f"Mean attention of {name}, rows are queries")).to_be_visible()
    said = page.locator(".panel .mean")
    with open_run("text", runs) as run:
        expect(page.get_by_text(f"Download the {len(run.tokens())} selected tokens")).to_be_visible()
        for place, (site, head) in enumerate(((SITE, HEAD), (OTHER, OTHER_HEAD))):
            ids = run.inputs()["input_id"].tolist()
            pairs = [run.attention(site, head, each)[run.allowed(site, each)] for each in ids]
            expect(said.nth(place)).to_have_text(f"{np.concatenate(pairs).mean():#.3g}")
