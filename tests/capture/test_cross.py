"""Encoder and decoder of one model in one pass: three kinds of sites, against the model's own output_attentions."""

import numpy as np
import pytest
import torch

from analysis.capture import ResidualTrace, make_plan, run_batch
from analysis.capture.batch import pad
from analysis.models import LoadedModel
from analysis.types import Band
from tests.capture import zoo

LENGTHS = [(9, 5), (4, 7), (6, 6)]
"""Tokens of encoder and decoder of each input, so that both are padded in a batch, each on other inputs."""

FAMILIES = ["t5", "bart"]


def load(name: str) -> LoadedModel:
    """The whole model, with attention far from uniform."""
    torch.manual_seed(0)
    model = zoo.WHOLE[name]().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(0, 0.25) if parameter.ndim >= 2 else parameter.add_(0.2 * torch.randn_like(parameter))
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    return LoadedModel(model, None, name, "none", "text", name, n_parameters, 64, "float32", "cpu")


def encoded(n_encoder: int, n_decoder: int, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng([seed, n_encoder, n_decoder])
    ids, decoder_ids = (generator.integers(3, zoo.VOCABULARY, n) for n in (n_encoder, n_decoder))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "decoder_input_ids": decoder_ids}


def own_attention(model: torch.nn.Module, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the model itself returns of one input, by label of the site, without any padding."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        output = model(**{name: torch.tensor(values)[None] for name, values in inputs.items()}, output_attentions=True)
    model.set_attn_implementation(before)
    kinds = {
        "enc.self": output.encoder_attentions, "dec.self": output.decoder_attentions,
        "dec.cross": output.cross_attentions,
    }  # fmt: skip
    return {f"text.{kind}.{depth}": a[0].numpy() for kind, layers in kinds.items() for depth, a in enumerate(layers)}


@pytest.fixture(scope="module", params=FAMILIES)
def captured(request):
    loaded = load(request.param)
    inputs = [encoded(*lengths) for lengths in LENGTHS]
    plan = make_plan(loaded, encoded(12, 10))
    return loaded, plan, inputs, run_batch(loaded, plan, list(enumerate(inputs)))


def test_the_plan_has_three_kinds_of_sites_and_says_whose_tokens_they_attend_to(captured):
    _, plan, _, _ = captured
    sequences = {site.stack_label: (site.query_sequence, site.key_sequence) for site in plan.sites}
    assert sequences == {
        "text.enc.self": ("encoder", "encoder"),
        "text.dec.self": ("decoder", "decoder"),
        "text.dec.cross": ("decoder", "encoder"),
    }
    assert {site.stack_label: site.band for site in plan.sites} == {
        "text.enc.self": Band(), "text.dec.self": Band(right=0), "text.dec.cross": Band(),
    }  # fmt: skip
    assert [site.index for site in plan.sites] == list(range(6))
    assert not plan.certificate["left_out"]
    assert plan.certificate["outputs_max_abs_diff"] == 0
    assert plan.certificate["attention_max_abs_diff"] < 1e-5
    assert plan.certificate["n_tokens"] == 22


def test_every_site_gives_the_models_own_attention_with_padding_in_both_sequences(captured):
    loaded, _, inputs, captures = captured
    for one, of_input, lengths in zip(inputs, captures, LENGTHS, strict=True):
        n_tokens, own = dict(zip(("encoder", "decoder"), lengths)), own_attention(loaded.module, one)
        for capture in of_input:
            site = capture.site
            shape = n_tokens[site.query_sequence], n_tokens[site.key_sequence]
            assert capture.allowed.shape == shape
            assert capture.attention.shape == (4, *shape)
            assert capture.queries.shape[1:] == (shape[0], 8)
            assert capture.keys.shape[1:] == (shape[1], 8)
            assert capture.value_norms.shape == (4, shape[1])
            assert np.abs(capture.attention - own[site.label]).max() < 1e-5
            assert own[site.label].max() > 0.3  # attention that is far from uniform, so that a wrong one shows


def test_whether_cross_attention_is_recomputed_is_judged_on_each_input(captured):
    loaded, plan, inputs, captures = captured
    asked = run_batch(loaded, plan, list(enumerate(inputs)), want_attention=False)
    for of_input, again in zip(captures, asked, strict=True):
        for capture, other in zip(of_input, again, strict=True):
            assert capture.must_store == other.must_store
            assert (other.attention is None) != other.must_store


def test_residual_states_are_those_of_the_own_sequence(captured):
    loaded, plan, inputs, _ = captured
    with ResidualTrace(loaded.module, plan.sites) as trace:
        run_batch(loaded, plan, list(enumerate(inputs)), residuals=trace)
        batches = {batch.stack: batch for batch in trace.drain()}
    assert {name: batch.n_tokens for name, batch in batches.items()} == {
        "text.enc.self": (9, 4, 6), "text.dec.self": (5, 7, 6),
    }  # fmt: skip


def test_both_sequences_are_padded_on_the_right_each_to_its_own_length():
    inputs, lengths = pad(load("bart"), [encoded(3, 2), encoded(1, 4)])
    assert lengths == {"encoder": [3, 1], "decoder": [2, 4]}
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert inputs["decoder_attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert inputs["decoder_input_ids"][0, 2:].tolist() == [0, 0]
