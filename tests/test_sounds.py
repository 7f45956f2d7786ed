"""Runs of models of sounds: frames in time, patches of a spectrogram, and the model's own attention."""

import numpy as np
import pytest
import torch

import analysis
from analysis.errors import InputError, ModelError
from analysis.models.hearing import Hearing, hear
from tests.sound_folders import RATE, chirp, save_sounds, save_tiny_ast, save_tiny_wav2vec2, save_tiny_whisper

EXACT, STORED = 1e-5, 2e-3
LENGTHS = {"a.wav": 0.9, "b.wav": 0.62, "c.wav": 0.6}


def extract(model, data, out, **options):
    return analysis.extract(model=model, data=data, out_dir=out, projection=["none"], **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_sounds(tmp_path_factory.mktemp("sounds") / "clips", LENGTHS)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"frames": save_tiny_wav2vec2(folder / "wav2vec2"), "patches": save_tiny_ast(folder / "ast")}


@pytest.fixture(scope="module")
def runs(models, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return {kind: extract(folder, data, out) for kind, folder in models.items()}


def own_attention(folder, seconds):
    """The model's own, one [head, query, key] array a layer."""
    from transformers import AutoFeatureExtractor, AutoModel

    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    samples = (chirp(seconds, 0.6 * seconds) * 32767).astype(np.int16) / np.float32(32768)
    given = extractor(samples, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        return [layer[0].numpy() for layer in model(**given, output_attentions=True).attentions]


@pytest.mark.parametrize("kind", ["frames", "patches"])
def test_attention_is_the_models_own(runs, models, kind):
    run = runs[kind]
    assert run.modality == "audio"
    assert {site.stack_label for site in run.sites} == {"audio.enc.self"}
    proof = run.certificate["sites"]
    assert max(proof[site.key]["attention_max_abs_diff"] for site in run.sites) < EXACT
    for input_id, seconds in enumerate(LENGTHS.values()):
        own = own_attention(models[kind], seconds)
        for site, layer in zip(run.sites, own, strict=True):
            found = np.stack([run.attention(site, head, input_id) for head in range(4)])
            assert found.shape == layer.shape
            assert np.abs(found - layer).max() < STORED
            assert layer.max() > 3 / layer.shape[-1]  # sharp enough for a wrong order to show


def test_frames_have_times_and_measures(runs):
    run = runs["frames"]
    tokens = run.tokens().query("input_id == 1")
    assert len(tokens) == (round(0.62 * RATE) - 400) // 320 + 1  # the convolutions of wav2vec 2, by its paper
    assert np.allclose(tokens["seconds"], 0.02 * np.arange(len(tokens)), atol=1e-6)
    assert np.allclose(tokens["duration"], 0.02)
    assert tokens["text"].iloc[17] == "0.34s"
    assert not tokens["is_padding"].any()
    assert not tokens["is_special"].any()
    heard = tokens[tokens["seconds"] < 0.34]
    # A tone of amplitude 0.5 is 0.5 / sqrt(2) = -9 dB, crosses zero twice a period, and rises from 200 Hz.
    assert np.abs(heard["loudness"] - 20 * np.log10(0.5 / np.sqrt(2))).max() < 1
    hertz = 200 + 1800 * (heard["seconds"] + 0.01) / 0.62
    assert np.abs(heard["crossings"] / 2 - hertz).median() < 30
    assert np.abs(heard["centroid"] - hertz).median() < 60
    silent = tokens[tokens["seconds"] > 0.4]
    assert (silent["loudness"] == -100).all()
    assert silent["centroid"].isna().all()
    columns = run.token_columns()
    assert [columns[name].unit for name in ("seconds", "loudness", "centroid")] == ["s", "dB", "Hz"]
    assert "hertz" not in columns
    assert any("0.02 s" in note and "frames" in note for note in run.manifest["notes"])


@pytest.mark.parametrize("at", [0.1, 0.3049, 0.415])
def test_the_frame_that_covers_a_click_is_the_one_that_hears_it(models, at):
    from transformers import AutoFeatureExtractor, AutoModel

    folder = models["frames"]
    model, extractor = AutoModel.from_pretrained(folder).eval(), AutoFeatureExtractor.from_pretrained(folder)
    layout = Hearing(model, extractor, "tiny").layout(hear(extractor, chirp(0.6)))
    noise = np.random.default_rng(0).normal(0, 0.01, round(0.6 * RATE)).astype(np.float32)
    with torch.inference_mode():
        made = []
        for samples in (noise, noise + chirp(0.6, click_at=at)):
            states = torch.from_numpy(samples)[None, None]
            for layer in model.feature_extractor.conv_layers:
                states = torch.relu(layer.conv(states))
            made.append(states[0].numpy())
    changed = np.flatnonzero(np.abs(made[1] - made[0]).max(axis=0) > 1e-9)
    covering = int(at / layout.frame_seconds)
    assert covering in changed
    assert set(changed) <= {covering - 1, covering}  # a frame hears 25 ms, 5 of them with the next one


def test_patches_lie_on_the_spectrogram(runs):
    run = runs["patches"]
    tokens = run.tokens().query("input_id == 1").reset_index(drop=True)
    assert tokens["text"].tolist()[:2] == ["CLS", "DIST"]
    patches = tokens[2:]
    # 16 bands and 128 columns in patches of 8 x 8, every 4 x 4: 3 rows, 31 columns.
    assert len(patches) == 3 * 31
    assert patches["row"].tolist() == [2] * 31 + [1] * 31 + [0] * 31
    assert patches["column"].tolist() == list(range(31)) * 3
    assert np.allclose(patches["seconds"], 0.04 * patches["column"].astype(float), atol=1e-6)
    assert (patches["is_padding"] == (patches["seconds"] >= 0.62 - 1e-6)).all()
    assert (patches["is_special"] == patches["is_padding"]).all()
    assert patches.groupby("row")["hertz"].first().is_monotonic_decreasing
    # The tone goes through low bands first: what is loud early is in the bottom row, later above it.
    heard = patches[patches["seconds"] < 0.36]
    loudest = heard.loc[heard.groupby("column")["level"].idxmax(), ["column", "row"]].sort_values("column")["row"]
    assert loudest.iloc[0] >= loudest.iloc[-1]
    assert run.inputs()[["width", "height"]].drop_duplicates().to_numpy().tolist() == [[128, 16]]
    assert run.image(0)[:4] == b"\x89PNG"


def test_what_does_not_fit_is_refused_in_a_sentence(models, data, tmp_path):
    with pytest.raises(InputError, match="demo-language reads"):
        extract("demo-language", data, tmp_path)
    with pytest.raises(InputError, match="reads audio"):
        extract(models["frames"], "demo-scenes", tmp_path)
    (tmp_path / "no").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "no" / name).write_bytes((models["frames"] / name).read_bytes())
    with pytest.raises(ModelError, match="feature extractor"):
        extract(tmp_path / "no", data, tmp_path)
    assert not list(tmp_path.glob("*.partial"))


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return save_tiny_whisper(tmp_path_factory.mktemp("models") / "whisper")


@pytest.fixture(scope="module")
def said(whisper, data, tmp_path_factory):
    (data / "said.csv").write_text("audio,target\na.wav,The quick fox\nb.wav,a lazy dog jumps\nc.wav,\n")
    return extract(whisper, data / "said.csv", tmp_path_factory.mktemp("runs"))


def test_a_whole_whisper_has_its_own_attention_in_encoder_decoder_and_between(said, whisper):
    from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(whisper, attn_implementation="eager").eval()
    tokenizer, extractor = AutoTokenizer.from_pretrained(whisper), AutoFeatureExtractor.from_pretrained(whisper)
    assert [list(pair) for pair in said.manifest["skipped"]] == [["row 3", "it has no target for the decoder"]]
    assert (said.modality, said.sequences) == ("audio", ("encoder", "decoder"))
    stacks = {"audio.enc.self": "encoder_attentions", "text.dec.self": "decoder_attentions"}
    stacks["text.dec.cross"] = "cross_attentions"
    sites = {stack: [site for site in said.sites if site.stack_label == stack] for stack in stacks}
    assert {stack: len(of_stack) for stack, of_stack in sites.items()} == dict.fromkeys(stacks, 2)
    assert max(verdict["attention_max_abs_diff"] for verdict in said.certificate["sites"].values()) < EXACT
    for input_id, (seconds, text) in enumerate(zip(LENGTHS.values(), ("The quick fox", "a lazy dog jumps"))):
        samples = (chirp(seconds, 0.6 * seconds) * 32767).astype(np.int16) / np.float32(32768)
        heard = extractor(samples, sampling_rate=RATE, return_tensors="pt")
        # The tokenizer puts the decoder's first token in front and the closing one behind, which is never read.
        read = torch.tensor([tokenizer(text)["input_ids"][:-1]])
        assert int(read[0, 0]) == model.config.decoder_start_token_id
        with torch.inference_mode():
            own = model(**heard, decoder_input_ids=read, output_attentions=True)
        for stack, name in stacks.items():
            for site, layer in zip(sites[stack], own[name], strict=True):
                found = np.stack([said.attention(site, head, input_id) for head in range(4)])
                assert found.shape == tuple(layer[0].shape)
                assert np.abs(found - layer[0].numpy()).max() < STORED
    cross = sites["text.dec.cross"][0]
    assert (cross.query_sequence, cross.key_sequence) == ("decoder", "encoder")


def test_frames_of_whisper_have_times_and_what_lies_behind_the_sound_is_padding(said):
    tokens = said.tokens().query("input_id == 1")
    frames, words = tokens[tokens["sequence"] == "encoder"], tokens[tokens["sequence"] == "decoder"]
    # 2 seconds as 200 columns of mel, of which the second convolution takes every other.
    assert len(frames) == 100
    assert np.allclose(frames["seconds"], 0.02 * np.arange(100), atol=1e-6)
    assert frames["is_padding"].sum() == 100 - round(0.62 / 0.02)
    assert (frames["is_special"] == frames["is_padding"]).all()
    assert words["seconds"].isna().all()
    assert not words["is_padding"].any()
    assert "".join(words["text"][1:]).replace(" ", "") == "alazydogjumps"
    assert tokens["position"].tolist() == list(range(len(tokens)))
    assert said.inputs()["target"].tolist() == ["The quick fox", "a lazy dog jumps"]
    scores = said.head_scores()
    of_cross = scores[scores["site"].isin([site.key for site in said.sites if site.is_cross])]
    assert "special_share" in set(of_cross["metric"])
    assert not {"attention_distance", "previous_token", "same_row"} & set(of_cross["metric"])


def test_whisper_writes_where_nothing_is_given_and_the_encoder_alone_can_be_looked_at(whisper, data, tmp_path):
    from transformers import AutoFeatureExtractor, WhisperForConditionalGeneration

    run = extract(whisper, data / "b.wav", tmp_path)
    model = WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    samples = (chirp(0.62, 0.6 * 0.62) * 32767).astype(np.int16) / np.float32(32768)
    heard = AutoFeatureExtractor.from_pretrained(whisper)(samples, sampling_rate=RATE, return_tensors="pt")
    read = [model.config.decoder_start_token_id]
    with torch.inference_mode():
        for _ in range(4):
            read.append(int(model(**heard, decoder_input_ids=torch.tensor([read])).logits[0, -1].argmax()))
    from transformers import AutoTokenizer

    words = run.tokens().query("sequence == 'decoder'")
    shown = AutoTokenizer.from_pretrained(whisper).convert_ids_to_tokens(read)
    assert len(words) > 4
    assert words["text"].tolist()[0] == shown[0]
    assert run.manifest["decoder_reads"] == "generate"
    assert [text.strip() for text in words["text"][1:5]] == [text.replace("Ġ", " ").strip() for text in shown[1:]]
    encoder = extract(whisper, data / "b.wav", tmp_path, part="encoder")
    assert {site.stack_label for site in encoder.sites} == {"audio.enc.self"}


def test_a_whisper_without_its_head_needs_a_target(data, tmp_path):
    headless = save_tiny_whisper(tmp_path / "whisper", with_head=False)
    with pytest.raises(InputError, match=r"no head to write.*columns audio and target"):
        extract(headless, data / "a.wav", tmp_path)
    with pytest.raises(InputError, match="no text that it could read"):
        extract(headless, data / "a.wav", tmp_path, target="same")
