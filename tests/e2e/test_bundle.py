"""A bundle in a browser, from the disk: no server, nothing asked for outside its folder, the same links and figures as
the app, and markup in a run stays text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, expect

from analysis.store import open_run
from app.bundle.making import make_bundle
from tests.e2e.conftest import HOSTILE, HOSTILE_IMAGE
from tests.e2e.serving import new_context

HEAD = "site=text.dec.self.1&head=2&input=3&token=5"
"""A link of the app behind its address, and of a bundle behind the #."""


@pytest.fixture(scope="module")
def bundles(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QK_ATLAS_RUNS", str(runs))
        for name, inputs in (("text", [0, 3, 4]), ("vision", None), ("hostile", None)):
            with open_run(runs / name) as run:
                make_bundle(run, folder / name, inputs)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def bundle(browser: Browser, bundles: dict[str, Path]) -> Iterator[Callable[[str, str], Page]]:
    """Open a link of a bundle; fails its test when a script throws or anything outside the folder is asked for."""
    context = new_context(browser)
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: problems.append(asked.url) if not allowed(asked.url) else None)

    def allowed(url: str) -> bool:
        return url.startswith(("data:", "blob:", *(f"file://{folder}/" for folder in bundles.values())))

    def go(name: str, link: str) -> Page:
        page.goto(f"file://{bundles[name]}/index.html#{link}")
        still(page)
        return page

    yield go
    context.close()
    assert not problems


def still(page: Page) -> None:
    """Wait until the viewer has drawn what the address says."""
    page.wait_for_selector("html[data-state=still]")


def rows(page: Page) -> list[str]:
    """What a picked token looks at, as the panel lists it."""
    expect(page.locator(".panel .row").first).to_be_visible()
    return page.locator(".panel .row").all_inner_texts()


def weights(page: Page) -> list[str | None]:
    """The weights that shade the sentence."""
    expect(page.locator(".text .token[aria-pressed=true]")).to_be_visible()
    return page.locator(".text .token").evaluate_all("tokens => tokens.map((token) => token.dataset.weight)")


def test_a_link_of_the_app_shows_the_same_figures_in_a_bundle(go, bundle):
    """The server computes them in the app, the browser in a bundle."""
    told = {}
    for kind in ("query", "key"):
        app = go(f"/head?run=text&{HEAD}&kind={kind}&lines=mass90")
        place = app.locator(".panel .headline + .quiet").inner_text()
        told[kind] = (place, rows(app), app.locator(".panel .note").inner_text(), app.locator(".context").inner_text())
        sentence = app.locator(".qk-sentence").first.inner_text()
    app = go(f"/input?run=text&{HEAD}")
    shades = weights(app)
    for kind in ("query", "key"):
        page = bundle("text", f"/head?run=text&{HEAD}&kind={kind}&lines=mass90")
        place = page.locator(".panel .headline + .quiet").inner_text()
        found = (place, rows(page), page.locator(".panel .note").inner_text(), page.locator(".context").inner_text())
        assert found == told[kind]
    assert page.locator(".sentence").inner_text() == sentence
    page = bundle("text", f"/input?run=text&{HEAD}")
    assert weights(page) == shades
    assert len(shades) > 10


def test_one_walks_from_all_heads_to_an_input_and_back(bundle):
    page = bundle("text", "/")
    assert page.locator(".cell").count() == 12
    page.get_by_label("Frame shows").select_option(label="Map explains")
    expect(page.locator(".cell[style*='--frame']")).to_have_count(12)
    page.locator("[data-head=L1H2]").click()
    expect(page.locator(".card .headline")).to_contain_text("L1H2")
    page.get_by_role("button", name="Open L1H2").click()
    page.wait_for_selector(".stage")
    still(page)
    assert "head=2" in page.url
    page.keyboard.press("ArrowRight")
    expect(page.locator(".walk b")).to_have_text("L1H3")
    page.get_by_label("Search tokens").fill("a")
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_contain_text("search “a”")
    page.get_by_role("link", name="Input").click()
    page.wait_for_selector(".cells")
    still(page)
    page.locator(".text .token").nth(4).click()
    expect(page.locator(".text .token[aria-pressed=true]")).to_have_attribute("data-position", "4")
    page.get_by_label("Input", exact=True).select_option("7")
    expect(page.locator(".sentence")).to_contain_text("input 7 is not in this bundle; it has that of 0, 3–4")
    page.go_back()
    expect(page.locator(".text .token[aria-pressed=true]")).to_have_attribute("data-position", "4")
    page.get_by_role("link", name="Head", exact=True).click()
    page.wait_for_selector(".stage")
    still(page)
    page.goto(page.url.partition("#")[0] + "#/head?input=7&token=2")
    expect(page.locator(".panel .note")).to_contain_text("Whole rows are here of 3 inputs: 0, 3–4")
    assert len(rows(page)) == 3
    page = bundle("text", "/sinks?run=other&map=none&head=99&input=99")
    expect(page.locator(".notes p")).to_have_count(5)
    expect(page.get_by_role("heading", name="How exactly")).to_be_visible()
    page = bundle("text", "/head?embed=true")
    expect(page.get_by_role("navigation")).to_be_hidden()
    expect(page.locator(".stage")).to_be_visible()


def test_a_picture_is_shaded_by_the_runs_own_weights(bundle, runs):
    page = bundle("vision", "/input?site=vision.enc.self.1&head=1&input=2&token=3")
    with open_run(runs / "vision") as run:
        told = run.attention("vision.enc.self.1", 1, 2)[3]
    expect(page.locator("rect[aria-pressed=true]")).to_have_attribute("data-position", "3")
    said = page.locator("rect").evaluate_all(
        "all => Object.fromEntries(all.map((r) => [r.dataset.position, r.ariaLabel]))"
    )
    assert len(said) == len(told)
    for position, words in said.items():
        assert float(words.split(": ")[1]) == pytest.approx(float(told[int(position)]), rel=5e-3)
    page.locator("rect[data-position='0']").click()
    expect(page.locator("rect[aria-pressed=true]")).to_have_attribute("data-position", "0")
    page.mouse.move(4, 400)
    expect(page.locator(".patches p")).to_have_text("Where CLS (outlined) looks.")
    page = bundle("vision", "/head?draw=patches&input=2&token=3")
    expect(page.locator(".part.scatter .qk-host")).to_have_attribute("data-patches", "80")


def test_markup_in_a_run_stays_text(bundle):
    column = quote(HOSTILE_IMAGE)
    for path in (
        "/",
        f"/head?colour={column}&input=0&token=1",
        f"/input?input=0&token=1&find={quote(HOSTILE)}",
        "/about",
    ):
        page = bundle("hostile", path)
        assert page.evaluate("window.__hurt") is None
        assert page.locator("iframe, object, embed, img[src='x'], [href^='javascript']").count() == 0
    expect(page.get_by_text(HOSTILE_IMAGE).first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_stands_in_the_way_of_a_reader(browser, bundles, theme):
    context = new_context(browser, color_scheme=theme)
    page = context.new_page()
    for name, link in (
        ("text", "/"),
        ("text", f"/head?{HEAD}"),
        ("text", f"/input?{HEAD}"),
        ("vision", "/input"),
        ("text", "/about"),
    ):
        page.goto(f"file://{bundles[name]}/index.html#{link}")
        still(page)
        page.evaluate(AXE_SCRIPT)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
        assert not serious, [(each["id"], each["nodes"][0]["html"], each["nodes"][0]["any"]) for each in serious]
    context.close()
