"""A public page as two visitors see it: who waits, whose run is whose, and what is refused."""

from __future__ import annotations

import sys

import pytest
from playwright.sync_api import expect

from app import jobs
from app.hosted import line, visitors
from app.hosted.visitor import COOKIE
from app.jobs.requests.extraction import JobRequest
from tests.e2e.serving import eventually, new_context, served, settle
from tests.store.synthetic import make_synthetic_run

SLOW = "import time; time.sleep(600)"
"""In place of the command line: work that does not end."""


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """The page, its runs, and the settings of its server."""
    folder = tmp_path_factory.mktemp("public")
    make_synthetic_run(folder / "runs", "owned", n_inputs=3)
    settings = {"QK_ATLAS_PUBLIC": "1", "QK_ATLAS_PUBLIC_MODELS": "demo-language", "QK_ATLAS_PUBLIC_JOBS_PER_HOUR": "2"}
    with served(folder / "runs", folder / "log.txt", **settings) as address:
        yield address, folder / "runs", settings


@pytest.fixture
def visitors_of(browser, public):
    """Two visitors with a page each."""
    contexts = [new_context(browser) for _ in range(2)]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        page.goto(public[0] + "/runs?form=1")
        settle(page)
    yield pages
    for context in contexts:
        context.close()


def who(page) -> str:
    """The visitor that the server takes a browser for."""
    secret = next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == COOKIE)
    return visitors.visitor_of(f"browser {secret}")


def start(page) -> None:
    page.get_by_role("button", name="Start", exact=True).click()


def test_visitors_wait_in_one_line_and_have_their_runs_for_themselves(visitors_of, public, monkeypatch):
    (ada, ben), (address, runs, settings) = visitors_of, public
    for name, said in settings.items():
        monkeypatch.setenv(name, said)
    monkeypatch.setattr(line, "keep", lambda runs_dir: None)
    somebody = JobRequest("demo-language", "demo-sentences")
    first, second = (line.ask(runs, somebody, visitor, (), (sys.executable, "-c", SLOW)) for visitor in "xy")
    assert first.state == jobs.RUNNING
    for page, place in ((ada, "3rd"), (ben, "2nd"))[::-1]:
        start(page)
        page.get_by_text(f"demo-language on demo-sentences  ·  {place} in line").wait_for()
        expect(page.locator("[class*=st-key-job_]")).to_have_count(1)
    jobs.cancel_job(runs, second.job_id, visitor="y")
    ada.get_by_text("2nd in line").wait_for()
    ben.get_by_text("1st in line").wait_for()
    ben.reload()
    settle(ben)
    ben.get_by_text("1st in line").wait_for()
    ada.goto(address + "/runs?form=1")
    settle(ada)
    start(ada)
    ada.get_by_text("You have asked for this run already").wait_for()
    ben.get_by_role("button", name="Cancel").click()
    ben.get_by_text("Cancelled. Nothing of it is left.").wait_for()
    ada.get_by_text("1st in line").wait_for()
    ada.get_by_role("button", name="Cancel").click()
    ada.get_by_text("Cancelled. Nothing of it is left.").wait_for()
    jobs.cancel_job(runs, first.job_id, visitor="x")
    eventually(lambda: jobs.read_job(runs, first.job_id).state == jobs.CANCELLED)

    private = visitors.new_run_id()
    visitors.mark(runs, private, who(ada))
    make_synthetic_run(runs, private, n_inputs=3)
    ben.goto(address + "/runs")
    settle(ben)
    ben.get_by_text("1 run to look at").wait_for()
    ben.goto(address + f"/runs?row={private}")  # whoever has the link
    ben.get_by_role("button", name=f"Open {private}").wait_for()
    expect(ben.get_by_text("Delete …")).to_have_count(0)
    ben.goto(address + "/?run=visitor-")
    ben.get_by_text("There is no run").wait_for()
    assert private not in ben.content()
    ada.goto(address + f"/runs?row={private}")
    settle(ada)
    ada.get_by_text("2 runs to look at").wait_for()
    ada.get_by_text("Delete …").click()
    ada.get_by_role("button", name="Delete for good").click()
    ada.get_by_text("1 run to look at").wait_for()
    assert visitors.owners(runs) == {}
