"""Every family the product promises: captured attention is the model's own, outputs are untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.attention import recompute
from analysis.capture import Capture, make_plan, run_batch
from analysis.capture.certificate import largest_difference
from tests.capture import zoo

LENGTHS = (12, 5, 9)
BIASED = {"t5", "beit"}


@pytest.fixture(params=sorted(zoo.MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def batch_of(name: str, side: str) -> tuple[dict[str, torch.Tensor], list[slice]]:
    """Padded model inputs and where each input's real tokens are."""
    if name in zoo.IMAGE_MODELS:
        images = [zoo.make_input(name, seed=seed)["pixel_values"] for seed in range(3)]
        return {"pixel_values": torch.tensor(np.stack(images))}, [slice(None)] * 3
    longest = max(LENGTHS)
    ids, mask = torch.zeros(len(LENGTHS), longest, dtype=torch.long), torch.zeros(len(LENGTHS), longest)
    spans = [slice(0, n) if side == "right" else slice(longest - n, longest) for n in LENGTHS]
    for row, (n, span) in enumerate(zip(LENGTHS, spans, strict=True)):
        ids[row, span] = torch.tensor(zoo.make_input(name, n, seed=row)["input_ids"])
        mask[row, span] = 1
    return {"input_ids": ids, "attention_mask": mask.long()}, spans


def own_attentions(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = model(**inputs, output_attentions=True).attentions
    model.set_attn_implementation(before)
    return attentions


@pytest.mark.parametrize("side", ["right", "left"])
def test_attention_equals_output_attentions_and_outputs_are_bit_equal(name: str, side: str) -> None:
    model = zoo.make_model(name)
    inputs, spans = batch_of(name, side)
    own = own_attentions(model, inputs)
    with torch.no_grad():
        plain = model(**inputs)
        with Capture(model) as capture:
            captured = model(**inputs)
    assert largest_difference(plain, captured) == 0.0
    calls = [call for call in capture.calls if call.route == "interface"]
    assert len(calls) == len(own) == 2
    others = [call.module_name for call in capture.calls if call.route != "interface"]
    assert others == (["head.attention"] if name == "siglip_vision" else [])
    for call, weights in zip(calls, own, strict=True):
        ours = call.attention()
        for row, span in enumerate(spans):
            torch.testing.assert_close(ours[row, :, span], weights[row, :, span], atol=1e-5, rtol=0)
    sharpness = max(float((weights.amax(-1) - 1 / weights.shape[-1]).mean()) for weights in own)
    assert sharpness > 0.1, "this model attends uniformly: a wrong scale would not show"


def test_plan_and_batches_give_the_models_attention_also_after_rounding(name: str) -> None:
    loaded = zoo.load(name)
    plan = make_plan(loaded, zoo.make_input(name, max(LENGTHS)))
    batch = [(10 + row, zoo.make_input(name, n, seed=row)) for row, n in enumerate(LENGTHS)]
    for (input_id, encoded), captures in zip(batch, run_batch(loaded, plan, batch), strict=True):
        alone = {key: torch.tensor(value)[None] for key, value in encoded.items()}
        own = own_attentions(loaded.module, alone)
        assert [capture.site for capture in captures] == plan.sites
        for capture, weights in zip(captures, own, strict=True):
            assert capture.input_id == input_id
            assert capture.must_store == (name in BIASED)
            np.testing.assert_allclose(capture.attention, weights[0], atol=1e-5)
            if not capture.must_store:
                np.testing.assert_allclose(from_storage(plan, capture), weights[0], atol=2e-3)


def from_storage(plan, capture) -> np.ndarray:
    """Attention from fp16 queries and keys, as the run file gives it back."""
    site, offset = capture.site, plan.key_offsets[capture.site.key][:, None]
    return recompute(
        capture.queries.astype(np.float16),
        (capture.keys - offset).astype(np.float16),
        site.band.allowed(capture.queries.shape[1]),
        site.scale,
        site.softcap,
        plan.sink_logits.get(site.key),
    )


def test_certificate_names_the_largest_differences(name: str) -> None:
    plan = make_plan(zoo.load(name), zoo.make_input(name, max(LENGTHS)))
    certificate = plan.certificate
    assert certificate["outputs_max_abs_diff"] == 0.0
    assert certificate["attention_max_abs_diff"] <= 1e-6
    assert certificate["values_max_abs_diff"] <= 1e-5
    assert list(certificate["left_out"]) == (["head.attention#0"] if name == "siglip_vision" else [])
    assert len(plan.sites) == 2
    assert all(site.route == "interface" for site in plan.sites)
    assert all(site.recomputable == (name not in BIASED) for site in plan.sites)
