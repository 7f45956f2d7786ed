"""The page Heads in a browser: both pictures say what the run says; what is picked in one is picked in the other."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pandas as pd
import pytest
from playwright.sync_api import Locator, Page, expect

from analysis.labels import label_heads
from analysis.patterns import arrange, head_features
from analysis.store.run import open_run
from tests.e2e.serving import calm, eventually, new_context, settle


@pytest.fixture(scope="module")
def truth(runs: Path) -> pd.DataFrame:
    """The scores of the run ``text`` with the name of each head, as the run gives them."""
    with open_run("text", runs) as run:
        depth = {site.key: site.depth for site in run.sites}
        scores = run.head_scores()
    return scores.assign(name=[f"L{depth[site]}H{head}" for site, head in zip(scores["site"], scores["head"])])


def of(truth: pd.DataFrame, metric: str) -> pd.Series:
    return truth[truth["metric"] == metric].set_index("name")["value"]


def cell(page: Page, name: str) -> Locator:
    return page.locator(f".cell[data-head={name}]")


def dot(page: Page, name: str) -> Locator:
    return page.locator(f".plot .dot[data-head={name}]")


def names(found: Locator) -> list[str]:
    return [each.get_attribute("data-head") for each in found.all()]


def word(page: Page, name: str) -> str | None:
    address = page.evaluate("location.href")  # page.url is only as new as the last message that was heard
    return parse_qs(urlparse(address).query).get(name, [None])[0]


def in_cell(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def test_every_cell_and_every_dot_has_the_value_of_the_run(go, truth):
    page = go("/heads?run=text&score=entropy&across=entropy&up=first_token")
    expect(page.locator(".cell")).to_have_count(12)
    entropy, first = of(truth, "entropy"), of(truth, "first_token")
    for name, value in entropy.items():
        expect(cell(page, name).locator(".text")).to_have_text(in_cell(value))
    places = {name: (float(dot(page, name).get_attribute("cx")), float(dot(page, name).get_attribute("cy")))
              for name in entropy.index}  # fmt: skip
    placed = pd.DataFrame(places, index=["x", "y"]).T
    assert placed["x"].corr(entropy) == pytest.approx(1, abs=1e-3)
    assert placed["y"].corr(first) == pytest.approx(-1, abs=1e-3)  # pixels are counted from the top


def test_hover_tells_value_interval_and_null_and_marks_both_pictures_without_a_rerun(go, truth):
    page = go("/heads?run=text&score=first_token")
    row = truth[(truth["metric"] == "first_token") & (truth["name"] == "L2H1")].iloc[0]
    expect(cell(page, "L2H1")).to_be_visible()
    page.evaluate("() => { WebSocket.prototype.send = () => { throw new Error('hovering talked to the server'); }; }")
    cell(page, "L2H1").hover()
    tip = page.locator(".tip.on")
    expect(tip.locator("b")).to_have_text("L2H1")
    expect(tip).to_contain_text(f"First token: {row['value']:.3g} (95 %: {row['ci_low']:.3g} to {row['ci_high']:.3g})")
    expect(tip).to_contain_text("null 0.1, 12 inputs")
    ring = page.locator(".ring.hot")
    expect(ring).to_have_count(1)
    assert ring.get_attribute("cx") == dot(page, "L2H1").get_attribute("cx")
    page.mouse.move(5, 700)
    expect(page.locator(".ring.hot")).to_have_count(0)


def test_a_click_in_either_picture_picks_the_head_in_both_and_in_the_address(go):
    page = go("/heads?run=text")
    cell(page, "L1H2").click()
    page.wait_for_url("**head=2**")
    assert word(page, "site") == "text.dec.self.1"
    ring = page.locator(".ring.picked")
    expect(ring).to_have_count(1)
    assert ring.get_attribute("cx") == dot(page, "L1H2").get_attribute("cx")
    expect(page.locator(".bar.picked")).to_have_count(2)  # its intervals on both axes
    expect(page.get_by_role("heading", name="L1H2 of Text decoder, self-attention")).to_be_visible()
    settle(page)
    calm(page)
    box = dot(page, "L2H3").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url("**head=3**")
    expect(cell(page, "L2H3")).to_have_attribute("aria-selected", "true")
    expect(cell(page, "L1H2")).to_have_attribute("aria-selected", "false")
    expect(page.get_by_role("heading", name="L2H3 of Text decoder, self-attention")).to_be_visible()


def test_the_picked_head_is_the_same_in_atlas_and_head(go):
    page = go("/heads?run=text&score=entropy&site=text.dec.self.1&head=2")
    page.get_by_role("button", name="Tint the Atlas").click()
    page.wait_for_function("location.pathname !== '/heads'")
    expect(page.locator(".cell[data-head=L1H2]")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("combobox", name="Frame shows")).to_have_value("Entropy")
    assert word(page, "score") == "entropy"
    settle(page)
    page.locator(".st-key-nav").get_by_text("Heads", exact=True).click()
    page.wait_for_url("**/heads?**")
    settle(page)
    page.get_by_role("button", name="Open L1H2").click()
    page.wait_for_url("**/head?**")
    expect(page.locator(".walk b")).to_have_text("L1H2")


def test_double_click_and_enter_open_the_head_view(go):
    page = go("/heads?run=text")
    cell(page, "L0H1").dblclick()
    page.wait_for_url("**/head?**")
    expect(page.locator(".walk b")).to_have_text("L0H1")
    page = go("/heads?run=text")
    cell(page, "L0H0").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator(".tip.on b")).to_have_text("L1H2")
    page.keyboard.press("Enter")
    page.wait_for_url("**/head?**")
    expect(page.locator(".walk b")).to_have_text("L1H2")


def test_another_measure_is_shown_in_grid_legend_and_address(go, truth):
    page = go("/heads?run=text&score=first_token")
    expect(cell(page, "L0H0").locator(".text")).to_have_text(in_cell(of(truth, "first_token")["L0H0"]))
    page.get_by_role("combobox", name="Grid shows").click()
    page.get_by_role("option", name="Entropy", exact=True).click()
    expect(cell(page, "L0H0").locator(".text")).to_have_text(in_cell(of(truth, "entropy")["L0H0"]))
    expect(page.locator(".legend").first).to_contain_text("cells and dots:Entropy")
    expect(page.locator(".legend").first).to_contain_text("high = spread out")
    eventually(lambda: word(page, "score") == "entropy")


def test_less_its_null_cells_tell_the_difference(go, truth):
    page = go("/heads?run=text&score=entropy")
    page.get_by_text("Less null").click()
    less = of(truth, "entropy") - 0.1
    for name in ("L0H0", "L2H3"):
        sign = "+" if less[name] > 0 else "−"
        assert abs(less[name]) > 0.005
        expect(cell(page, name).locator(".text")).to_have_text(f"{sign}{in_cell(abs(less[name]))}")
    eventually(lambda: word(page, "null") == "1")
    expect(page.locator(".legend").first).to_contain_text("Entropy less its null")


def test_ranked_cells_follow_the_measure(go, truth):
    page = go("/heads?run=text&score=entropy&order=rank")
    expected = of(truth, "entropy").sort_values(ascending=False).index.tolist()
    expect(page.locator(".cell").first).to_have_attribute("data-head", expected[0])
    assert names(page.locator(".cell")) == expected


def test_a_filter_dims_what_it_leaves_out_counts_and_stays_in_the_link(go, truth, browser, address):
    page = go("/heads?run=text&score=entropy")
    box = page.get_by_role("textbox", name="Filter of heads")
    box.fill("entropy above 0.5 and layer below 2")
    box.press("Enter")
    entropy = of(truth, "entropy")
    left = [name for name, value in entropy.items() if value > 0.5 and int(name[1]) < 2]
    assert 0 < len(left) < 12
    expect(page.locator(".st-key-heads_top")).to_contain_text(f"{len(left)} of 12 match")
    expect(page.locator(".cell.out")).to_have_count(12 - len(left))
    expect(page.locator(".dot.out")).to_have_count(12 - len(left))
    assert set(names(page.locator(".cell:not(.out)"))) == set(left)
    eventually(lambda: word(page, "filter") == "entropy above 0.5 and layer below 2")
    other = new_context(browser).new_page()
    other.goto(page.url)
    settle(other)
    expect(other.locator(".cell.out")).to_have_count(12 - len(left))
    other.context.close()


def test_a_filter_that_cannot_be_understood_is_answered_and_shows_all(go):
    page = go("/heads?run=text&filter=entrpy <img src=x onerror=window.__hurt=1> above 1")
    expect(page.get_by_role("alert")).to_contain_text("which is no measure of this run")
    expect(page.locator(".cell")).to_have_count(12)
    expect(page.locator(".cell.out")).to_have_count(0)
    assert page.evaluate("window.__hurt") is None


def test_a_condition_is_put_together_by_clicking(go, truth):
    page = go("/heads?run=text&score=first_token")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("button", name="Add “first-token above 0.5”").click()
    n = int((of(truth, "first_token") > 0.5).sum())
    expect(page.locator(".st-key-heads_top")).to_contain_text(f"{n} of 12 match")
    expect(page.get_by_role("textbox", name="Filter of heads")).to_have_value("first-token above 0.5")


def test_a_name_filters_its_heads_and_a_threshold_renames_them(go, runs):
    with open_run("text", runs) as run:
        labels = label_heads(run.head_scores(), run.head_profiles())
        first = run.head_scores().query("metric == 'first_token'")
    n = int((labels["label"] == "first-token sink").sum())
    page = go("/heads?run=text")
    page.locator(".st-key-heads_names").get_by_text(f"first-token sink {n}").click()
    expect(page.locator(".cell:not(.out)")).to_have_count(n)
    eventually(lambda: word(page, "filter") == "label is first-token sink")
    page.get_by_text("Names of heads: thresholds").click()
    limit = page.get_by_role("spinbutton", name="first-token sink")
    limit.fill("0.8")
    limit.press("Enter")
    fewer = int(((first["value"] >= 0.8) & (first["ci_low"] > first["null"])).sum())
    assert fewer != n
    expect(page.locator(".cell:not(.out)")).to_have_count(fewer)
    expect(page.locator(".st-key-heads_names").get_by_text(f"first-token sink {fewer}")).to_be_visible()
    eventually(lambda: word(page, "thresholds") == "first-token sink:0.8")


def test_several_heads_are_compared_and_taken_away(go, truth):
    page = go("/heads?run=text")
    cell(page, "L0H1").click()
    page.wait_for_url("**head=1**")
    calm(page)
    cell(page, "L2H3").click(modifiers=["Shift"])
    expect(page.locator(".cell.several")).to_have_count(2)
    expect(page.get_by_text("2 heads compared:")).to_be_visible()
    eventually(lambda: word(page, "heads") == "text.dec.self.0.1,text.dec.self.2.3")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download with intervals").click()
    taken = pd.read_csv(download.value.path()).set_index(["name", "metric"])
    assert set(taken.index.get_level_values("name")) == {"L0H1", "L2H3"}
    for name in ("L0H1", "L2H3"):
        for metric in ("entropy", "first_token", "previous_token"):
            row = truth[(truth["name"] == name) & (truth["metric"] == metric)].iloc[0]
            for part in ("value", "ci_low", "ci_high", "null", "n"):
                assert taken.loc[(name, metric), part] == pytest.approx(row[part])
    page.keyboard.press("Escape")
    cell(page, "L0H1").focus()
    page.keyboard.press("Escape")
    expect(page.locator(".cell.several")).to_have_count(0)


def test_a_rectangle_in_the_scatter_compares_what_lies_in_it(go, truth):
    page = go("/heads?run=text&across=entropy&up=first_token")
    expect(page.locator(".plot .dot")).to_have_count(12)
    box = page.locator(".plot").bounding_box()
    middle = box["x"] + 54 + (box["width"] - 54 - 14) / 2
    page.mouse.move(middle, box["y"] + 11)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] - 40, steps=4)
    page.mouse.up()
    entropy = of(truth, "entropy")
    inside = entropy[entropy > (entropy.min() + entropy.max()) / 2].index
    expect(page.locator(".cell.several")).to_have_count(len(inside))
    assert set(names(page.locator(".cell.several"))) == set(inside)


def test_heads_by_likeness_lie_where_the_library_puts_them(go, runs):
    page = go("/heads?run=text&across=likeness&tone=cells")
    with open_run("text", runs) as run:
        depth = {site.key: site.depth for site in run.sites}
        places = arrange(head_features(run.head_scores(), run.head_profiles()), "pca").places
    expect(page.locator(".plot .dot")).to_have_count(12)
    at = {f"L{depth[row.site]}H{row.head}": (row.x, row.y) for row in places.itertuples()}
    seen = {name: (float(dot(page, name).get_attribute("cx")), -float(dot(page, name).get_attribute("cy")))
            for name in at}  # fmt: skip
    for axis in (0, 1):
        assert pd.DataFrame(at).T[axis].corr(pd.DataFrame(seen).T[axis]) == pytest.approx(1, abs=1e-3)
    expect(page.get_by_role("combobox", name="Arranged by")).to_be_visible()


def test_all_figures_can_be_taken_away(go, truth):
    page = go("/heads?run=text")
    page.get_by_text("Table of all heads").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all figures as CSV").click()
    taken = pd.read_csv(download.value.path())
    joined = taken.merge(truth, on=["name", "metric"], suffixes=("", " true"))
    assert len(joined) == len(truth)
    assert (joined["value"] - joined["value true"]).abs().max() < 1e-9


def test_a_run_of_images_and_a_wide_run_are_shown_whole(go):
    page = go("/heads?run=vision")
    expect(page.locator(".cell")).to_have_count(6)
    page = go("/heads?run=wide")
    expect(page.locator(".cell")).to_have_count(20 * 34)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.locator(".cell[data-head=L19H33]").scroll_into_view_if_needed()
    page.locator(".cell[data-head=L19H33]").hover()
    expect(page.locator(".tip.on b")).to_have_text("L19H33")


def test_quick_choices_are_all_kept_and_back_takes_them_back(go):
    page = go("/heads?run=text")
    expect(cell(page, "L0H0")).to_be_visible()
    for name in ("L0H0", "L1H1", "L2H2", "L2H3"):
        cell(page, name).click(modifiers=["Shift"])
    eventually(
        lambda: word(page, "heads") == ",".join(f"text.dec.self.{place}" for place in ("0.0", "1.1", "2.2", "2.3"))
    )
    expect(page.locator(".cell.several")).to_have_count(4)
    settle(page)
    calm(page)
    cell(page, "L0H3").click()
    page.wait_for_url("**head=3**")
    settle(page)
    calm(page)
    page.go_back()
    expect(cell(page, "L0H3")).to_have_attribute("aria-selected", "false")
    expect(page.locator(".cell.several")).to_have_count(4)


def test_a_dot_of_the_trend_picks_its_head(go, truth):
    page = go("/heads?run=text&score=entropy")
    chart = page.locator(".st-key-heads_trend")
    chart.scroll_into_view_if_needed()
    dots = chart.locator("path[aria-roledescription=circle]")
    expect(dots).to_have_count(12)
    expect(chart.locator("path[aria-roledescription=circle]").first).to_be_visible()
    label = dots.nth(5).get_attribute("aria-label")
    dots.nth(5).click()
    page.wait_for_url("**head=**")
    picked = next(name for name in of(truth, "entropy").index if f"head: {name};" in label)
    expect(cell(page, picked)).to_have_attribute("aria-selected", "true")
