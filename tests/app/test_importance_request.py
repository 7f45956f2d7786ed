"""Importance that is measured from the page: what is offered, the command, and the job."""

import sys
import time

import pytest

from analysis.cli import make_parser
from analysis.errors import UserError
from analysis.pipeline.head_importance import Variant
from app import cache, jobs
from app.jobs.requests.extraction import JobRequest
from app.jobs.requests.importance import OF_IMAGES, OF_TEXTS, ImportanceRequest, in_words, measured_words, waiting
from app.views.job_cards import stage_words

FAIL_LATE = (sys.executable, "-c", "import sys, time; time.sleep(30)")
DONE = (sys.executable, "-c", "")


@pytest.mark.parametrize("variant", OF_IMAGES)
def test_the_command_line_takes_the_arguments(variant):
    request = ImportanceRequest("some-run", variant.mode, variant.part, variant.ring, 7, "./model", "./images")
    options = make_parser().parse_args([*request.arguments(), "--out=runs", "--progress-file=p.json"])
    assert Variant(options.mode, options.part, options.ring) == variant == request.variant
    assert (options.run, options.limit, options.model, options.data) == ("some-run", 7, "./model", "./images")


def test_a_run_id_never_becomes_an_option_or_a_path():
    for run_id in ("--out=/tmp", "../run", ""):
        with pytest.raises(UserError, match="no run whose heads"):
            ImportanceRequest(run_id).arguments()


def test_what_is_measured_is_not_offered_again():
    assert waiting(["entropy"], is_text=True) == list(OF_TEXTS)
    assert waiting(["ablation_token_change", "ablation_loss"], is_text=True) == [Variant("mean")]
    assert waiting(["ablation_token_change_mean", "ablation_token_change"], is_text=True) == []
    measured = ["ablation_patch_change_cls_rows", "ablation_patch_change_ring2", "ablation_patch_change_mean"]
    assert waiting(measured, is_text=False) == [Variant(), Variant(part="patches"), Variant(ring=0), Variant(ring=1)]
    assert len({in_words(variant) for variant in OF_IMAGES}) == len(OF_IMAGES)


def test_what_was_measured_is_told_with_the_agreement():
    facts = {"mode": "mean", "part": "cls", "ring": None, "n_inputs": 12, "truth": "the class in the column label"}
    facts |= {
        "agreement": {"ablation_loss_mean_cls_rows": {"all_heads": 0.625, "within_layers": -0.5}},
        "notes": ["N."],
    }
    assert measured_words(facts) == (
        "Measured with the head replaced by its mean, CLS row only, on 12 inputs, held against the class in the column "
        "label. The size of the change of loss ranks heads like the gradient estimate with a rank correlation of 0.62 "
        "over all heads, -0.50 inside layers. N."
    )
    bare = {"mode": "zero", "part": None, "ring": 2, "n_inputs": 3, "truth": "", "agreement": {}, "notes": []}
    assert measured_words(bare) == "Measured with the head kept from patches at distance 2, on 3 inputs."


def test_a_job_is_kept_and_told_as_what_it_is(tmp_path):
    request = ImportanceRequest("some-run", "mean")
    job = jobs.start_job(tmp_path, request, command=FAIL_LATE)
    assert jobs.read_job(tmp_path, job.job_id).request == request
    assert job.run_id == "some-run"
    assert job.request.title == "Importance of the heads of some-run, head replaced by its mean"
    assert stage_words({"stage": "capture"}, request) == "Taking heads away, one after the other"
    assert stage_words({"stage": "capture"}, JobRequest("m", "d")).startswith("Capturing queries and keys (step 3")
    with pytest.raises(UserError, match="The importance of heads of run some-run is being made"):
        jobs.start_job(tmp_path, request, command=FAIL_LATE)
    other = jobs.start_job(tmp_path, ImportanceRequest("some-run"), command=DONE)
    jobs.cancel_job(tmp_path, job.job_id, grace_seconds=0.5)
    deadline = time.time() + 30
    while any(jobs.read_job(tmp_path, each.job_id).state == jobs.RUNNING for each in (job, other)):
        assert time.time() < deadline
        time.sleep(0.1)
    ended = jobs.read_job(tmp_path, job.job_id)
    assert ended.state == jobs.CANCELLED
    assert ended.error == "Cancelled. What was measured is kept: started again, it goes on from there."
    assert jobs.read_job(tmp_path, other.job_id).state == jobs.DONE


def test_what_is_in_the_making_does_not_renew_what_the_page_keeps(tmp_path, monkeypatch):
    monkeypatch.setenv("QK_ATLAS_RUNS", str(tmp_path))
    (tmp_path / "run").mkdir()
    before = cache.stamp("run")
    (tmp_path / "run" / ".add-importance-zero.parts").mkdir()
    (tmp_path / "run" / ".add-importance-zero.lock").touch()
    assert cache.stamp("run") == before
    (tmp_path / "run" / "add-importance-zero.duckdb").touch()
    assert cache.stamp("run") != before
