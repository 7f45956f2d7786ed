"""A model that looks for objects: encoder over places of the picture, decoder over object queries, and between them."""

import numpy as np
import pytest
import torch

import analysis

EXACT, STORED = 1e-5, 2e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random DETR of 2 + 2 layers of 4 heads over the last stage of a small ResNet, with 6 object queries."""
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessorPil, ResNetConfig

    torch.manual_seed(0)
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    config = DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, d_model=32,
        encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
        decoder_ffn_dim=48, num_queries=6,
    )  # fmt: skip
    model = DetrForObjectDetection(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight")) or "query_position" in name:
                parameter.normal_(0, 0.8)
    path = tmp_path_factory.mktemp("models") / "detr"
    model.save_pretrained(path)
    DetrImageProcessorPil(size={"height": 48, "width": 64}).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return analysis.extract(model=folder, data="demo-scenes", limit=2, out_dir=out, projection=["none"])


def test_attention_is_the_models_own_in_encoder_decoder_and_between(run, folder):
    from transformers import AutoModel

    from analysis.inputs import encode, read_data
    from analysis.models import load_model

    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    inputs = encode(read_data("demo-scenes", limit=2), load_model(folder, modality="vision"))
    stacks = {"vision.enc.self": (0, 48, 48), "vision.dec.self": (1, 6, 6), "vision.dec.cross": (2, 6, 48)}
    assert {site.stack_label for site in run.sites} == set(stacks)
    assert run.sequences == ("encoder", "decoder")
    assert max(verdict["attention_max_abs_diff"] for verdict in run.certificate["sites"].values()) < EXACT
    for input_id in range(2):
        given = {name: torch.from_numpy(array)[None] for name, array in inputs.tensors(input_id).items()}
        own = own_attention(model, given)
        for site in run.sites:
            which, n_queries, n_keys = stacks[site.stack_label]
            layer = own[which][site.depth]
            found = np.stack([run.attention(site, head, input_id) for head in range(4)])
            assert found.shape == layer.shape == (4, n_queries, n_keys)
            assert np.abs(found - layer).max() < STORED
            assert layer.max() > 1.5 / n_keys  # sharp enough for a wrong order to show


def own_attention(model, given):
    """What the model's own attention modules return, for encoder, decoder, and between: [head, query, key] a layer."""
    found = ([], [], [])
    hooks = []
    for layers, name, kept in (
        (model.encoder.layers, "self_attn", found[0]), (model.decoder.layers, "self_attn", found[1]),
        (model.decoder.layers, "encoder_attn", found[2]),
    ):  # fmt: skip
        for layer in layers:
            take = lambda module, arguments, made, kept=kept: kept.append(made[1][0].numpy())  # noqa: E731
            hooks.append(getattr(layer, name).register_forward_hook(take))
    with torch.inference_mode():
        model(**given)
    for hook in hooks:
        hook.remove()
    return found


def test_places_lie_on_the_picture_and_queries_nowhere(run):
    tokens = run.tokens().query("input_id == 1")
    places, queries = tokens[tokens["sequence"] == "encoder"], tokens[tokens["sequence"] == "decoder"]
    # Three strides of 2 make 48 x 64 pixels 6 x 8 places.
    assert places["text"].tolist() == [f"r{row}c{column}" for row in range(6) for column in range(8)]
    assert places[["row", "column"]].to_numpy().tolist() == [[row, column] for row in range(6) for column in range(8)]
    assert queries["text"].tolist() == [f"query {number}" for number in range(6)]
    assert queries["row"].isna().all()
    assert queries["luminance"].isna().all()
    scores = run.head_scores()
    measured = {
        stack: set(scores.loc[scores["site"].isin([s.key for s in run.sites if s.stack_label == stack]), "metric"])
        for stack in ("vision.enc.self", "vision.dec.self", "vision.dec.cross")
    }
    assert "same_row" in measured["vision.enc.self"]
    assert not {"same_row", "attention_distance", "self_token"} & measured["vision.dec.cross"]
    assert "same_row" not in measured["vision.dec.self"]


def test_rows_of_cross_attention_are_brought_to_one_over_the_patches(run):
    from analysis.metrics import AttentionMap
    from analysis.metrics.tokens import Tokens

    attention = np.array([[[0.2, 0.2, 0.6], [0.5, 0.5, 0.0]]], dtype=np.float32)  # CLS and two patches, two queries
    places = Tokens(row=np.array([[-1, 0, 0]]), column=np.array([[-1, 0, 1]]))
    patches = AttentionMap.of_one(attention, np.ones((2, 3), bool), places, is_cross=True).of_patches
    assert np.allclose(patches.attention, [[[[0.25, 0.75], [1, 0]]]])
    assert patches.is_cross
