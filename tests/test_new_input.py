"""A new input through a run's model is what the model itself does, and lies where the run's linear map has it."""

from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.errors import InputError, ModelError, RunError, UnknownName
from analysis.models import BUNDLED_MODELS
from analysis.pipeline.new_input import NEW_INPUT, capture_new, load_run_model, map_new
from tests.model_folders import own_attention, save_tiny_llama

TEXTS = ["There was a red ball in the garden.", "The cat sat on the mat and the dog sat on the rug.", "One two three."]
NEW = "The dog and the cat sat in the red garden."


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("new")


@pytest.fixture(scope="module")
def text_run(folder):
    data = folder / "texts.txt"
    data.write_text("\n".join(TEXTS), encoding="utf-8")
    with analysis.extract(
        model="demo-language", data=data, out_dir=folder / "runs", projection=["linear"], run_id="texts"
    ) as run:
        yield run


@pytest.fixture(scope="module")
def image_run(folder):
    with analysis.extract(
        model="demo-vision",
        data="demo-scenes",
        limit=4,
        out_dir=folder / "runs",
        projection=["linear"],
        run_id="images",
        layers="2",
    ) as run:
        yield run


@pytest.fixture(scope="module")
def new(text_run):
    return capture_new(text_run, text=NEW)


def test_attention_is_the_models_own(text_run, new):
    for site, own in zip(text_run.sites, own_attention(BUNDLED_MODELS["demo-language"], NEW), strict=True):
        for head in range(site.n_heads):
            assert np.abs(new.attention(site, head) - own[head]).max() < 1e-5
        assert new.attention(site.label, 0).dtype == np.float32
        assert (new.allowed(site) == np.tri(len(new.tokens), dtype=bool)).all()


def test_tokens_stand_as_in_the_runs_table(text_run, new):
    known = text_run.tokens()
    assert list(new.tokens.columns) == list(known.columns)
    assert set(new.tokens["input_id"]) == {NEW_INPUT}
    assert new.tokens["position"].tolist() == list(range(len(new.tokens)))
    again = capture_new(text_run, text=TEXTS[1]).tokens
    own = known[known["input_id"] == 1].reset_index(drop=True)
    for column in ("text", "char_start", "char_end", "is_special", "frequency", "word_class"):
        assert again[column].tolist() == own[column].tolist(), column


@pytest.mark.parametrize("input_id", [0, 1])
def test_an_input_of_the_run_lands_on_its_stored_places(text_run, input_id):
    again = capture_new(text_run, text=TEXTS[input_id])
    mine = (text_run.tokens()["input_id"] == input_id).to_numpy()
    for site in text_run.sites:
        stored = text_run.coordinates("linear", site, 3).sort_values(["input_id", "position"], kind="stable")
        for kind, placed in zip(("query", "key"), map_new(text_run, again, site, 3)):
            places = stored.loc[stored["kind"] == kind, ["x", "y"]].to_numpy()
            spread = places.std()
            assert np.abs(placed - places[mine]).max() < 0.01 * spread
            assert np.abs(placed - np.roll(placed, 1, axis=0)).max() > 0.1 * spread
        assert np.abs(again.queries(site, 3) - text_run.queries(site, 3)[mine]).max() < 0.02
        assert np.abs(again.keys(site, 3) - text_run.keys(site, 3)[mine]).max() < 0.02


def test_an_image_of_the_run_lands_on_its_stored_places(image_run):
    path = BUNDLED_MODELS["demo-vision"].parent / "scenes" / "000.png"
    from_file, from_bytes = capture_new(image_run, image=path), capture_new(image_run, image=path.read_bytes())
    (site,) = image_run.sites
    assert (from_file.attention(site, 1) == from_bytes.attention(site, 1)).all()
    assert np.abs(from_file.attention(site, 1) - image_run.attention(site, 1, 0)).max() < 2e-3
    assert from_file.image == image_run.image(0)
    stored = image_run.coordinates("linear", site, 1).query("kind == 'key' and input_id == 0").sort_values("position")
    places = stored[["x", "y"]].to_numpy()
    assert np.abs(map_new(image_run, from_file, site, 1)[1] - places).max() < 0.01 * places.std()


def test_a_long_text_is_cut_at_the_models_limit_and_says_so(text_run):
    loaded = load_run_model(text_run)
    long = capture_new(text_run, text="the cat " * 200, loaded=loaded)
    assert len(long.tokens) == loaded.max_tokens
    assert long.n_cut == len(loaded.processor("the cat " * 200)["input_ids"]) - loaded.max_tokens > 0
    assert f"{long.n_cut:,} tokens" in long.notes[0]


def test_a_model_from_a_folder_has_to_be_given_and_to_be_the_same(folder, tmp_path):
    data = folder / "two.txt"
    data.write_text("\n".join(TEXTS[:2]), encoding="utf-8")
    model = save_tiny_llama(tmp_path / "tiny-llama")
    with analysis.extract(model=model, data=data, out_dir=tmp_path / "runs", projection=[]) as run:
        with pytest.raises(ModelError, match="only the name 'tiny-llama'"):
            capture_new(run, text=NEW)
        new = capture_new(run, text=NEW, model=model)
        for site, own in zip(run.sites, own_attention(model, NEW), strict=True):
            assert np.abs(new.captures[site.key].attention - own).max() < 1e-5
        assert (new.keys(run.sites[0], 0) == new.keys(run.sites[0], 3)).all()
        with pytest.raises(ModelError, match="not the model that run"):
            capture_new(run, text=NEW, model=save_tiny_llama(tmp_path / "other" / "tiny-llama", n_layers=1))
        with pytest.raises(RunError, match="--method linear"):
            map_new(run, new, run.sites[0], 0)


def test_what_makes_no_sense_is_refused_in_one_sentence(text_run, image_run, new):
    with pytest.raises(InputError, match="is of images, and texts came"):
        capture_new(image_run, text=NEW)
    with pytest.raises(InputError, match="is of texts, and images came"):
        capture_new(text_run, image=b"x")
    with pytest.raises(InputError, match="blank"):
        capture_new(text_run, text=" \n")
    with pytest.raises(InputError, match="cannot be read"):
        capture_new(image_run, image=b"not an image")
    with pytest.raises(InputError, match="give one"):
        capture_new(text_run)
    with pytest.raises(UnknownName, match="heads 0 to 7"):
        new.attention(text_run.sites[0], 8)
    with pytest.raises(RunError, match="takes no new points"):
        map_new(text_run, new, text_run.sites[0], 0, "atlas-2d")
