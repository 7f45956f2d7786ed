"""The bundled models must show what the demo promises, judged by their own `output_attentions` alone."""

import csv
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForCausalLM, AutoModelForImageClassification, AutoTokenizer

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
FRESH_SEED = 424_242  # neither trained on nor used while training
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(DEMO / "language")


@pytest.fixture(scope="module")
def language():
    return AutoModelForCausalLM.from_pretrained(DEMO / "language", attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def vision():
    return AutoModelForImageClassification.from_pretrained(DEMO / "vision", attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def processor():
    return AutoImageProcessor.from_pretrained(DEMO / "vision", backend="pil")


@pytest.fixture(scope="module")
def generators():
    """The modules generate_text and generate_scenes, imported from the demo folder as a user runs them."""
    sys.path.insert(0, str(DEMO))
    yield importlib.import_module("generate_text"), importlib.import_module("generate_scenes")
    sys.path.remove(str(DEMO))


@torch.no_grad()
def attention_of(model, **inputs) -> np.ndarray:
    """Weights [layer, batch, head, query, key] of one forward pass."""
    return torch.stack(model(**inputs, output_attentions=True).attentions).numpy()


def read_csv(name: str) -> list[dict[str, str]]:
    with open(DEMO / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def on_sentences(language, tokenizer) -> list[np.ndarray]:
    """Attention [layer, head, query, key] on every demo sentence."""
    encoded = [tokenizer(row["text"], return_tensors="pt") for row in read_csv("sentences.csv")]
    return [attention_of(language, **inputs)[:, 0] for inputs in encoded]


def repeated(rng: np.random.Generator, n: int, bos: int, n_types: int, batch: int = 8) -> torch.Tensor:
    """`<bos>` and the same n random tokens twice [batch, 1 + 2n]."""
    once = rng.integers(2, n_types, (batch, n))
    return torch.from_numpy(np.concatenate([np.full((batch, 1), bos), once, once], axis=1))


def per_query(attentions: list[np.ndarray], take) -> np.ndarray:
    """Mean over all queries of all inputs of what `take(attention)` picks [layer, head, query]."""
    return np.concatenate([take(attention) for attention in attentions], axis=-1).mean(-1)


def test_attention_rows_sum_to_one(on_sentences):
    assert all(np.allclose(attention.sum(-1), 1, atol=1e-4) for attention in on_sentences)


def test_previous_token_head_on_sentences(on_sentences):
    scores = per_query(on_sentences, lambda a: np.diagonal(a, -1, 2, 3))
    assert scores.max() >= 0.5, scores.round(2)


def test_previous_token_head_on_random_tokens(language, tokenizer):
    """Less sharp than on text, still far above the 0.06 that an even spread would give."""
    ids = repeated(np.random.default_rng(FRESH_SEED), 50, tokenizer.bos_token_id, len(tokenizer))
    scores = np.diagonal(attention_of(language, input_ids=ids), -1, 3, 4).mean((1, 3))
    assert scores.max() >= 0.35, scores.round(2)


@pytest.mark.parametrize("n", [10, 25, 50])
def test_induction_head(language, tokenizer, n):
    ids = repeated(np.random.default_rng(FRESH_SEED + n), n, tokenizer.bos_token_id, len(tokenizer))
    attention = attention_of(language, input_ids=ids)
    second_half = np.arange(n + 1, 2 * n + 1)
    scores = attention[..., second_half, second_half - n + 1].mean((1, 3))
    assert scores.max() >= 0.7, scores.round(2)


def test_random_tokens_are_copied(language, tokenizer):
    ids = repeated(np.random.default_rng(FRESH_SEED), 50, tokenizer.bos_token_id, len(tokenizer))
    with torch.no_grad():
        predicted = language(input_ids=ids).logits.argmax(-1)
    assert (predicted[:, 51:-1] == ids[:, 52:]).float().mean() >= 0.9


def test_first_token_sinks(on_sentences):
    scores = per_query(on_sentences, lambda a: a[:, :, 1:, 0])
    assert (scores > 0.3).sum() >= 5, scores.round(2)


def test_stories_are_learned(language, tokenizer, generators):
    """Held-out stories cost far less than chance: under 2 nats a token where a uniform guess costs over 7."""
    losses = []
    for text in generators[0].make_stories(FRESH_SEED, 40, sentences=(2, 4)):
        row = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            losses.append(language(**row, labels=row["input_ids"]).loss.item())
    assert np.mean(losses) < 2


@pytest.mark.parametrize("text", ["", "Hello 👋🏽 world", "שלום עולם", "日本語\n\ttabs\x00", "naïve", "<b>&amp;</b>"])
def test_tokenizer_takes_any_text(tokenizer, language, text):
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == language.config.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_configurations_are_complete(language, vision, tokenizer):
    assert language.config.architectures == ["GPT2LMHeadModel"]
    assert language.config.vocab_size == len(tokenizer)
    assert language.config.eos_token_id == tokenizer.eos_token_id
    assert language.config.n_positions == tokenizer.model_max_length >= 128
    assert vision.config.architectures == ["ViTForImageClassification"]
    assert len(vision.config.id2label) == 24
    assert all(vision.config.label2id[name] == i for i, name in vision.config.id2label.items())


def named(vision, processor, images: list) -> list[str]:
    with torch.no_grad():
        best = vision(**processor(images, return_tensors="pt")).logits.argmax(-1)
    return [vision.config.id2label[int(i)] for i in best]


def test_vision_names_fresh_scenes(vision, processor, generators):
    rng = np.random.default_rng(FRESH_SEED)
    scenes = [generators[1].make_scene(rng) for _ in range(200)]
    names = named(vision, processor, [scene.pixels for scene in scenes])
    assert np.mean([name == scene.label for name, scene in zip(names, scenes, strict=True)]) >= 0.9


def test_vision_names_bundled_scenes(vision, processor):
    rows = read_csv("scenes.csv")
    images = [Image.open(DEMO / row["image"]).convert("RGB") for row in rows]
    names = named(vision, processor, images)
    assert np.mean([name == row["label"] for name, row in zip(names, rows, strict=True)]) >= 0.9


def test_vision_has_local_and_object_heads(vision, processor):
    """Some head looks at its neighbours and some head at its own object, both far above an even spread."""
    rows = read_csv("scenes.csv")
    masks = [np.asarray(Image.open(DEMO / row["mask"]).resize((8, 8), Image.Resampling.NEAREST)) for row in rows]
    on_object = [mask.reshape(-1) == 1 for mask in masks]
    images = [Image.open(DEMO / row["image"]).convert("RGB") for row in rows]
    attention = attention_of(vision, **processor(images, return_tensors="pt"))[..., 1:, 1:]
    attention = attention / attention.sum(-1, keepdims=True)
    row, column = np.divmod(np.arange(64), 8)
    near = np.maximum(abs(row[:, None] - row), abs(column[:, None] - column)) <= 1
    local = (attention * near).sum(-1).mean((1, 3))
    assert local.max() > 2.5 * near.mean(), local.round(2)
    own = np.mean([attention[:, i][..., on, :][..., on].sum(-1).mean(-1) for i, on in enumerate(on_object)], axis=0)
    even = np.mean(on_object)
    assert own.max() > 3 * even, (own.round(2), even)


def test_sentences_table(tokenizer):
    rows = read_csv("sentences.csv")
    assert set(rows[0]) == {"text", "topic", "genre"}
    assert 150 <= len(rows) <= 250
    assert all(row["text"].strip() and row["topic"] and row["genre"] for row in rows)
    assert len({row["genre"] for row in rows}) >= 5
    lengths = np.array([len(tokenizer(row["text"])["input_ids"]) for row in rows])
    assert lengths.max() <= 128
    assert np.mean((lengths >= 8) & (lengths <= 60)) > 0.8


def test_scenes_table(vision):
    rows = read_csv("scenes.csv")
    assert len(rows) == 60
    for row in rows:
        image, mask = Image.open(DEMO / row["image"]), Image.open(DEMO / row["mask"])
        names = json.loads(row["mask_labels"])
        assert (image.mode, mask.mode) == ("RGB", "L")
        assert image.size == mask.size
        assert names[:2] == ["background", row["label"]] == ["background", f"{row['colour']} {row['shape']}"]
        assert {0, 1} <= set(np.unique(mask)) <= set(range(len(names)))
    assert {row["label"] for row in rows} == set(vision.config.label2id)


def test_tables_and_scenes_are_what_the_scripts_write(generators):
    text, scenes = generators
    assert text.make_table() == read_csv("sentences.csv")
    first = scenes.make_scene(np.random.default_rng(scenes.SCENES_SEED), scenes.CLASSES[0])
    assert np.array_equal(first.mask, np.asarray(Image.open(DEMO / "scenes" / "masks" / "000.png")))


def test_only_safetensors_and_under_twenty_megabytes():
    files = [file for file in DEMO.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert sum(file.stat().st_size for file in files) <= 20 * MEGABYTE
    assert {file.suffix for file in files} <= {".safetensors", ".json", ".csv", ".png", ".py", ".md"}
    assert {file.parent.name for file in files if file.suffix == ".safetensors"} == {"language", "vision"}
