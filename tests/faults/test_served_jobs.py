"""The app as a server: killed and started again under a running job, and read by many while a job works."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from analysis.store import list_runs, open_run, verify
from app import jobs
from tests.e2e.serving import eventually, served
from tests.faults.sessions import Answer, Visitor, WidgetState, server_pid
from tests.store.synthetic import make_synthetic_run

FORM = "form=1"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the server in /proc")


@pytest.fixture
def runs(tmp_path):
    make_synthetic_run(tmp_path / "runs", "text", n_inputs=6, n_tokens=12, n_layers=2, n_heads=3)
    return tmp_path / "runs"


def start_from_the_form(visitor: Visitor, n_inputs: int) -> None:
    """The bundled model on so many bundled sentences, by the button of the form."""
    seen = visitor.look("runs", FORM)
    limit = WidgetState(id=seen.widget("number_input", "Inputs, at most"), int_value=n_inputs)
    visitor.look("runs", FORM, limit)
    visitor.look("runs", FORM, limit, WidgetState(id=seen.widget("button", "Start"), trigger_value=True))


def test_a_server_killed_under_a_running_job_finds_it_again_and_serves_its_run(runs, tmp_path):
    with served(runs, tmp_path / "log.txt") as address, Visitor(address) as visitor:
        start_from_the_form(visitor, n_inputs=2)
        (job,) = jobs.list_jobs(runs)
        os.kill(server_pid(address), signal.SIGKILL)
    assert jobs.read_job(runs, job.job_id).state == jobs.RUNNING
    with served(runs, tmp_path / "again.txt") as address:
        with Visitor(address) as visitor:
            seen = "".join(visitor.look("runs", "").parts.values())
            assert f"job_{job.job_id}" in seen
            assert "Cancel" in seen
        pages = ("", "head", "input")

        def read(number: int) -> tuple[str, Answer]:
            page = pages[number % 3]
            with Visitor(address) as reader:
                return page, reader.look(page, "run=text")

        alone = dict(map(read, range(3)))
        with ThreadPoolExecutor(20) as pool:
            looks = list(pool.map(read, range(20)))
        # A run that was published meanwhile stands in the list of runs, which is on every page; its job ends later.
        is_published = list_runs(runs)["status"].tolist() == ["complete"] * 2
        after = dict(map(read, range(3))) if is_published else alone
        for page, answer in looks:
            assert not answer.errors
            assert answer.parts in (alone[page].parts, after[page].parts)
        eventually(lambda: jobs.read_job(runs, job.job_id).state != jobs.RUNNING, seconds=150)
        ended = jobs.read_job(runs, job.job_id)
        assert (ended.state, ended.error) == (jobs.DONE, "")
        assert verify(runs / ended.run_id).ok
        with Visitor(address) as visitor:
            assert "Open run" in "".join(visitor.look("runs", "").parts.values())
            answer = visitor.look("input", f"run={ended.run_id}&input=1")
            assert not answer.errors
            with open_run(ended.run_id, runs) as run:
                words = run.inputs()["text"][1].split()
            assert all(word.strip(".,") in "".join(answer.parts.values()) for word in words)
