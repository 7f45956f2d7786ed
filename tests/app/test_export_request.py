"""An export that is asked for on the page: the command, the job, and what becomes of its file."""

from __future__ import annotations

import os
import time
import zipfile

import pytest

from analysis.cli import make_parser
from analysis.errors import UserError
from analysis.store.export import AttentionChoice
from app import jobs
from app.jobs.requests.export import ExportRequest, file_of
from tests.store.synthetic import make_synthetic_run


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (ExportRequest("some-run", "csv"), (None, None, None)),
        (ExportRequest("some-run", sites=()), ([], None, None)),
        (ExportRequest("some-run", sites=("text.dec.self.0",), inputs=" 0-2,9 ", top_k=4),
         (["text.dec.self.0"], "0-2,9", 4)),
    ],
)  # fmt: skip
def test_the_command_line_takes_the_arguments(request_, expected):
    options = make_parser().parse_args([*request_.arguments(), "--out=runs", "--progress-file=p.json", "--to=x.zip"])
    assert (options.run, options.format, options.to) == ("some-run", request_.format, "x.zip")
    assert (options.attention, options.inputs, options.top_k) == expected


def test_attention_is_chosen_as_the_library_takes_it():
    assert ExportRequest("run").attention() is None
    assert ExportRequest("run", sites=["a"], inputs="0-1,3").attention() == AttentionChoice(("a",), [0, 1, 3], None)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ExportRequest("--to=/etc"), "cannot be exported"), (ExportRequest("run", "pickle"), "cannot be exported"),
        (ExportRequest("run", sites=("--out=x",)), "no attention site"),
        (ExportRequest("run", sites=(), inputs="0-"), "Inputs expects numbers and ranges"),
    ],
)  # fmt: skip
def test_what_no_command_could_use_is_refused(request_, message):
    with pytest.raises(UserError, match=message):
        request_.arguments()


def test_a_job_writes_one_file_which_goes_with_its_card_or_after_a_day(tmp_path):
    make_synthetic_run(tmp_path, "text", n_inputs=3, n_tokens=5)
    started = jobs.start_job(tmp_path, ExportRequest("text", "csv", (), "0", 2))
    assert started.request == ExportRequest("text", "csv", (), "0", 2)  # as it is read back from its record
    with pytest.raises(UserError, match="An export of run text is being made"):
        jobs.start_job(tmp_path, started.request)
    job = _ended(tmp_path, started)
    assert (job.state, job.error) == (jobs.DONE, "")
    with zipfile.ZipFile(file_of(job.folder)) as file:
        assert {"text/tokens.csv", "text/attention-000.csv", "text/README.md"} <= set(file.namelist())
    jobs.delete_old_exports(tmp_path)
    assert file_of(job.folder).exists()
    long_ago = time.time() - jobs.DRAFT_SECONDS - 1
    os.utime(file_of(job.folder), (long_ago, long_ago))
    jobs.delete_old_exports(tmp_path)
    assert not file_of(job.folder).exists()
    assert jobs.read_job(tmp_path, job.job_id).dismissed


def test_a_failed_export_says_the_commands_own_sentence(tmp_path):
    make_synthetic_run(tmp_path, "text", n_inputs=2, n_tokens=5)
    job = _ended(tmp_path, jobs.start_job(tmp_path, ExportRequest("text", sites=(), inputs="0-5")))
    assert (job.state, job.error) == (jobs.FAILED, "There is no input 2: the run has 2, 0 to 1.")
    assert not file_of(job.folder).exists()


def _ended(runs_dir, job):
    deadline = time.monotonic() + 60
    while jobs.read_job(runs_dir, job.job_id).state == jobs.RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return jobs.read_job(runs_dir, job.job_id)
