"""Sinks from model to table: on the bundled model, the MiniLM, learned sinks, and a model made to have one."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import analysis
from analysis.cli import main
from analysis.errors import RunError
from analysis.models import BUNDLED_MODELS
from analysis.pipeline.sinks import classes_of, levels_of, sinks_of, sum_up_sinks
from analysis.sinks import SinkRule
from analysis.sinks.geometry import head_geometry
from analysis.sinks.towers import read_tower
from tests.model_folders import minilm, own_attention, save_tiny_llama
from tests.store.synthetic import make_synthetic_run

TEXTS = [
    "Mary gave John the book because Mary had read it, and then she went home.",
    "The kitchen was cold. The soup was warm. Nobody had seen the cat.",
    "There were 7 spoons, 12 forks and only one knife on the table near the door.",
    "One",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sinks")


@pytest.fixture(scope="module")
def texts(folder) -> Path:
    path = folder / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def extracted(folder: Path, texts: Path, model, **more):
    return analysis.extract(model=model, data=texts, out_dir=folder / "runs", projection=[], **more)


@pytest.fixture(scope="module")
def demo(folder, texts):
    with extracted(folder, texts, "demo-language", run_id="demo") as run:
        yield run


@pytest.fixture(scope="module")
def real(folder, texts):
    with extracted(folder, texts, minilm(), run_id="minilm") as run:
        yield run


def published(attention: np.ndarray) -> np.ndarray:
    """alpha_k = 1 / (T - k + 1) sum_{i >= k} A_ik of one head, k from 1."""
    size = len(attention)
    return np.array([sum(attention[i, k] for i in range(k, size)) / (size - k) for k in range(size)])


def test_the_score_is_the_published_one_on_the_models_own_attention(demo):
    start = 0
    for input_id, text in enumerate(TEXTS):
        for site, own in zip(demo.sites, own_attention(Path(BUNDLED_MODELS["demo-language"]), text), strict=True):
            n = own.shape[-1]
            found = demo.received(site, counts_own=True)[:, start : start + n]
            expected = np.stack([published(of_head.astype(np.float64)) for of_head in own])
            np.testing.assert_allclose(found, expected, atol=1e-5)
            stored = published(demo.attention(site, 3, input_id).astype(np.float64))
            np.testing.assert_allclose(found[3], stored, atol=2e-3)
        start += n
    assert start == len(demo.tokens())


def test_looking_both_ways_the_score_is_the_column_mean(real):
    start = 0
    for text in TEXTS:
        for site, own in zip(real.sites, own_attention(minilm(), text), strict=True):
            n = own.shape[-1]
            np.testing.assert_allclose(
                real.received(site, counts_own=True)[:, start : start + n], own.mean(axis=1), atol=1e-5
            )
        start += n


def test_the_table_says_what_the_scores_say(demo):
    told = demo.sinks()
    assert told.columns[:9].tolist() == "site head position token score rate ci_low ci_high n".split()
    starts = np.flatnonzero(demo.tokens()["position"] == 0)
    for site in demo.sites:
        scores = demo.received(site, counts_own=True)[:, starts]
        mine = told[(told["site"] == site.key) & (told["kind"] == "position") & (told["position"] == 0)]
        np.testing.assert_allclose(mine.sort_values("head")["score"], scores.mean(axis=1), atol=1e-6)
        np.testing.assert_allclose(mine.sort_values("head")["rate"], (scores >= 0.3).mean(axis=1), atol=1e-9)
    assert set(told["kind"]) == {"position", "class", "token"}
    several = told[told["n"] > 1]
    assert several["rate"].between(several["ci_low"] - 1e-12, several["ci_high"] + 1e-12).all()
    assert told.loc[told["n"] == 1, "ci_low"].isna().all()


def test_first_token_sinks_are_found_without_being_told(demo, real):
    for run, name in ((demo, "<bos>"), (real, "[CLS]")):
        tower = read_tower(run)
        found = run.tokens().iloc[tower.primary]
        assert (found["position"] == 0).all()
        assert f"The first token ({name}) receives" in sum_up_sinks(run)
    assert set(classes_of(real)) >= {"CLS", "SEP", "punctuation", "number", "word"}


def test_figures_of_states_are_those_of_the_models_hidden_states(demo, real):
    from transformers import AutoModel, AutoTokenizer

    for run, place in ((demo, Path(BUNDLED_MODELS["demo-language"])), (real, minilm())):
        model, tokenizer = AutoModel.from_pretrained(place).eval(), AutoTokenizer.from_pretrained(place)
        figures, tower, start = run.state_figures(run.sites[0].stack_label), read_tower(run), 0
        for text, primary in zip(TEXTS, tower.primary, strict=True):
            with torch.inference_mode():
                states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
            n = states[0].shape[1]
            assert np.flatnonzero(figures["is_primary"][0, start : start + n]) == [primary - start]
            for layer, state in enumerate(states[:-1]):
                direction = state[0, primary - start]
                expected = torch.nn.functional.cosine_similarity(state[0], direction[None], dim=-1)
                rms = state[0].pow(2).mean(dim=-1).sqrt()
                for name, values in (
                    ("norm", state[0].norm(dim=-1)), ("cosine", expected),
                    ("peak_ratio", state[0].abs().amax(dim=-1) / rms),
                ):  # fmt: skip
                    np.testing.assert_allclose(figures[name][layer, start : start + n], values, atol=1e-4, rtol=1e-4)
            start += n


def test_a_sink_carries_little(demo):
    told = head_geometry(demo, read_tower(demo))
    sinks = demo.sinks().query("kind == 'position' and position == 0 and score >= 0.5")[["site", "head"]]
    strong = told.merge(sinks, on=["site", "head"])
    assert len(strong) >= 5
    assert (strong["value_norm_sink"] / strong["value_norm_others"]).median() < 0.5
    assert (strong["angle_sink_deg"] < strong["angle_others_deg"]).all()


def save_model_with_a_sink(folder: Path, strength: float) -> Path:
    """One layer, one head: every query is the same, and only the keys of full stops differ, by `strength` in logits."""
    from transformers import AutoTokenizer, GPT2Config, GPT2Model

    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_MODELS["demo-language"])
    model = GPT2Model(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=4, n_layer=1, n_head=1))
    stop = tokenizer("a.")["input_ids"][-1]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for norm in (model.h[0].ln_1, model.h[0].ln_2, model.ln_f):
            norm.weight.fill_(1)
        model.wte.weight[:] = torch.tensor([0.0, 0.0, 1.0, -1.0])
        model.wte.weight[stop] = torch.tensor([1.0, -1.0, 0.0, 0.0])
        # Normalised, a full stop is (sqrt 2, -sqrt 2, 0, 0): its key is sqrt 2 in the first dimension, all others' 0.
        model.h[0].attn.c_attn.weight[0, 4] = 1
        # Scores are divided by sqrt 4.
        model.h[0].attn.c_attn.bias[0] = strength * 2 / math.sqrt(2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_model_made_to_have_a_sink_has_the_score_it_was_made_for(folder, texts):
    model = save_model_with_a_sink(folder / "made", 3.0)
    with extracted(folder, texts, model, run_id="made", states="on") as run:
        tokens = run.tokens()
        pull = np.where(tokens["text"] == ".", math.exp(3.0), 1.0)
        expected = []
        for input_id in range(len(TEXTS)):
            mine = pull[(tokens["input_id"] == input_id).to_numpy()]
            attention = np.tril(np.tile(mine, (len(mine), 1)))
            expected.append(published(attention / attention.sum(axis=1, keepdims=True)))
        np.testing.assert_allclose(run.received(run.sites[0], counts_own=True)[0], np.concatenate(expected), atol=1e-5)
        tower = read_tower(run)
        assert tokens["text"].iloc[tower.primary[1]] == "."
        assert tokens["position"].iloc[tower.primary[1]] > 0
        assert levels_of(run, tower) is not None


def test_learned_sinks_take_what_rows_lack(folder, texts):
    from transformers import AutoTokenizer, GptOssConfig, GptOssModel

    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_MODELS["demo-language"])
    torch.manual_seed(0)
    model = GptOssModel(
        GptOssConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, num_local_experts=2, num_experts_per_tok=1, max_position_embeddings=64,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, sliding_window=8,
        )
    )  # fmt: skip
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attn.sinks.copy_(torch.tensor([-2.0, 0.0, 2.0, 8.0]))
    model.save_pretrained(folder / "oss")
    tokenizer.save_pretrained(folder / "oss")
    with extracted(folder, texts, folder / "oss", run_id="oss") as run:
        learned = run.sinks().query("kind == 'learned'")
        assert len(learned) == 8
        for site in run.sites:
            for head in range(4):
                rows = [run.attention(site, head, input_id).sum(axis=1).mean() for input_id in range(len(TEXTS))]
                mine = learned[(learned["site"] == site.key) & (learned["head"] == head)].iloc[0]
                assert mine["score"] + np.mean(rows) == pytest.approx(1, abs=2e-3)
                assert mine["token"] == "learned sink"
        assert learned.query("head == 3")["rate"].eq(1).all()


def test_states_are_measured_where_asked_or_cheap(folder, texts, demo, capsys):
    tiny = save_tiny_llama(folder / "tiny")
    with extracted(folder, texts, tiny, run_id="without", states="off") as run:
        assert run.state_figures("text.dec.self") == {}
        assert levels_of(run, read_tower(run)) is None
        assert "point" not in sum_up_sinks(run)
    with extracted(folder, texts, tiny, run_id="with", states="on", layers="1") as run:
        figures = run.state_figures("text.dec.self")
        assert figures["norm"].shape == (2, len(run.tokens()))
        assert figures["mlp_norm"].shape == (1, len(run.tokens()))
    assert set(demo.state_figures("text.dec.self")) >= {"norm", "cosine", "mlp_norm", "mlp_cosine", "is_primary"}


def test_a_run_without_them_says_what_to_do(tmp_path):
    path = make_synthetic_run(tmp_path, "old")
    with analysis.open_run(path) as run:
        assert run.sinks().empty
        with pytest.raises(RunError, match="extract it again"):
            read_tower(run)


def test_the_command_prints_sentence_table_and_rows(folder, demo, capsys):
    assert main(["sinks", "demo", "--out", str(folder / "runs")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"text.dec.self: {sum_up_sinks(demo)}")
    assert "<bos>" in said
    assert main(["sinks", "demo", "--out", str(folder / "runs"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(demo.sinks())
    assert rows[0].keys() >= {"site", "head", "position", "token", "score", "rate", "ci_low", "ci_high", "n"}
    assert main(["sinks", "demo", "--out", str(folder / "runs"), "--csv", "--exclude-own", "--by", "position"]) == 0
    first = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    rule = SinkRule(counts_own=False)
    expected = sinks_of(demo, rule).by_head.query("kind == 'position'").iloc[0]
    assert float(first["score"]) == pytest.approx(expected["score"])
    assert main(["sinks", "demo", "--out", str(folder / "runs"), "--threshold", "1.5"]) == 2
    assert "over 0, at most 1" in capsys.readouterr().err


def test_the_table_leaves_with_the_run(folder, demo):
    import pandas as pd

    assert main(["export", "demo", "--out", str(folder / "runs"), "--to", str(folder / "out"), "--format", "csv"]) == 0
    exported, own = pd.read_csv(folder / "out" / "sinks.csv", keep_default_na=False), demo.sinks()
    assert exported["token"].tolist() == own["token"].fillna("").tolist()
    np.testing.assert_allclose(exported["score"].astype(float), own["score"], rtol=1e-6)


def test_a_killed_run_goes_on_with_all_that_sinks_are_made_of(folder, texts, demo, monkeypatch):
    from analysis.engines import local
    from analysis.store import RunWriter

    monkeypatch.setattr(local, "BATCH_TOKENS", 40)
    stored, calls = RunWriter.put_batch, []

    def fails_at_third(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return stored(self, *args, **kwargs)

    monkeypatch.setattr(RunWriter, "put_batch", fails_at_third)
    with pytest.raises(KeyboardInterrupt):
        extracted(folder, texts, "demo-language", run_id="again")
    monkeypatch.setattr(RunWriter, "put_batch", stored)
    with extracted(folder, texts, "demo-language", run_id="again") as run:
        own, again = demo.sinks(), run.sinks()
        assert own["token"].tolist() == again["token"].tolist()
        np.testing.assert_allclose(own["score"], again["score"], atol=1e-5)
        for name, values in demo.state_figures("text.dec.self").items():
            np.testing.assert_allclose(run.state_figures("text.dec.self")[name], values, rtol=1e-3, atol=1e-3)
