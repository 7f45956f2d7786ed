"""The Atlas page in a browser: colours, marked tokens and orders, read from the painted picture."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from analysis.projection.thumbnails import pixel_indices
from analysis.store.run import open_run
from app.charts.atlas_sprite import tones
from app.charts.colouring import by_column
from tests.e2e.serving import eventually, settle

PX = 16
"""Width of the thumbnails of synthetic runs."""

QUERY, KEY, PICKED = (0x00, 0x9E, 0x73), (0xCC, 0x33, 0x99), (0xD5, 0x5E, 0x00)
HEADS = ((0, 0), (1, 2), (2, 3))

PAINTED = """(cell, n) => { const canvas = cell.closest('.grid').querySelector('canvas');
    const box = cell.getBoundingClientRect(), all = canvas.getBoundingClientRect(), ratio = canvas.width / all.width;
    const size = box.height * ratio, left = (box.left - all.left + (box.width - box.height) / 2) * ratio;
    const top = (box.top - all.top) * ratio, context = canvas.getContext('2d'), out = [];
    for (let row = 0; row < n; row++) for (let column = 0; column < n; column++)
        out.push(...context.getImageData(left + (column + .5) * size / n, top + (row + .5) * size / n, 1, 1).data);
    return out; }"""


def painted(page: Page, layer: int, head: int, n: int = PX) -> np.ndarray:
    """Red, green, blue and opacity in the middle of each of ``n x n`` parts of a head's thumbnail."""
    cell = page.locator(f"[data-head=L{layer}H{head}]")
    return np.array(cell.evaluate(PAINTED, n)).reshape(n * n, 4)


def pixels(run, layer: int, head: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel of every query and every key of a head, in token-table order, from the coordinates of the run."""
    table = run.coordinates(projection="atlas-2d", site=run.sites[layer], head=head)
    table = table.sort_values(["input_id", "position"], kind="stable")
    points = [table.loc[table["kind"] == kind, ["x", "y"]].to_numpy() for kind in ("query", "key")]
    flat = pixel_indices(np.vstack(points), PX)
    return flat[: len(points[0])], flat[len(points[0]) :]


def near(colours: np.ndarray, wanted: tuple[int, ...], within: int = 30) -> np.ndarray:
    return np.abs(colours[..., :3] - np.array(wanted)).max(axis=-1) <= within


def is_grey(colours: np.ndarray) -> np.ndarray:
    return (np.ptp(colours[..., :3], axis=-1) <= 30) | (colours[..., 3] < 12)


def around(places: set[int]) -> set[int]:
    """The pixels and their eight neighbours, into which smoothing blurs them."""
    return {place + PX * down + right for place in places for down in (-1, 0, 1) for right in (-1, 0, 1)}


def test_every_head_takes_the_colours_of_a_token_column(go, runs):
    """A pixel has the colour of the mean of its tokens, on the ramp of the Head page."""
    page = go("/?run=text&colour=length")
    legend = page.locator(".legend")
    expect(legend).to_contain_text("length")
    expect(legend).to_contain_text("characters")
    with open_run("text", runs) as run:
        colouring = by_column(run.tokens()["length"], "sequential", "length")
        ramp = np.array([tuple(bytes.fromhex(tone[1:])) for tone in tones(colouring)[0]])[:-1]
        share = (colouring.queries - colouring.low) / (colouring.high - colouring.low)
        for layer, head in HEADS:
            where = np.concatenate(pixels(run, layer, head))
            n_points = np.bincount(where, minlength=PX * PX)
            mean = np.bincount(where, np.tile(share, 2).clip(0, 1), PX * PX) / np.maximum(n_points, 1)
            wanted = ramp[np.rint(mean * (len(ramp) - 1)).astype(int)]
            seen = painted(page, layer, head)
            filled = n_points > 0
            assert (np.abs(seen[filled, :3] - wanted[filled]).max(axis=1) <= 40).mean() > 0.9
            assert (seen[~filled, 3] < 12).mean() > 0.8  # smoothing blurs the edges of points


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("/?run=text&colour=is_special", ["is special", "False", "True"]),
        ("/?run=vision&colour=hue", ["hue", "0", "360", "degrees"]),
        ("/?run=text", ["query", "key"]),
    ],
)
def test_legend_says_classes_cycles_and_kinds(go, link, said):
    page = go(link)
    for words in said:
        expect(page.locator(".legend")).to_contain_text(words)


def search(page: Page, words: str) -> None:
    page.get_by_label("Search tokens").fill(words)
    page.keyboard.press("Enter")


def test_search_lights_the_tokens_in_every_head_and_clearing_restores(go, runs):
    page = go("/?run=text")
    before = {place: painted(page, *place) for place in HEADS}
    search(page, "cat")
    with open_run("text", runs) as run:
        found = run.tokens()["text"].str.contains("cat").to_numpy()
        expect(page.locator(".legend")).to_contain_text(f"{found.sum()} queries")
        expect(page.locator(".legend")).to_contain_text("search “cat”")
        for layer, head in HEADS:
            queries, keys = (set(where[found]) for where in pixels(run, layer, head))
            seen = painted(page, layer, head)
            only_queries, only_keys = sorted(queries - keys), sorted(keys - queries)
            assert only_queries
            assert near(seen[only_queries], QUERY).all()
            assert near(seen[only_keys], KEY).all()
            others = sorted(set(range(PX * PX)) - around(queries | keys))
            assert len(others) > PX
            assert is_grey(seen[others]).all()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".legend")).not_to_contain_text("search")
    for place, was in before.items():
        eventually(lambda place=place, was=was: np.array_equal(painted(page, *place), was))


def test_a_search_that_finds_nothing_or_cannot_be_read_says_so(go):
    page = go("/?run=text&find=nosuchword")
    expect(page.locator(".legend")).to_contain_text("nothing found")
    search(page, "/(/")
    expect(page.locator("[data-testid=stSidebar]")).to_contain_text("not a regular expression")
    expect(page.locator(".cell")).to_have_count(12)
    expect(page.locator(".legend")).to_contain_text("query")


def test_a_lasso_on_the_head_page_stands_out_in_every_head(go):
    page = go("/head?run=text&site=text.dec.self.1&head=2")
    stage = page.locator(".stage").first
    expect(stage).to_be_visible()
    page.wait_for_function("window.__qkAtlas?.drawn")
    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.keyboard.down("Shift")
    page.mouse.move(x - 120, y - 120)
    page.mouse.down()
    for across, down in ((120, -120), (120, 120), (-120, 120), (-120, -120)):
        page.mouse.move(x + across, y + down, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    column = page.locator("[data-testid=stSidebar]")
    expect(column).to_contain_text("lasso in L1H2")
    page.locator("nav a", has_text="Atlas").click()
    legend = page.locator(".legend")
    expect(legend).to_contain_text("lasso in L1H2")
    counted = column.inner_text().split("lasso in L1H2")[1].split("queries")[0].strip(" :\n")
    expect(legend).to_contain_text(f"{counted} queries")
    for place in HEADS:
        seen = painted(page, *place)
        assert near(seen, QUERY).sum() > 0
        assert near(seen, KEY).sum() > 0


def test_the_picked_token_is_ringed_in_every_head(go, runs):
    page = go("/?run=text&input=3&token=4")
    with open_run("text", runs) as run:
        tokens = run.tokens()
        row = int(np.flatnonzero((tokens["input_id"] == 3) & (tokens["position"] == 4))[0])
        expect(page.locator(".legend")).to_contain_text(f"picked: query and key of “{tokens['text'][row]}”")
        for layer, head in HEADS:
            query, key = (int(where[row]) for where in pixels(run, layer, head))
            seen = painted(page, layer, head)
            assert near(seen[query], QUERY)
            if max(abs(query % PX - key % PX), abs(query // PX - key // PX)) > 2:
                assert near(seen[key], KEY)
            closer = painted(page, layer, head, 8 * PX).reshape(8 * PX, 8 * PX, 4)
            rows, columns = np.nonzero(near(closer, PICKED))
            for place in (query, key):
                away = np.hypot(rows / 8 - place // PX - 0.5, columns / 8 - place % PX - 0.5)
                assert (away < 1.5).sum() >= 8


@pytest.mark.parametrize("order", ["layers", "heads", "both"])
def test_layers_and_heads_are_sorted_by_any_score_with_their_labels(go, runs, order):
    page = go(f"/?run=text&order={order}&by=entropy")
    with open_run("text", runs) as run:
        scores = run.head_scores().query("metric == 'entropy'").set_index(["site", "head"])["value"]
        layers = {site.depth: scores[site.key].to_dict() for site in run.sites}
    if order in ("layers", "both"):
        layers = dict(sorted(layers.items(), key=lambda item: -np.mean(list(item[1].values()))))
    rows = page.locator(".row")
    expect(rows).to_have_count(3)
    for place, (layer, heads) in enumerate(layers.items()):
        expect(rows.nth(place).locator(".side")).to_have_text(f"L{layer}")
        expected = sorted(heads, key=lambda head: -heads[head]) if order in ("heads", "both") else list(heads)
        names = [cell.get_attribute("data-head") for cell in rows.nth(place).locator(".cell").all()]
        assert names == [f"L{layer}H{head}" for head in expected]
        if order != "layers":
            expect(rows.nth(place).locator(".name").first).to_have_text(names[0])


def test_the_order_chosen_on_the_page_is_in_the_link(go):
    page = go("/?run=text")
    page.locator(".st-key-pick_order input").click()
    page.get_by_role("option", name="all heads ranked").click()
    page.wait_for_url("**order=rank**")
    page.locator(".st-key-pick_by input").click()
    page.get_by_role("option", name="Previous token").click()
    page.wait_for_url("**by=previous_token**")
    expect(page.locator(".row .side").nth(1)).to_have_text("5")


SCROLLED = """cell => { const scroll = cell.closest('.scroll'), main = document.querySelector('[data-testid=stMain]');
    return [scroll.scrollLeft, scroll.scrollTop, main.scrollTop].map(Math.round); }"""


def test_coming_back_leads_to_the_same_place(go):
    """From the head by the top row, and from another one opened with the keyboard by the browser's Back."""
    page = go("/?run=wide")
    cell = page.locator("[data-head=L15H30]")
    cell.scroll_into_view_if_needed()
    cell.click()
    page.wait_for_url("**head=30**")
    settle(page)
    was = cell.evaluate(SCROLLED)
    assert max(was) > 100
    cell.dblclick()
    page.wait_for_url("**/head?**")
    settle(page)
    page.locator("nav a", has_text="Atlas").click()
    expect(cell).to_be_focused()
    eventually(lambda: cell.evaluate(SCROLLED) == was)
    settle(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url("**/head?**")
    settle(page)
    page.go_back()
    expect(page.locator("[data-head=L15H29]")).to_be_focused()
    eventually(lambda: cell.evaluate(SCROLLED) == was)


WATCH = """() => { window.__places = new Set();
    const find = (root) => { for (const each of root.querySelectorAll('*')) {
        if (each.classList?.contains('cell')) return each;
        const inside = each.shadowRoot && find(each.shadowRoot); if (inside) return inside; } };
    let cell = null; const look = () => { cell = cell?.isConnected ? cell : find(document);
        if (cell) { const box = cell.getBoundingClientRect();
            if (box.width) window.__places.add([box.left, box.top, box.width, box.height].map(Math.round).join()); }
        requestAnimationFrame(look); }; look(); }"""


def test_nothing_jumps_when_something_is_marked_picked_or_coloured(go):
    page = go("/?run=text")
    expect(page.locator(".cell")).to_have_count(12)
    page.evaluate(WATCH)
    search(page, "dog")
    expect(page.locator(".legend")).to_contain_text("search “dog”")
    page.locator("[data-head=L1H1]").click()
    expect(page.locator(".card b")).to_have_text("L1H1")
    settle(page)
    page.locator(".st-key-pick_colour input").click()
    page.get_by_role("option", name="length", exact=True).click()
    page.wait_for_url("**colour=length**")
    settle(page)
    assert len(page.evaluate("[...window.__places]")) == 1
