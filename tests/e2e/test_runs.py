"""Runs in a browser: a real extraction started, watched, cancelled, resumed and opened from the page."""

from __future__ import annotations

import json
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect

from analysis.store import list_runs, open_run
from app import jobs
from tests.e2e.serving import new_context, settle
from tests.store.synthetic import make_synthetic_run

FINISHED_MS = 150_000
TEXTS = "Anna gave the red ball to Ben.\nBen gave the ball back to Anna.\nThe cat sat near the water.\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    make_synthetic_run(folder, "whole", n_inputs=3)
    shutil.copytree(folder / "whole", folder / "hurt")
    (folder / "hurt" / "run.duckdb").write_bytes(b"not a database")
    for name, data in (("half", "my texts.csv"), ("known", "demo-sentences")):
        (folder / f"{name}.partial").mkdir()
        spec = {"model": "demo-language", "data": data, "seed": 3, "limit": 2}
        (folder / f"{name}.partial" / "spec.json").write_text(json.dumps(spec))
    return folder


@pytest.fixture(scope="module")
def address(serve, runs):
    return serve(runs)


def choose_row(page, run_id: str) -> None:
    """Select the row of a run; the table is drawn on canvas, its cells are found by their place."""
    table = page.get_by_test_id("stDataFrame").first
    table.locator('[role="gridcell"]').first.wait_for(state="attached")
    names = table.locator('[role="gridcell"][aria-colindex="1"]').all_text_contents()
    box = table.bounding_box()
    row = box["height"] / (len(names) + 1)
    page.mouse.click(box["x"] + 16, box["y"] + row * (names.index(run_id) + 1.5))


def paste_and_start(page, text: str) -> None:
    """Fill in the form: the bundled language model over pasted texts, without a map."""
    page.get_by_role("radio", name="Paste").or_(page.get_by_text("Paste", exact=True)).first.click()
    box = page.get_by_label("One text a line")
    box.fill(text)
    box.press("Control+Enter")
    settle(page)
    page.locator('[aria-label*="Remove"], [title*="Remove"]').first.click()
    page.keyboard.press("Escape")
    settle(page)
    page.get_by_role("button", name="Start").click()


def test_the_table_names_every_run_and_why_one_cannot_be_opened(go, runs):
    page = go("/runs")
    page.get_by_text("3 unfinished or damaged").wait_for()
    table = page.get_by_test_id("stDataFrame").first
    cells = table.locator('[role="gridcell"]')
    cells.first.wait_for(state="attached")
    said = " ".join(cells.all_text_contents())
    for word in ("whole", "hurt", "half", "ready", "damaged", "unfinished"):
        assert word in said
    choose_row(page, "hurt")
    alert = page.get_by_test_id("stAlert")
    alert.get_by_text("cannot be opened").wait_for()
    reason = list_runs(runs).set_index("run_id").loc["hurt", "status"].removeprefix("damaged: ")
    assert reason[:40] in alert.first.text_content()
    choose_row(page, "half")
    page.get_by_text("repeat the command you used").wait_for()
    page.get_by_text("--seed=3 --limit=2 --run-id=half").wait_for()
    choose_row(page, "known")
    page.get_by_text("extract --model=demo-language --data=demo-sentences --seed=3 --limit=2 --run-id=known").wait_for()
    page.get_by_role("button", name="Resume").wait_for()
    choose_row(page, "whole")
    page.get_by_text("The model's outputs are identical, bit for bit").wait_for()
    page.get_by_role("button", name="Open whole").click()
    page.wait_for_url("**run=whole**")


def cells_of(page, run_id: str) -> list[str]:
    """What the table says of one run, from the copy it keeps for screen readers."""
    table = page.get_by_test_id("stDataFrame").first
    table.locator('[role="gridcell"]').first.wait_for(state="attached")
    names = table.locator('[role="gridcell"][aria-colindex="1"]').all_text_contents()
    row = table.locator('[role="row"]').nth(names.index(run_id) + 1)
    return row.locator('[role="gridcell"]').all_text_contents()


def test_the_table_says_what_the_maps_explain_and_how_much_room_a_run_takes(go, page, runs):
    page.set_viewport_size({"width": 1920, "height": 1080})
    go("/runs")
    with open_run("whole", runs) as run:
        explained = run.fidelity(run.projections()["name"].iloc[0])["kl_explained"].median()
    megabytes = sum(file.stat().st_size for file in (runs / "whole").iterdir()) / 1e6
    said = cells_of(page, "whole")
    assert float(said[8]) == pytest.approx(explained * 100)
    assert float(said[7]) == pytest.approx(megabytes)


def test_the_chosen_row_is_in_the_link_and_back_lets_go_of_it(go, page):
    go("/runs?row=half")
    page.get_by_text("half is unfinished").wait_for()
    choose_row(page, "hurt")
    page.wait_for_url("**row=hurt**")
    page.get_by_text("hurt cannot be opened").wait_for()
    page.go_back()
    page.get_by_text("half is unfinished").wait_for()
    page.go_forward()
    page.get_by_text("hurt cannot be opened").wait_for()


def test_deleting_asks_first_and_then_deletes_this_run_only(go, page, runs):
    make_synthetic_run(runs, "doomed", n_inputs=2)
    go("/runs?row=doomed")
    page.get_by_role("button", name="Delete …").click()
    page.get_by_text("Delete doomed,").wait_for()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Delete for good")).to_have_count(0)
    assert (runs / "doomed").is_dir()
    page.get_by_role("button", name="Delete …").click()
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_text("doomed is deleted").wait_for()
    assert not (runs / "doomed").exists()
    assert {"whole", "hurt", "half", "known"} <= set(list_runs(runs)["run_id"])
    expect(page.get_by_role("button", name="Delete …")).to_have_count(0)


def test_a_run_is_taken_away_as_one_file(go, page, runs, tmp_path):
    go("/runs?row=whole")
    page.get_by_role("button", name="Export …").click()
    page.get_by_text("With attention matrices").click()
    asked = page.get_by_label("Inputs", exact=True)
    asked.fill("0-7")
    asked.press("Enter")
    page.get_by_text("There is no input 3: the run has 3, 0 to 2.").wait_for()
    expect(page.get_by_role("button", name="Make the files")).to_be_disabled()
    asked.fill("1")
    asked.press("Enter")
    page.get_by_text("The attention takes up to").wait_for()
    page.get_by_role("button", name="Make the files").click()
    page.keyboard.press("Escape")
    fetch = page.get_by_test_id("stDownloadButton").get_by_role("button")
    expect(fetch).to_contain_text("kB", timeout=FINISHED_MS)
    with page.expect_download() as fetched:
        fetch.click()
    assert fetched.value.suggested_filename == "whole.zip"
    with zipfile.ZipFile(fetched.value.path()) as file:
        file.extractall(tmp_path)
    with open_run("whole", runs) as run:
        site = run.sites[-1]
        rows = pd.read_parquet(tmp_path / "whole" / "attention" / f"site={site.index}").query("head == 1")
        np.testing.assert_array_equal(np.stack(rows["weights"]), run.attention(site, 1, 1))
    page.get_by_role("button", name="Put away").click()
    expect(fetch).to_have_count(0)
    assert not list(runs.glob(".jobs/*/*.zip"))


def test_the_estimate_comes_by_itself_and_writes_no_run(go, runs):
    before = set(list_runs(runs)["run_id"])
    page = go("/runs?form=1")
    page.get_by_text("reached by interface").wait_for(timeout=FINISHED_MS)
    assert page.get_by_text("32", exact=True).count() >= 1  # heads of the bundled language model
    figures = page.locator(".st-key-run_form").inner_text()
    for word in ("time to capture", "time for maps", "memory beside the model", "disk"):
        assert word in figures
    assert set(list_runs(runs)["run_id"]) == before
    page.get_by_label("Layers").fill("0")
    page.get_by_label("Layers").press("Enter")
    page.get_by_text("1 attention site").wait_for(timeout=FINISHED_MS)
    assert page.get_by_text("8", exact=True).count() >= 1
    assert set(list_runs(runs)["run_id"]) == before


def test_pasted_texts_become_a_run_that_opens_on_exactly_these_texts(go, runs):
    page = go("/runs?form=1")
    paste_and_start(page, TEXTS)
    page.get_by_role("button", name="Cancel").wait_for()
    job_id = jobs.list_jobs(runs)[0].job_id
    page.reload()
    page.get_by_role("button", name="Cancel").or_(page.get_by_role("button", name="Open run")).first.wait_for()
    assert page.locator(f".st-key-job_{job_id}").count() == 1
    page.get_by_role("button", name="Open run").click(timeout=FINISHED_MS)
    run_id = jobs.read_job(runs, job_id).run_id
    page.wait_for_url(f"**run={run_id}**")
    with open_run(run_id, runs) as run:
        assert run.inputs()["text"].tolist() == TEXTS.strip().split("\n")
        assert len(run.sites) == 4
    assert jobs.read_job(runs, job_id).dismissed


def test_a_cancelled_job_is_seen_by_another_session_and_can_be_resumed(go, page, browser, address, runs):
    go("/runs?form=1")
    page.get_by_label("Inputs, at most").fill("40")
    page.get_by_label("Inputs, at most").press("Enter")
    settle(page)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Cancel").wait_for()
    job_id = jobs.list_jobs(runs)[0].job_id
    page.get_by_text("Making the maps").wait_for(timeout=FINISHED_MS)
    other = new_context(browser)
    second = other.new_page()
    second.goto(f"{address}/runs")
    second.locator(f".st-key-job_{job_id}").get_by_text("Making the maps").wait_for()
    second.get_by_role("button", name="Cancel").click()
    card = page.locator(f".st-key-job_{job_id}")
    card.get_by_text("What was captured is kept").wait_for(timeout=FINISHED_MS)
    other.close()
    status = list_runs(runs).set_index("run_id")["status"]
    assert status[jobs.read_job(runs, job_id).run_id] == "partial"
    card.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Cancel").wait_for()
    page.get_by_role("button", name="Open run").wait_for(timeout=FINISHED_MS)
    status = list_runs(runs).set_index("run_id")["status"]
    assert status[jobs.read_job(runs, job_id).run_id] == "complete"


def test_what_no_command_could_use_is_said_in_one_sentence(go, runs):
    before = len(jobs.list_jobs(runs))
    page = go("/runs?form=1")
    page.get_by_text("Hub id", exact=True).first.click()
    box = page.get_by_placeholder("owner/name")
    box.fill("../../etc")
    box.press("Enter")
    settle(page)
    page.get_by_role("button", name="Start").click()
    page.get_by_text("This is no hub id").wait_for()
    page.get_by_text("No model was given").wait_for()
    assert len(jobs.list_jobs(runs)) == before


def test_a_model_that_is_not_there_fails_with_the_commands_own_sentence(go, runs):
    page = go("/runs?form=1")
    page.get_by_text("Hub id", exact=True).first.click()
    box = page.get_by_placeholder("owner/name")
    box.fill("nobody/nothing")
    box.press("Enter")
    settle(page)
    page.get_by_text("Estimate tells heads").wait_for()  # a model of the hub is not looked at by itself
    page.get_by_role("button", name="Start").click()
    page.get_by_text("nobody/nothing on demo-sentences").filter(has_text="failed").wait_for(timeout=FINISHED_MS)
    job = next(job for job in jobs.list_jobs(runs) if job.request.model == "nobody/nothing")
    card = page.locator(f".st-key-job_{job.job_id}")
    assert "nobody/nothing" in card.text_content()
    assert "Traceback" not in card.text_content()
    assert "local folder" in job.error
    card.get_by_role("button", name="Put away").click()
    card.wait_for(state="detached")
