"""What is told of cuts of sinks, and cuts that are asked for from the page."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict

import pandas as pd
import pytest

from analysis.cli import make_parser
from analysis.cli.sinking import _variant
from analysis.errors import UserError
from analysis.pipeline.sink_cuts.variant import CutVariant
from analysis.sinks import SinkRule
from app import jobs
from app.charts.sink_cuts import answer_table, cut_words, layer_changes, make_changes, measure_table
from app.jobs.requests.cut import CutRequest, in_words, measured_words, variant_of
from app.views.job_cards import stage_words

DONE, LATE = ((sys.executable, "-c", code) for code in ("", "import time; time.sleep(30)"))
ASKED = [
    CutRequest("a-run"),
    CutRequest("a-run", "position:0", "L1H2", "redistribute", "layer"),
    CutRequest("a-run", "token:--out=/tmp", model="./m", data="./images"),
    CutRequest("a-run", threshold=0.2, min_queries=4, counts_own=True),
    CutRequest("a-run", "special", "image-centric"),
]
COLUMNS = "cut measure before after change ci_low ci_high n".split()
SUMMARY = pd.DataFrame(
    [("c", "loss", 3.0, 5.37, 2.37, 1.93, 2.78, 50), ("c", "kl_bits", 0.0, 4.6, 4.6, 4.4, 4.8, 50),
     ("c", "flips", 0.0, 0.754, 0.754, 0.71, 0.79, 50),
     ("c", "token_change", 0.0, 1.03, 1.03, float("nan"), float("nan"), 1)],
    columns=COLUMNS,
)  # fmt: skip


@pytest.mark.parametrize("request_", ASKED, ids=lambda request: request.sinks)
def test_the_command_line_takes_the_arguments(request_):
    options = make_parser().parse_args([*request_.arguments(), "--out=runs", "--progress-file=p.json"])
    assert _variant(options) == request_.variant
    assert (options.run, options.limit, options.model, options.data) == ("a-run", 50, request_.model, request_.data)


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(UserError, match="no run whose sinks"):
        CutRequest("--out=/tmp").arguments()
    with pytest.raises(UserError, match="--sinks expects"):
        CutRequest("a-run", "everything").arguments()


def test_the_facts_of_a_cut_tell_its_variant_and_words():
    for asked in ASKED:
        variant = asked.variant
        facts = {**asdict(variant), "keep": variant.kept}
        assert variant_of(facts).name == variant.name
    assert in_words(CutVariant()) == "the sinks of each head masked in all heads"
    assert in_words(CutVariant("token: ", "L1H2", "redistribute", by="layer")) == (
        "the token ␣ keep 0.6, others get the rest, in L1H2, layer by layer"
    )
    assert "(from 0.2)" in in_words(CutVariant(rule=SinkRule(0.2)))
    facts = {"n_inputs_cut": 8, "n_inputs": 10, "n_heads_cut": 3, "n_heads": 32, "columns_per_head": 1.0, "truth": "",
             "notes": ["N."]}  # fmt: skip
    assert measured_words(facts) == (
        "Measured on 8 of 10 inputs, those with something to cut; 3 of 32 heads had something to cut, 1 token a head "
        "and input. N."
    )


def test_the_sentence_tells_loss_answers_and_states():
    assert cut_words(SUMMARY) == (
        "Without them the loss goes from 3 to 5.37 nats (+2.37; 95 %: 1.93 to 2.78), 75 % of the predictions change, "
        "the answers part by 4.6 bits, the states at the end move by 1.03 times their length."
    )
    less = SUMMARY.iloc[:1].assign(after=2.5, change=-0.5, ci_low=-0.6, ci_high=-0.4)
    assert "(−0.5; 95 %: −0.6 to −0.4)" in cut_words(less)
    assert cut_words(SUMMARY.iloc[:0]).startswith("No measure")
    table = measure_table(SUMMARY)
    assert table["measure"].tolist()[:2] == ["Loss", "Divergence from the uncut answer"]
    assert table["interval"].tolist() == ["1.93 to 2.78", "4.4 to 4.8", "0.71 to 0.79", "–"]


def test_changes_by_layer_stand_in_the_order_of_layers():
    cuts = [{"cut": "x.L1", "layer": 1}, {"cut": "x.L0", "layer": 0}]
    rows = [("x.L1", "loss", 3, 5, 2, 1.5, 2.5, 9), ("x.L0", "loss", 3, 3.1, 0.1, 0, 0.2, 9)]
    table = layer_changes(pd.DataFrame(rows, columns=COLUMNS), cuts, "loss")
    assert table[["layer", "change"]].values.tolist() == [[0, 0.1], [1, 2]]
    assert "layer 0 0.1; layer 1 2" in make_changes(table, "loss", 1).to_dict()["description"]


def test_answers_are_told_as_they_read():
    changes = [{"text": " a", "before": 0.99, "after": 0.0}, {"text": "red square", "before": 0, "after": 1}]
    told = {"cut": "c", "input_id": 4, "position": 3, "context": "in the shop,", "context_after": "", "truth": "\n",
            "changes": changes}  # fmt: skip
    table = answer_table([told, {**told, "cut": "other"}], "c")
    assert table["answer"].tolist() == ["a", "red square"]
    assert table[["input", "position", "context", "truth"]].iloc[0].tolist() == [4, 3, "in the shop,", "⏎"]
    of_class = answer_table([{**told, "position": None, "context": "", "truth": None}], "c")
    assert of_class["context"].tolist() == ["–", "–"]
    assert of_class["position"].isna().all()


def test_a_job_is_kept_and_told_as_what_it_is(tmp_path):
    request = ASKED[1]
    job = jobs.start_job(tmp_path, request, command=LATE)
    assert jobs.read_job(tmp_path, job.job_id).request == request
    assert job.request.title == (
        "a-run without its sinks: the token at position 0 keep 0.6, others get the rest, in L1H2, layer by layer"
    )
    assert stage_words({"stage": "capture"}, request) == "Running the model with and without its sinks"
    with pytest.raises(UserError, match="A cut of the sinks of run a-run is being made"):
        jobs.start_job(tmp_path, request, command=LATE)
    jobs.cancel_job(tmp_path, job.job_id, grace_seconds=0.5)
    deadline = time.time() + 30
    while jobs.read_job(tmp_path, job.job_id).state == jobs.RUNNING:
        assert time.time() < deadline
        time.sleep(0.1)
    assert jobs.read_job(tmp_path, job.job_id).error.startswith("Cancelled. What was measured is kept")


def test_the_least_number_of_passes_is_told_before():
    assert ASKED[0].n_passes(190, 6) == 100  # 50 inputs, uncut and cut
    assert ASKED[1].n_passes(10, 6) == 70
