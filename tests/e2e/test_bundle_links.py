"""A link of the app opened in the app and in a bundle: the same points stand out, the same order, the same shades; and
what a bundle cannot show is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from analysis.store import open_run
from app.bundle.making import make_bundle
from app.charts.lasso_word import drawn_lasso, write_lasso
from tests.e2e.serving import eventually, new_context
from tests.e2e.test_atlas_marks import KEY, QUERY, near, painted
from tests.e2e.test_hide_sinks import by_hand, sink_head
from tests.e2e.test_input import told_at
from tests.sinks.made import SINK, make_run_with_sinks
from tests.store import synthetic
from tests.store.synthetic import make_synthetic_run
from tests.store.synthetic_pairs import make_pair_run

HEAD = "site=text.dec.self.1&head=2"
CORNERS = np.array([[0.15, 0.1], [0.7, 0.05], [0.95, 0.55], [0.5, 0.8], [0.05, 0.7]])
"""Of a lasso, as shares of the middle of a map."""

LIT = """async () => {
  const pixels = (image) => {
    const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return [...context.getImageData(0, 0, image.width, image.height).data];
  };
  const {title, n, token, images, picked} = window.__qkAtlas.read("atlas.marks");
  const lit = images.filter(Boolean).map(pixels), rings = picked.map((each) => [...each]).filter((each) => each.length);
  return {title, n, token, lit, rings};
}"""
GRID = """rows => rows.map((row) => {
  const label = row.querySelector("[role=rowheader]");
  const told = (cell) => [cell.dataset.head, cell.ariaLabel, cell.style.getPropertyValue("--frame")];
  return [label.textContent, label.title, [...row.querySelectorAll(".cell")].map(told)];
})"""
TOKENS = """all => all.map((token) => [token.textContent, token.dataset.position,
  token.classList.contains("marked"), token.classList.contains("sink"), token.style.backgroundColor,
  Number(token.dataset.weight || "nan").toPrecision(5)])"""

CELLS = (
    """all => all.map((each) => [each.textContent, each.dataset.mean && Number(each.dataset.mean).toPrecision(5)])"""
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run_with_sinks(folder, "images", modality="vision", n_inputs=3, n_tokens=37, n_heads=3)
    make_run_with_sinks(folder, "sinks", n_inputs=4, n_tokens=20, n_heads=4, causal=True)
    make_synthetic_run(folder, "text", n_inputs=12, n_tokens=20, n_layers=3, n_heads=4, causal=True)
    make_pair_run(folder, "pairs")
    with mock.patch.object(synthetic, "make_tables", in_pieces):
        make_synthetic_run(folder, "pieces", n_inputs=4, n_tokens=20, n_layers=3, n_heads=4, causal=True)
    return folder


def in_pieces(*arguments: Any, made: Callable = synthetic.make_tables) -> tuple:
    """Tables of texts whose tokens stand two by two without a space."""
    inputs, tokens, columns = made(*arguments)
    for input_id, mine in tokens[~tokens["is_special"]].groupby("input_id"):
        text = ""
        for row, position, word in zip(mine.index, mine["position"], mine["text"]):
            text += " " if position % 2 and text else ""
            tokens.loc[row, ["char_start", "char_end"]] = len(text), len(text) + len(word)
            text += word
        inputs.loc[inputs["input_id"] == input_id, "text"] = text
    return inputs, tokens, columns


@pytest.fixture(scope="module")
def address(serve: Callable[[Path], str], runs: Path) -> str:
    return serve(runs)


@pytest.fixture(scope="module")
def bundles(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QK_ATLAS_RUNS", str(runs))
        for name, inputs in (("images", None), ("sinks", None), ("pieces", None), ("pairs", None), ("text", [0, 3, 4])):
            with open_run(runs / name) as run:
                make_bundle(run, folder / name, inputs)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def both(go, browser: Browser, bundles: dict[str, Path]) -> Iterator[Callable[[str], list[Page]]]:
    """The same link open in the app and in the bundle of its run; fails its test when a script of the bundle throws."""
    context = new_context(browser)
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))

    def open_both(link: str) -> list[Page]:
        page.goto("about:blank")
        page.goto(f"file://{bundles[run_of(link)]}/index.html#{link}")
        page.wait_for_selector("html[data-state=still]")
        return [go(link), page]

    yield open_both
    context.close()
    assert not problems


def run_of(link: str) -> str:
    return re.search(r"run=(\w+)", link)[1]


def same(pages: list[Page], read: Callable[[Page], Any]) -> Any:
    """What both show, once they show the same; fails with both where they never do."""
    found: list[Any] = []

    def is_same() -> bool:
        found[:] = [read(page) for page in pages]
        return found[0] == found[1]

    try:
        eventually(is_same, 20)
    except AssertionError:
        assert found[0] == found[1]
    return found[0]


def grid(page: Page) -> dict[str, Any]:
    """Rows, heads, frames and words of the atlas, and what is lit in the small maps."""
    expect(page.locator(".legend")).not_to_be_empty()
    eventually(lambda: page.evaluate("Boolean(window.__qkAtlas.read('atlas.marks'))"))
    return {
        "rows": page.locator(".grid .row").evaluate_all(GRID), "legend": page.locator(".legend").inner_text(),
        "lit": page.evaluate(LIT),
    }  # fmt: skip


def states(page: Page) -> list[float]:
    """How strongly every point of a map is drawn: 1 where it stands out."""
    page.locator(".stage").wait_for()
    return page.evaluate("window.__qkAtlas.states()")


def rows(page: Page) -> list[str]:
    return page.locator(".panel .row, .panel .note, .panel .headline").all_inner_texts()


def sentence(page: Page) -> list[list[Any]]:
    """Every token of the text with its shade."""
    page.locator(".text .token").first.wait_for()
    return page.locator(".text .token").evaluate_all(TOKENS)


def strip(page: Page) -> list[str]:
    """The heads of the strip in their order, with what is told of each."""
    return page.locator(".strip button").evaluate_all("all => all.map((each) => each.ariaLabel + each.ariaPressed)")


@pytest.mark.parametrize("words", ["find=cat&input=3&token=5", "find=length%3D3", "find=/^[dm]/&map=pca-3d"])
def test_a_search_and_the_picked_token_are_lit_in_every_head(both, words):
    pages = both(f"/?run=text&{words}")
    found = same(pages, grid)
    assert found["lit"]["title"].startswith("search")
    assert 0 < found["lit"]["n"] < 150
    assert any(found["lit"]["lit"][0])
    assert bool(found["lit"]["rings"]) == ("token" in words)
    for page in pages:  # what is handed to the picture is painted, too
        eventually(lambda page=page: any(near(painted(page, 1, 2), tone, 60).any() for tone in (QUERY, KEY)), 5)


def test_heads_are_coloured_by_the_position_modulo_a_number(both):
    app, page = both("/?run=text&colour=position_mod_5")
    assert "position mod 5" in same([app, page], grid)["legend"]
    seen = [painted(each, 1, 2).astype(float) for each in (app, page)]
    plain = painted(both("/?run=text")[1], 1, 2).astype(float)
    near_, far = (np.abs(seen[0] - each).max(axis=1) for each in (seen[1], plain))
    assert (near_ < 60).mean() > 0.9 > (far < 60).mean()
    app, page = both(f"/head?run=text&{HEAD}&colour=position_mod_5&size=length")
    same([app, page], states)
    same([app, page], lambda each: each.evaluate("window.__qkAtlas.factors()"))
    same([app, page], lambda each: each.locator(".legend").inner_text())


@pytest.mark.parametrize("order", ["layers", "heads", "both", "rank"])
def test_heads_stand_in_the_order_of_the_link_with_its_score_in_their_frames(both, order):
    found = same(both(f"/?run=text&order={order}&by=entropy&score=kl_explained"), grid)
    plain = [f"L{layer}H{head}" for layer in range(3) for head in range(4)]
    shown = [cell[0] for row in found["rows"] for cell in row[2]]
    assert sorted(shown) == plain
    assert shown != plain
    assert all(cell[2] for row in found["rows"] for cell in row[2])


def drawn(runs: Path, map_name: str, run: str = "text", **more: Any) -> str:
    """A lasso over the middle of L1H2, as the link says it."""
    with open_run(run, runs) as opened:
        places = opened.coordinates(map_name, site="text.dec.self.1", head=2)[["x", "y"]].to_numpy()
    low, high = np.quantile(places, [0.1, 0.9], axis=0)
    return write_lasso(drawn_lasso("text.dec.self.1", 2, map_name, low + CORNERS * (high - low), **more))


def test_a_lasso_holds_the_same_points_in_every_view(both, runs):
    plain, filtered = drawn(runs, "atlas-2d"), drawn(runs, "atlas-2d", kinds="key", hide="is_special:1")
    turned = drawn(runs, "pca-3d", turn=[1, 0, 0, 0, 0.8, 0.6, 0, -0.6, 0.8], middle=[0, 0, 0])
    n_held = {}
    for lasso, words in ((plain, ""), (turned, "&map=pca-3d"), (filtered, "&map=pca-3d")):
        pages = both(f"/head?run=text&{HEAD}{words}&lasso={lasso}")
        held = np.array(same(pages, states)) == 1
        n_held[lasso] = held.reshape(2, -1).sum(axis=1).tolist()
        same(pages, lambda page: page.locator(".panel .counts, .panel .share").all_inner_texts())
        assert "lasso in L1H2" in same(pages, lambda page: page.locator(".legend .said").inner_text())
    expect(pages[1].locator(".panel .note").first).to_contain_text("There are no keys inside")
    assert all(10 < n < 150 for n in (*n_held[plain], *n_held[turned], n_held[filtered][0]))
    assert n_held[filtered][0] < n_held[plain][0]
    assert n_held[filtered][1] == 0
    page = both(f"/head?run=text&{HEAD}&lasso={plain}")[1]
    expect(page.locator(".panel .note").first).to_contain_text("not all in this bundle")
    assert same(both(f"/?run=text&lasso={plain}"), grid)["lit"]["title"] == "lasso in L1H2"
    shades = same(both(f"/input?run=text&input=3&lasso={plain}"), sentence)
    assert {each[2] for each in shades} == {True, False}


def test_the_attention_within_a_lasso_is_told_where_its_inputs_are_there(both, runs):
    for words in ("", "&sinks=hidden&colour=is_special"):
        pages = both(f"/head?run=pieces&{HEAD}{words}&map=atlas-2d&lasso={drawn(runs, 'atlas-2d', run='pieces')}")
        table = same(pages, lambda page: page.locator(".between td, .between th").evaluate_all(CELLS))
        assert sum(each[1] not in ("", None) for each in table) > (0 if words else 3)
        told = same(pages, lambda page: page.locator(".panel .note").all_inner_texts())
        assert any("pairs of the same input" in each for each in told)


@pytest.mark.parametrize(
    ("words", "is_shown"),
    [
        ("words=1&input=3&token=5", lambda shades, plain: len(shades) < len(plain)),
        ("hide=special,2,7&scale=log&input=3&token=5", lambda shades, plain: shades[2][5] == "NaN"),
        ("with=L0H1,L2H3&weigh=norm&kind=key&input=3&token=5", lambda shades, plain: shades != plain),
        ("strip=first_token&input=3&token=5", lambda shades, plain: shades == plain),
    ],
)
def test_words_hidden_tokens_means_and_value_norms_shade_the_same(both, words, is_shown):
    pages = both(f"/input?run=pieces&{HEAD}&{words}")
    shades = same(pages, sentence)
    same(pages, strip)
    same(pages, lambda page: page.locator("canvas.cells").get_attribute("aria-label"))
    told = pages[0].locator(".qk-sentence").first.inner_text()
    assert pages[1].locator("p.sentence").inner_text() == told
    plain = both(f"/input?run=pieces&{HEAD}&input=3&token=5{'&kind=key' if 'kind' in words else ''}")[1]
    assert is_shown(shades, sentence(plain))


@pytest.mark.parametrize("words", ["site=text.dec.cross.0&sinks=hidden", "site=text.dec.self.0&hide=special"])
def test_a_text_of_two_sequences_is_shaded_the_same(both, words):
    pages = both(f"/input?run=pairs&input=1&head=1&{words}")
    assert len({each[4] for each in same(pages, sentence)}) > 3
    told = pages[0].locator(".qk-sentence").first.inner_text()
    assert "the decoder" in told
    assert pages[1].locator("p.sentence").inner_text() == told


def test_only_inputs_with_marked_tokens_are_offered_and_hiding_all_is_said(both, runs):
    page = both("/input?run=text&input=3&token=5&find=cat&only=marked")[1]
    with open_run("text", runs) as run:
        found = set(run.tokens().query("text == 'cat'")["input_id"]) | {3}
    offered = page.get_by_label("with marked tokens)").locator("option")
    assert offered.evaluate_all("all => all.map((each) => Number(each.value))") == sorted(found)
    assert len(found) < 12
    every = ",".join(map(str, range(20)))
    page.goto(f"{page.url.partition('#')[0]}#/input?input=3&hide={every}")
    expect(page.locator(".notes p")).to_have_text("Every token of this input is hidden: take some out of the list.")
    page.get_by_label("Hidden: 0–19").click()
    expect(page.locator(".notes p")).to_have_count(0)


def test_hidden_sinks_are_hidden_in_every_view(both):
    place = "site=text.dec.self.1&head=1&input=1&token=9"
    pages = both("/?run=sinks&sinks=hidden&score=previous_token&order=heads&map=atlas-2d")
    assert "without sinks" in same(pages, grid)["legend"]
    told = [page.get_by_text("is hidden (mean of").inner_text() for page in pages]
    assert told[0] == told[1]
    for words in ("&also=2.5q", "&kind=key&map=atlas-2d"):
        pages = both(f"/head?run=sinks&{place}{words}&sinks=hidden")
        assert "without sinks" in "".join(same(pages, rows)) or "kind" in words
        view = same(pages, lambda page: page.locator(".qk-host[data-view]").get_attribute("data-view"))
        assert ("atlas-2d-without-sinks" in view) == ("map" not in words)
        same(pages, lambda page: page.locator(".qk-host[data-also]").get_attribute("data-also"))
    pages = both(f"/input?run=sinks&{place}&sinks=hidden&with=L0H2")
    shades = same(pages, sentence)
    assert shades[SINK][3]
    assert pages[1].locator("p.sentence").inner_text() == pages[0].locator(".qk-sentence").first.inner_text()
    pages[1].get_by_label("Hide sinks").uncheck()
    expect(pages[1].locator(".text .token.sink")).to_have_count(0)
    assert "sinks=" not in pages[1].url


def test_patches_of_an_image_without_sinks(both, runs):
    with open_run("images", runs) as run:
        site, head = sink_head(run)
        rest, _, _ = by_hand(run, site, head, 1)
    app, page = both(f"/input?run=images&site={site}&head={head}&input=1&token=9&sinks=hidden&find=row%3D2")
    told = told_at(app, app.locator(".st-key-input_picture svg.marks [aria-roledescription='rect mark']").nth(42))
    patch = page.locator(f"rect[data-position='{told['position']}']")
    expect(patch).to_have_attribute("aria-label", re.compile(r": 0\.\d+"))
    weight = float(patch.get_attribute("aria-label").split(": ")[1])
    assert weight == pytest.approx(float(told["weight"]), rel=6e-3)
    assert weight == pytest.approx(rest[9, int(told["position"])], rel=6e-3)
    sink = page.locator(f"rect[data-position='{SINK}']")
    assert sink.get_attribute("data-sink") == "true"
    assert "hidden, a sink" in sink.get_attribute("aria-label")
    expect(page.locator("rect[data-marked=true]")).to_have_count(6)


@pytest.mark.parametrize(
    ("link", "asked"),
    [
        (f"/head?run=text&{HEAD}&beside=text.dec.self.0.1", "a second head beside this one"),
        (f"/head?run=text&{HEAD}&input=3&token=5&near=5&size=weight", "like the picked one and sizes by “weight”"),
        ("/input?run=text&input=3&show=lines&new=cats", "a text that is not in the run and the weights as lines"),
        ("/input?run=images&input=1&show=flows&smooth=1", "the strong flows and smooth shading"),
        (
            f"/head?run=text&{HEAD}&input=3&token=5&also=5.1q,4.2k,7.0q",
            "lines of points of inputs 5, 7, whose attention",
        ),
        ("/?run=text&order=first_token&lines=top3&show=lines", None),
        ("/input?run=text&input=3&show=map&order=layers&beside=text.dec.self.0.1", None),
    ],
)
def test_what_a_bundle_cannot_show_is_said_in_one_sentence(browser, bundles, link, asked):
    context = new_context(browser)
    page = context.new_page()
    page.goto(f"file://{bundles[run_of(link)]}/index.html#{link}")
    page.wait_for_selector("html[data-state=still]")
    notes = page.locator(".notes p").all_inner_texts()
    context.close()
    if asked is None:
        assert notes == []
    else:
        assert len(notes) == 1
        assert notes[0].startswith("This link also asked for ")
        assert asked in notes[0]
        assert notes[0].endswith(": open it in the app.")
