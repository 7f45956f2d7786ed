"""Language models that see, from a table of pictures and texts to runs: tiny LLaVA, Qwen2.5-VL, SmolVLM, Idefics3 and
Gemma 3."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import analysis
from analysis.capture import Capture, make_plan, patch_order, run_batch
from analysis.capture.batch import forward, pad
from analysis.inputs import encode, read_data
from analysis.models import load_model
from analysis.types import VISION_AND_TEXT
from tests import vision_language_folders as folders
from tests.model_folders import save_tiny_llama

MAKERS = {
    "llava": folders.save_tiny_llava,
    "qwen": folders.save_tiny_qwen,
    "qwen25": partial(folders.save_tiny_qwen, version="2.5"),
    "smolvlm": folders.save_tiny_smolvlm,
    "idefics3": partial(folders.save_tiny_smolvlm, kind="Idefics3"),
    "gemma": folders.save_tiny_gemma,
}
SIZES = {"qwen": (64, 32), "qwen25": (64, 32), "smolvlm": (64, 64), "idefics3": (64, 64)}
"""Pictures that the processors do not scale, so that a pixel stays where it is."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a model and its table of pictures and texts, each made once."""

    @cache
    def make(name: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp(name)
        MAKERS[name](folder / "model")
        return folder / "model", folders.save_pictures(folder / "data", 2, SIZES.get(name, (32, 32)))

    return make


@pytest.fixture(scope="module")
def read(made):
    """A loaded model and its encoded rows."""

    @cache
    def make(name: str):
        model, data = made(name)
        loaded = load_model(model, modality=VISION_AND_TEXT, device="cpu")
        return loaded, encode(read_data(data), loaded, order=partial(patch_order, loaded))

    return make


@pytest.fixture(scope="module")
def run(made, tmp_path_factory):
    """A run of a model."""

    @cache
    def make(name: str):
        model, data = made(name)
        return analysis.extract(model=model, data=data, out_dir=tmp_path_factory.mktemp("runs"), projection=[])

    return make


def tokens_of(tokens: pd.DataFrame, sequence: str, input_id: int = 0) -> pd.DataFrame:
    return tokens[(tokens["input_id"] == input_id) & (tokens["sequence"] == sequence)].reset_index(drop=True)


@pytest.mark.parametrize("name", MAKERS)
def test_attention_is_that_of_the_language_model_and_of_the_tower(name, read):
    loaded, inputs = read(name)
    lengths = {part: int(inputs.lengths(part)[0]) for part in ("image", "text")}
    plan = make_plan(loaded, inputs.tensors(0), lengths)
    assert {site.stack_label.split(".")[0]: site.query_sequence for site in plan.sites} == {
        "vision": "image", "text": "text",
    }  # fmt: skip
    assert not plan.certificate["left_out"]
    assert len(plan.sites) == 4
    assert plan.certificate["attention_max_abs_diff"] <= 1e-5  # of the weights that the model's own functions return
    batch = run_batch(loaded, plan, [(row, inputs.tensors(row)) for row in (0, 1)])
    for row, captures in enumerate(batch):
        tensors, _ = pad(loaded, [inputs.tensors(row)])
        loaded.module.set_attn_implementation("eager")
        own = forward(loaded, tensors, output_attentions=True).attentions
        loaded.module.set_attn_implementation("sdpa")
        text = [capture for capture in captures if capture.site.modality == "text"]
        for capture, theirs in zip(text, own, strict=True):
            np.testing.assert_allclose(capture.attention, theirs[0].numpy(), atol=1e-5)
        for capture in captures:
            if capture.site.modality == "vision":
                assert capture.attention.shape[1] == lengths["image"]
                np.testing.assert_allclose(capture.attention.sum(axis=-1), 1, atol=1e-5)


def test_the_tower_of_llava_gives_its_own_attention_and_the_run_keeps_it(read, run):
    loaded, inputs = read("llava")
    pixels = torch.from_numpy(inputs.tensors(1)["pixel_values"])[None]
    tower = loaded.tower
    tower.set_attn_implementation("eager")
    own = tower(pixel_values=pixels, output_attentions=True).attentions
    tower.set_attn_implementation("sdpa")
    sites = [site for site in run("llava").sites if site.modality == "vision"]
    for site, theirs in zip(sites, own, strict=True):
        for head in range(4):
            np.testing.assert_allclose(run("llava").attention(site, head, 1), theirs[0, head].numpy(), atol=2e-3)


@pytest.mark.parametrize("name", MAKERS)
def test_a_changed_part_of_the_picture_moves_the_tokens_that_lie_there(name, read, made):
    """Without attention in the tower nothing but a token's own pixels reaches it, so which move is exact."""
    loaded, inputs = read(name)
    width, height = SIZES.get(name, (32, 32))
    image = np.asarray(Image.open(made(name)[1].parent / "0.png")).copy()
    left, top = width - 8, 8
    image[top : top + 8, left : left + 8] = 255 - image[top : top + 8, left : left + 8]
    changed = made(name)[1].parent / "changed"
    changed.mkdir(exist_ok=True)
    Image.fromarray(image).save(changed / "0.png")
    (changed / "rows.jsonl").write_text(made(name)[1].read_text(encoding="utf-8").split("\n")[0], encoding="utf-8")
    others = encode(read_data(changed / "rows.jsonl"), loaded)
    text, tower = tokens_of(inputs.tokens, "text"), tokens_of(inputs.tokens, "image")
    before, after = (_keys_without_tower_attention(loaded, each.tensors(0)) for each in (inputs, others))
    for sequence, table in (("image", tower), ("text", text)):
        moved = np.abs(after[sequence] - before[sequence]).sum(axis=(0, 2))
        inside = (
            (table["left"] * width < left + 8) & (table["right"] * width > left)
            & (table["top"] * height < top + 8) & (table["bottom"] * height > top)
        ).fillna(False).to_numpy(dtype=bool)  # fmt: skip
        is_sharp = (table["row"] >= 0).fillna(False).to_numpy(dtype=bool)
        expected = np.flatnonzero(inside & is_sharp)
        assert np.flatnonzero((moved > 1e-4 * moved.max()) & is_sharp).tolist() == expected.tolist()
        assert len(expected)
        whole = np.flatnonzero(inside & ~is_sharp)  # the whole picture made small: its pixels are mixed with others
        if len(whole):
            assert int(np.where(is_sharp, 0, moved).argmax()) in whole


def _keys_without_tower_attention(loaded, encoded) -> dict[str, np.ndarray]:
    """Keys of the first layer of the tower and of the language model, ``[head, token, d_head]``."""
    projections = [
        part for path, part in loaded.module.named_modules()
        if path.startswith("vis") and path.endswith(("attn.out_proj", "attn.proj"))
    ]  # fmt: skip
    assert len(projections) == 2
    hooks = [part.register_forward_hook(lambda _module, _inputs, output: output * 0) for part in projections]
    tensors, _ = pad(loaded, [encoded])
    with Capture(loaded.module) as capture:
        forward(loaded, tensors)
    for hook in hooks:
        hook.remove()
    first = {}
    for call in capture.calls:
        first.setdefault(call.site.modality, []).append(call)
    module = first["vision"][0].module_name
    vision = [call.k for call in first["vision"] if call.module_name == module]
    blocks = [block for part in vision for block in part]  # crops in the batch axis, or windows in calls of their own
    return {"image": torch.cat(blocks, dim=1).numpy(), "text": first["text"][0].k[0].numpy()}


def test_windows_of_a_tower_are_one_site_whose_tokens_are_sorted_by_window(run, read, made):
    site = next(site for site in run("qwen25").sites if site.modality == "vision")
    tokens, attention = tokens_of(run("qwen25").tokens(), "image"), run("qwen25").attention(site, 0, 0)
    window = (tokens["column"] // 4).to_numpy(dtype=int)
    assert window.tolist() == sorted(window)
    assert set(window) == {0, 1}
    assert (attention > 0).any()
    assert np.array_equal(run("qwen25").allowed(site, 0), window[:, None] == window)
    assert (attention[window[:, None] != window] == 0).all()
    plain = encode(read_data(made("qwen25")[1]), read("qwen25")[0])  # without looking where the patches are
    assert tokens_of(plain.tokens, "image")["text"].tolist() != tokens["text"].tolist()


def test_spans_are_what_the_data_says_and_the_rest_is_template(made, tmp_path):
    model, _ = made("llava")
    rows = folders.save_pictures(
        tmp_path, 2, system=["Be brief.", "Be brief."], target=["The dog, of course.", "A fox."]
    )
    loaded = load_model(model, modality=VISION_AND_TEXT, device="cpu")
    inputs = encode(read_data(rows), loaded)
    text = "SYSTEM: Be brief. USER: \nWhat does the fox see? ASSISTANT: The dog, of course. "
    assert inputs.inputs["text"][0] == text
    assert "system" not in inputs.inputs
    assert "target" not in inputs.inputs
    tokens = tokens_of(inputs.tokens, "text")
    said = {"system": "Be brief.", "user": "What does the fox see?", "answer": "The dog, of course."}
    for row in tokens[tokens["char_start"].notna()].itertuples():
        inside = [
            name for name, words in said.items()
            if row.char_start < text.index(words) + len(words) and row.char_end > text.index(words)
        ]  # fmt: skip
        assert row.span == (inside[0] if inside else "template"), row
    is_image = tokens["span"] == "image"
    assert tokens.loc[is_image, "text"].tolist() == [f"r{r}c{c}" for r in range(4) for c in range(4)]
    assert is_image.to_numpy().nonzero()[0].tolist() == list(range(is_image.argmax(), is_image.argmax() + 16))
    assert tokens["span"].iloc[0] == "template"
    assert bool(tokens["is_special"].iloc[0])
    assert inputs.token_columns["span"].kind == "categorical"


def test_without_a_chat_template_the_text_stands_behind_the_picture(tmp_path, read):
    folders.save_tiny_llava(tmp_path / "model", chat=False)
    data = folders.save_pictures(tmp_path / "data", 1, target=["No."])
    loaded = load_model(tmp_path / "model", modality=VISION_AND_TEXT, device="cpu")
    inputs = encode(read_data(data), loaded)
    assert inputs.inputs["text"][0] == "\nWhat does the fox see? No."
    assert any("no chat template" in note for note in inputs.notes)
    assert set(tokens_of(inputs.tokens, "text")["span"]) == {"image", "user", "answer", "template"}
    assert {"crop"} & set(inputs.tokens) == set()
    assert {"crop"} <= set(read("smolvlm")[1].tokens)


def test_models_of_one_kind_take_theirs_of_a_table_of_both(made, tmp_path):
    _, data = made("llava")
    save_tiny_llama(tmp_path / "llama", n_layers=1)
    texts = analysis.extract(model=tmp_path / "llama", data=data, out_dir=tmp_path / "runs", projection=[])
    assert texts.modality == "text"
    assert texts.inputs()["text"].tolist()[0] == "What does the fox see?"
    assert any("reads texts only" in note for note in texts.manifest["notes"])
    images = load_model("demo-vision", modality=VISION_AND_TEXT, device="cpu")
    assert images.modality == "vision"
    assert not images.sequences


def test_measures_of_the_grid_are_of_the_tower_and_those_of_places_of_the_text(run, read):
    scores = run("llava").head_scores()
    of = {site.key: site for site in run("llava").sites}
    stacks = {metric: {of[key].modality for key in group["site"]} for metric, group in scores.groupby("metric")}
    assert stacks["same_row"] == stacks["same_column"] == {"vision"}
    assert stacks["attention_distance"] == {"vision", "text"}
    site = next(site for site in run("llava").sites if site.modality == "text")
    attention = run("llava").attention(site, 1, 0)
    places = np.arange(len(attention))
    rows = np.arange(1, len(attention))  # the first token has no choice
    expected = (attention * np.abs(places[:, None] - places)).sum(axis=1)[rows].mean()
    own = run("llava").head_input_scores("attention_distance", site, 1)
    assert own.loc[own["input_id"] == 0, "value"].item() == pytest.approx(expected, rel=2e-3)


def test_a_row_that_is_too_long_is_left_out_with_the_reason(made):
    model, data = made("llava")
    loaded = load_model(model, modality=VISION_AND_TEXT, device="cpu")
    inputs = encode(read_data(data), loaded, max_tokens=45)
    assert len(inputs) == 1
    assert "at most 45" in inputs.skipped[0].reason


def test_texts_alone_are_a_chat_where_that_is_asked_for(tmp_path):
    from transformers import AutoTokenizer

    folder = save_tiny_llama(tmp_path / "llama", n_layers=1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": " Who? ", "system": "Be kind.", "target": "You."}\n{"text": "Why?"}\n', encoding="utf-8")
    plain, chat = (
        analysis.extract(model=folder, data=data, out_dir=tmp_path / "runs", projection=[], chat=how)
        for how in ("off", "auto")
    )
    assert plain.inputs()["text"].tolist() == [" Who? ", "Why?"]
    assert "span" not in plain.tokens()
    texts = ["[system] Be kind.\n[user] Who?\n[assistant] You.\n", "[user] Why?\n[assistant]"]
    assert chat.inputs()["text"].tolist() == texts
    tokens = chat.tokens()
    for input_id, said in enumerate(({"system": "Be kind.", "user": "Who?", "answer": "You."}, {"user": "Why?"})):
        own = tokens[(tokens["input_id"] == input_id) & tokens["char_start"].notna()]
        for name, words in said.items():
            begin = texts[input_id].index(words)
            inside = (own["char_start"] < begin + len(words)) & (own["char_end"] > begin)
            assert (own["span"] == name).tolist() == inside.tolist()
