"""The Atlas page in a browser: what is written on it is what the run says."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import expect

from analysis.store.run import open_run
from app.palette import VIRIDIS
from tests.e2e.serving import new_context, settle


def figures(runs: Path, run_id: str, layer: int, head: int) -> dict[str, float]:
    with open_run(run_id, runs) as run:
        key = next(site.key for site in run.sites if site.depth == layer)
        fidelity, scores = run.fidelity("atlas-2d"), run.head_scores()
        mine = fidelity[(fidelity["site"] == key) & (fidelity["head"] == head)].iloc[0]
        own = scores[(scores["site"] == key) & (scores["head"] == head)]
        return {
            **dict(zip(own["metric"], own["value"])),
            "explains": mine["kl_explained"],
            "label": run.site(key).label,
        }


def test_hover_names_the_head_and_its_true_values_without_a_rerun(go, runs):
    page = go("/?run=text")
    page.evaluate("() => { WebSocket.prototype.send = () => { throw new Error('hovering talked to the server'); }; }")
    truth = figures(runs, "text", 2, 3)
    best = max(("first_token", "previous_token"), key=truth.get)
    page.locator("[data-head=L2H3]").hover()
    tip = page.locator(".tip")
    expect(tip).to_have_text(
        f"L2H3 · {best.replace('_', ' ')} {truth[best]:.2f} · explains {truth['explains'] * 100:.0f} %"
    )
    card = page.locator(".card")
    expect(card.locator("b")).to_have_text("L2H3")
    expect(card).to_contain_text(truth["label"])
    for name in ("first_token", "previous_token"):
        row = card.locator(".measure", has_text=name.replace("_", " ").capitalize())
        expect(row.locator(".value")).to_have_text(f"{truth[name]:.2f}")


def test_every_head_is_there_with_rows_as_layers(go):
    page = go("/?run=text")
    rows = page.locator(".row")
    expect(rows).to_have_count(3)
    for layer in range(3):
        expect(rows.nth(layer).locator(".side")).to_have_text(f"L{layer}")
        names = [cell.get_attribute("data-head") for cell in rows.nth(layer).locator(".cell").all()]
        assert names == [f"L{layer}H{head}" for head in range(4)]


def test_thumbnails_are_painted_from_the_runs_sprite(go, runs):
    """What is seen in a cell is that head's part of the stored picture."""
    page = go("/?run=text")
    with open_run("text", runs) as run:
        png = run.thumbnail("atlas-2d", "text.dec.self")
    sprite = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)
    size = sprite.shape[0] // 3
    for layer, head in ((0, 0), (2, 3)):
        cell = page.locator(f"[data-head=L{layer}H{head}]")
        seen = Image.open(io.BytesIO(cell.screenshot())).convert("RGB")
        beside = (seen.width - seen.height) // 2  # cells may be wider than the square picture in them
        seen = seen.crop((beside, 0, beside + seen.height, seen.height)).resize((size, size), Image.Resampling.BOX)
        thumbnail = sprite[layer * size : (layer + 1) * size, head * size : (head + 1) * size]
        inner = slice(2, -2)
        likeness = np.corrcoef(np.asarray(seen)[inner, inner].ravel(), thumbnail[inner, inner].ravel())[0, 1]
        assert likeness > 0.9


def test_click_selects_and_stays_double_click_opens(go):
    page = go("/?run=text")
    page.locator("[data-head=L1H2]").click()
    page.wait_for_url("**head=2**")
    settle(page)
    assert urlparse(page.url).path == "/"
    expect(page.locator("[data-head=L1H2]")).to_have_attribute("aria-selected", "true")
    page.mouse.move(5, 700)
    expect(page.locator(".card b")).to_have_text("L1H2")
    page.locator("[data-head=L2H1]").dblclick()
    page.wait_for_url("**/head?**")
    query = parse_qs(urlparse(page.url).query)
    assert (query["site"], query["head"]) == (["text.dec.self.2"], ["1"])
    expect(page.locator(".walk b")).to_have_text("L2H1")


def test_keyboard_alone_walks_and_opens(go):
    page = go("/?run=text")
    page.locator("[data-head=L0H0]").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator(".card b")).to_have_text("L1H2")
    expect(page.locator(".tip.on")).to_have_text(page.locator("[data-head=L1H2]").get_attribute("aria-label"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/head?**")
    expect(page.locator(".walk b")).to_have_text("L1H2")


def test_frames_and_rank_follow_the_chosen_score(go, runs):
    page = go("/?run=text&score=first_token&order=rank")
    with open_run("text", runs) as run:
        scores = run.head_scores().query("metric == 'first_token'").sort_values("value", ascending=False)
        depth = {site.key: site.depth for site in run.sites}
        expected = [f"L{depth[key]}H{head}" for key, head in zip(scores["site"], scores["head"])]
    cells = page.locator(".cell")
    expect(cells).to_have_count(12)
    assert [cell.get_attribute("data-head") for cell in cells.all()] == expected
    expect(cells.first).to_have_attribute("style", "--frame: rgb(253 231 37);")  # the top of viridis


def test_sentence_counts_from_the_run(go, runs):
    page = go("/?run=text")
    with open_run("text", runs) as run:
        first = run.head_scores().query("metric == 'first_token'")["value"]
        median = run.fidelity("atlas-2d")["kl_explained"].median()
    sentence = page.locator(".qk-sentence", has_text="12 heads")
    expect(sentence.locator("[data-term]").first).to_be_visible()
    said = sentence.inner_text()
    assert f"{int((first >= 0.5).sum())} put most of their weight on the first token" in said
    assert f"explain {median * 100:.0f}\xa0% of" in said


def test_the_table_of_all_heads_can_be_taken_away(go, runs):
    page = go("/?run=text")
    page.get_by_text("Table of all heads").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    table = pd.read_csv(download.value.path())
    assert list(table["name"]) == [f"L{layer}H{head}" for layer in range(3) for head in range(4)]
    truth = figures(runs, "text", 2, 3)
    row = table[table["name"] == "L2H3"].iloc[0]
    assert row["first_token"] == pytest.approx(truth["first_token"])
    assert row["kl_explained"] == pytest.approx(truth["explains"])


def test_grid_wider_than_the_window_scrolls_inside(go):
    page = go("/?run=wide")
    expect(page.locator(".cell")).to_have_count(20 * 34)
    page.locator("[data-head=L19H33]").scroll_into_view_if_needed()
    page.locator("[data-head=L19H33]").hover()
    expect(page.locator(".tip")).to_contain_text("L19H33")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_link_restores_in_a_fresh_browser(go, browser, address):
    page = go("/?run=text")
    page.locator("[data-head=L1H3]").click()
    page.wait_for_url("**head=3**")
    link = page.url
    other = new_context(browser).new_page()
    other.goto(link)
    settle(other)
    expect(other.locator("[data-head=L1H3]")).to_have_attribute("aria-selected", "true")
    expect(other.locator(".card b")).to_have_text("L1H3")
    other.context.close()


BACK_AT_ONCE = """cell => new Promise(done => { const before = location.href; cell.click();
    const timer = setInterval(() => {
        if (location.href !== before) { clearInterval(timer); history.back(); done(); } }, 1);
})"""


def test_back_returns_to_the_head_before(go):
    """Also when it is pressed before the server has drawn the head that is left."""
    page = go("/?run=text")
    page.locator("[data-head=L0H1]").click()
    page.wait_for_url("**head=1**")
    for name in ("L0H2", "L2H3", "L1H2", "L0H3"):
        settle(page)
        page.locator(f"[data-head={name}]").evaluate(BACK_AT_ONCE)
        page.wait_for_url("**head=1**")
        settle(page)
        expect(page.locator("[data-head=L0H1]")).to_have_attribute("aria-selected", "true")
        expect(page.locator(f"[data-head={name}]")).to_have_attribute("aria-selected", "false")
        expect(page.locator(".card b")).to_have_text("L0H1")


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("/?run=nosuch", "There is no run 'nosuch'"),
        ("/?run=text&site=text.dec.self.9", "no attention site 'text.dec.self.9'"),
        ("/?run=text&head=99", "head 99"),
        ("/?run=text&head=x%3Cscript%3E", "whole number"),
        ("/?run=text&map=nosuch", "no map 'nosuch'"),
        ("/?run=text&colour=nosuch", "no token column 'nosuch'"),
        ("/?run=text&input=77", "input 77"),
        ("/?run=broken", "broken' cannot be opened: run.duckdb has"),
    ],
)
def test_what_a_link_asks_in_vain_is_said_in_a_sentence(go, link, said):
    page = go(link)
    alert = page.locator("[data-testid=stAlert]").first
    expect(alert).to_contain_text(said)
    assert "Traceback" not in page.inner_text("body")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_damaged_run_leaves_the_others_working(go):
    page = go("/?run=broken")
    expect(page.locator("[data-testid=stAlert]")).to_have_count(1)
    page.locator(".st-key-pick_run input").click()
    page.get_by_role("option", name="text", exact=True).click()
    expect(page.locator(".cell")).to_have_count(12)


def test_without_runs_the_page_says_what_would_be_here(page, serve, tmp_path):
    page.goto(serve(tmp_path / "none"))
    expect(page.locator("body")).to_contain_text("No run yet")
    page.get_by_role("button", name="New run").click()
    page.wait_for_url("**/runs**")
    form = page.locator(".st-key-run_form")
    expect(form.get_by_text("Loading the model")).to_be_visible()
    places = set()
    for _ in range(20):  # the estimate is asked for twice a second: no left column is waited for meanwhile
        places.add(form.bounding_box()["x"])
        page.wait_for_timeout(100)
    assert len(places) == 1


def test_navigation_keeps_the_selection(go):
    page = go("/?run=text&site=text.dec.self.1&head=2")
    page.get_by_role("link", name="Head", exact=True).click()
    page.wait_for_url("**/head?**")
    expect(page.locator(".walk b")).to_have_text("L1H2")
    page.locator("nav a", has_text="Atlas").click()
    expect(page.locator("[data-head=L1H2]")).to_have_attribute("aria-selected", "true")


def test_all_heads_are_saved_as_a_picture_with_frames_and_names(go):
    page = go("/?run=text&score=first_token")
    page.wait_for_function("window.__qkAtlas?.painted")
    with page.expect_download() as fetched:
        page.get_by_role("button", name="Save the picture of all heads (PNG)").click()
    assert fetched.value.suggested_filename == "text-all-heads-atlas-2d.png"
    with Image.open(fetched.value.path()) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    box = page.locator(".grid canvas").bounding_box()
    assert pixels.shape[0] > 2 * box["height"]  # sharper than it is seen
    strongest = [int(VIRIDIS[-1][at : at + 2], 16) for at in (1, 3, 5)]
    assert (np.abs(pixels - strongest).max(axis=2) < 3).sum() > 1000  # the frame of the head with the most
