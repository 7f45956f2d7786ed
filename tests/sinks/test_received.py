"""The attention every token receives, by hand and against the published formula."""

from __future__ import annotations

import numpy as np

from analysis.engines.scoring import score_captures
from analysis.metrics import metric_names
from analysis.sinks.received import attention_received, learned_mass
from analysis.types import Band, Site, SiteCapture

A = np.array([[1, 0, 0, 0], [0.6, 0.4, 0, 0], [0.5, 0.25, 0.25, 0], [0.7, 0.1, 0.1, 0.1]], dtype=np.float32)
CAUSAL = np.tril(np.ones((4, 4), dtype=bool))


def published(attention: np.ndarray) -> np.ndarray:
    """alpha_k = 1 / (T - k + 1) sum_{i >= k} A_ik, k from 1, as Gu et al. (2024) write it."""
    size = len(attention)
    return np.array([sum(attention[i, k] for i in range(k, size)) / (size - k) for k in range(size)])


def test_four_tokens_by_hand():
    whole, others = attention_received(A[None, None], CAUSAL[None])
    np.testing.assert_allclose(whole[0, 0], [2.8 / 4, 0.75 / 3, 0.35 / 2, 0.1], atol=1e-6)
    np.testing.assert_allclose(others[0, 0], [1.8 / 3, 0.35 / 2, 0.1, np.nan], atol=1e-6)


def test_it_is_the_published_score():
    rng = np.random.default_rng(3)
    attention = np.tril(rng.random((9, 9)))
    attention = (attention / attention.sum(axis=1, keepdims=True)).astype(np.float32)
    whole, _ = attention_received(attention[None, None], np.tril(np.ones((1, 9, 9), dtype=bool)))
    np.testing.assert_allclose(whole[0, 0], published(attention.astype(np.float64)), atol=1e-6)


def test_looking_both_ways_it_is_the_plain_column_mean():
    rng = np.random.default_rng(4)
    attention = rng.dirichlet(np.ones(6), size=(2, 3, 6)).astype(np.float32)
    whole, others = attention_received(attention, np.ones((2, 6, 6), dtype=bool))
    np.testing.assert_allclose(whole, attention.mean(axis=2), atol=1e-6)
    own = np.diagonal(attention, axis1=2, axis2=3)
    np.testing.assert_allclose(others, (attention.sum(axis=2) - own) / 5, atol=1e-6)


def test_even_attention_gives_every_token_its_share_and_one_hot_gives_all():
    even = np.full((1, 1, 5, 5), 0.2, dtype=np.float32)
    one = np.zeros((1, 1, 5, 5), dtype=np.float32)
    one[..., 2] = 1
    full = np.ones((1, 5, 5), dtype=bool)
    np.testing.assert_allclose(attention_received(even, full)[0][0, 0], 0.2, atol=1e-7)
    assert attention_received(one, full)[1][0, 0].tolist() == [0, 0, 1, 0, 0]


def test_what_rows_lack_is_the_learned_sink():
    attention = 0.75 * A
    whole, _ = attention_received(attention[None, None], CAUSAL[None])
    np.testing.assert_allclose(learned_mass(whole[0], CAUSAL.sum(axis=0), 4), [0.25], atol=1e-6)


def site(n_heads: int = 2) -> Site:
    return Site(0, "h.0#0", "text.dec.self.0", "text", "dec", "self", 0, n_heads, n_heads, 4, 4, 0.5, Band(right=0))


def captured(input_id: int, n: int, attention: np.ndarray | None) -> SiteCapture:
    rng = np.random.default_rng(input_id)
    q, k = (rng.normal(size=(2, n, 4)).astype(np.float32) for _ in range(2))
    return SiteCapture(site(), input_id, q, k, np.ones((2, n), np.float32), Band(right=0).allowed(n), attention)


def test_a_batch_gives_what_each_input_gives_alone_held_or_recomputed():
    from analysis.attention import recompute

    captures = []
    for input_id, n in ((7, 5), (8, 3)):
        bare = captured(input_id, n, None)
        held = recompute(bare.queries, bare.keys, bare.allowed, 0.5)
        captures.append((bare, SiteCapture(**{**vars(bare), "attention": held}), held))
    batch = score_captures([[held] for _, held, _ in captures], metric_names(), {}).received
    alone = score_captures([[bare] for bare, _, _ in captures], metric_names(), {}).received
    for bare, _, attention in captures:
        key = bare.input_id, 0
        expected = np.stack([published(of_head.astype(np.float64)) for of_head in attention])
        np.testing.assert_allclose(batch[key].attention, expected, atol=1e-6)
        for ours, theirs in zip(batch[key], alone[key], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
