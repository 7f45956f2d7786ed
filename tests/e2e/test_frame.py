"""The frame in a browser: first look, tour, glossary, top row, links, history and error states."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from urllib.parse import ParseResult, parse_qs, urlparse

import pytest
from playwright.sync_api import Page, expect

from analysis.store import open_run
from app.components.tour import WELCOME
from app.glossary import BY_NAME
from tests.e2e.serving import calm, eventually, settle
from tests.store.synthetic import make_synthetic_run

STEPS = 6


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_synthetic_run(folder, "bare-one", n_inputs=2, with_projection=False)
    make_synthetic_run(folder, "damaged-one", n_inputs=2)
    make_synthetic_run(folder, "vision", modality="vision", n_inputs=3, n_tokens=17, n_layers=2)
    make_synthetic_run(folder, "text", n_inputs=6, n_tokens=14, n_layers=3, n_heads=4, causal=True)
    (folder / "damaged-one" / "run.duckdb").write_bytes(b"not a database")
    return folder


@pytest.fixture(scope="module")
def address(serve, runs) -> str:
    return serve(runs)


def place(page: Page) -> ParseResult:
    """The address as the browser has it now."""
    return urlparse(page.evaluate("location.href"))


def query(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(place(page).query).items()}


def previous_token_head(runs: Path, run_id: str) -> tuple[str, int, str, float]:
    """Site label, index, name and score of the head that the tour leads to."""
    with open_run(run_id, runs) as run:
        scores = run.head_scores().query("metric == 'previous_token'")
        best = scores.loc[scores["value"].idxmax()]
        site = run.site(best["site"])
        return site.label, int(best["head"]), f"L{site.depth}H{best['head']}", float(best["value"])


def welcome(page: Page):
    return page.get_by_role("region", name="How to read this page")


def test_a_first_visitor_sees_the_atlas_and_three_sentences(go, page):
    go("/")
    expect(welcome(page)).to_be_visible()
    said = welcome(page).inner_text()
    for lead, rest in WELCOME:
        assert lead in said
        assert rest.split(":")[0] in said
    cells = page.locator("[data-head]")
    expect(cells).to_have_count(12)
    for cell in (cells.first, cells.last):
        box = cell.bounding_box()
        assert box["y"] > 0
        assert box["y"] + box["height"] <= 800


def test_the_welcome_stays_away_once_it_was_read_and_the_button_brings_it_back(go, page):
    go("/")
    welcome(page).get_by_role("button", name="Got it").click()
    expect(welcome(page)).to_be_hidden()
    page.reload()
    settle(page)
    expect(page.locator("[data-head]")).to_have_count(12)
    expect(welcome(page)).to_be_hidden()
    page.get_by_role("button", name="Tour").click()
    expect(welcome(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(welcome(page)).to_be_hidden()


def test_somebody_who_comes_by_a_link_is_not_stopped(go, page):
    go("/?run=text")
    expect(page.locator("[data-head]")).to_have_count(12)
    expect(welcome(page)).to_be_hidden()


def ring_is_around(page: Page, selector: str) -> None:
    """The first ring of the tour stands around what `selector` finds."""

    def close() -> bool:
        ring, target = page.locator(".ring").first.bounding_box(), page.locator(selector).first.bounding_box()
        if ring is None or target is None:
            return False
        middle = (ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
        return (
            target["x"] <= middle[0] <= target["x"] + target["width"]
            and target["y"] <= middle[1] <= target["y"] + target["height"]
            and ring["width"] >= min(target["width"], 1200)
        )

    eventually(close, 30)


def test_the_tour_walks_through_real_elements_with_the_keyboard_alone(go, page, runs):
    site, head, name, score = previous_token_head(runs, "text")
    go("/?run=text")
    page.get_by_role("button", name="Tour").focus()
    page.keyboard.press("Enter")
    start = welcome(page).get_by_role("button", name="Find the previous-token head")
    expect(start).to_be_focused()
    page.keyboard.press("Enter")
    card = page.get_by_role("dialog")
    targets = [
        f'[data-site="{site}"][data-head="{name}"]', '[class*="st-key-pick_tint"]', ".st-key-head_picture",
        ".st-key-head_panel", ".st-key-input_sentence", "nav .copy",
    ]  # fmt: skip
    pages = ["/", "/", "/head", "/head", "/input", "/input"]
    for step, (target, path) in enumerate(zip(targets, pages), start=1):
        expect(card).to_contain_text(f"{step} of {STEPS}")
        settle(page)
        assert place(page).path == path
        ring_is_around(page, target)
        expect(card.locator(".next")).to_be_focused()
        if step == 2:
            expect(card).to_contain_text("no induction score")
            expect(card).to_contain_text(f"{score:.2f}")
            expect(card).to_contain_text(name)
        if step == 4:
            said = query(page)
            with open_run("text", runs) as run:
                row = run.attention(site, head, int(said["input"]))[int(said["token"])]
            expect(card).to_contain_text(f"puts {row[int(said['token']) - 1]:.2f} of its weight")
        page.keyboard.press("Enter")
    expect(card).to_be_hidden()
    eventually(lambda: "tour" not in query(page))
    assert query(page)["head"] == str(head)


def test_escape_ends_the_tour_and_back_goes_one_step_back(go, page):
    go("/?run=text&tour=1")
    card = page.get_by_role("dialog")
    expect(card).to_contain_text(f"1 of {STEPS}")
    card.get_by_role("button", name="Next").click()
    expect(card).to_contain_text(f"2 of {STEPS}")
    page.go_back()
    expect(card).to_contain_text(f"1 of {STEPS}")
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    eventually(lambda: "tour" not in query(page))


def test_the_tour_of_images_speaks_of_patches(go, page):
    go("/head?run=vision&tour=4")
    card = page.get_by_role("dialog")
    expect(card).to_contain_text("patch")
    go("/input?run=bare-one&tour=3")
    expect(card).to_contain_text("3 of 4")


def test_a_term_explains_itself_under_the_pointer_and_on_focus(go, page):
    go("/runs")
    term = page.locator('.qk-term[data-term="head"]').first
    tip = page.get_by_role("tooltip")
    term.hover()
    expect(tip).to_be_visible()
    expect(tip).to_contain_text(BY_NAME["head"].sentence)
    page.mouse.move(640, 700)
    expect(tip).to_be_hidden()
    term.focus()
    expect(tip).to_be_visible()
    assert term.get_attribute("aria-description") == BY_NAME["head"].sentence
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (820, 1180), (1024, 768)])
def test_the_top_row_never_overlaps_itself(go, page, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    go("/?run=text")
    expect(page.locator("[data-head]")).to_have_count(12)
    if size[0] < 1000:
        expect(page.get_by_role("button", name="Expand sidebar")).to_be_visible()
    parts = [
        *page.locator("nav a").all(),
        *page.locator("nav .tour, nav .save-charts, nav .copy").all(),
        page.locator(".st-key-search input"),
    ]

    def tidy() -> bool:
        boxes = sorted((part.bounding_box() for part in parts), key=lambda box: box["x"])
        apart = all(left["x"] + left["width"] <= right["x"] + 0.5 for left, right in pairwise(boxes))
        view = page.locator(".st-key-view").bounding_box()
        lowest = max(box["y"] + box["height"] for box in boxes)
        wide = view["width"] > (700 if size[0] < 1000 else size[0] - 280)
        return apart and boxes[-1]["x"] + boxes[-1]["width"] <= size[0] and lowest <= view["y"] and wide

    eventually(tidy, 30)
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_back_and_forward_restore_every_view(go, page):
    """A head on the atlas, a point on its map, another token of the input; then three steps back and two forward."""
    go("/?run=text")
    page.locator("[data-head=L1H2]").click()
    page.wait_for_url("**head=2**")
    settle(page)
    page.get_by_role("link", name="Head", exact=True).click()
    page.wait_for_url("**/head?**")
    settle(page)
    expect(page.locator(".walk b").first).to_have_text("L1H2")
    page.get_by_role("link", name="Input", exact=True).click()
    page.wait_for_url("**/input?**")
    words = page.locator(".st-key-input_sentence [data-position]")
    words = words if words.count() else page.locator(".st-key-input_sentence .token")
    words.nth(5).click()
    page.wait_for_url("**token=5**")
    settle(page)
    for path, has_token in (("/input", False), ("/head", False), ("/", False)):
        calm(page)
        page.go_back()
        eventually(lambda path=path: place(page).path == path, 30)
        settle(page)
        assert ("token" in query(page)) == has_token
        assert query(page)["head"] == "2"
    expect(page.locator("[data-head=L1H2]")).to_have_attribute("aria-selected", "true")
    calm(page)
    page.go_forward()
    expect(page.locator(".walk b").first).to_have_text("L1H2")
    calm(page)
    page.go_forward()
    eventually(lambda: place(page).path == "/input", 30)
    settle(page)
    assert "token" not in query(page)


def test_the_beginning_of_a_name_is_enough_and_a_wrong_one_is_said(go, page):
    go("/?run=tex")
    expect(page.locator("[data-head]")).to_have_count(12)
    go("/?run=nowhere")
    expect(page.get_by_test_id("stAlert")).to_contain_text("There is no run 'nowhere' here")
    go("/head?run=damaged-one")
    expect(page.get_by_test_id("stAlert").first).to_contain_text("extract it again")
    page.get_by_role("button", name="All runs").click()
    expect(page.get_by_test_id("stAlert").first).to_contain_text("damaged-one cannot be opened")
    go("/?run=text&site=no.such.site&head=99&token=x")
    said = page.get_by_test_id("stAlert").first
    for word in ("no.such.site", "head 99", "token 'x'"):
        expect(said).to_contain_text(word)


def test_a_view_stands_alone_in_a_frame_of_another_page(page, address):
    link = f"{address}/head?run=text&site=text.dec.self.1&head=2&embed=true"
    page = page.context.new_page()  # where the app was shown before, Playwright does not see into a frame of it
    page.set_content(f'<iframe src="{link}" width="1100" height="700"></iframe>')
    frame = page.frame_locator("iframe")
    picture = frame.locator(".qk-host[data-view]")
    expect(picture).to_have_attribute("data-view", "text|atlas-2d|text.dec.self.1|2")
    for selector in ("[data-testid=stSidebar]", ".st-key-top", ".st-key-welcome", "[data-testid=stToolbar]"):
        expect(frame.locator(selector)).to_have_count(0)
    assert picture.bounding_box()["x"] - page.locator("iframe").bounding_box()["x"] < 40
    frame.locator(".walk button").last.click()
    expect(picture).to_have_attribute("data-view", "text|atlas-2d|text.dec.self.1|3")
    inside = page.frames[1]
    eventually(lambda: "head=3" in inside.evaluate("location.search"))
    assert "embed=true" in inside.evaluate("location.search")


def test_a_run_without_a_map_is_shown_as_far_as_it_goes(go, page):
    go("/?run=bare-one")
    expect(page.locator("[data-head]")).to_have_count(6)
    go("/input?run=bare-one")
    expect(page.locator(".st-key-input_sentence")).to_be_visible()
