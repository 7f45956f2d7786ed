"""The real command, a real browser: one server and one Chromium for all tests of this folder.

Fixtures: `runs` (folder with the runs ``text``, ``vision``, ``hostile`` and a damaged one), `address` (of the server),
`page` (a fresh page of 1280 x 800 that fails its test when a script throws), `go` (open a path and wait).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from analysis.store.publish import manifest_bytes
from tests.e2e.serving import PATIENCE_MS, SIZE, chromium, new_context, served, settle
from tests.store import synthetic

expect.set_options(timeout=PATIENCE_MS)

HOSTILE = "<script>window.__hurt=1</script>"
HOSTILE_IMAGE = '<img src=x onerror="window.__hurt=1">'
HOSTILE_PICTURE = "![a](http://203.0.113.1/x.png)<iframe srcdoc='<script>parent.__hurt=1</script>'></iframe>"
"""An address of nobody (RFC 5737): the fixture `page` fails its test when it is asked for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            # A browser on a busy machine: once more, and the closing line says how often.
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of synthetic runs; the newest complete one is ``text``."""
    folder = tmp_path_factory.mktemp("runs")
    words = [HOSTILE, HOSTILE_IMAGE, "**bold**", "$x$", "&amp;", "[a](javascript:1)", "naïve😀"]
    with mock.patch.object(synthetic, "WORDS", words), mock.patch.object(synthetic, "make_tables", hostile_tables):
        make_hostile(synthetic.make_synthetic_run(folder, "hostile", n_inputs=4, n_tokens=8))
    synthetic.make_synthetic_run(folder, "vision", modality="vision", n_inputs=5, n_tokens=17, n_layers=2)
    synthetic.make_synthetic_run(folder, "wide", n_inputs=2, n_tokens=6, n_layers=20, n_heads=34, d_head=2)
    synthetic.make_synthetic_run(folder, "text", n_inputs=12, n_tokens=20, n_layers=3, n_heads=4, causal=True)
    shutil.copytree(folder / "text", folder / "broken")
    file = folder / "broken" / "run.duckdb"
    file.write_bytes(file.read_bytes()[:-4096])
    return folder


def hostile_tables(*arguments: object, made: Callable = synthetic.make_tables) -> tuple:
    """Tables with a column of the user's, hostile in its name, its description and its values."""
    inputs, tokens, columns = made(*arguments)
    tokens[HOSTILE_IMAGE] = [f"{HOSTILE}{HOSTILE_PICTURE}{place % 3}" for place in range(len(tokens))]
    inputs[HOSTILE_IMAGE] = HOSTILE_PICTURE
    about = {"name": HOSTILE_IMAGE, "kind": "categorical", "unit": "", "description": HOSTILE}
    return inputs, tokens, {**columns, HOSTILE_IMAGE: about}


def make_hostile(path: Path) -> None:
    """What a run says of itself, hostile too."""
    manifest = json.loads((path / "manifest.json").read_bytes())
    said = {"model": HOSTILE_IMAGE, "model_type": HOSTILE, "data": HOSTILE_PICTURE, "notes": [HOSTILE_IMAGE]}
    said["skipped"] = [[HOSTILE, HOSTILE_PICTURE]]
    (path / "manifest.json").write_bytes(manifest_bytes({**manifest, **said}))


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str]]:
    """Start the app as a user does, on a folder of runs; gives its address. Stopped with the last test of a module."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(served(folder, tmp_path_factory.mktemp("server") / "log.txt"))


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory, runs: Path) -> Iterator[str]:
    """Of the app on `runs`, one for all modules that have no runs of their own."""
    with served(runs, tmp_path_factory.mktemp("server") / "log.txt") as started:
        yield started


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def shared(browser: Browser) -> Iterator[BrowserContext]:
    """The context of most tests: Streamlit's scripts, 4.6 MB, are fetched once a server, not once a test.

    Less motion is asked for: spinners that turn sixty times a second are most of what a page costs here. The test of
    gliding points asks for motion itself.
    """
    context = new_context(browser)
    yield context
    context.close()


@pytest.fixture
def page(shared: BrowserContext) -> Iterator[Page]:
    """An empty page that remembers nothing. Fails the test when a script throws or anything outside is asked for.

    One tab for all tests: what it has compiled of Streamlit's scripts it need not compile again, a third of a load.
    """
    opened = shared.pages[0] if shared.pages else shared.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    opened.set_viewport_size(SIZE)
    errors: list[str] = []
    outside: list[str] = []

    def note_error(error: Exception) -> None:
        errors.append(str(error))

    def note_request(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
            outside.append(request.url)

    opened.on("pageerror", note_error)
    opened.on("request", note_request)
    yield opened
    if not opened.is_closed():
        opened.remove_listener("pageerror", note_error)
        opened.remove_listener("request", note_request)
        if opened.url.startswith("http"):
            opened.evaluate("localStorage.clear(); sessionStorage.clear()")
        opened.goto("about:blank")
    for other in shared.pages[1:]:
        other.close()
    shared.clear_cookies()
    assert not errors
    assert not outside


@pytest.fixture
def go(page: Page, address: str) -> Callable[[str], Page]:
    """Open a path of the app and wait until the script has run."""

    def open_path(path: str) -> Page:
        page.goto(address + path)
        settle(page)
        return page

    return open_path
