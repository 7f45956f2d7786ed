"""The app as its users get it: the real command on a free port, and Chromium without a screen."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

REPOSITORY = Path(__file__).resolve().parents[2]
BROWSER_FLAGS = (
    "--headless=new --no-sandbox --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-gpu --enable-unsafe-swiftshader"
).split()
"""Pages are composed without a graphics process, WebGL is drawn by software: on two cores, with less motion asked for,
3.3 s of CPU a page instead of 5.4 s when everything goes through the software graphics driver."""
SIZE = {"width": 1280, "height": 800}
PATIENCE_MS = 60_000
"""What is waited for at most: several browsers may share the machine, and a page that comes late is no wrong page."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def served(runs: Path, log: Path, port: int | None = None, **more: str) -> Iterator[str]:
    """Start the app on a folder of runs; gives its address; stops it afterwards.

    Args:
        port: To listen on; a free one otherwise.
        more: Variables of its environment.

    Raises:
        RuntimeError: It did not answer within a minute; with what it printed.
    """
    port = port or free_port()
    command = [sys.executable, "-m", "app", "--server.port", str(port)]
    environment = {**os.environ, "QK_ATLAS_RUNS": str(runs), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}
    environment.pop("PYTHONPATH", None)
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_up(f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser on the path, else Playwright's own; WebGL by software."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=BROWSER_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def new_context(browser: Browser, **options: object) -> BrowserContext:
    """Of a visitor nobody knows, at 1280 x 800, with less motion and `PATIENCE_MS` unless `options` say otherwise."""
    context = browser.new_context(**{"viewport": SIZE, "reduced_motion": "reduce", **options})
    context.set_default_timeout(PATIENCE_MS)
    return context


def settle(page: Page) -> None:
    """Wait until the app has answered: the frame is there and no rerun is in progress."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.wait_for_selector(".st-key-nav nav")


def calm(page: Page) -> None:
    """Wait until nothing has run for a while: Streamlit drops a step of the history taken in the midst of a rerun."""
    page.evaluate("window.__calmSince = performance.now()")
    page.wait_for_function(
        """() => {
          const app = document.querySelector("[data-testid=stApp]"), now = performance.now();
          if (app?.dataset.testScriptState !== "notRunning") window.__calmSince = now;
          return now - window.__calmSince > 700;
        }""",
        polling=50,
    )


def _wait_until_up(address: str, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"The app did not start:\n{log.read_text()}")


def eventually(condition: Callable[[], object], seconds: float = PATIENCE_MS / 1000) -> None:
    """Wait until `condition` holds, asking every tenth of a second.

    Raises:
        AssertionError: It never did.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.1)
