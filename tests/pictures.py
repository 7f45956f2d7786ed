"""The README's pictures, taken anew: ``python -m tests.pictures RUNS``, with a folder that holds both bundled runs.

They are what somebody sees at these links in a window of 1280 x 800; look at each before it is committed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from analysis.store import list_runs
from tests.e2e.serving import REPOSITORY, calm, chromium, new_context, served, settle

FOLDER = REPOSITORY / "app" / "pictures"
PREVIOUS = "site=text.dec.self.0&head=6&map=atlas-2d"
PICTURES = {
    "atlas": ("light", "/?run={words}"),
    "head-dark": ("dark", f"/head?run={{words}}&{PREVIOUS}&input=105&token=15"),
    "input-image": ("light", "/input?run={scenes}&site=vision.enc.self.4&head=1&input=3&token=30"),
    "search-dark": ("dark", "/?run={words}&find=Alice"),
    "compare": ("light", f"/head?run={{words}}&{PREVIOUS}&beside=text.dec.self.1.7&input=8&token=11"),
    "input-text-dark": ("dark", f"/input?run={{words}}&{PREVIOUS}&new=Alice saw the dog. The dog saw Alice."),
    "heads-dark": ("dark", "/heads?run={scenes}&site=vision.enc.self.2&head=1"),
    "sinks-dark": ("dark", "/sinks?run={words}"),
    "input-without-sinks": ("light", "/input?run={words}&site=text.dec.self.1&head=2&input=3&token=9&sinks=hidden"),
}
"""Name of the picture: theme and link."""

PATIENCE_MS = 4000
"""What scripts of a page may still draw once its server has answered."""


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder with a run of each bundled model")
    parser.add_argument("--to", type=Path, default=FOLDER)
    options = parser.parse_args()
    listed = list_runs(options.runs)
    names = {
        name: listed[(listed["modality"] == modality) & (listed["status"] == "complete")]["run_id"].iloc[0]
        for name, modality in (("words", "text"), ("scenes", "vision"))
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        served(options.runs, Path(folder) / "log.txt") as address,
        chromium() as browser,
    ):
        for name, (theme, link) in PICTURES.items():
            context = new_context(browser, color_scheme=theme)
            context.add_init_script("localStorage.setItem('qk-atlas-welcome', 'seen')")
            page = context.new_page()
            page.goto(address + link.format(**names))
            settle(page)
            calm(page)
            page.wait_for_timeout(PATIENCE_MS)
            page.screenshot(path=options.to / f"{name}.png")
            context.close()


if __name__ == "__main__":
    main()
