"""Scores on generated probes against the models' own attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.capture import make_plan
from analysis.models import load_model
from analysis.pipeline.probes import N_PROBES, make_probes, score_probes
from tests.model_folders import minilm


@pytest.fixture(scope="module")
def demo():
    return load_model("demo-language", modality="text")


def test_probes_are_a_lead_and_a_span_of_ordinary_tokens_twice(demo):
    probes, period = make_probes(demo, seed=3)
    assert probes.shape == (N_PROBES, 1 + 2 * period)
    assert set(probes[:, 0]) == {demo.processor.bos_token_id}
    np.testing.assert_array_equal(probes[:, 1 : 1 + period], probes[:, 1 + period :])
    assert all(len(set(row[1 : 1 + period])) == period for row in probes)
    assert not set(probes[:, 1:].ravel()) & set(demo.processor.all_special_ids)
    np.testing.assert_array_equal(probes, make_probes(demo, seed=3)[0])
    assert (probes != make_probes(demo, seed=4)[0]).any()


def test_scores_are_diagonals_of_the_models_own_attention(demo):
    probes, period = make_probes(demo, seed=0)
    table = score_probes(demo, make_plan(demo, {"input_ids": probes[0]}), seed=0)
    own = demo.module
    before = own.config._attn_implementation
    own.set_attn_implementation("eager")
    with torch.no_grad():
        attention = torch.stack(own(torch.from_numpy(probes), output_attentions=True).attentions).numpy()
    own.set_attn_implementation(before)
    for name, offset in (("induction", 1 - period), ("duplicate_token", -period)):
        expected = np.diagonal(attention, offset, 3, 4)[..., -period:].mean((1, 3))
        got = table[table["metric"] == name].sort_values(["site", "head"])["value"].to_numpy().reshape(expected.shape)
        np.testing.assert_allclose(got, expected, atol=1e-5)
    best = table[table["metric"] == "induction"]["value"].max()
    assert best >= 0.7
    assert (table["n"] == N_PROBES).all()
    assert ((table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"])).all()


def test_models_that_look_both_ways_have_no_such_scores():
    loaded = load_model(minilm(), modality="text")
    plan = make_plan(loaded, {"input_ids": np.array([101, 2023, 2003, 102])})
    assert score_probes(loaded, plan, seed=0).empty
