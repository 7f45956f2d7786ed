"""Heads measured without their sinks, from what a run has stored: against the capture, and against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

import analysis
from analysis.inputs import encode, read_data
from analysis.metrics import metric_names
from analysis.metrics.tokens import same
from analysis.models import load_model
from analysis.pipeline import attention_in_parts, without_sinks
from analysis.pipeline.token_facts import token_facts
from analysis.pipeline.without_sinks import facts_of_run, heads_without_sinks, is_measurable
from analysis.sinks import SinkRule, sink_columns
from analysis.store import open_run
from tests.model_folders import minilm
from tests.sinks.made import make_run_with_sinks

NO_SINKS = SinkRule(threshold=1.0, min_queries=10**6)
TEXTS = ["A dog, a cat. A bird!", "Rain fell on the hills all night.", "Yes."]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A run of a real encoder, whose CLS and separator the run does not name, and what the capture was told."""
    folder = tmp_path_factory.mktemp("texts")
    data = folder / "texts.txt"
    data.write_text("\n".join(TEXTS), encoding="utf-8")
    loaded = load_model(minilm(), modality="text")
    with analysis.extract(model=minilm(), data=data, out_dir=folder, projection=[]) as run:
        yield run, token_facts(encode(read_data(data), loaded), loaded.processor)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    loaded = load_model("demo-vision", modality="vision")
    with analysis.extract(
        model="demo-vision", data="demo-scenes", limit=3, out_dir=tmp_path_factory.mktemp("images"), projection=[]
    ) as run:
        yield run, token_facts(encode(read_data("demo-scenes", limit=3), loaded), loaded.processor)


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_a_run_tells_of_its_tokens_what_its_capture_was_told(kind, request):
    run, told = request.getfixturevalue(kind)
    found = facts_of_run(run, [0, 1, 2])
    np.testing.assert_array_equal(found.starts, told.starts)
    assert set(found.fields) == set(told.fields)
    for name, values in told.fields.items():
        if name in ("identity", "label"):
            every = np.arange(len(values))
            np.testing.assert_array_equal(same(found.fields[name][None], every), same(values[None], every), name)
        else:
            np.testing.assert_array_equal(found.fields[name], values, name)


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_with_nothing_hidden_every_score_is_the_one_that_the_capture_measured(kind, request):
    run, _ = request.getfixturevalue(kind)
    stored = run.head_scores().pivot(index=["site", "head"], columns="metric", values="value")
    names = [name for name in metric_names() if name in stored]
    assert len(names) > 8
    again = heads_without_sinks(run, names, rule=NO_SINKS)
    found = again.heads.set_index(["site", "head"]).loc[stored.index]
    assert again.n_inputs == 3
    assert (found["hidden"] == 0).all()
    for name in names:
        np.testing.assert_allclose(found[name], stored[name], atol=5e-3, rtol=2e-3, err_msg=name)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = make_run_with_sinks(
        tmp_path_factory.mktemp("made"), "made", n_inputs=7, n_tokens=20, n_layers=2, causal=True
    )
    with open_run(path) as run:
        yield run


def _by_hand(run, site, head, input_id) -> tuple[float, float, int]:
    """Hidden share, mean weight on the previous token of what is left, and number of sinks: in plain loops."""
    weights, allowed = run.attention(site, head, input_id), run.allowed(site, input_id)
    sinks = np.flatnonzero(sink_columns(weights, allowed))
    hidden, previous = [], []
    for query, row in enumerate(weights.astype(float)):
        gone = sum(row[sink] for sink in sinks)
        left = row.sum() - gone
        hidden.append(gone)
        if query:
            previous.append(row[query - 1] / left if left > 1e-6 and query - 1 not in sinks else 0.0)
    return float(np.mean(hidden)), float(np.mean(previous)), len(sinks)


def test_shares_and_scores_without_sinks_by_hand(made):
    found = heads_without_sinks(made, ["previous_token"]).heads
    site, ids = made.sites[1], made.inputs()["input_id"]
    by_hand = np.array([[_by_hand(made, site, head, i) for i in ids] for head in range(3)]).mean(axis=1)
    mine = found[found["site"] == site.key]
    np.testing.assert_allclose(mine[["hidden", "previous_token", "n_hidden"]], by_hand, atol=2e-5)
    assert mine["hidden"].max() > 0.1


def test_a_larger_run_is_sampled_and_long_inputs_are_read_head_by_head(made, monkeypatch):
    whole = heads_without_sinks(made, ["entropy"]).heads
    monkeypatch.setattr(attention_in_parts, "TOGETHER_CELLS", 0)
    np.testing.assert_allclose(heads_without_sinks(made, ["entropy"]).heads["entropy"], whole["entropy"], atol=1e-5)
    monkeypatch.setattr(without_sinks, "SMALL_CELLS", 0)
    some = heads_without_sinks(made, ["entropy"], most_inputs=3)
    assert some.n_inputs == 3
    assert not np.allclose(some.heads["entropy"], whole["entropy"], atol=1e-4)
    np.testing.assert_array_equal(some.heads, heads_without_sinks(made, ["entropy"], most_inputs=3).heads)


def test_what_rests_on_probes_pairs_or_ablation_cannot_be_measured_so():
    assert is_measurable("previous_token")
    assert not any(is_measurable(name) for name in ("induction", "map_similarity", "importance_zero", "no such metric"))
