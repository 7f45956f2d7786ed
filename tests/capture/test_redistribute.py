"""Attention taken from sinks and given to others, against rows made by hand; masked columns against surgery."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.capture import Capture, Edit, Knockout, Redistribute
from analysis.errors import CaptureRefused, UnknownName, UserError
from tests.capture import zoo
from tests.capture.test_edits import N_ROWS, batch, sites, states

HEAD, ROWS = 1, [0, 3]
PLAIN = [(name, kind) for name in ("gpt2", "bert", "vit", "llama") for kind in ("sdpa", "eager")]
WITH_EXTRAS = [("gpt_oss", "eager"), ("gemma2", "eager"), ("t5", "sdpa"), ("t5", "eager")]
"""A learned sink in the softmax, a soft-cap, a position bias."""


def chosen(name: str, n_tokens: int) -> dict[str, np.ndarray]:
    """Keys that lose and gain: from the third query on, so that causal heads have somebody to give to."""
    sinks, receivers, queries = (np.zeros(n_tokens, dtype=bool) for _ in range(3))
    sinks[[0, 4]] = True
    receivers[[1, 2, 6, 7]] = True
    queries[2:] = True
    return {"sinks": sinks, "receivers": receivers, "queries": queries}


def by_hand(weights: np.ndarray, keep: float, sinks, receivers, queries) -> np.ndarray:
    """One head's new attention, row by row, in fp64."""
    new = weights.astype(np.float64).copy()
    for query in np.flatnonzero(queries):
        row = new[query]
        freed, to = (1 - keep) * row[sinks].sum(), row[receivers].sum()
        if to > 0:
            row[receivers] += freed * row[receivers] / to
            row[sinks] *= keep
    return new


def tensors(cells: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in cells.items()}


@pytest.mark.parametrize("keep", [0.6, 0.0])
@pytest.mark.parametrize(("name", "kind"), PLAIN + WITH_EXTRAS)
def test_the_head_gives_what_the_rows_made_by_hand_give(name, kind, keep):
    model, inputs = zoo.make_model(name), batch(name, same=False)
    model.set_attn_implementation(kind)
    plain = sites(model, inputs)[1]
    cells = chosen(name, plain.q.shape[2])
    change = Redistribute(plain.key, HEAD, keep=keep, rows=ROWS, **tensors(cells))
    with torch.inference_mode(), Edit(model, [change]), Capture(model, keep_outputs=True) as capture:
        model(**inputs)
    edited = capture.calls[1]
    values = plain.v.repeat_interleave(4 // plain.v.shape[1], dim=1)[:, HEAD].double().numpy()
    before = plain.attention()[:, HEAD].numpy()
    for row in ROWS:
        after = by_hand(before[row], keep, **cells)
        assert np.abs(after.sum(axis=-1) - before[row].sum(axis=-1)).max() < 1e-6
        assert np.abs(after - before[row]).max() > 0.05
        np.testing.assert_allclose(edited.attention()[row, HEAD].numpy(), after, atol=1e-5)
        np.testing.assert_allclose(edited.output[row, :, HEAD].numpy(), after @ values[row], atol=1e-5)
    untouched = torch.ones(N_ROWS, 4, dtype=torch.bool)
    untouched[ROWS, HEAD] = False
    assert (edited.output - plain.output).abs().amax(dim=(1, 3))[untouched].max() < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "bert", "vit", "llama"])
def test_nothing_kept_and_nobody_named_is_the_column_masked(name):
    model, inputs = zoo.make_model(name), batch(name)
    key = sites(model, inputs)[0].key
    n_tokens = sites(model, inputs)[0].q.shape[2]
    sinks = torch.arange(n_tokens) == 2
    blocked = sinks[None].expand(n_tokens, -1)
    with Edit(model, [Knockout(key, HEAD, blocked)]):
        knocked_out = states(model, inputs)
    with Edit(model, [Redistribute(key, HEAD, sinks)]):
        taken = states(model, inputs)
    torch.testing.assert_close(taken, knocked_out, atol=1e-5, rtol=1e-5)
    assert (taken - states(model, inputs)).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["gpt2", "bert", "vit", "llama"])
def test_all_kept_changes_nothing(name):
    model, inputs = zoo.make_model(name), batch(name)
    call = sites(model, inputs)[0]
    cells = tensors(chosen(name, call.q.shape[2]))
    with Edit(model, [Redistribute(call.key, HEAD, keep=1.0, **cells)]):
        kept = states(model, inputs)
    torch.testing.assert_close(kept, states(model, inputs), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_a_query_without_receivers_stays_as_it_is(kind):
    """The first query of a causal model sees itself alone."""
    model, inputs = zoo.make_model("gpt2"), batch("gpt2")
    model.set_attn_implementation(kind)
    plain = sites(model, inputs)[0]
    edit = Edit(model, [Redistribute(plain.key, HEAD, torch.arange(9) == 0)])
    with torch.inference_mode(), edit, Capture(model, keep_outputs=True) as capture:
        model(**inputs)
    edited = capture.calls[0]
    torch.testing.assert_close(edited.output[:, 0], plain.output[:, 0], atol=1e-6, rtol=1e-6)
    assert edited.attention()[:, HEAD, 1:, 0].max() == 0
    assert plain.attention()[:, HEAD, 1:, 0].max() > 0.01


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["gpt2", "bert", "llama"])
def test_a_column_masked_in_all_heads_is_the_models_own_padding(name, kind):
    """What a model does with a token that its own attention mask leaves out, other places unmoved."""
    model, inputs = zoo.make_model(name), batch(name)
    model.set_attn_implementation(kind)
    calls = sites(model, inputs)
    inputs["position_ids"] = torch.arange(9).expand(N_ROWS, -1)
    blocked = (torch.arange(9) == 3)[None].expand(9, -1)
    with Edit(model, [Knockout(call.key, None, blocked) for call in calls]):
        knocked_out = states(model, inputs)
    plain = states(model, inputs)
    inputs["attention_mask"] = inputs["attention_mask"].clone()
    inputs["attention_mask"][:, 3] = 0
    padded = states(model, inputs)
    torch.testing.assert_close(knocked_out, padded, atol=1e-5, rtol=1e-5)
    assert (plain - padded).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["gpt2", "bert", "vit", "llama"])
def test_a_column_masked_in_one_head_is_its_key_and_value_cut_out(name):
    """The head computed by hand from its own queries and from keys and values of which one row was deleted."""
    model, inputs = zoo.make_model(name), batch(name, same=False)
    plain = sites(model, inputs)[1]
    n_tokens = plain.q.shape[2]
    left = torch.arange(n_tokens) != 3
    edit = Edit(model, [Knockout(plain.key, HEAD, (~left)[None].expand(n_tokens, -1))])
    with torch.inference_mode(), edit, Capture(model, keep_outputs=True) as capture:
        model(**inputs)
    shared = HEAD // (4 // plain.k.shape[1])
    allowed = plain.allowed()[0].expand(N_ROWS, 4, -1, -1)[:, HEAD][..., left]
    expected = torch.nn.functional.scaled_dot_product_attention(
        plain.q[:, HEAD], plain.k[:, shared, left], plain.v[:, shared, left], attn_mask=allowed, scale=plain.scale
    )
    torch.testing.assert_close(capture.calls[1].output[:, :, HEAD], expected, atol=1e-5, rtol=1e-5)
    assert (expected - plain.output[:, :, HEAD]).abs().max() > 1e-2


def test_changes_are_made_in_order():
    """What was knocked out first gets nothing of what is given away after."""
    model, inputs = zoo.make_model("bert"), batch("bert")
    plain = sites(model, inputs)[0]
    blocked = (torch.arange(9) == 1)[None].expand(9, -1)
    taken = Redistribute(plain.key, HEAD, torch.arange(9) == 0, 0.5)
    with torch.inference_mode(), Capture(model) as capture, Edit(model, [Knockout(plain.key, HEAD, blocked), taken]):
        model(**inputs)
    before = plain.attention()[0, HEAD].numpy().astype(np.float64)
    before[:, 1] = 0
    before /= before.sum(axis=1, keepdims=True)
    others = np.arange(9) > 1
    after = by_hand(before, 0.5, np.arange(9) == 0, others, np.ones(9, dtype=bool))
    np.testing.assert_allclose(capture.calls[0].attention()[0, HEAD].numpy(), after, atol=1e-5)


def test_what_cannot_be_redistributed_is_refused():
    model, inputs = zoo.make_model("gpt2"), batch("gpt2")
    sinks = torch.arange(9) == 0
    with pytest.raises(UserError, match=r"The share that sinks keep is 1\.5; give 0 \(nothing\) to 1 \(all\)"):
        Redistribute("h.0.attn#0", 0, sinks, keep=1.5)
    with pytest.raises(UnknownName, match="no head 4"), Edit(model, [Redistribute("h.0.attn#0", 4, sinks)]):
        states(model, inputs)
    with (
        pytest.raises(CaptureRefused, match="attends over 9 x 9 tokens"),
        Edit(model, [Redistribute("h.0.attn#0", 0, sinks[:5])]),
    ):
        states(model, inputs)
