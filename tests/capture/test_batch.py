"""Batches: padding leaves no trace, arrays are what the contract says, and what must be stored says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from analysis.attention import recompute
from analysis.capture import CapturePlan, make_plan, rounding, run_batch
from analysis.capture.batch import forward, pad
from analysis.errors import CaptureRefused, InputError
from analysis.types import Band, SiteCapture
from tests.capture import zoo


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "gemma2", "gpt_oss", "t5", "modernbert", "vit"])
def test_a_batch_gives_what_each_input_gives_alone(name: str) -> None:
    loaded = zoo.load(name)
    batch = [(7, zoo.make_input(name, 5, 1)), (3, zoo.make_input(name, 12, 2)), (9, zoo.make_input(name, 1, 3))]
    plan = make_plan(loaded, batch[1][1])
    for one, together in zip(batch, run_batch(loaded, plan, batch), strict=True):
        alone = run_batch(loaded, plan, [one])[0]
        n_tokens = len(one[1].get("input_ids", range(17)))
        for ours, expected, site in zip(together, alone, plan.sites, strict=True):
            assert ours.input_id == one[0]
            assert ours.queries.shape == (site.n_heads, n_tokens, site.d_head)
            assert ours.keys.shape == (site.n_kv_heads, n_tokens, site.d_head)
            assert ours.value_norms.shape == (site.n_kv_heads, n_tokens)
            assert ours.attention.shape == (site.n_heads, n_tokens, n_tokens)
            assert ours.allowed.shape == (n_tokens, n_tokens)
            assert ours.allowed.dtype == bool
            for field in ("queries", "keys", "value_norms", "attention"):
                assert getattr(ours, field).dtype == np.float32
                np.testing.assert_allclose(getattr(ours, field), getattr(expected, field), atol=2e-5)
            np.testing.assert_array_equal(ours.allowed, site.band.allowed(n_tokens))
            assert float(np.abs(ours.attention[:, ~ours.allowed]).max(initial=0)) == 0


def test_value_norms_are_lengths_of_the_values() -> None:
    loaded = zoo.load("bert")
    encoded = zoo.make_input("bert")
    capture = run_batch(loaded, make_plan(loaded, encoded), [(0, encoded)])[0][0]
    with torch.no_grad():
        embedded = loaded.module.embeddings(input_ids=torch.tensor(encoded["input_ids"])[None])
        values = loaded.module.encoder.layer[0].attention.self.value(embedded)[0].reshape(12, 4, 8)
    np.testing.assert_allclose(capture.value_norms, values.norm(dim=-1).T, rtol=1e-5)


def test_attention_is_left_out_when_nobody_asks_unless_it_must_be_stored() -> None:
    for name, expected in (("bert", False), ("t5", True)):
        loaded, encoded = zoo.load(name), zoo.make_input(name)
        plan = make_plan(loaded, encoded)
        for capture in run_batch(loaded, plan, [(0, encoded)], want_attention=False)[0]:
            assert (capture.attention is not None) == capture.must_store == expected


def test_an_input_whose_mask_is_not_the_bands_must_be_stored() -> None:
    loaded = zoo.load("mistral")
    short, long = zoo.make_input("mistral", 4), zoo.make_input("mistral", 12)
    plan = make_plan(loaded, short)
    assert plan.sites[0].band == Band(right=0), "four tokens do not show a window of five"
    captures = run_batch(loaded, plan, [(0, short), (1, long)])
    assert [one[0].must_store for one in captures] == [False, True]


@pytest.mark.parametrize("want_attention", [True, False])
def test_an_input_that_rounding_would_spoil_must_be_stored(want_attention: bool) -> None:
    loaded = zoo.load("bert")
    encoded = zoo.make_input("bert")
    plan = make_plan(loaded, encoded)
    key = plan.sites[0].key
    verdicts = {**plan.certificate["sites"], key: {"recomputed_max_abs_diff": 1.9e-3}}
    close = dataclasses.replace(plan, certificate={**plan.certificate, "sites": verdicts})
    assert not run_batch(loaded, close, [(0, encoded)], want_attention)[0][0].must_store
    far = dataclasses.replace(close, key_offsets={**plan.key_offsets, key: np.full((4, 8), 5e3, dtype=np.float32)})
    captures = run_batch(loaded, far, [(0, encoded)], want_attention)[0]
    assert [capture.must_store for capture in captures] == [True, False]
    assert [capture.attention is not None for capture in captures] == [True, want_attention]


@pytest.mark.parametrize("name", ["bert", "llama", "mistral", "gemma2", "gpt_oss", "vit"])
def test_the_check_of_rounding_finds_the_largest_difference_of_all_queries(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = zoo.load(name)
    batch = [(0, zoo.make_input(name, 50, 1)), (1, zoo.make_input(name, 31, 2))]
    plan = make_plan(loaded, batch[0][1])
    for place, site in enumerate(plan.sites):
        alone = dataclasses.replace(plan, sites=[site], certificate={})
        drifts = [_rounding_drift(of_input[place], plan) for of_input in run_batch(loaded, plan, batch)]
        for factor, expected in ((0.98, True), (1.02, False)):
            for index, drift in enumerate(drifts):
                monkeypatch.setattr(rounding, "STORED_TOLERANCE", factor * drift)
                captures = run_batch(loaded, alone, batch, want_attention=False)
                assert captures[index][0].must_store == expected, (site.label, factor)


def _rounding_drift(capture: SiteCapture, plan: CapturePlan) -> float:
    """The same question answered by the store's own formula on every query."""
    site, sinks = capture.site, plan.sink_logits.get(capture.site.key)
    keys = (capture.keys - plan.key_offsets[site.key][:, None]).astype(np.float16)
    again = recompute(capture.queries.astype(np.float16), keys, capture.allowed, site.scale, site.softcap, sinks)
    return float(np.abs(again - capture.attention).max())


def test_images_of_other_shapes_run_in_turn_and_come_back_in_order() -> None:
    loaded = zoo.load("vit")
    wide = {"pixel_values": np.random.default_rng(0).normal(size=(3, 32, 48)).astype(np.float32)}
    square = zoo.make_input("vit")
    captures = run_batch(loaded, make_plan(loaded, square), [(0, square), (1, wide), (2, square)])
    assert [one[0].queries.shape[1] for one in captures] == [17, 25, 17]
    assert [one[0].input_id for one in captures] == [0, 1, 2]
    layout = loaded.image_layout(32, 48, 25)
    assert (layout.prefix, layout.rows, layout.columns) == (("CLS",), 4, 6)


def test_padding_is_on_the_right_with_a_mask_even_where_the_input_has_none() -> None:
    loaded = zoo.load("gpt2")
    inputs, lengths = pad(loaded, [{"input_ids": np.array([5, 6, 7])}, {"input_ids": np.array([8])}])
    assert lengths == {"": [3, 1]}
    assert inputs["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_forward_passes_only_arguments_the_model_names() -> None:
    loaded = zoo.load("distilbert")
    encoded = {**zoo.make_input("distilbert"), "token_type_ids": np.zeros(12, dtype=np.int64)}
    inputs, _ = pad(loaded, [encoded])
    assert forward(loaded, inputs).last_hidden_state.shape == (1, 12, 32)


def test_forward_keeps_no_cache() -> None:
    loaded = zoo.load("gpt2")
    assert forward(loaded, pad(loaded, [zoo.make_input("gpt2")])[0]).past_key_values is None


def test_an_empty_input_and_an_empty_batch() -> None:
    loaded = zoo.load("bert")
    plan = make_plan(loaded, zoo.make_input("bert"))
    assert run_batch(loaded, plan, []) == []
    with pytest.raises(InputError, match="Input 4 is empty"):
        run_batch(loaded, plan, [(4, {"input_ids": np.array([], dtype=np.int64)})])


def test_a_site_that_does_not_call_is_named() -> None:
    loaded = zoo.load("bert")
    plan = make_plan(loaded, zoo.make_input("bert"))
    other = dataclasses.replace(plan, sites=[dataclasses.replace(plan.sites[0], key="gone#0")])
    with pytest.raises(CaptureRefused, match=r"text\.enc\.self\.0 made no attention call"):
        run_batch(loaded, other, [(0, zoo.make_input("bert"))])
