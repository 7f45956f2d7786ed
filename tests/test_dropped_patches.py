"""A masked autoencoder drops most patches and shuffles the rest: its tokens carry the places of those it kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image

import analysis
from analysis.capture import Capture
from analysis.models import LoadedModel, load_model
from analysis.pipeline.new_input import capture_new

SIDE, PATCH = 48, 8


@pytest.fixture(scope="module")
def mae(tmp_path_factory: pytest.TempPathFactory) -> tuple[analysis.Run, Path]:
    """A run of two pictures of 6 x 6 patches, of which 9 are kept."""
    folder = tmp_path_factory.mktemp("mae")
    sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37)
    decoder = dict(decoder_hidden_size=32, decoder_num_attention_heads=4, decoder_num_hidden_layers=1)
    torch.manual_seed(0)
    model = hf.ViTMAEModel(hf.ViTMAEConfig(**sizes, **decoder, image_size=SIDE, patch_size=PATCH, mask_ratio=0.75))
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.normal_(0, 0.25)
    model.save_pretrained(folder / "model")
    hf.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder / "model")
    (folder / "images").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    run = analysis.extract(
        model=str(folder / "model"), data=str(folder / "images"), out_dir=folder / "runs", projection=("linear",)
    )
    return run, folder


def _tensors(folder: Path, number: int) -> tuple[LoadedModel, dict[str, torch.Tensor]]:
    loaded = load_model(folder / "model")
    picture = Image.open(folder / "images" / f"{number}.png")
    pixels = loaded.processor(images=picture, return_tensors="np")["pixel_values"][0]
    encoded = loaded.with_noise({"pixel_values": pixels})
    return loaded, {name: torch.from_numpy(value)[None] for name, value in encoded.items()}


def test_it_is_the_models_own_attention_among_kept_patches(mae: tuple[analysis.Run, Path]) -> None:
    run, folder = mae
    model = hf.ViTMAEModel.from_pretrained(folder / "model", attn_implementation="eager").eval()
    for input_id in range(2):
        _, tensors = _tensors(folder, input_id)
        with torch.inference_mode():
            output = model(**tensors, output_attentions=True)
        for site, own in zip(run.sites, output.attentions, strict=True):
            ours = np.stack([run.attention(site, head, input_id) for head in range(site.n_heads)])
            assert ours.shape == (4, 10, 10)
            np.testing.assert_allclose(ours, own[0].numpy(), atol=2e-3)


def test_a_token_is_where_its_patch_is(mae: tuple[analysis.Run, Path]) -> None:
    """Changed pixels move the key of the token at their place in the first layer, and no key where it was dropped."""
    run, folder = mae
    loaded, tensors = _tensors(folder, 1)
    tokens = run.tokens()[lambda table: table["input_id"] == 1]
    places = list(zip(*(tokens[name].fillna(-1).tolist() for name in ("row", "column"))))
    before = _first_keys(loaded, tensors)
    for row, column in np.ndindex(SIDE // PATCH, SIDE // PATCH):
        changed = tensors["pixel_values"].clone()
        changed[..., row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] += 1
        moved = (_first_keys(loaded, {**tensors, "pixel_values": changed}) - before).abs().sum(dim=(0, 1, 3))
        expected = [places.index((row, column))] if (row, column) in places[1:] else []
        assert torch.nonzero(moved > 1e-6).ravel().tolist() == expected


def _first_keys(loaded: LoadedModel, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode(), Capture(loaded.module) as capture:
        loaded.module(**tensors)
    return capture.calls[0].k.clone()


def test_the_draw_belongs_to_the_image_and_reaches_the_edges(mae: tuple[analysis.Run, Path]) -> None:
    run, folder = mae
    tokens = run.tokens()
    first, second = (tokens[tokens["input_id"] == number].reset_index(drop=True) for number in (0, 1))
    assert first["text"].tolist() != second["text"].tolist()
    for own in (first, second):
        assert (int(own["row"].max()), int(own["column"].max())) == (5, 5)
        assert own["text"].iloc[0] == "CLS"
    again = capture_new(run, image=folder / "images" / "1.png", model=folder / "model")
    assert again.tokens["text"].tolist() == second["text"].tolist()
    np.testing.assert_allclose(again.attention(run.sites[1], 2), run.attention(run.sites[1], 2, 1), atol=2e-3)
    assert any("drops patches" in note for note in run.manifest["notes"])
    distances = run.head_scores()[lambda table: table["metric"] == "attention_distance"]
    assert len(distances) == 8
    assert distances["value"].between(0, np.hypot(5, 5)).all()
