"""The Input view in a browser, against what the run itself says."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import vl_convert
from PIL import Image
from playwright.sync_api import Page, expect

from analysis.metrics.averages import average_attention
from analysis.pipeline.long_sums import WINDOWED_TOKENS
from analysis.store import open_run
from app.palette import VIRIDIS
from tests.e2e.serving import eventually
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
    make_tables = synthetic.make_tables
    synthetic.make_tables = lambda *arguments: in_two_parts(*make_tables(*arguments))
    try:
        synthetic.make_synthetic_run(folder, "parts", n_inputs=4, n_tokens=14, n_heads=2, causal=True)
    finally:
        synthetic.make_tables = make_tables
    synthetic.make_synthetic_run(folder, "images", n_inputs=3, n_tokens=37, n_heads=3, modality="vision")
    return folder


def in_two_parts(inputs, tokens, columns):
    """The same texts without the space before every second token: words of two sub-words."""
    texts = {}
    for input_id, rows in tokens[~tokens["is_special"]].groupby("input_id"):
        text, ends = "", []
        for number, word in enumerate(rows["text"]):
            text += word if number % 2 or not text else f" {word}"
            ends.append(len(text))
        tokens.loc[rows.index, "char_end"] = ends
        tokens.loc[rows.index, "char_start"] = np.array(ends) - rows["text"].str.len().to_numpy()
        texts[input_id] = text
    return inputs.assign(text=inputs["input_id"].map(texts)), tokens, columns


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


def exactly(text: str) -> float:
    """The number at the end of what the pointer tells; four digits of it are shown, however small it is."""
    return float(text.rsplit(": ", 1)[1])


def told_of_cell(page: Page, row: int, column: int, query: int, key: int) -> float:
    """What the heat map tells of a cell of its window."""
    canvas = page.locator("canvas.cells")
    canvas.wait_for()
    value = page.locator(".side .value")
    expected = re.compile(rf"\({query}\) → key .* \({key}\): ")

    def told() -> bool:
        size = canvas.evaluate("canvas => Object.assign({}, canvas.dataset)")
        left, top, wide, high = (float(size[name]) for name in ("left", "top", "wide", "high"))
        canvas.hover(position={"x": left + (column + 0.2) * wide, "y": top + (row + 0.2) * high})
        canvas.hover(position={"x": left + (column + 0.5) * wide, "y": top + (row + 0.5) * high})
        return value.count() == 1 and expected.search(value.text_content()) is not None

    eventually(told, 30)
    return exactly(value.text_content())


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
    expected = expected[:6] if axis == 1 else expected[5:]
    shown = shown[:6] if axis == 1 else shown[5:]
    np.testing.assert_allclose([weight for _, weight in shown], expected, atol=1e-6)


def test_pointing_at_a_token_tells_the_exact_weight_and_clicking_picks_it(runs, go):
    with open_run("texts", runs) as run:
        attention = run.attention(run.sites[0], 0, 0)
    page = go("/input?run=texts&input=0&token=9")
    page.locator('.token[data-position="4"]').hover()
    says = page.locator(".says div").first
    expect(says).to_have_text(re.compile(r"query .* \(9\) → key .* \(4\): "))
    assert exactly(says.text_content()) == pytest.approx(attention[9, 4], rel=6e-4)
    page.locator('.token[data-position="6"]').click()
    page.wait_for_url("**token=6**")
    page.wait_for_function("document.querySelector('.st-key-input_sentence') !== null")
    page.locator('.token[data-position="6"][aria-pressed="true"]').wait_for()
    np.testing.assert_allclose([weight for _, weight in tokens_of(page)][:7], attention[6, :7], atol=1e-6)


def test_the_first_click_on_the_first_input_picks_though_the_link_names_no_input(go):
    page = go("/input?run=texts")
    page.locator('.token[data-position="3"]').click()
    page.locator('.token[data-position="3"][aria-pressed="true"]').wait_for()


def test_averaged_heads_are_the_plain_mean(runs, go):
    with open_run("texts", runs) as run:
        mean = (run.attention(run.sites[0], 0, 1) + run.attention(run.sites[1], 3, 1)) / 2
    page = go("/input?run=texts&input=1&token=4&with=L1H3")
    np.testing.assert_allclose([weight for _, weight in tokens_of(page)][:5], mean[4, :5], atol=1e-6)


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
        assert told_of_cell(page, query, key, query, key) == pytest.approx(attention[query, key], rel=6e-4)
    row = page.locator(".side ol").first.locator("li .figure")
    expect(row).to_have_count(3)
    shown = [float(text) for text in row.all_text_contents()]
    assert shown == pytest.approx(np.sort(attention[-1])[::-1][:3], rel=6e-4)
    column = [float(text) for text in page.locator(".side ol").last.locator("li .figure").all_text_contents()]
    assert column == pytest.approx(np.sort(attention[5:, 5])[::-1][:3], rel=6e-4)
    canvas = page.locator("canvas.cells")
    size = canvas.evaluate("canvas => Object.values(canvas.dataset).map(Number)")
    left, top, wide, high = size
    canvas.click(position={"x": left + 5.5 * wide, "y": top + 8.5 * high})
    page.wait_for_url("**token=8**")


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
    for row, column in ((3, 1), (20, 30), (29, 39)):
        told = told_of_cell(page, row, column, 40 + row, 20 + column)
        assert told == pytest.approx(attention[40 + row, 20 + column], rel=6e-4)
    expect(page.locator(".side")).to_contain_text(f"of {len(attention)}")
    box = page.locator("canvas.cells").bounding_box()
    assert box["y"] + box["height"] <= 800
    page.locator(".side .whole").click(position={"x": 106, "y": 106})
    page.wait_for_url("**at=**")
    page.get_by_text(f"queries {len(attention) - 30}–{len(attention) - 1}").wait_for()
    page.go_back()
    page.get_by_text("queries 40–69, keys 20–59").wait_for()


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
    page.locator('.strip button[data-index="6"]').click()
    page.wait_for_url("**head=2**")
    assert "site=text.dec.self.1" in page.url
    page.locator('.strip button[data-index="6"][aria-pressed="true"]').wait_for()


def test_walking_the_inputs_goes_round(runs, go):
    page = go("/input?run=texts&input=4")
    page.get_by_role("button", name="›").click()
    page.wait_for_url("**input=0**")
    page.get_by_role("button", name="‹").click()
    page.wait_for_url("**input=4**")


def test_hiding_tokens_scales_the_rest_of_a_row_up_and_states_the_hidden_mass(runs, go):
    with open_run("texts", runs) as run:
        attention = run.attention(run.sites[0], 2, 1).astype(float)
        special = run.tokens().query("input_id == 1")["is_special"].to_numpy(dtype=bool)
    hidden = special.copy()
    hidden[3] = True
    kept = np.flatnonzero(~hidden)
    part = attention[np.ix_(kept, kept)]
    page = go("/input?run=texts&input=1&head=2&token=7&hide=special,3")
    shown = tokens_of(page)
    row = part[list(kept).index(7)] / part[list(kept).index(7)].sum()
    of_kept = dict(zip(kept.tolist(), row))
    for position, value in of_kept.items():
        if position <= 7:
            assert shown[position][1] == pytest.approx(value, abs=2e-6)
    assert page.locator(".token.hidden").count() == hidden.sum()
    mass = 1 - part.sum(axis=1) / attention[kept].sum(axis=1)
    own = mass[list(kept).index(7)]
    said = f"held {mass.mean() * 100:.0f}\u00a0% of a query's weight on average, {own * 100:.0f}\u00a0% of the picked"
    expect(page.get_by_text(said)).to_be_visible()
    assert told_of_cell(page, 5, 2, kept[5], kept[2]) == pytest.approx(part[5, 2] / part[5].sum(), rel=6e-4)


def test_words_are_merged_from_sub_words_and_can_be_picked(runs, go):
    with open_run("parts", runs) as run:
        attention = run.attention(run.sites[1], 1, 2)
        tokens = run.tokens().query("input_id == 2")
    words = [[0], *np.array_split(np.arange(1, len(tokens) - 1), range(2, len(tokens) - 2, 2)), [len(tokens) - 1]]
    summed = np.stack([attention[:, word].sum(axis=1) for word in words], axis=1)
    merged = np.stack([summed[word].mean(axis=0) for word in words])
    page = go(f"/input?run=parts&input=2&site={run.sites[1].label}&head=1&words=1&token=4")
    assert [text for text, _ in tokens_of(page)] == ["".join(tokens["text"].iloc[list(word)]) for word in words]
    np.testing.assert_allclose([weight for _, weight in tokens_of(page)][:3], merged[2, :3], rtol=1e-5)
    assert told_of_cell(page, 4, 1, "7–8", "1–2") == pytest.approx(merged[4, 1], rel=6e-4)
    np.testing.assert_allclose(merged.sum(axis=1), 1, rtol=1e-4)
    page.locator(".token").nth(4).click()
    page.wait_for_url("**token=7**")
    eventually(lambda: np.allclose([weight for _, weight in tokens_of(page)][:5], merged[4, :5], rtol=1e-5))


def test_weights_can_be_multiplied_by_the_norm_of_the_value(runs, go):
    with open_run("texts", runs) as run:
        tokens = run.tokens()
        own = (tokens["input_id"] == 2).to_numpy()
        heads = ((run.sites[0], 1), (run.sites[1], 0))
        weighed = np.mean([run.attention(*head, 2) * run.value_norms(*head)[own] for head in heads], axis=0)
    page = go("/input?run=texts&input=2&head=1&token=6&weigh=norm&with=L1H0")
    np.testing.assert_allclose([weight for _, weight in tokens_of(page)][:7], weighed[6, :7], rtol=1e-5)
    expect(page.get_by_text("rows do not sum to 1")).to_be_visible()
    assert told_of_cell(page, 9, 4, 9, 4) == pytest.approx(weighed[9, 4], rel=6e-4)


def test_the_scale_changes_colours_and_not_the_values(runs, go):
    with open_run("texts", runs) as run:
        attention = run.attention(run.sites[0], 1, 2)
    ticks, pictures = {}, {}
    for scale in ("linear", "log", "rank"):
        page = go(f"/input?run=texts&input=2&head=1&token=9&scale={scale}")
        assert told_of_cell(page, 9, 4, 9, 4) == pytest.approx(attention[9, 4], rel=6e-4)
        ticks[scale] = page.locator(".ends span").all_text_contents()
        pictures[scale] = page.locator("canvas.cells").evaluate("canvas => canvas.toDataURL()")
    allowed = attention[np.tril(np.ones_like(attention, dtype=bool))]
    assert float(ticks["linear"][2]) == pytest.approx(allowed.max() / 2, rel=6e-3)
    assert float(ticks["log"][2]) == pytest.approx(allowed.max() / 100, rel=6e-3)
    assert float(ticks["rank"][2]) == pytest.approx(np.median(allowed), rel=6e-3)
    assert len(set(pictures.values())) == 3


def test_the_means_over_all_inputs_are_those_of_the_run(runs, go):
    with open_run("texts", runs) as run:
        site = run.sites[1]
        ids = run.inputs()["input_id"].tolist()
        means = average_attention((run.attention(site, 3, i), run.allowed(site, i)) for i in ids)
    page = go(f"/input?run=texts&input=0&site={site.label}&head=3&show=all")
    charts = page.get_by_test_id("stVegaLiteChart")
    expect(charts).to_have_count(2)
    told = told_at(page, charts.first.locator(".mark-rect path").nth(4))
    query, key = int(told["query position"]), int(told["key position"])
    assert float(told["mean weight"]) == pytest.approx(means.by_position[query, key], rel=6e-4)
    assert int(told["inputs"]) == means.position_counts[query, key] == len(ids)
    best = int(means.offsets[np.nanargmax(means.by_offset)])
    expect(charts.last).to_have_attribute("aria-label", re.compile(f"Largest: offset {best}, "))
    page.get_by_text(f"Mean over all {len(ids)} inputs").wait_for()


def test_charts_of_the_view_are_saved_as_they_are_seen(runs, go):
    page = go("/input?run=images&site=vision.enc.self.1&head=1&input=2&token=9")
    page.wait_for_selector("svg.marks")
    page.get_by_role("button", name="Save charts").click()
    files = {}
    for form in ("SVG", "PNG"):
        with page.expect_download() as fetched:
            page.get_by_role("button", name=re.compile(f"^Save Picture with 36 patches .* as {form}$")).click()
        files[form] = fetched.value
    assert files["SVG"].suggested_filename == "images-input-1.svg"
    drawing = files["SVG"].path().read_text(encoding="utf-8")
    assert "run images" in drawing
    pictures = [Image.open(io.BytesIO(vl_convert.svg_to_png(drawing, scale=2))), Image.open(files["PNG"].path())]
    by_hand, own = (np.asarray(each.convert("RGB")).astype(int) for each in pictures)
    assert by_hand.shape == own.shape
    assert np.mean(np.abs(by_hand - own).max(axis=2) > 60) < 0.02  # but for letters
    top = [int(VIRIDIS[-1][at : at + 2], 16) for at in (1, 3, 5)]
    assert (np.abs(own - top).max(axis=2) < 12).sum() > 20  # the upper end of the colour bar: gradients come along


def test_arrows_lead_to_the_strongest_key_patch(runs, go):
    with open_run("images", runs) as run:
        patches = run.attention(run.sites[0], 2, 1)[1:, 1:]
    page = go("/input?run=images&head=2&input=1&show=arrows")
    lines = page.locator(".mark-rule line")
    expect(lines).to_have_count(36)
    told = lines.evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    found = [dict(part.split(": ", 1) for part in one.split("; ")) for one in told]
    name = "patch {}, {}".format
    ends = {one["query"]: (one["key"], float(one["weight"])) for one in found}
    for patch in range(36):
        best = int(patches[patch].argmax())
        assert ends[name(*divmod(patch, 6))][0] == name(*divmod(best, 6))
        assert ends[name(*divmod(patch, 6))][1] == pytest.approx(patches[patch, best], rel=6e-4)
    page.get_by_text(f"{(patches.argmax(axis=1) == np.arange(36)).sum()} of 36 look at themselves").wait_for()


def test_the_strong_flows_are_the_largest_weights_and_say_where_they_end(runs, go):
    with open_run("images", runs) as run:
        attention = run.attention(run.sites[0], 2, 1)
    page = go("/input?run=images&head=2&input=1&show=flows&flows=25")
    lines = page.locator(".mark-rule line")
    expect(lines).to_have_count(25)
    told = lines.evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    shown = sorted(float(re.search(r"weight: ([^;]+)", one)[1]) for one in told)
    np.fill_diagonal(attention, -1)
    assert shown == pytest.approx(np.sort(attention.ravel())[-25:], rel=6e-4)
    n = len(attention)
    page.get_by_text(f"The 25 strongest of {n * (n - 1):,} pairs").wait_for()


def test_smooth_shading_is_another_picture_with_the_same_values(runs, go):
    with open_run("images", runs) as run:
        attention = run.attention(run.sites[0], 2, 1)
    page = go("/input?run=images&head=2&input=1&token=10&smooth=1")
    expect(page.locator(".mark-image image")).to_have_count(3)
    cell = page.locator('.mark-rect path[aria-label*="patch 2, 3;"]').last
    assert float(told_at(page, cell)["weight"]) == pytest.approx(attention[10, 16], rel=6e-4)


def test_the_picture_grows_with_the_window_and_picks_what_is_clicked(runs, go):
    with open_run("images", runs) as run:
        attention = run.attention(run.sites[0], 2, 1)
    page = go("/input?run=images&head=2&input=1&token=10")
    drawing = page.locator(".st-key-input_picture svg.marks")
    drawing.wait_for()
    before = drawing.bounding_box()["width"]
    page.set_viewport_size({"width": 1920, "height": 1080})
    eventually(lambda: drawing.bounding_box()["width"] > 1.4 * before)
    assert drawing.bounding_box()["height"] < 1080 - 300, "the caption and the strip are out of sight"
    cell = page.locator('.mark-rect path[aria-label*="patch 4, 1;"]').last
    assert float(told_at(page, cell)["weight"]) == pytest.approx(attention[10, 26], rel=6e-4)
    cell.click()
    page.wait_for_url("**token=26**")


def test_the_strip_in_rank_order_keeps_names_and_follows_the_scores_of_this_input(runs, go):
    with open_run("texts", runs) as run:
        scores = run.head_input_scores("first_token").query("input_id == 3")
        depth = {site.key: site.depth for site in run.sites}
        ranked = scores.sort_values("value", ascending=False, kind="stable")
        names = [f"L{depth[site]}H{head}" for site, head in zip(ranked["site"], ranked["head"])]
    page = go("/input?run=texts&input=3&strip=first_token")
    expect(page.locator(".strip .named .figure")).to_have_text(names)
    first = page.locator(".strip button").first
    assert float(first.get_attribute("aria-label").rsplit(" ", 1)[1]) == pytest.approx(ranked["value"].max(), rel=6e-3)
    first.click()
    page.wait_for_url(f"**head={names[0][-1]}**")


def test_inputs_are_sorted_by_their_score_and_restricted_to_the_marked(runs, go):
    with open_run("texts", runs) as run:
        scores = run.head_input_scores("first_token", run.sites[0], 0).set_index("input_id")["value"]
        texts = run.inputs().set_index("input_id")["text"]
        marked = run.tokens().query("text == 'dog'")["input_id"].unique().tolist()
    order = scores.sort_values(ascending=False, kind="stable").index.tolist()
    page = go(f"/input?run=texts&input={order[0]}&order=first_token")
    for input_id in order[1:]:
        page.get_by_role("button", name="›").click()
        page.wait_for_url(f"**input={input_id}&**")
    assert 0 < len(marked) < len(texts)
    page = go(f"/input?run=texts&input={marked[0]}&find=text=dog&only=marked")
    page.get_by_text(f"Input ({len(marked)} of {len(texts)} in this run").wait_for()
    assert set(page.locator(".token.marked").all_text_contents()) == {"dog"}
    assert page.locator(".token.dim").count() == page.locator(".token").count() - page.locator(".token.marked").count()


def test_back_takes_a_pick_back_also_when_the_server_says_what_it_said_before(go):
    page = go("/input?run=texts&input=1")
    page.locator('.token[data-position="4"]').click()
    page.wait_for_url("**token=4**")
    expect(page.locator('.token[data-position="4"]')).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.locator('.token[aria-pressed="true"]')).to_have_count(0)


def test_the_keyboard_walks_the_tokens_and_picks(go):
    page = go("/input?run=texts&input=1&token=2")
    page.locator('.token[data-position="2"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url("**token=4**")
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("token="))


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("huge")
    shape = {"n_inputs": 1, "n_layers": 1, "n_heads": 2, "causal": True, "seed": 27, "with_projection": False}
    synthetic.make_synthetic_run(folder, "huge", n_tokens=4500, **shape)
    synthetic.make_synthetic_run(folder, "windowed", n_tokens=WINDOWED_TOKENS * 3 // 2 + 3, **shape)
    return folder


@pytest.mark.parametrize(("name", "more_than"), [("huge", 2999), ("windowed", WINDOWED_TOKENS)])
def test_an_input_of_3000_tokens_is_exact_at_twelve_random_cells(huge, serve, page, name, more_than):
    """Three in each of four windows, anywhere in the matrix; in the longer text, of which the page holds no matrix."""
    with open_run(name, huge) as run:
        attention = run.attention(run.sites[0], 1, 0)
    n = len(attention)
    assert n > more_than
    address = serve(huge)
    rng = np.random.default_rng(1)
    for query in rng.integers(30, n - 30, 4).tolist():
        key = int(rng.integers(0, query + 1))
        first = query - 7, max(0, min(key - 11, n - 40))
        page.goto(f"{address}/input?run={name}&head=1&at={first[0]}.{first[1]}")
        page.get_by_text(f"queries {first[0]}–").wait_for()
        for row, column in rng.integers(0, (30, min(36, first[0] - first[1] + 1)), (3, 2)).tolist():
            cell = first[0] + row, first[1] + column
            assert told_of_cell(page, row, column, *cell) == pytest.approx(float(attention[cell]), rel=6e-4), cell
    assert page.locator(".token").count() == n
