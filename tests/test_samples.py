"""Figures over pairs of inputs of a data set, against the models' own attention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import analysis
from analysis.capture import make_plan, run_batch
from analysis.engines import local
from analysis.inputs import encode, read_data
from analysis.models import load_model
from analysis.pipeline import samples
from analysis.pipeline.samples import MapsOfSample, draw_sample, score_samples
from analysis.store import RunWriter
from tests.model_folders import minilm


def prepared(model, data, modality):
    loaded = load_model(model, modality=modality)
    inputs = encode(read_data(data, limit=40), loaded)
    return loaded, make_plan(loaded, inputs.tensors(int(np.argmax(inputs.inputs["n_tokens"])))), inputs


@pytest.fixture(scope="module")
def language():
    return prepared("demo-language", "demo-sentences", "text")


@pytest.fixture(scope="module")
def vision():
    return prepared("demo-vision", "demo-scenes", "vision")


@pytest.fixture(scope="module")
def encoder():
    return prepared(minilm(), "demo-sentences", "text")


def own_maps(loaded, inputs, sample) -> np.ndarray:
    """What the model itself gives, [input, site, head, query, key]: the first positions, rows summing to 1."""
    before = loaded.module.config._attn_implementation
    loaded.module.set_attn_implementation("eager")
    maps = []
    with torch.no_grad():
        for input_id in sample.inputs:
            tensors = {name: torch.from_numpy(value)[None] for name, value in inputs.tensors(int(input_id)).items()}
            attention = torch.stack(loaded.module(**tensors, output_attentions=True).attentions)[:, 0].numpy()
            maps.append(attention[:, :, : sample.n_positions, : sample.n_positions])
    loaded.module.set_attn_implementation(before)
    maps = np.stack(maps).astype(np.float64)[..., sample.queries, :]
    return maps / maps.sum(axis=-1, keepdims=True)


def cosines(maps: np.ndarray, first: int) -> np.ndarray:
    """Mean cosine over pairs of inputs, spelt out, [site, head]; queries before `first` left out."""
    n = len(maps)
    flat = maps[..., first:, :].reshape(*maps.shape[:3], -1)
    flat = flat / np.linalg.norm(flat, axis=-1, keepdims=True)
    pairs = [(flat[a] * flat[b]).sum(axis=-1) for a in range(n) for b in range(n) if a != b]
    return np.mean(pairs, axis=0)


def table_of(table, name, shape, column="value"):
    return table[table["metric"] == name][column].to_numpy().reshape(shape)


@pytest.mark.parametrize(("fixture", "first"), [("language", 1), ("vision", 0), ("encoder", 0)])
def test_similarity_is_the_mean_cosine_of_the_models_own_maps(fixture, first, request):
    loaded, plan, inputs = request.getfixturevalue(fixture)
    table = score_samples(loaded, plan, inputs, seed=3)
    sample = draw_sample(inputs, sum(site.n_heads for site in plan.sites), seed=3)
    maps = own_maps(loaded, inputs, sample)
    np.testing.assert_allclose(table_of(table, "map_similarity", maps.shape[1:3]), cosines(maps, first), atol=2e-5)
    assert (table["n"] == len(sample.inputs)).all()
    assert ((table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"])).mean() > 0.98
    assert table["site"].drop_duplicates().tolist() == [site.key for site in plan.sites]


def test_position_share_is_that_of_the_models_own_log_attention(vision):
    loaded, plan, inputs = vision
    table = score_samples(loaded, plan, inputs, seed=0)
    maps = own_maps(loaded, inputs, draw_sample(inputs, sum(site.n_heads for site in plan.sites), seed=0))
    scores = np.log(maps) - np.log(maps).mean(axis=-1, keepdims=True)
    n = len(scores)
    within = scores.var(axis=0, ddof=1).mean(axis=(-1, -2))
    between = (scores.mean(axis=0) ** 2).mean(axis=(-1, -2)) - within / n
    np.testing.assert_allclose(table_of(table, "position_share", within.shape), between / (between + within), atol=1e-3)
    assert (table[table["metric"] == "position_share"]["null"] == 0).all()


def test_samples_are_long_enough_seeded_and_bounded(language):
    inputs = language[2]
    sample = draw_sample(inputs, 32, seed=0)
    assert len(sample.inputs) == samples.FEWEST_INPUTS
    assert sample.n_positions <= samples.MOST_POSITIONS
    assert min(inputs.n_tokens(int(i)) for i in sample.inputs) >= sample.n_positions
    assert sample.queries.tolist() == list(range(sample.n_positions))
    assert sample.inputs.tolist() == draw_sample(inputs, 32, seed=0).inputs.tolist()
    assert sample.inputs.tolist() != draw_sample(inputs, 32, seed=1).inputs.tolist()


def test_maps_that_are_too_large_are_compared_on_some_queries_and_read_head_by_head(vision, monkeypatch):
    loaded, plan, inputs = vision
    whole = score_samples(loaded, plan, inputs, seed=0)
    monkeypatch.setattr("analysis.engines.local.BATCH_ATTENTION_BYTES", 1)
    np.testing.assert_allclose(score_samples(loaded, plan, inputs, seed=0)["value"], whole["value"], atol=1e-3)
    monkeypatch.setattr(samples, "MOST_BYTES", 4 * 8 * 36 * 65 * 20)
    assert len(draw_sample(inputs, 36, seed=0).queries) == 20
    part = score_samples(loaded, plan, inputs, seed=0)
    similar = part["metric"] == "map_similarity"
    assert np.corrcoef(part["value"][similar], whole["value"][similar])[0, 1] > 0.98


def test_a_single_input_has_no_rows(language):
    loaded, plan, _ = language
    inputs = encode(read_data("demo-sentences", limit=1), loaded)
    assert score_samples(loaded, plan, inputs, seed=0).empty


def test_images_of_the_commonest_size_are_drawn(vision):
    changed = vision[2].inputs.copy()
    changed.loc[changed.index[::3], "width"] = 99
    other = draw_sample(replace(vision[2], inputs=changed), 36, seed=0)
    assert not set(other.inputs) & set(range(0, len(changed), 3))


@pytest.mark.parametrize("fixture", ["language", "vision", "encoder"])
def test_maps_taken_while_capturing_are_those_of_another_run_of_the_model(fixture, request):
    loaded, plan, inputs = request.getfixturevalue(fixture)
    again = score_samples(loaded, plan, inputs, seed=0)
    for n_captured in (20, len(inputs)):
        maps = MapsOfSample(plan, inputs, seed=0)
        for batch in local.batches(range(n_captured), inputs.n_tokens, sum(site.n_heads for site in plan.sites)):
            maps.take(run_batch(loaded, plan, [(i, inputs.tensors(i)) for i in batch], rounded=True))
        assert maps.missing() == [i for i in maps.sample.inputs if i >= n_captured]
        # Where all were captured nobody needs the model.
        taken = score_samples(loaded if maps.missing() else None, plan, inputs, 0, maps)
        pd.testing.assert_frame_equal(taken, again, check_exact=False, rtol=0, atol=1e-5)


def test_a_site_whose_mask_differs_between_inputs_has_no_rows(language):
    loaded, plan, inputs = language
    maps = MapsOfSample(plan, inputs, seed=0)
    first, *others = maps.sample.inputs.tolist()
    captured = run_batch(loaded, plan, [(i, inputs.tensors(i)) for i in (first, *others)])
    odd = captured[0][1].allowed.copy()
    odd[3, 1] = False
    captured[0][1] = replace(captured[0][1], allowed=odd)
    maps.take(captured)
    found = score_samples(None, plan, inputs, 0, maps)
    assert set(found["site"]) == {site.key for site in plan.sites} - {plan.sites[1].key}


def test_a_killed_job_goes_on_to_the_same_figures(tmp_path, monkeypatch):
    request = {"model": minilm(), "data": "demo-sentences", "limit": 24, "layers": "1", "projection": []}
    with analysis.extract(**request, out_dir=tmp_path / "whole") as run:
        whole = run.head_scores()
    stored, calls = RunWriter.put_batch, []

    def fails_at_second(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return stored(self, *args, **kwargs)

    monkeypatch.setattr(local, "BATCH_TOKENS", 100)
    monkeypatch.setattr(RunWriter, "put_batch", fails_at_second)
    with pytest.raises(KeyboardInterrupt):
        analysis.extract(**request, out_dir=tmp_path / "killed")
    monkeypatch.setattr(RunWriter, "put_batch", stored)
    with analysis.extract(**request, out_dir=tmp_path / "killed") as run:
        again = run.head_scores()
    assert {"map_similarity", "position_share", "nmi"} <= set(again["metric"])
    pd.testing.assert_frame_equal(again, whole, check_exact=False, rtol=0, atol=1e-5)
