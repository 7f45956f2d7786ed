"""Runs whose sites have attention alone: returned by the model (Reformer), or implicit in its scans (Mamba)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from pyarrow import parquet
from transformers import AutoModel, AutoTokenizer

import analysis
from analysis.attention import shares_of
from analysis.capture import Capture, make_plan
from analysis.errors import CaptureRefused, RunError
from analysis.models import BUNDLED_MODELS, LoadedModel
from analysis.pipeline.maps import project
from analysis.pipeline.new_input import capture_new
from analysis.pipeline.sinks import sum_up_sinks
from analysis.store.export import export_run
from tests.model_folders import own_attention

TEXTS = ("The old sailor watched the lamp on the hill, and the lamp watched him.", "Cats sleep.")


def _run(model: torch.nn.Module, folder: Path) -> tuple[analysis.Run, Path]:
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.normal_(0, 0.25)
    model.save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(BUNDLED_MODELS["demo-language"]).save_pretrained(folder / "model")
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    run = analysis.extract(
        model=str(folder / "model"), data=str(folder / "texts.txt"), out_dir=folder / "runs", projection=("linear",)
    )
    return run, folder / "model"


def _vocabulary() -> int:
    return len(AutoTokenizer.from_pretrained(BUNDLED_MODELS["demo-language"]))


@pytest.fixture(scope="module")
def reformer(tmp_path_factory: pytest.TempPathFactory) -> tuple[analysis.Run, Path]:
    """Its queries are its keys, in chunks that a text of this length fills once."""
    config = hf.ReformerConfig(
        vocab_size=_vocabulary(), hidden_size=32, num_attention_heads=4, attention_head_size=8, feed_forward_size=37,
        axial_pos_embds=False, max_position_embeddings=128, attn_layers=["local", "local"], is_decoder=True,
        local_attn_chunk_length=128,
    )  # fmt: skip
    return _run(hf.ReformerModel(config), tmp_path_factory.mktemp("reformer"))


@pytest.fixture(scope="module")
def mamba(tmp_path_factory: pytest.TempPathFactory) -> tuple[analysis.Run, Path]:
    config = hf.MambaConfig(
        vocab_size=_vocabulary(), hidden_size=32, state_size=4, num_hidden_layers=2, time_step_rank=4
    )
    return _run(hf.MambaModel(config), tmp_path_factory.mktemp("mamba"))


def test_returned_attention_is_stored_as_it_is(reformer: tuple[analysis.Run, Path]) -> None:
    run, model = reformer
    assert [(site.route, site.has_vectors, site.is_signed) for site in run.sites] == [
        ("output_attentions", False, False)
    ] * 2
    for input_id, text in enumerate(TEXTS):
        for site, own in zip(run.sites, own_attention(model, text), strict=True):
            ours = np.stack([run.attention(site, head, input_id) for head in range(site.n_heads)])
            np.testing.assert_allclose(ours, own, atol=2e-3)


def test_implicit_attention_is_stored_signed(mamba: tuple[analysis.Run, Path]) -> None:
    run, folder = mamba
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad(), Capture(model, implicit=True) as capture:
        model(**tokenizer(TEXTS[0], return_tensors="pt"), use_cache=False)
    for site, call in zip(run.sites, capture.calls, strict=True):
        assert (site.label, site.route) == (call.site.label, "implicit")
        ours = np.stack([run.attention(site, head, 0) for head in range(site.n_heads)])
        np.testing.assert_allclose(ours, call.attention()[0].numpy(), atol=2e-3 * float(call.attention().abs().max()))
        assert ours.min() < 0
        shares = run.shares(site, 3, 0)
        np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
        np.testing.assert_allclose(shares, shares_of(site, ours[3]), atol=1e-6)
    assert run.certificate["sites"][run.sites[0].key]["matrices_per_head"] == 8
    assert run.certificate["values_max_abs_diff"] < 1e-4


@pytest.mark.parametrize("kind", ["reformer", "mamba"])
def test_measures_are_there_and_maps_say_why_not(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run, _ = request.getfixturevalue(kind)
    scores = run.head_scores()
    assert {"previous_token", "entropy", "first_token", "induction"} <= set(scores["metric"])
    shares = scores[scores["metric"].isin(["previous_token", "first_token", "self_token"])]["value"]
    assert shares.between(0, 1).all()
    assert len(run.sinks())
    assert "attention" in sum_up_sinks(run)
    assert run.projections().empty
    assert not run.mapped_sites
    with pytest.raises(RunError, match="has attention alone"):
        run.queries(run.sites[0], 0)
    with pytest.raises(RunError, match="nothing to map"):
        project(run.run_id, method="linear", runs_dir=run.path.parent)
    export_run(run, tmp_path / "out", "parquet")
    table = parquet.read_table(tmp_path / "out" / "attention" / "site=1" / "part-0.parquet").to_pandas()
    row = table[(table["head"] == 2) & (table["input_id"] == 0) & (table["position"] == 4)]["weights"].iloc[0]
    np.testing.assert_array_equal(row, run.attention(run.sites[1], 2, 0)[4])
    export_run(run, tmp_path / "tensors", "safetensors")


@pytest.mark.parametrize("kind", ["reformer", "mamba"])
def test_an_input_captured_again_is_the_same(kind: str, request: pytest.FixtureRequest) -> None:
    run, model = request.getfixturevalue(kind)
    again = capture_new(run, text=TEXTS[0], model=model)
    ours, stored = again.attention(run.sites[1], 1), run.attention(run.sites[1], 1, 0)
    np.testing.assert_allclose(ours, stored, atol=2e-3)


def test_a_band_as_wide_as_the_input_is_no_matrix() -> None:
    """Longformer returns [head, query, 1 + window]: with window 8 a square for 9 tokens, whose rows sum to 1."""
    sizes = dict(vocab_size=99, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=37)
    model = hf.LongformerModel(hf.LongformerConfig(**sizes, attention_window=[8], max_position_embeddings=64)).eval()
    loaded = LoadedModel(model, None, "tiny", "none", "text", "longformer", 1, 64, "float32", "cpu")
    for n_tokens in (9, 12):
        with pytest.raises(CaptureRefused, match="no matrix of tokens by tokens: layers of the shape"):
            make_plan(loaded, {"input_ids": np.arange(3, 3 + n_tokens)})
