"""Runs of models whose attention goes round the interface or carries a position bias, from command to numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf
from transformers import AutoTokenizer

import analysis
from analysis.errors import CaptureRefused, RunError
from analysis.pipeline import cut_sinks, importance
from analysis.pipeline.asking import why_not
from tests.model_folders import minilm, own_attention, save_tiny_bloom
from tests.store.synthetic import make_synthetic_run

TEXTS = ("The old sailor watched the lamp on the hill, and the lamp watched him.", "Cats sleep.")
SIZES = dict(num_hidden_layers=2, num_attention_heads=4, intermediate_size=37, hidden_size=32)


def _save(model: torch.nn.Module, tokenizer: object, folder: Path) -> Path:
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.normal_(0, 0.25)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def deberta(tmp_path_factory: pytest.TempPathFactory) -> tuple[analysis.Run, Path]:
    """A run of a tiny DeBERTa: position in its scores, operations traced."""
    folder = tmp_path_factory.mktemp("deberta")
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    tokenizer.model_max_length = 64
    position = dict(relative_attention=True, pos_att_type=["c2p", "p2c"], position_buckets=8)
    config = hf.DebertaV2Config(vocab_size=len(tokenizer), max_position_embeddings=64, **SIZES, **position)
    model = _save(hf.DebertaV2Model(config), tokenizer, folder / "model")
    return _extract(model, folder), model


def _extract(model: Path, folder: Path) -> analysis.Run:
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    return analysis.extract(model=str(model), data=str(folder / "texts.txt"), out_dir=folder / "runs", projection=())


def test_a_traced_run_gives_the_models_own_attention(deberta: tuple[analysis.Run, Path]) -> None:
    run, model = deberta
    assert {site.route for site in run.sites} == {"optrace"}
    assert all(site.has_position_bias and not site.recomputable for site in run.sites)
    for input_id, text in enumerate(TEXTS):
        for site, own in zip(run.sites, own_attention(model, text), strict=True):
            ours = np.stack([run.attention(site, head, input_id) for head in range(site.n_heads)])
            np.testing.assert_allclose(ours, own, atol=2e-3)


def test_what_needs_editable_heads_says_why_it_is_not_there(deberta: tuple[analysis.Run, Path]) -> None:
    run, model = deberta
    for measure, what in ((importance, "The importance of heads"), (cut_sinks, "What cutting sinks does")):
        with pytest.raises(CaptureRefused) as refused:
            measure(run.path, model=model)
        assert str(refused.value) == why_not(run, what)
        assert str(refused.value).startswith(
            f"{what} is not measured in run {run.run_id}: its attention was found by following the model's operations"
        )
    for part, expected in (
        ({"sequences": ("image", "text"), "modality": "vision and text"}, "several sequences (image, text)"),
        ({"sequences": (), "modality": "audio"}, "measured on texts and images"),
        ({"sequences": (), "modality": "text", "sites": [SimpleNamespace(route="interface")]}, ""),
    ):
        stub = SimpleNamespace(run_id="r", sites=run.sites)
        vars(stub).update(part)
        assert expected in (said := why_not(stub, "It"))
        assert bool(said) == bool(expected)


def test_content_and_position_parts_make_the_attention(deberta: tuple[analysis.Run, Path]) -> None:
    run, _ = deberta
    for site in run.sites:
        content, position = run.score_parts(site, 1, 0)
        whole = content * position
        np.testing.assert_allclose(whole / whole.sum(-1, keepdims=True), run.attention(site, 1, 0), atol=2e-3)
        np.testing.assert_allclose(content.sum(-1), 1, atol=1e-5)
        assert np.abs(content - run.attention(site, 1, 0)).max() > 0.05


def test_position_alone_of_alibi_is_the_published_slope(tmp_path: Path) -> None:
    """BLOOM adds -slope x distance, slope 2^(-8 i / n) of head i = 1..n (Press et al. 2022)."""
    run = _extract(save_tiny_bloom(tmp_path / "model"), tmp_path)
    site = run.sites[0]
    for head in range(4):
        _, position = run.score_parts(site, head, 0)
        n = len(position)
        distance = np.arange(n)[:, None] - np.arange(n)[None, :]
        expected = np.where(distance >= 0, np.exp(-(2.0 ** (-8 * (head + 1) / 4)) * distance), 0)
        told = run.attention(site, head, 0) > 1e-3
        ours = position / position[np.arange(n), np.arange(n)][:, None]
        sure = told & told[np.arange(n), np.arange(n)][:, None]
        np.testing.assert_allclose(ours[sure], expected[sure], rtol=0.02)


def test_a_site_without_bias_has_one_part(tmp_path: Path) -> None:
    make_synthetic_run(tmp_path, "plain", n_layers=1, n_heads=1, n_inputs=1, n_tokens=4)
    with analysis.open_run("plain", tmp_path) as run, pytest.raises(RunError, match="adds no position bias"):
        run.score_parts(run.sites[0], 0, 0)
