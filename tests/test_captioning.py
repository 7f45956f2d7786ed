"""Models that look at a picture by cross-attention while they write of it: a tiny BLIP, from a table to a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import analysis
from analysis.cli import main
from analysis.errors import ModelError
from analysis.inputs import encode, read_data
from analysis.models import load_model
from analysis.types import VISION_AND_TEXT
from tests import vision_language_folders as folders

ANSWERS = ["A fox in the hall", "two dogs"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return folders.save_tiny_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return folders.save_pictures(tmp_path_factory.mktemp("data"), 2, (64, 32), target=ANSWERS)


@pytest.fixture(scope="module")
def run(model, data, tmp_path_factory):
    with analysis.extract(model=model, data=data, out_dir=tmp_path_factory.mktemp("runs"), projection=["pca"]) as made:
        yield made


def test_the_run_has_the_models_own_self_and_cross_attention(run, model, data):
    assert [(site.label, site.query_sequence, site.key_sequence) for site in run.sites] == [
        ("vision.enc.self.0", "image", "image"), ("vision.enc.self.1", "image", "image"),
        ("text.dec.self.0", "text", "text"), ("text.dec.cross.0", "text", "image"),
        ("text.dec.self.1", "text", "text"), ("text.dec.cross.1", "text", "image"),
    ]  # fmt: skip
    assert run.manifest["certificate"]["attention_max_abs_diff"] <= 1e-5
    assert run.manifest["certificate"]["outputs_max_abs_diff"] == 0
    loaded = load_model(model, modality=VISION_AND_TEXT, device="cpu")
    assert type(loaded.module).__name__ == "BlipForConditionalGeneration"
    inputs = encode(read_data(data), loaded)
    for row in range(2):
        arrays = {name: torch.from_numpy(np.asarray(each))[None] for name, each in inputs.tensors(row).items()}
        with torch.no_grad():
            seen = loaded.module.vision_model(arrays["pixel_values"], output_attentions=True)
            own = loaded.module.text_decoder(
                arrays["input_ids"].long(), attention_mask=arrays["attention_mask"].long(),
                encoder_hidden_states=seen.last_hidden_state, output_attentions=True, return_dict=True,
            )  # fmt: skip
        theirs = {"vision.enc.self": seen.attentions, "text.dec.self": own.attentions}
        theirs["text.dec.cross"] = own.cross_attentions
        for site in run.sites:
            of_site = theirs[site.stack_label][site.depth][0].numpy()
            stored = np.stack([run.attention(site, head, row) for head in range(site.n_heads)])
            np.testing.assert_allclose(stored, of_site, atol=2e-3, err_msg=site.label)


def test_words_and_patches_know_where_they_are(run):
    tokens = run.tokens().query("input_id == 0")
    picture, words = (tokens[tokens["sequence"] == name] for name in ("image", "text"))
    assert picture["text"].tolist() == ["CLS", *(f"r{r}c{c}" for r in range(4) for c in range(4))]
    patch = picture[picture["text"] == "r2c3"].iloc[0]
    assert patch[["left", "top", "right", "bottom"]].tolist() == [0.75, 0.5, 1.0, 0.75]
    assert run.inputs()["text"].tolist() == [f"{said} {a}" for said, a in zip(QUESTIONS, ANSWERS, strict=True)]
    assert words["span"].tolist()[0] == "template"
    said = {name: "".join(group["text"].astype(str)) for name, group in words.groupby("span")}
    assert said["answer"].replace(" ", "") == ANSWERS[0].replace(" ", "")
    assert "takes the picture beside them" in " ".join(run.manifest["notes"])


QUESTIONS = ["What does the fox see?", "Is the dog there?"]


def test_of_pictures_alone_its_tower_is_captured_and_the_command_says_how_to_look_at_it(model, data, tmp_path, capsys):
    pictures, runs = tmp_path / "pictures", tmp_path / "my runs"
    pictures.mkdir()
    (pictures / "0.png").write_bytes((data.parent / "0.png").read_bytes())
    asked = ["--model", str(model), "--data", str(pictures), "--out", str(runs), "--run-id", "tower"]
    assert main(["extract", *asked, "--projection", "none"]) == 0
    assert f"analysis serve --run tower --out '{runs}'" in capsys.readouterr().out
    with analysis.open_run(runs / "tower") as run:
        assert [site.label for site in run.sites] == ["vision.enc.self.0", "vision.enc.self.1"]


def test_a_file_that_lacks_weights_either_way_is_refused(model, tmp_path):
    weights = load_file(model / "model.safetensors")
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lost = "text_decoder.bert.encoder.layer.1.crossattention.self.query.weight"
    save_file({n: w for n, w in weights.items() if n != lost}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks \d+ weights of a Blip"):
        load_model(tmp_path, modality=VISION_AND_TEXT)
