"""How fast the page draws, in Chromium with software rendering, beside an Altair scatter of the same points.

Every time is taken in the browser, from the key or click to the frame that shows the result; medians of several.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page

from analysis.projection.problem import Layout
from analysis.projection.thumbnails import sprite
from analysis.store import add_to_run, open_run
from tests.e2e.serving import chromium, served, settle
from tests.store.synthetic import make_synthetic_run


def run(quick: bool = False) -> str:
    """Measure and return a markdown table."""
    repeats = 3 if quick else 7
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        make_run(runs, "matrix", n_layers=12, n_heads=12, n_inputs=50, n_tokens=118)
        make_run(runs, "large", n_layers=1, n_heads=2, n_inputs=500, n_tokens=118)
        with served(runs, Path(folder) / "log.txt") as address, chromium() as browser:
            rows = []
            for measure in (_first_paint, _matrix, _switch_and_pick, _large, _altair):
                context = browser.new_context(viewport={"width": 1280, "height": 800})
                page = context.new_page()
                page.set_default_timeout(120_000)
                rows += measure(page, address, runs, repeats)
                context.close()
    lines = ["| what | measured | budget |", "|---|---|---|"]
    return "\n".join(lines + [f"| {what} | {measured} | {budget} |" for what, measured, budget in rows])


def _first_paint(page: Page, address: str, runs: Path, repeats: int) -> list[tuple[str, str, str]]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        page.goto(address)
        page.wait_for_selector(".st-key-nav nav a")
        times.append(time.perf_counter() - start)
    return [
        ("first paint of the frame, first visitor after the start", f"{times[0]:.2f} s", "2 s"),
        ("first paint of the frame, later visitors", f"{statistics.median(times[1:]):.2f} s", "2 s"),
    ]


def _matrix(page: Page, address: str, runs: Path, repeats: int) -> list[tuple[str, str, str]]:
    """From the click on Atlas to the painted grid, everything in the caches of the server."""
    sizes: list[int] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: sizes.append(len(frame))))
    page.goto(f"{address}/?run=matrix")
    page.wait_for_selector(".cell")
    settle(page)
    largest = max(sizes)
    times = []
    for _ in range(repeats):
        _go_to(page, "Head", "drawn")
        times.append(_go_to(page, "Atlas", "painted"))
    points = n_points(runs, "matrix")
    return [
        (f"matrix of 144 heads x {points:,} points, from click to painted, warm", _ms(times), "500 ms"),
        ("its message", f"{largest / 1e6:.2f} MB", "0.5 MB"),
    ]


def _switch_and_pick(page: Page, address: str, runs: Path, repeats: int) -> list[tuple[str, str, str]]:
    page.goto(f"{address}/head?run=matrix")
    page.wait_for_function("window.__qkAtlas?.drawn")
    settle(page)
    points = n_points(runs, "matrix")
    switch = [_walk(page) for _ in range(repeats)]
    picks = [_pick(page, index) for index in range(repeats)]
    lassos = [_lasso(page, 0.5 + 0.04 * index) for index in range(repeats)]
    return [
        (f"another head of {points:,} points, from key to the first frame of it", _ms(switch), "500 ms"),
        (f"pick to lines, {points:,} points", _ms(picks), "200 ms"),
        (f"lasso to result, {points:,} points, from release to the findings", _ms(lassos), "400 ms"),
    ]


def _large(page: Page, address: str, runs: Path, repeats: int) -> list[tuple[str, str, str]]:
    page.goto(f"{address}/?run=large")
    page.wait_for_selector(".cell")
    settle(page)
    first = _go_to(page, "Head", "drawn")
    points = n_points(runs, "large")
    return [
        (f"single view of {points:,} points, from click to drawn, first time", _ms([first]), "1 s"),
        ("pan, per step, software rendering", _ms(_pan(page, ".stage", 2 * repeats)), "150 ms"),
    ]


def _altair(page: Page, address: str, runs: Path, repeats: int) -> list[tuple[str, str, str]]:
    """The same points as a Vega-Lite scatter with pan and zoom: what one would have without the component."""
    import altair as alt

    rows = []
    alt.data_transformers.disable_max_rows()
    for run_id in ("matrix", "large"):
        with open_run(run_id, runs) as opened:
            table = opened.coordinates(projection="atlas-2d", site=opened.sites[0], head=0)
        chart = alt.Chart(table[["x", "y", "kind"]], width=760, height=560).mark_circle(size=9, opacity=0.6)
        chart = chart.encode(x="x", y="y", color="kind").interactive()
        file = runs / f"{run_id}.html"
        file.write_text(chart.to_html(inline=True, embed_options={"renderer": "canvas"}), encoding="utf-8")
        start = time.perf_counter()
        page.goto(file.as_uri())
        page.wait_for_selector("canvas")
        drawn = time.perf_counter() - start
        n_points = f"{len(table):,} points"
        rows.append((f"an Altair scatter of {n_points}, opened", f"{drawn * 1000:.0f} ms", "(instead)"))
        rows.append((f"an Altair scatter of {n_points}, pan, per step", _ms(_pan(page, "canvas", 3)), "(instead)"))
    return rows


CLICK_LINK = """title => { window.__start = performance.now();
    const roots = [...document.querySelectorAll('*')].map(each => each.shadowRoot).filter(Boolean);
    roots.flatMap(root => [...root.querySelectorAll('nav a')]).find(link => link.textContent === title).click(); }"""
ON_EVENT = """event => document.addEventListener(event, () => { window.__start = performance.now(); },
    {once: true, capture: true})"""


def _go_to(page: Page, title: str, mark: str) -> float:
    """Milliseconds from the click on a page's name to its picture."""
    before = page.evaluate("mark => window.__qkAtlas[mark]?.at ?? 0", mark)
    page.evaluate(CLICK_LINK, title)
    page.wait_for_function("([mark, before]) => (window.__qkAtlas[mark]?.at ?? 0) > before", arg=[mark, before])
    milliseconds = page.evaluate("mark => window.__qkAtlas[mark].at - window.__start", mark)
    page.wait_for_timeout(400)
    settle(page)
    return milliseconds


def _walk(page: Page) -> float:
    view = page.evaluate("window.__qkAtlas.drawn.view")
    page.evaluate(ON_EVENT, "keydown")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("view => window.__qkAtlas.drawn.view !== view", arg=view)
    milliseconds = page.evaluate("window.__qkAtlas.drawn.at - window.__start")
    page.wait_for_timeout(400)
    settle(page)
    return milliseconds


def _pick(page: Page, index: int) -> float:
    x, y = page.evaluate("point => window.__qkAtlas.where(point)", 37 + 211 * index)
    before = page.evaluate("window.__qkAtlas.linked ?? 0")
    page.evaluate(ON_EVENT, "pointerup")
    page.mouse.click(x, y)
    page.wait_for_function("before => (window.__qkAtlas.linked ?? 0) > before", arg=before)
    milliseconds = page.evaluate("window.__qkAtlas.linked - window.__start")
    page.wait_for_timeout(300)
    settle(page)
    return milliseconds


def _lasso(page: Page, reach: float) -> float:
    """Milliseconds from the end of a lasso round much of the map to the panel that tells what it holds."""
    box = page.locator(".stage").bounding_box()
    middle, half = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2), reach * box["height"] / 2
    before = page.evaluate("window.__qkAtlas.lassoed?.at ?? 0")
    page.keyboard.press("l")
    page.mouse.move(middle[0] + half, middle[1])
    page.mouse.down()
    for turn in np.linspace(0, 2 * np.pi, 60)[1:]:
        page.mouse.move(middle[0] + half * np.cos(turn), middle[1] + half * np.sin(turn))
    page.evaluate(ON_EVENT, "pointerup")
    page.mouse.up()
    page.wait_for_function("before => (window.__qkAtlas.lassoed?.at ?? 0) > before", arg=before)
    milliseconds = page.evaluate("window.__qkAtlas.lassoed.at - window.__start")
    page.wait_for_timeout(400)
    settle(page)
    page.keyboard.press("Escape")
    page.wait_for_timeout(400)
    settle(page)
    return milliseconds


def _pan(page: Page, selector: str, steps: int) -> list[float]:
    """Milliseconds per step while the picture is dragged: each step waits for the frame that shows it."""
    box = page.locator(selector).first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    times = []
    for step in range(1, steps + 2):
        start = time.perf_counter()
        page.mouse.move(x + 7 * step, y + 3 * step)
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        times.append(1000 * (time.perf_counter() - start))
    page.mouse.up()
    return times[1:]


def make_run(runs: Path, run_id: str, **size: int) -> None:
    """A synthetic run with a map of clusters, and thumbnails as the pipeline draws them."""
    path = make_synthetic_run(runs, run_id, d_head=8, with_projection=False, **size)
    rng = np.random.default_rng(0)
    with add_to_run(path, "atlas-2d") as writer:
        n = len(writer.points()[0])
        name = writer.put_projection("atlas-2d", "atlas", "attention", 2, 0, {})
        layouts = {}
        for site in writer.sites:
            for head in range(site.n_heads):
                centres, group = rng.normal(0, 12, (2, 24, 2)), rng.integers(0, 24, n)
                queries, keys = (centres[k][group] + rng.normal(0, 1.3, (n, 2)) for k in range(2))
                layouts[site.depth, head] = Layout(queries.astype(np.float32), keys.astype(np.float32))
                writer.put_coordinates(name, site.key, head, queries, keys)
                writer.put_fidelity(name, site.key, head, {"kl_explained": 0.8, "key_only_kl": 0.6})
        writer.put_thumbnail(name, writer.sites[0].stack_label, sprite(layouts), 80)
        writer.publish({})


def n_points(runs: Path, run_id: str) -> int:
    with open_run(run_id, runs) as opened:
        return 2 * len(opened.tokens())


def _ms(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ms"


if __name__ == "__main__":
    print(run())
