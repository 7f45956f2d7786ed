"""The main job from model and data to an open run, on real and tiny models, and on inputs that go wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import analysis
from analysis.errors import CaptureRefused, InputError, ModelError, RunError, UserError
from analysis.models import BUNDLED_MODELS
from analysis.pipeline import parse_layers, plan_extraction, project
from analysis.progress import Progress
from app.run_folder import delete_run
from tests.model_folders import minilm, own_attention, save_tiny_llama

ROOT = Path(__file__).parents[1]
TEXTS = [
    "Mary gave John the book because Mary had read it.",
    "One",
    "שלום עולם, this line mixes two directions.",
    "Emoji 👩‍👩‍👧 and 🎉 count as well.",
    "The quick brown fox jumps over the lazy dog. " * 6,
]


@pytest.fixture(scope="session")
def texts(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.mark.parametrize("mode", ["auto", "recompute"])
def test_the_minilm_run_gives_hugging_faces_attention_for_every_site_head_and_input(mode, texts, tmp_path):
    with analysis.extract(model=minilm(), data=texts, out_dir=tmp_path, projection=[], attention=mode) as run:
        assert [site.label for site in run.sites] == [f"text.enc.self.{layer}" for layer in range(6)]
        for input_id, text in enumerate(TEXTS):
            for site, own in zip(run.sites, own_attention(minilm(), text)):
                stored = run.attention_all(input_id)[site.key]
                assert stored.shape == own.shape
                assert np.abs(stored - own).max() < 2e-3
                assert np.abs(run.attention(site, 11, input_id) - own[11]).max() < 2e-3


def test_grouped_keys_of_a_llama_style_model(texts, tiny_llama, tmp_path):
    with analysis.extract(model=tiny_llama, data=texts, out_dir=tmp_path, projection=["pca"]) as run:
        assert {(site.n_heads, site.n_kv_heads) for site in run.sites} == {(8, 2)}
        assert (run.keys(run.sites[0], 0) == run.keys(run.sites[0], 3)).all()
        assert not (run.keys(run.sites[0], 3) == run.keys(run.sites[0], 4)).all()
        for site, own in zip(run.sites, own_attention(tiny_llama, TEXTS[0])):
            assert np.abs(run.attention_all(0)[site.key] - own).max() < 2e-3


def test_a_folder_of_photographs_through_the_bundled_vit(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, size in enumerate([(120, 80), (64, 200), (64, 64)]):
        pixels = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff not an image")
    settings = {"out_dir": tmp_path / "runs", "projection": ["linear"], "layers": "0,5"}
    with analysis.extract(model="demo-vision", data=photos, **settings) as run:
        assert run.manifest["n_inputs"] == 3
        assert [name for name, _ in run.manifest["skipped"]] == ["broken.jpg"]
        assert len(run.coordinates("linear")) == 2 * run.manifest["n_heads"] * run.manifest["n_tokens"]
        assert {"CLS"} == set(run.tokens().query("position == 0")["text"])


def test_scores_have_an_interval_and_a_null(texts, tmp_path):
    with analysis.extract(model="demo-language", data=texts, out_dir=tmp_path, projection=[]) as run:
        scores = run.head_scores()
        own = [own_attention(BUNDLED_MODELS["demo-language"], text)[1] for text in TEXTS]
        expected = np.mean([of_text[:, 1:, 0].mean(axis=1) for of_text in own], axis=0)
        first = scores.query("metric == 'first_token' and site == @run.sites[1].key").sort_values("head")
        assert first["n"].tolist() == [len(TEXTS)] * 8
        assert first["value"].to_numpy() == pytest.approx(expected, abs=1e-5)
        assert (first["ci_low"] <= first["value"]).all()
        assert (first["value"] <= first["ci_high"]).all()
        assert set(scores["metric"]) <= set(analysis.METRICS)
        assert {"entropy", "attention_distance", "special_share", "nmi", "induction"} <= set(scores["metric"])
        # What a causal mask hides and a tokenizer without CLS lacks is absent, not zero.
        assert not {"next_token", "last_token", "cls_share", "same_row"} & set(scores["metric"])
        before = run.head_profiles("offset", run.sites[1]).query("x == 1").sort_values("head")["value"]
        weights = [np.diagonal(of_text, -1, axis1=1, axis2=2) for of_text in own]
        assert before.to_numpy() == pytest.approx(np.concatenate(weights, axis=1).mean(axis=1), abs=1e-5)
        assert not run.sql("SELECT 1 FROM run.main.profile_sums").shape[0]


def test_three_thousand_tokens_in_one_input(tiny_llama, tmp_path):
    data = tmp_path / "long.txt"
    data.write_text("The old sailor watched the lamp. " * 220)
    with analysis.extract(model=tiny_llama, data=data, out_dir=tmp_path, projection=[], limit=1, layers="1") as run:
        assert run.manifest["n_tokens"] >= 3000
        attention = run.attention(run.sites[0], 5, 0)
        assert attention.sum(axis=1) == pytest.approx(1, abs=1e-3)
        assert not run.head_scores().empty


def test_the_same_request_opens_the_finished_run_and_another_is_refused_its_name(texts, tmp_path):
    request = {"model": "demo-language", "data": texts, "out_dir": tmp_path, "projection": [], "run_id": "mine"}
    with analysis.extract(**request) as first, analysis.extract(**request) as second:
        assert first.path == second.path
        assert first.manifest["created"] == second.manifest["created"]
    with pytest.raises(RunError, match="already a run 'mine'"):
        analysis.extract(**request, layers="0")


def test_the_same_request_after_a_deletion_is_a_run_of_another_name(texts, tmp_path):
    ids = []
    for _ in range(2):
        with analysis.extract(
            model="demo-language", data=texts, out_dir=tmp_path, limit=2, layers="0", projection=[]
        ) as run:
            ids.append(run.run_id)
        delete_run(tmp_path, run.run_id)
    assert ids[1] == f"{ids[0]}-2"


def test_layers_and_limit(texts, tmp_path):
    with analysis.extract(
        model="demo-language", data=texts, out_dir=tmp_path, projection=[], layers="0,2-3", limit=2
    ) as run:
        assert [site.depth for site in run.sites] == [0, 2, 3]
        assert run.manifest["n_inputs"] == 2


@pytest.mark.parametrize("text", ["", "a", "3-1", "1;2", "-2"])
def test_unreadable_layers_are_told(text):
    with pytest.raises(UserError, match="0-3,11"):
        parse_layers(text)


def test_a_map_is_added_to_a_finished_run_that_stays_as_it_was(texts, tmp_path):
    settings = {"out_dir": tmp_path, "projection": ["linear"], "layers": "0"}
    with analysis.extract(model="demo-language", data=texts, **settings) as run:
        before = {path.name: path.read_bytes() for path in run.path.iterdir()}
        project(run.path, method="pca", dims=3, target="without_sinks")
        assert {"x", "y", "z"} <= set(run.coordinates("pca").columns)
        assert set(run.projections()["target"]) == {"attention", "without_sinks"}
        made = run.projections().set_index("method").loc["linear"]
        assert json.loads(made["parameters"])["code_version"] == analysis.__version__
        assert len(run.head_parameters(made["projection_id"])) == run.manifest["n_heads"]
        manifest = json.loads((run.path / "add-pca-3d-without-sinks.json").read_text())
        assert manifest["model_revision"] == run.manifest["model_revision"]
        assert (manifest["method"], manifest["target"], manifest["seed"]) == ("pca", "without_sinks", 0)
        assert all((run.path / name).read_bytes() == content for name, content in before.items())
        with pytest.raises(RunError, match="already has the map"):
            project(run.path, method="linear")


def test_the_same_seed_makes_the_same_run(texts, tmp_path):
    tables = []
    for name in ("first", "second"):
        with analysis.extract(model="demo-language", data=texts, out_dir=tmp_path, run_id=name, layers="1") as run:
            tables.append((run.coordinates("atlas"), run.head_scores()))
    for first, second in zip(*tables):
        assert first.drop(columns="projection", errors="ignore").equals(
            second.drop(columns="projection", errors="ignore")
        )


def test_the_plan_tells_sites_and_cost_and_writes_nothing(texts, tmp_path):
    plan = plan_extraction(model="demo-language", data=texts, out_dir=tmp_path)
    assert plan.n_inputs == len(TEXTS)
    assert plan.disk_bytes > 0
    assert plan.seconds > 0
    assert "32 heads" in plan.as_text()
    assert not list(tmp_path.iterdir())


class TestWhatGoesWrong:
    def test_an_empty_file(self, tmp_path):
        (tmp_path / "empty.txt").touch()
        with pytest.raises(InputError, match=r"empty\.txt"):
            analysis.extract(model="demo-language", data=tmp_path / "empty.txt", out_dir=tmp_path / "runs")
        assert not (tmp_path / "runs").exists()

    def test_a_model_that_is_not_there(self, texts, tmp_path):
        with pytest.raises(ModelError):
            analysis.extract(model=tmp_path / "nowhere", data=texts, out_dir=tmp_path / "runs")
        assert not (tmp_path / "runs").exists()

    def test_a_model_without_attention_is_refused_by_name(self, texts, tmp_path):
        from transformers import AutoTokenizer, FNetConfig, FNetModel

        folder, tokenizer = tmp_path / "fnet", AutoTokenizer.from_pretrained(BUNDLED_MODELS["demo-language"])
        config = FNetConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, intermediate_size=48)
        FNetModel(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        with pytest.raises(CaptureRefused, match="fnet"):
            analysis.extract(model=folder, data=texts, out_dir=tmp_path / "runs")
        assert not list(tmp_path.glob("runs/*"))

    def test_an_unknown_map_is_told_before_anything_slow(self, texts, tmp_path):
        with pytest.raises(UserError, match="atlas"):
            analysis.extract(model="demo-language", data=texts, out_dir=tmp_path, projection=["maps"])


def _extract_command(model: Path, data: Path, runs: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "analysis", "extract", "--model", str(model), "--data", str(data), "--out", str(runs),
        "--run-id", "killed", "--projection", "none", *more,
    ]  # fmt: skip


N_KILLED = 160


def test_killed_in_mid_extraction_the_same_command_goes_on(tiny_llama, tmp_path):
    data, runs = tmp_path / "many.txt", tmp_path / "runs"
    texts = [f"Story {i}: the boat and the net and the lamp number {i * 7}. " * 8 for i in range(N_KILLED)]
    data.write_text("\n".join(texts))
    command = _extract_command(tiny_llama, data, runs)
    job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    partial = runs / "killed.partial" / "run.duckdb"
    deadline = time.monotonic() + 120
    while job.poll() is None and time.monotonic() < deadline:
        if partial.exists() and sum(path.stat().st_size for path in partial.parent.iterdir()) > 3_000_000:
            break
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    assert not (runs / "killed").exists(), "the job ended before it could be killed: make the data larger"

    # The same request again, here in the library, where every step can be heard.
    heard: list[Progress] = []
    request = {"model": tiny_llama, "data": data, "out_dir": runs, "run_id": "killed", "projection": ["none"]}
    analysis.extract(**request, report=heard.append).close()
    done = [progress.done for progress in heard if progress.stage == "capture"]
    assert 0 < done[0] < done[1] < done[-1] == N_KILLED, "it goes on from what was stored, batch by batch"
    with analysis.open_run(runs / "killed") as run:
        assert run.manifest["n_inputs"] == N_KILLED
        counts = run.sql(
            "SELECT count(*) AS rows, count(DISTINCT (input_id, site, head)) AS distinct_rows FROM vectors"
        )
        assert counts.iloc[0].tolist() == [N_KILLED * 2 * 8] * 2
        assert np.abs(run.attention_all(N_KILLED - 1)[run.sites[0].key].sum(axis=-1) - 1).max() < 1e-3
