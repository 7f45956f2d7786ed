"""Every view for those who use no pointer, read with a screen reader or need contrast: axe-core finds nothing serious
in either theme, the keyboard reaches the main control, focus is seen, charts have words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from analysis.store import open_run
from tests.app.test_contrast import TEXT, THEME, contrast
from tests.e2e.serving import calm, settle
from tests.e2e.test_head_card import add_profiles
from tests.sinks.run_with_states import make_run_with_states

SERIOUS = ("serious", "critical")
OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules that a theme can break: nothing else changes with it."""

TALL = {"width": 1280, "height": 2600}
"""axe-core judges the contrast only of what is on the screen."""

HEAD = "run=words&site=text.dec.self.3&head=1"
PATHS = {
    "atlas": ("/", ".cell"),
    "head": (f"/head?{HEAD}&input=3&token=6", ".stage"),
    "text": (f"/input?{HEAD}&input=3&token=6", ".token"),
    "image": ("/input?run=scenes&site=vision.enc.self.3&head=1&input=1", "[aria-label='Picked token']"),
    "heads": (f"/heads?{HEAD}", ".cell"),
    "sinks": ("/sinks?run=scenes&mark=layer:3&input=1&layer=3&ratio=1.3&norm=1.1", ".ranking tr"),
    "models": ("/models", "[aria-label='Is my model supported?']"),
    "runs": ("/runs", "[data-testid=stDataFrame] canvas"),
}
"""Of every view: where it is, and its main control."""

OPENED = {"atlas": 0, "head": 3, "text": 3, "image": 3, "heads": 2, "sinks": 2, "models": 0, "runs": 2}
"""Boxes that its buttons open, at least."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    make_run_with_states(runs, "scenes", modality="vision", n_inputs=3, n_tokens=17, n_layers=6, n_heads=2)
    make_run_with_states(runs, "words", n_inputs=6, n_tokens=20, n_layers=6, n_heads=3, causal=True)
    add_profiles(runs / "words", {"offset": [(x, 0) for x in range(13)]})
    return runs


@pytest.fixture(scope="module")
def address(serve: Callable[[Path], str], runs: Path) -> str:
    return serve(runs)


GROUND_IS = """(ground) => {
  const app = document.querySelector('[data-testid=stApp]');
  const own = document.querySelectorAll('[data-testid=stBidiComponentIsolated]');
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(ground.slice(at, at + 2), 16));
  return getComputedStyle(app).backgroundColor === `rgb(${red}, ${green}, ${blue})`
    && [...own].every((each) => getComputedStyle(each).getPropertyValue('--st-background-color') === ground);
}"""
"""Whether the page and every component of ours have taken a theme."""


@pytest.fixture
def themed(page: Page) -> Iterator[Callable[[str], None]]:
    """Show the page light or dark, as the system of its user may be set while it is open."""

    def show(theme: str) -> None:
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(GROUND_IS, arg=THEME[theme]["backgroundColor"])
        calm(page)

    yield show
    page.emulate_media(color_scheme="light")


DEEPEST = "let at = document.activeElement; while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;"


def reach(page: Page, control: str) -> None:
    """Walk to a control with the tab key alone, from the link that leads past the top row."""
    page.get_by_role("button", name="Skip to the view").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.classList.contains('st-key-view')")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(f"control => {{ {DEEPEST} return at.matches(control); }}", control):
            return
    raise AssertionError(f"40 steps do not lead to {control}")


UNNAMED = """() => {
  const found = [];
  const own = (each) => each.getAttribute('aria-label') || each.getAttribute('aria-labelledby') || each.title
    || each.textContent.trim() || each.alt || '';
  const name = (each) => own(each) || [...(each.labels ?? [])].map((label) => label.textContent).join('');
  const seen = (each) => { const box = each.getBoundingClientRect(); return box.width > 0 && box.height > 0; };
  const hidden = (each) => {
    for (let at = each; at; at = at.parentElement ?? at.getRootNode().host) if (at.ariaHidden === 'true') return true;
    return false;
  };
  const told = (each) => each.hasAttribute('alt') || each.querySelector('[role=grid]')
    || each.closest('[aria-label], [role=grid], [data-testid=stDataFrame]');
  const visit = (root) => {
    for (const each of root.querySelectorAll('input, textarea, select, button, a[href]'))
      if (seen(each) && !hidden(each) && !name(each)) found.push(each.outerHTML.slice(0, 160));
    for (const each of root.querySelectorAll('img, canvas'))
      if (seen(each) && !hidden(each) && !told(each)) found.push(each.outerHTML.slice(0, 160));
    for (const each of root.querySelectorAll('*')) if (each.shadowRoot) visit(each.shadowRoot);
  };
  visit(document);
  return found;
}"""
"""What has no name or words, as the start of its HTML; looks into components too."""

UNSEEN_FOCUS = """() => {
  const found = [], roots = [...document.querySelectorAll('*')].filter((each) => each.shadowRoot);
  const look = (each) => {
    const style = getComputedStyle(each);
    return [style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth), style.boxShadow];
  };
  for (const {shadowRoot} of roots)
    for (const each of shadowRoot.querySelectorAll('button, a[href], input, select, textarea, [tabindex="0"]')) {
      if (each.disabled || !each.checkVisibility() || !each.isConnected) continue;
      const before = look(each);
      each.focus({preventScroll: true});
      if (shadowRoot.activeElement !== each) continue;
      const after = look(each);
      if (after[0] < 1 && after[1] === before[1]) found.push(each.outerHTML.slice(0, 160));
    }
  return found;
}"""
"""Which controls of our components look the same with the keyboard's focus as without."""

WORDLESS = """() => [...document.querySelectorAll('[data-testid=stVegaLiteChart]')]
  .filter((each) => !each.matches('[role=graphics-document]') || (each.ariaLabel ?? '').length < 20)
  .map((each) => each.outerHTML.slice(0, 200))"""
"""Charts without an alternative text."""

FILLS = """() => [
  getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor,
  [...new Set([...document.querySelectorAll('svg.marks .mark-text text')]
    .filter((each) => !['#FFFFFF', '#000000'].includes(each.getAttribute('fill')))
    .map((each) => getComputedStyle(each).fill))]]"""
"""The ground, and the colours of words in charts; black and white ones stand on coloured cells."""


def colour(said: str) -> tuple[list[float], float]:
    """Channels 0 to 1 and opacity of a colour as the browser computes it."""
    numbers = [float(each) for each in re.findall(r"[\d.]+(?:e-?\d+)?", said.removeprefix("color(srgb"))]
    channels = numbers[:3] if said.startswith("color(srgb") else [each / 255 for each in numbers[:3]]
    return channels, numbers[3] if len(numbers) > 3 else 1.0


def chart_words_are_read(page: Page) -> None:
    """Words in charts stand out from the ground; axe-core cannot tell the ground of words in drawings."""
    ground, fills = page.evaluate(FILLS)
    below = colour(ground)[0]
    for said in fills:
        channels, opacity = colour(said)
        mixed = [opacity * each + (1 - opacity) * behind for each, behind in zip(channels, below)]
        assert contrast(mixed, below) >= TEXT, f"{said} on {ground}"


def findings(page: Page, rules: list[str] | None = None, part: str = "body") -> list[str]:
    """What axe-core calls serious or critical in a part of the page; nothing is left out."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE_SCRIPT)
    only = {} if rules is None else {"runOnly": rules}
    options = {"resultTypes": ["violations"], "preload": False, **only}
    found = page.evaluate(
        "([part, options]) => axe.run(part, options).then((done) => done.violations)", [part, options]
    )
    return [f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found if each["impact"] in SERIOUS for node in each["nodes"]]  # fmt: skip


POPOVERS = "[data-testid=stMain] [data-testid=stPopoverButton]"
POPOVER = "[data-testid=stPopoverBody]"


def what_opens_is_read(page: Page, themed: Callable[[str], None]) -> int:
    """Every box that a button of the view opens, in both themes, and that Escape closes it; gives their number."""
    buttons = [each for each in page.locator(POPOVERS).all() if each.is_visible() and each.is_enabled()]
    for button in buttons:
        button.focus()
        page.keyboard.press("Enter")
        page.locator(POPOVER).wait_for()
        assert not page.evaluate(UNNAMED)
        for theme, rules in (("dark", OF_COLOURS), ("light", None)):
            themed(theme)
            assert not findings(page, rules, POPOVER)
        page.keyboard.press("Escape")
        page.locator(POPOVER).wait_for(state="detached")
    return len(buttons)


def pick_a_patch_and_read_the_heads(page: Page, runs: Path) -> None:
    page.keyboard.type("patch 1, 2")
    page.keyboard.press("Enter")
    page.wait_for_url("**token=7**")
    expect(page.get_by_text("patch 1, 2 · position 7")).to_be_visible()
    part = page.get_by_test_id("stExpander").filter(has_text="Table of these heads")
    part.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("12 heads, their scores on this input")).to_be_visible()
    expect(part.locator("[role=gridcell]").filter(has_text="L0H1")).to_have_count(1)
    said = part.locator("[role=columnheader]").all_text_contents()
    cells = dict(zip(said, part.locator("[role=row][aria-rowindex='3'] [role=gridcell]").all_text_contents()))
    with open_run("scenes", runs) as run:
        scores = run.head_input_scores(metric="first_token").query("input_id == 1")
        second = scores[(scores["site"] == run.sites[0].key) & (scores["head"] == 1)]["value"].item()
    assert cells["head"] == "L0H1"
    assert float(cells["First token"]) == pytest.approx(second, rel=1e-3)


def turn_to_the_lines(page: Page, runs: Path) -> None:
    """The heat map is one drawing of ours, the lines are a chart."""
    expect(page.locator("canvas.cells")).to_be_visible()
    assert not page.evaluate(UNNAMED)
    page.get_by_role("radio", name="Heat map").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.wait_for_url("**show=lines**")


def ask_for_a_model(page: Page, runs: Path) -> None:
    page.keyboard.type("bert")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Yes: bert is captured")).to_be_visible()


def choose_a_run_and_open_the_form(page: Page, runs: Path) -> None:
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Space")
    page.wait_for_url("**row=**")
    settle(page)
    page.get_by_role("button", name="New run").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("combobox", name="Bundled model")).to_be_visible()
    assert not page.evaluate(UNNAMED)
    page.get_by_role("radio", name="Folder").first.click()  # at once: no estimate of the bundled model begins
    expect(page.get_by_role("textbox", name="Folder")).to_be_visible()


USES = {
    "text": turn_to_the_lines,
    "image": pick_a_patch_and_read_the_heads,
    "models": ask_for_a_model,
    "runs": choose_a_run_and_open_the_form,
}
"""What is done with the main control by keyboard alone, where no other test does it."""


@pytest.mark.parametrize("view", PATHS)
def test_a_view_can_be_reached_read_and_used_without_pointer_in_both_themes(go, themed, runs, view):
    path, control = PATHS[view]
    page = go(path)
    calm(page)
    reach(page, control)
    if view in USES:
        USES[view](page, runs)
    calm(page)
    page.keyboard.press("Tab")  # the browser shows where the focus is to who uses the keyboard
    assert not page.evaluate(UNSEEN_FOCUS)
    assert not page.evaluate(UNNAMED)
    assert not page.evaluate(WORDLESS)
    page.set_viewport_size(TALL)
    for theme, rules in (("light", None), ("dark", OF_COLOURS)):
        themed(theme)
        assert not findings(page, rules)
        chart_words_are_read(page)
    assert what_opens_is_read(page, themed) >= OPENED[view]


def test_the_tour_can_be_read_in_both_themes(go, themed):
    page = go("/?tour=1")
    card = page.get_by_role("dialog")
    card.wait_for()
    card.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    assert not page.evaluate(UNSEEN_FOCUS)
    for theme, rules in (("light", None), ("dark", OF_COLOURS)):
        themed(theme)
        assert not findings(page, rules)
