"""Swin: attention within windows of a stage's grid, put back on the picture, from the command to the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from transformers.models.swin.modeling_swin import window_partition

import analysis
from analysis.capture.batch import pad
from analysis.capture.windows import find_windows
from analysis.models import load_model

SIZES = dict(image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4)
SIDE = 4


@pytest.fixture(scope="module", params=[(32, 32), (36, 40)], ids=["whole", "padded"])
def swin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[analysis.Run, Path]:
    """A run of two pictures; of the larger size windows reach over the grid's edge."""
    folder, (height, width) = tmp_path_factory.mktemp("swin"), request.param
    torch.manual_seed(0)
    model = hf.SwinModel(hf.SwinConfig(**SIZES))
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.normal_(0, 0.25)
    model.save_pretrained(folder / "model")
    hf.ViTImageProcessorPil(size={"height": height, "width": width}).save_pretrained(folder / "model")
    (folder / "images").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    run = analysis.extract(
        model=str(folder / "model"), data=str(folder / "images"), out_dir=folder / "runs", projection=("linear",)
    )
    return run, folder


def _own(folder: Path, number: int) -> list[torch.Tensor]:
    """The model's own attention of a picture, window by window: what it returns of each stage's last layer, and what
    its other attention modules gave on their way."""
    processor = hf.ViTImageProcessorPil.from_pretrained(folder / "model")
    model = hf.SwinModel.from_pretrained(folder / "model", attn_implementation="eager").eval()
    picture, seen = Image.open(folder / "images" / f"{number}.png"), []
    for stage in model.encoder.layers:
        for block in stage.blocks:
            block.attention.register_forward_hook(lambda part, args, output: seen.append(output[1]))
    with torch.inference_mode():
        output = model(**processor(images=picture, return_tensors="pt"), output_attentions=True)
    assert all(torch.equal(own, last) for own, last in zip(output.attentions, seen[1::2], strict=True))
    return seen


def _by_hand(windows: torch.Tensor, rows: int, columns: int, shift: int) -> np.ndarray:
    """Window attention put back: the numbers of the patches go the way that the states go in the model."""
    numbers = torch.arange(rows * columns).view(1, rows, columns, 1)
    below, right = -rows % SIDE, -columns % SIDE
    numbers = torch.nn.functional.pad(numbers, (0, 0, 0, right, 0, below), value=-1)
    numbers = torch.roll(numbers, (-shift, -shift), dims=(1, 2))
    order = window_partition(numbers, SIDE).reshape(-1, SIDE * SIDE)
    whole = np.zeros((windows.shape[1], rows * columns, rows * columns), dtype=np.float32)
    for places, weights in zip(order.numpy(), windows.numpy(), strict=True):
        real = np.flatnonzero(places >= 0)
        whole[:, places[real][:, None], places[real]] = weights[:, real[:, None], real]
    return whole


def _grid(run: analysis.Run, stage: str) -> tuple[int, int]:
    own = run.tokens()[lambda table: (table["input_id"] == 0) & (table["sequence"] == stage)]
    assert own["row"].tolist() == sorted(own["row"])
    return int(own["row"].max()) + 1, int(own["column"].max()) + 1


def test_it_is_the_models_own_attention_on_the_picture(swin: tuple[analysis.Run, Path]) -> None:
    run, folder = swin
    assert [site.label for site in run.sites] == [f"vision.stage{n}.self.{depth}" for n in (1, 2) for depth in (0, 1)]
    for input_id in range(2):
        layers = _own(folder, input_id)
        for site, own in zip(run.sites, layers, strict=True):
            rows, columns = _grid(run, site.query_sequence)
            shift = SIDE // 2 if site.depth == 1 and min(rows, columns) > SIDE else 0
            expected = _by_hand(own, rows, columns, shift)
            ours = np.stack([run.attention(site, head, input_id) for head in range(site.n_heads)])
            np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_a_shifted_window_joins_the_right_patches(swin: tuple[analysis.Run, Path]) -> None:
    run, _ = swin
    rows, columns = _grid(run, "stage 1")
    row, column = np.divmod(np.arange(rows * columns), columns)
    for site, shift in zip(run.sites[:2], (0, SIDE // 2), strict=True):
        # Shifted by two, windows begin at 2, 6, ...; what lies before is cut off from the other edge.
        window = [(at + SIDE - shift) // SIDE for at in (row, column)]
        together = np.logical_and.reduce([each[:, None] == each[None, :] for each in window])
        np.testing.assert_array_equal(run.allowed(site, 0), together)


def test_stages_have_grids_and_measures_of_their_own(swin: tuple[analysis.Run, Path]) -> None:
    run, _ = swin
    assert run.sequences == ("stage 1", "stage 2")
    (rows, columns), (rows2, columns2) = _grid(run, "stage 1"), _grid(run, "stage 2")
    assert (rows2, columns2) == (-(-rows // 2), -(-columns // 2))
    scores = run.head_scores()
    reach = scores[scores["metric"] == "attention_distance"]
    assert set(reach["site"]) == {site.key for site in run.sites}
    assert reach["value"].max() <= np.hypot(SIDE - 1, SIDE - 1)
    assert run.queries(run.sites[2], 0).shape == (2 * rows2 * columns2, 8)
    assert set(run.coordinates("linear")["site"]) == {site.key for site in run.sites}
    assert set(run.sinks()["site"]) == {site.key for site in run.sites}


def test_rows_that_are_copies_of_no_state_are_padding(swin: tuple[analysis.Run, Path]) -> None:
    run, folder = swin
    loaded = load_model(folder / "model")
    picture = Image.open(folder / "images" / "0.png")
    pixels = loaded.processor(images=picture, return_tensors="np")["pixel_values"][0]
    windows = find_windows(loaded, pad(loaded, [{"pixel_values": pixels}])[0])
    rows, columns = _grid(run, "stage 1")
    for site in run.sites[:2]:
        order = windows[site.key].order
        assert (order < 0).sum() == (-rows % SIDE + rows) * (-columns % SIDE + columns) - rows * columns
        np.testing.assert_array_equal(np.sort(order[order >= 0]), np.arange(rows * columns))
