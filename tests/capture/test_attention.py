"""The formula in torch: by hand, against its numpy twin, and against torch's own kernel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from analysis.attention import recompute
from analysis.capture.attention import allowed_keys, attention
from analysis.capture.sites import find_band
from analysis.types import Band


def draw(n_heads: int = 4, n_kv_heads: int = 4, n_tokens: int = 7, d_head: int = 8) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, n_heads, n_tokens, d_head, generator=generator)
    k = torch.randn(2, n_kv_heads, n_tokens, d_head, generator=generator)
    return q, k


def test_two_keys_by_hand() -> None:
    q, k = torch.tensor([[[[1.0]]]]), torch.tensor([[[[0.0], [math.log(3.0)]]]])
    weights = attention(q, k, scale=1.0)
    torch.testing.assert_close(weights.flatten(), torch.tensor([0.25, 0.75]))


def test_softcap_and_sink_by_hand() -> None:
    q, k = torch.tensor([[[[1.0]]]]), torch.tensor([[[[0.0], [100.0]]]])
    capped = attention(q, k, scale=1.0, softcap=math.log(3.0))
    torch.testing.assert_close(capped.flatten(), torch.tensor([0.25, 0.75]))
    sunk = attention(q, torch.zeros(1, 1, 2, 1), scale=1.0, sink_logits=torch.tensor([math.log(2.0)]))
    torch.testing.assert_close(sunk.flatten(), torch.tensor([0.25, 0.25]))


@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("has_sinks", [False, True])
@pytest.mark.parametrize("band", [Band(), Band(right=0), Band(2, 0), Band(2, 2)])
def test_equals_the_numpy_twin(n_kv_heads: int, softcap: float | None, has_sinks: bool, band: Band) -> None:
    q, k = draw(n_kv_heads=n_kv_heads)
    sinks = torch.tensor([0.5, -1.0, 2.0, 0.0]) if has_sinks else None
    allowed = band.allowed(7)
    ours = attention(q, k, scale=0.4, mask=torch.tensor(allowed)[None, None], softcap=softcap, sink_logits=sinks)
    for row in range(2):
        twin = recompute(
            q[row].numpy(), k[row].numpy(), allowed, 0.4, softcap, None if sinks is None else sinks.numpy()
        )
        np.testing.assert_allclose(ours[row].numpy(), twin, atol=1e-6)


@pytest.mark.parametrize("is_causal", [True, False])
def test_weights_times_values_is_what_torch_returns(is_causal: bool) -> None:
    q, k = draw()
    v = torch.randn(2, 4, 7, 3)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal, scale=0.3)
    torch.testing.assert_close(attention(q, k, scale=0.3, is_causal=is_causal) @ v, expected)


def test_additive_boolean_and_padding_masks_agree_and_inputs_stay_as_they_are() -> None:
    q, k = draw()
    before = q.clone(), k.clone()
    padding = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])
    boolean = padding.bool()[:, None, None, :]
    additive = torch.zeros(boolean.shape).masked_fill(~boolean, torch.finfo(torch.float32).min)
    weights = [attention(q, k, scale=0.3, mask=mask) for mask in (padding, boolean, additive)]
    torch.testing.assert_close(weights[0], weights[1])
    torch.testing.assert_close(weights[0], weights[2])
    assert float(weights[0][1, ..., 4:].abs().max()) == 0
    torch.testing.assert_close((q, k), before)


def test_a_query_that_sees_nothing_has_weight_nowhere() -> None:
    q, k = draw()
    mask = torch.ones(1, 1, 7, 7, dtype=torch.bool)
    mask[..., 2, :] = False
    weights = attention(q, k, scale=0.3, mask=mask)
    assert float(weights[:, :, 2].abs().max()) == 0
    torch.testing.assert_close(weights[:, :, 3].sum(-1), torch.ones(2, 4))


def test_position_bias_moves_the_scores() -> None:
    q, k = torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 2, 1)
    bias = torch.tensor([[[[0.0, math.log(3.0)]]]])
    torch.testing.assert_close(attention(q, k, scale=1.0, position_bias=bias).flatten(), torch.tensor([0.25, 0.75]))


def test_a_mask_that_weighs_what_it_allows_is_told_from_one_that_blocks() -> None:
    blocks = torch.tensor([[[[0.0, -1e9], [0.0, 0.0]]]])
    weighs = torch.tensor([[[[0.0, -1e9], [-2.5, 0.0]]]])
    infinite = torch.tensor([[[[0.0, -torch.inf], [0.0, 0.0]]]])
    for mask, expected in ((blocks, False), (weighs, True), (infinite, False)):
        allowed, is_weighed = allowed_keys(mask, False, 2, 2, "cpu")
        assert allowed.flatten().tolist() == [True, False, True, True]
        assert is_weighed is expected


@pytest.mark.parametrize(
    "band", [Band(), Band(right=0), Band(3, 0), Band(2, 2), Band(0, 0), Band(None, 2), Band(1, None)]
)
def test_find_band_reads_every_band_back(band: Band) -> None:
    assert find_band(band.allowed(9)) == band


def test_find_band_refuses_other_masks() -> None:
    blocks = np.kron(np.eye(2, dtype=bool), np.ones((3, 3), dtype=bool))
    assert find_band(blocks) is None
    holed = Band(right=0).allowed(6)
    holed[4, 2] = False
    assert find_band(holed) is None
    assert find_band(np.zeros((3, 3), dtype=bool)) is None
