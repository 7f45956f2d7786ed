"""The Input view in a browser, against what the run itself says."""

from __future__ import annotations

import re

import numpy as np
import pytest

from analysis.store import open_run
from tests.store import synthetic

HOSTILE = ("<script>document.title='owned'</script>", "<img/src=x/onerror=document.title='owned'>")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    words = synthetic.WORDS
    synthetic.WORDS = [*words, *HOSTILE]
    try:
        synthetic.make_synthetic_run(folder, "texts", n_inputs=5, n_tokens=20, n_heads=4, causal=True)
    finally:
        synthetic.WORDS = words
    synthetic.make_synthetic_run(folder, "long", n_inputs=2, n_tokens=120, n_heads=2, causal=True)
    synthetic.make_synthetic_run(folder, "images", n_inputs=3, n_tokens=37, n_heads=3, modality="vision")
    return folder


@pytest.fixture(scope="module")
def address(serve, runs):
    return serve(runs)


def tokens_of(page):
    """Text and shown weight of every token of the sentence, in order."""
    page.locator(".token").first.wait_for()
    return page.locator(".token").evaluate_all("all => all.map(one => [one.textContent, Number(one.dataset.weight)])")


def told_at(page, mark) -> dict[str, str]:
    """The rows of the tooltip over a mark of a chart."""
    mark.wait_for()
    mark.hover()
    page.locator("#vg-tooltip-element.visible").wait_for()
    rows = page.locator("#vg-tooltip-element tr").evaluate_all(
        "rows => rows.map(row => [row.querySelector('.key').textContent, row.querySelector('.value').textContent])"
    )
    return {name.removesuffix(":"): value for name, value in rows}


@pytest.mark.parametrize(("kind", "axis"), [("query", 1), ("key", 0)])
def test_the_sentence_shows_the_stored_attention_of_the_picked_token(runs, go, kind, axis):
    with open_run("texts", runs) as run:
        site = run.sites[1]
        attention = run.attention(site, 2, 3)
        tokens = run.tokens().query("input_id == 3")["text"].tolist()
    link = f"/input?run=texts&site={site.label}&head=2&input=3&token=5&kind={kind}"
    page = go(link)
    shown = tokens_of(page)
    assert [text for text, _ in shown] == tokens
    expected = attention[5] if axis == 1 else attention[:, 5]
    np.testing.assert_allclose([weight for _, weight in shown], expected, atol=1e-6)


def test_pointing_at_a_token_tells_the_exact_weight_and_clicking_picks_it(runs, go):
    with open_run("texts", runs) as run:
        attention = run.attention(run.sites[0], 0, 0)
    page = go("/input?run=texts&input=0&token=9")
    page.locator('.token[data-position="4"]').hover()
    page.locator(".says").first.filter(has_text=re.compile(rf": {attention[9, 4]:.4f}$")).wait_for()
    page.locator('.token[data-position="6"]').click()
    page.wait_for_url("**token=6**")
    page.wait_for_function("document.querySelector('.st-key-input_sentence') !== null")
    page.locator('.token[data-position="6"][aria-pressed="true"]').wait_for()
    np.testing.assert_allclose([weight for _, weight in tokens_of(page)], attention[6], atol=1e-6)


def test_the_first_click_on_the_first_input_picks_though_the_link_names_no_input(go):
    page = go("/input?run=texts")
    page.locator('.token[data-position="3"]').click()
    page.locator('.token[data-position="3"][aria-pressed="true"]').wait_for()


def test_averaged_heads_are_the_plain_mean(runs, go):
    with open_run("texts", runs) as run:
        mean = (run.attention(run.sites[0], 0, 1) + run.attention(run.sites[1], 3, 1)) / 2
    page = go("/input?run=texts&input=1&token=4&with=L1H3")
    np.testing.assert_allclose([weight for _, weight in tokens_of(page)], mean[4], atol=1e-6)


def test_hostile_tokens_stay_text_everywhere(runs, go):
    with open_run("texts", runs) as run:
        tokens = run.tokens()
    found = tokens[tokens["text"].isin(HOSTILE)]
    assert not found.empty
    for show in ("map", "lines", "table"):
        row = found.iloc[0]
        link = f"/input?run=texts&input={row.input_id}&token={row.position}&show={show}"
        page = go(link)
        assert row.text in [text for text, _ in tokens_of(page)]
        page.locator(f'.token[data-position="{row.position}"]').hover()
        page.wait_for_timeout(500)
        assert page.title() == "QK Atlas"
        assert page.locator('img[src="x"], img[src="x/onerror=document.title=\'owned\'"]').count() == 0


def test_the_heat_map_tells_the_stored_weight_at_the_pointer_and_a_click_picks(runs, go):
    with open_run("texts", runs) as run:
        attention = run.attention(run.sites[0], 1, 2)
    page = go("/input?run=texts&input=2&head=1")
    for query, key in ((0, 0), (7, 3), (len(attention) - 1, 5)):
        cell = page.locator(
            f'.mark-rect path[aria-label*="query: attends: {query};"][aria-label^="key: attended to: {key};"]'
        )
        told = told_at(page, cell)
        assert (told["query position"], told["key position"]) == (str(query), str(key))
        assert float(told["weight"]) == pytest.approx(attention[query, key], abs=6e-5)
    n_allowed = len(attention) * (len(attention) + 1) // 2
    assert page.locator('.mark-rect path[aria-label*="query: attends:"]').count() == n_allowed
    cell.click()
    page.wait_for_url(f"**token={len(attention) - 1}**")


def test_lines_end_where_the_weight_goes_and_either_side_can_be_picked(runs, go):
    with open_run("texts", runs) as run:
        attention = run.attention(run.sites[0], 1, 2)
    page = go("/input?run=texts&input=2&head=1&token=8&show=lines")
    lines = page.locator('.mark-rule line[aria-label*="query: 8"], .mark-rule line[aria-label*="query position: 8"]')
    lines.first.wait_for()
    assert lines.count() == int((attention[8] >= 0.01).sum())
    right = page.locator('.mark-text text[text-anchor="start"]')
    right.nth(2).click()
    page.wait_for_url("**token=2**")
    assert "kind=key" in page.url
    page.locator('.mark-text text[text-anchor="end"]').nth(5).click()
    page.wait_for_url("**token=5**")
    assert "kind=key" not in page.url


def test_a_long_text_is_windowed_and_exact(runs, go):
    with open_run("long", runs) as run:
        attention = run.attention(run.sites[0], 0, 0)
    page = go("/input?run=long&input=0&at=40.20")
    canvas = page.locator("canvas.cells")
    canvas.wait_for()
    cell, left, top = 12, 92, 76
    for row, column in ((3, 1), (20, 30), (35, 35)):
        for _ in range(20):  # the page may still be settling when the pointer first moves
            canvas.hover(position={"x": left + (column + 0.5) * cell, "y": top + (row + 0.5) * cell})
            says = page.locator(".side .says").text_content()
            if f"({40 + row})" in says and f"({20 + column})" in says:
                break
            page.mouse.move(0, 0)
            page.wait_for_timeout(250)
        assert f"({40 + row})" in says
        assert f"({20 + column})" in says
        assert says.endswith(f": {attention[40 + row, 20 + column]:.4f}")
    assert f"of {len(attention)} tokens" in page.locator(".side").text_content()
    page.locator(".whole").click(position={"x": 140, "y": 140})
    page.wait_for_url("**at=**")
    page.get_by_text(f"queries {len(attention) - 36}–{len(attention) - 1}").wait_for()


def test_the_overlay_is_strongest_where_the_head_looks_most(runs, go):
    with open_run("images", runs) as run:
        attention = run.attention(run.sites[1], 1, 2)
    best = int(attention[10].argmax())
    name = "CLS" if best == 0 else f"patch {(best - 1) // 6}, {(best - 1) % 6}"
    link = "/input?run=images&site=vision.enc.self.1&head=1&input=2&token=10"
    page = go(link)
    chart = page.get_by_test_id("stVegaLiteChart")
    description = chart.get_attribute("aria-label")
    assert f"Strongest: {name} {attention[10, best]:.2f}" in description
    shaded = chart.locator(f'path[aria-label*="name: {name};"], path[aria-label*="key: {name};"]').last
    told = told_at(page, shaded)
    assert (told["key"], told["position"]) == (name, str(best))
    assert float(told["weight"]) == pytest.approx(attention[10, best], abs=6e-5)
    shaded.click()
    page.wait_for_url(f"**token={best}**")


def test_the_strip_picks_a_head_and_back_returns(runs, go):
    page = go("/input?run=texts&input=1&token=4")
    page.locator('.strip button[aria-label="L1H2"]').click()
    page.wait_for_url("**head=2**")
    assert "site=text.dec.self.1" in page.url
    page.locator('.strip button[aria-label="L1H2"][aria-pressed="true"]').wait_for()


def test_walking_the_inputs_goes_round(runs, go):
    page = go("/input?run=texts&input=4")
    page.get_by_role("button", name="›").click()
    page.wait_for_url("**input=0**")
    page.get_by_role("button", name="‹").click()
    page.wait_for_url("**input=4**")
