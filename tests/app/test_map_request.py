"""Maps that are chosen and made from the page: names, the command, the estimate, and the job that makes one."""

import sys
import time

import pytest

from analysis.cli import make_parser
from analysis.errors import UserError
from analysis.projection.naming import MapKind
from app import jobs
from app.jobs.requests.extraction import JobRequest
from app.jobs.requests.map import MapRequest, about, kind_of, read_kind, seconds_to_make, without_sinks

CHOICES = [
    MapKind("atlas"),
    MapKind("umap", 3),
    MapKind("atlas", 2, "without_sinks"),
    MapKind("atlas", 3, "without_sinks", aligned=True),
]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_is_read_back_from_its_name(choice):
    assert read_kind(choice.name) == choice


@pytest.mark.parametrize(
    "name", ["", "atlas", "atlas-4d", "Atlas-2d", "atlas-2d-else", "../x-2d", "atlas-2d ", "ours-2d", "umap-2d-aligned"]
)
def test_other_words_are_no_choice(name):
    assert read_kind(name) is None


def test_a_row_of_the_run_says_what_it_is_a_map_of():
    row = {
        "method": "atlas",
        "dims": 2,
        "target": "without_sinks",
        "name": "atlas-2d-without-sinks",
        "parameters": "{}",
    }
    assert kind_of(row) == MapKind("atlas", 2, "without_sinks")
    assert kind_of({**row, "parameters": '{"aligned": true}'}).aligned


def test_the_same_map_without_sinks_is_found_by_what_it_is():
    apart = MapKind("atlas", 2, "without_sinks")
    kinds = {
        "atlas-2d": MapKind("atlas"), "umap-3d": MapKind("umap", 3), "first": apart, "second": apart,
        "atlas-2d-seed1": MapKind("atlas"), "atlas-2d-aligned": MapKind("atlas", aligned=True),
    }  # fmt: skip
    assert without_sinks(kinds) == {"atlas-2d": "first", "atlas-2d-seed1": "first"}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_command_line_takes_the_arguments(choice):
    request = MapRequest("some-run", choice.method, choice.dims, choice.target, choice.aligned)
    options = make_parser().parse_args([*request.arguments(), "--out=runs", "--progress-file=p.json"])
    assert (options.run, options.method, options.dims) == ("some-run", choice.method, choice.dims)
    assert (options.target, options.aligned) == (choice.target, choice.aligned)


def test_a_run_id_never_becomes_an_option_or_a_path():
    for run_id in ("--out=/tmp", "../run", ""):
        with pytest.raises(UserError, match="no map that can be made"):
            MapRequest(run_id, "atlas").arguments()


def test_the_estimate_grows_with_heads_and_tokens_and_shrinks_with_cores():
    few = seconds_to_make(MapKind("atlas"), 4000, 32, 2, True)
    assert seconds_to_make(MapKind("atlas"), 8000, 32, 2, True) > few
    assert seconds_to_make(MapKind("atlas"), 4000, 32, 8, True) < few
    assert seconds_to_make(MapKind("atlas"), 4000, 32, 8, False) > few
    assert seconds_to_make(MapKind("atlas", aligned=True), 4000, 32, 2, True) > few
    assert seconds_to_make(MapKind("own-method"), 10**6, 144, 2, True) < 10**5


def test_an_estimate_is_told_with_one_digit():
    assert [about(each) for each in (1, 24, 54, 61, 250, 2000, 7000)] == [
        "10 s", "20 s", "50 s", "1 min", "4 min", "30 min", "2 h",
    ]  # fmt: skip


def test_a_map_job_is_told_apart_from_an_extraction_and_not_started_twice(tmp_path):
    request = MapRequest("some-run", "umap", 3)
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    job = jobs.start_job(tmp_path, request, command=command)
    try:
        again = jobs.read_job(tmp_path, job.job_id)
        assert again.request == request
        assert again.run_id == "some-run"
        assert again.state == jobs.RUNNING
        with pytest.raises(UserError, match="umap-3d of run some-run is being made"):
            jobs.start_job(tmp_path, request, command=command)
        other = jobs.start_job(tmp_path, MapRequest("some-run", "pca"), command=(sys.executable, "-c", "pass"))
        assert other.request != request
    finally:
        jobs.cancel_job(tmp_path, job.job_id, grace_seconds=1)
    end = time.monotonic() + 30
    while jobs.read_job(tmp_path, job.job_id).state == jobs.RUNNING and time.monotonic() < end:
        time.sleep(0.1)
    ended = jobs.read_job(tmp_path, job.job_id)
    assert (ended.state, ended.error) == (jobs.CANCELLED, "Cancelled. Nothing was added to the run.")
    jobs.delete_old_drafts(tmp_path, older_than_seconds=0)
    assert isinstance(jobs.list_jobs(tmp_path)[0].request, MapRequest | JobRequest)
