"""Images to patches: columns, masks and thumbnails agree with what the model sees, whatever the processor does."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from transformers.models.beit.image_processing_pil_beit import BeitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from analysis.errors import InputError, ModelError
from analysis.inputs import ImageSource, encode, read_data
from analysis.inputs.image_tokens import see, undo_normalisation
from tests.inputs.conftest import make_vision_model, plain, png

SQUARE = dict(height=32, width=32)


def folder_of(tmp_path, **images):
    for name, image in images.items():
        (tmp_path / f"{name}.png").write_bytes(png(image))
    return tmp_path


def halves(width, height):
    """Left half red, right half blue."""
    image = plain((255, 0, 0), width, height)
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


def picture(inputs, input_id):
    return Image.open(io.BytesIO(inputs.inputs["image"][input_id]))


def test_cls_then_patches_row_by_row(tmp_path):
    inputs = encode(read_data(folder_of(tmp_path, a=halves(32, 32))), make_vision_model())
    tokens = inputs.tokens
    assert tokens["text"].tolist()[:6] == ["CLS", "r0c0", "r0c1", "r0c2", "r0c3", "r1c0"]
    assert tokens["is_special"].tolist() == [True] + [False] * 16
    assert tokens["row"].dropna().tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert tokens["column"].dropna().tolist() == [0, 1, 2, 3] * 4
    assert tokens["hue"].dropna().tolist() == pytest.approx([0, 0, 240, 240] * 4, abs=1e-3)
    assert tokens["saturation"].dropna().tolist() == pytest.approx([1] * 16)
    assert tokens.loc[0, ["row", "hue", "luminance"]].isna().all()
    assert tokens["position_share"].iloc[[0, -1]].tolist() == [0, 1]
    assert inputs.token_columns["hue"].kind == "cyclic"
    assert "object" not in inputs.token_columns
    assert "frequency" not in tokens


def test_tensors_are_the_processors_own_and_match_the_model(tmp_path):
    model = make_vision_model()
    inputs = encode(read_data(folder_of(tmp_path, a=halves(50, 20), b=plain((9, 99, 199), 20, 40))), model)
    for input_id, name in enumerate("ab"):
        expected = model.processor(images=Image.open(tmp_path / f"{name}.png"), return_tensors="np")
        tensors = inputs.tensors(input_id)
        assert set(tensors) == {"pixel_values"}
        assert np.array_equal(tensors["pixel_values"], expected["pixel_values"][0])
        assert tensors["pixel_values"].dtype == np.float32
    assert inputs.inputs["n_tokens"].tolist() == [17, 17]


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessorPil(size=SQUARE),
        ViTImageProcessorPil(size=SQUARE, do_normalize=False),
        ViTImageProcessorPil(size=SQUARE, do_normalize=False, do_rescale=False),
        BeitImageProcessorPil(size=SQUARE),
        SiglipImageProcessorPil(size=SQUARE),
        CLIPImageProcessorPil(size=dict(shortest_edge=32), crop_size=SQUARE),
    ],
    ids=lambda processor: type(processor).__name__,
)
def test_normalisation_is_undone(processor):
    colour = (200, 100, 50)
    pixels = processor(images=plain(colour, 40, 40), return_tensors="np")["pixel_values"][0]
    seen = undo_normalisation(pixels, processor)
    assert seen.shape == (32, 32, 3)
    assert seen[16, 16] * 255 == pytest.approx(colour, abs=0.01)


def test_centre_crop_cuts_columns_mask_and_thumbnail_alike(tmp_path):
    image = plain((0, 255, 0), 128, 64)
    image.paste((255, 0, 0), (32, 0, 64, 64))
    image.paste((0, 0, 255), (64, 0, 96, 64))
    mask = np.zeros((64, 128), dtype=np.uint8)
    mask[:, 32:64], mask[:, 64:96] = 1, 2
    folder_of(tmp_path, a=image, m=mask)
    (tmp_path / "t.jsonl").write_text(
        json.dumps({"image": "a.png", "mask": "m.png", "mask_labels": ["ground", "red", "blue"]})
    )
    processor = CLIPImageProcessorPil(size=dict(shortest_edge=32), crop_size=SQUARE)
    inputs = encode(read_data(tmp_path / "t.jsonl"), make_vision_model(processor, kind="CLIP"))
    patches = inputs.tokens[~inputs.tokens["is_special"]]
    assert patches["object"].tolist() == ["red", "red", "blue", "blue"] * 4
    hue = patches["hue"].to_numpy().reshape(4, 4)
    assert np.minimum(hue[:, 0], 360 - hue[:, 0]).max() < 15  # the cubic filter lets a little green in at the border
    assert hue[:, 3] == pytest.approx([240] * 4, abs=15)
    assert inputs.inputs[["width", "height"]].to_numpy().tolist() == [[32, 32]]
    assert picture(inputs, 0).size == (32, 32)
    assert picture(inputs, 0).getpixel((8, 16))[0] > 200
    assert inputs.token_columns["object"].kind == "categorical"


def test_images_that_keep_their_shape_have_their_own_grids(tmp_path):
    processor = ViTImageProcessorPil(do_resize=False)
    model = make_vision_model(processor, kind="Dinov2", patch=8, image=32)
    inputs = encode(read_data(folder_of(tmp_path, a=halves(48, 16), b=halves(24, 33))), model)
    assert inputs.inputs["n_tokens"].tolist() == [1 + 6 * 2, 1 + 3 * 4]
    assert inputs.inputs[["width", "height"]].to_numpy().tolist() == [[48, 16], [24, 33]]
    second = inputs.tokens[inputs.tokens["input_id"] == 1]
    assert second["row"].max() == 3
    assert second["column"].max() == 2


def test_registers_have_names(tmp_path):
    model = make_vision_model(kind="Dinov2WithRegisters", num_register_tokens=2)
    tokens = encode(read_data(folder_of(tmp_path, a=halves(32, 32))), model).tokens
    assert tokens["text"].tolist()[:4] == ["CLS", "REG0", "REG1", "r0c0"]
    assert tokens["is_special"].sum() == 3


def test_a_model_without_cls(tmp_path):
    tokens = encode(read_data(folder_of(tmp_path, a=halves(32, 32))), make_vision_model(kind="Siglip")).tokens
    assert tokens["text"].tolist()[0] == "r0c0"
    assert len(tokens) == 16


def test_a_damaged_image_is_skipped_and_the_rest_keep_their_order(tmp_path):
    rng = np.random.default_rng(0)
    folder_of(tmp_path, a=plain((255, 0, 0)), c=plain((0, 0, 255)))
    whole = png(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    inputs = encode(read_data(tmp_path), make_vision_model())
    assert inputs.inputs["name"].tolist() == ["a.png", "c.png"]
    assert inputs.inputs["input_id"].tolist() == [0, 1]
    assert inputs.skipped[0][0] == "b.png"
    assert "damaged" in inputs.skipped[0][1]
    assert inputs.tokens.loc[inputs.tokens["input_id"] == 1, "hue"].dropna().unique().tolist() == pytest.approx([240])
    for name in "ac":
        (tmp_path / f"{name}.png").unlink()
    with pytest.raises(InputError, match=r"No image of .* can be decoded: 1 left out, the first \(b.png\)"):
        encode(read_data(tmp_path), make_vision_model())


def test_an_image_that_vanishes_is_said_to(tmp_path):
    inputs = encode(read_data(folder_of(tmp_path, a=halves(32, 32))), make_vision_model())
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a.png could be read before and cannot now: there is no such file"):
        inputs.tensors(0)


def test_masks_that_do_not_fit_are_noted_and_the_image_stays(tmp_path):
    folder_of(tmp_path, a=halves(32, 32), wide=np.zeros((8, 32), np.uint8), rgb=plain((1, 1, 1), 32, 32))
    folder_of(tmp_path, small=np.full((16, 16), 3, np.uint8))
    (tmp_path / "t.csv").write_text(
        "image,mask\na.png,wide.png\na.png,rgb.png\na.png,../x.png\na.png,no.png\na.png,small.png\n"
    )
    inputs = encode(read_data(tmp_path / "t.csv"), make_vision_model())
    assert len(inputs) == 5
    assert inputs.notes == [
        "4 masks could not be used, the first: a.png: the mask is 32 x 8 and the image 32 x 32 pixels."
    ]
    assert inputs.tokens.groupby("input_id")["object"].count().tolist() == [0, 0, 0, 0, 16]
    assert inputs.tokens["object"].dropna().unique().tolist() == ["object 3"]


def test_a_mask_is_never_mixed_at_its_borders(tmp_path):
    numbers = np.zeros((50, 50), dtype=np.uint8)
    numbers[:, 26:] = 2  # 26 of 50 pixels end inside pixel 16 of 32
    numbers[-1, 0] = 1
    folder_of(tmp_path, a=halves(50, 50), m=numbers)
    seen = see(ImageSource("a.png", tmp_path / "a.png", mask=tmp_path / "m.png"), ViTImageProcessorPil(size=SQUARE))
    assert np.array_equal(seen.mask[0], [0] * 17 + [2] * 15)


def test_masks_with_large_numbers(tmp_path):
    numbers = np.full((32, 32), 40_000, dtype=np.uint16)
    numbers[:16] = 1_000
    folder_of(tmp_path, a=halves(32, 32), m=numbers)
    (tmp_path / "t.jsonl").write_text(json.dumps({"image": "a.png", "mask": "m.png", "mask_labels": {"1000": "sky"}}))
    tokens = encode(read_data(tmp_path / "t.jsonl"), make_vision_model()).tokens
    assert tokens["object"].dropna().tolist() == ["sky"] * 8 + ["object 40000"] * 8


def test_large_pictures_get_small_thumbnails(tmp_path):
    processor = ViTImageProcessorPil(size=dict(height=320, width=640))
    model = make_vision_model(processor, image=[320, 640], patch=64)
    inputs = encode(read_data(folder_of(tmp_path, a=halves(640, 320))), model)
    assert inputs.inputs[["width", "height"]].to_numpy().tolist() == [[640, 320]]
    assert picture(inputs, 0).size == (256, 128)
    assert inputs.tokens["column"].max() == 9


def test_labels_of_sub_folders_ride_along(tmp_path):
    for label in ("cats", "dogs"):
        (tmp_path / label).mkdir()
        folder_of(tmp_path / label, a=halves(32, 32))
    inputs = encode(read_data(tmp_path), make_vision_model())
    assert inputs.inputs["label"].tolist() == ["cats", "dogs"]
    assert inputs.tokens["label"].tolist() == ["cats"] * 17 + ["dogs"] * 17
    assert inputs.token_columns["label"].kind == "categorical"


def test_models_that_merge_patches_are_refused(tmp_path):
    model = make_vision_model(kind="ViT")
    from dataclasses import replace

    class Merging:
        def __call__(self, **batch):
            from types import SimpleNamespace

            return SimpleNamespace(last_hidden_state=model.module(**batch).last_hidden_state[:, :4])

        def __getattr__(self, name):
            return getattr(model.module, name)

    with pytest.raises(ModelError, match="merge patches"):
        encode(read_data(folder_of(tmp_path, a=halves(32, 32))), replace(model, module=Merging()))


def test_a_processor_that_does_not_fit_the_model_is_named(tmp_path):
    model = make_vision_model(ViTImageProcessorPil(size=dict(height=4, width=4)))
    with pytest.raises(ModelError, match="tiny does not take the 4 x 4 pixels"):
        encode(read_data(folder_of(tmp_path, a=halves(32, 32))), model)


@pytest.mark.parametrize("kind", ["ViT", "Dinov2", "CLIP", "Siglip"])
def test_sizes_that_a_model_can_interpolate_are_read_and_an_odd_image_is_left_out(tmp_path, kind):
    model = make_vision_model(ViTImageProcessorPil(do_resize=False), kind=kind)
    images = dict(a=halves(32, 32), b=halves(48, 32), c=halves(4, 4), d=halves(16, 40))
    inputs = encode(read_data(folder_of(tmp_path, **images)), model)
    assert inputs.inputs["name"].tolist() == ["a.png", "b.png", "d.png"]
    n_special = int(kind != "Siglip")
    assert (inputs.inputs["n_tokens"] - n_special).tolist() == [16, 24, 10]
    of_b = inputs.tokens[inputs.tokens["input_id"] == 1].dropna(subset="row")
    assert (of_b["row"].max(), of_b["column"].max()) == (3, 5)
    (skipped,) = inputs.skipped
    assert skipped.name == "c.png"
    assert "does not take the 4 x 4 pixels" in skipped.reason


def test_many_images_have_smaller_thumbnails(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.inputs.image_tokens.MANY_IMAGES", 1)
    model = make_vision_model(ViTImageProcessorPil(size=dict(height=160, width=160)), image=160, patch=80)
    inputs = encode(read_data(folder_of(tmp_path, a=halves(32, 32), b=halves(9, 9))), model)
    assert picture(inputs, 0).size == (128, 128)
    assert inputs.inputs["width"].tolist() == [160, 160]


def test_texts_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InputError, match="holds texts and tiny reads images"):
        encode(read_data(tmp_path / "a.txt"), make_vision_model())


def test_the_bundled_scenes_encode_with_objects():
    raw = read_data("demo-scenes", limit=4)
    model = make_vision_model(ViTImageProcessorPil(size=dict(height=64, width=64)), image=64)
    inputs = encode(raw, model)
    assert inputs.inputs["n_tokens"].tolist() == [65] * 4
    for input_id, label in enumerate(inputs.inputs["label"]):
        assert label in set(inputs.tokens.loc[inputs.tokens["input_id"] == input_id, "object"].dropna())
