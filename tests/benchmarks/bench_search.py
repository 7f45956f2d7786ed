"""How long a search takes until its tokens stand out in every head: 144 heads x 10,000 points, in Chromium.

From Enter in the search box to the frame after the marked points are painted, everything in the caches of the server
but the search itself: each repeat looks for another word. The second figure is the first search after the atlas was
opened. The third is what the server sent, messages of the frame included.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from tests.benchmarks.bench_page import make_run, n_points
from tests.e2e.serving import chromium, served, settle

WORDS = ("cat", "house", "warm", "near water", "dog Anna", "the", "red ball", "stands")
"""Of the synthetic texts: from a few tokens in all to one in seven."""

ENTER = """() => { window.__searched = new Promise((done) => {
    document.addEventListener('keydown', (event) => {
        if (event.key !== 'Enter') return;
        const start = performance.now(), before = window.__qkAtlas.painted.marks;
        const look = () => window.__qkAtlas.painted.marks !== before
            ? requestAnimationFrame(() => setTimeout(() => done(performance.now() - start))) : setTimeout(look, 4);
        look();
    }, {capture: true}); }); }"""


def run(quick: bool = False) -> str:
    """Measure and return a markdown table."""
    words = WORDS[:4] if quick else WORDS
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        make_run(runs, "matrix", n_layers=12, n_heads=12, n_inputs=50, n_tokens=118)
        points = n_points(runs, "matrix")
        with served(runs, Path(folder) / "log.txt") as address, chromium() as browser:
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.set_default_timeout(120_000)
            sizes: list[int] = []
            page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: sizes.append(len(frame))))
            page.goto(f"{address}/?run=matrix")
            page.wait_for_selector(".cell")
            settle(page)
            times, sent = [], []
            for word in ("gave", *words):
                before = sum(sizes)
                times.append(search(page, word))
                sent.append(sum(sizes) - before)
    median = f"{statistics.median(times[1:]):.0f} ms"
    rows = [
        (f"search over 144 heads x {points:,} points, from Enter to painted", median, "300 ms"),
        ("the slowest of these", f"{max(times[1:]):.0f} ms", ""),
        ("the first search after the atlas was opened", f"{times[0]:.0f} ms", ""),
        ("sent for a search, at most", f"{max(sent) / 1e6:.2f} MB", "0.5 MB"),
    ]  # fmt: skip
    lines = ["| what | measured | budget |", "|---|---|---|"]
    return "\n".join(lines + [f"| {what} | {measured} | {budget} |" for what, measured, budget in rows])


def search(page: Page, word: str) -> float:
    """Milliseconds from Enter to the frame that shows what was found."""
    page.get_by_label("Search tokens").fill(word)
    page.evaluate(ENTER)
    page.keyboard.press("Enter")
    milliseconds = page.evaluate("window.__searched")
    page.wait_for_timeout(400)
    settle(page)
    return milliseconds


if __name__ == "__main__":
    print(run())
