"""Cuts of sinks against the models' own functions with masks and rows made here; resume, names and refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import entropy
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForMaskedLM

import analysis
from analysis.cli import main
from analysis.errors import UserError
from analysis.metrics.over_inputs import bootstrap_interval
from analysis.models import BUNDLED_MODELS, load_with_head
from analysis.pipeline import CutVariant, cut_sinks, plan_cut
from analysis.pipeline.asking.questions import masked_positions
from analysis.pipeline.new_input import load_run_model
from analysis.pipeline.sink_cuts import measuring, published, summarise_cuts
from analysis.sinks import SinkRule, sink_columns
from analysis.sinks.cut_measures import MEASURES
from analysis.sinks.image_centric import image_centric
from analysis.store import verify
from tests.model_folders import minilm, save_tiny_bert_mlm

LIMIT = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cuts")


@pytest.fixture(scope="module")
def text_run(folder):
    with analysis.extract(
        model="demo-language", data="demo-sentences", limit=8, out_dir=folder / "runs", projection=["none"],
        run_id="texts",
    ) as run:  # fmt: skip
        yield run


@pytest.fixture(scope="module")
def image_run(folder):
    with analysis.extract(
        model="demo-vision", data="demo-scenes", limit=8, out_dir=folder / "runs", projection=["none"], run_id="images"
    ) as run:
        yield run


@pytest.fixture(scope="module")
def of_texts(text_run):
    return cut_sinks(text_run.path, limit=LIMIT)


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def moments(found, measure: str, input_id: int, cut: str | None = None) -> list[float]:
    rows = found.per_input.query("measure == @measure and input_id == @input_id")
    rows = rows if cut is None else rows[rows["cut"] == cut]
    assert len(rows) == 1
    return rows[["before", "after"]].iloc[0].tolist()


def language_model_with(text: str, masks: list[np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    """Logits and ids of the bundled language model, every layer given a mask [head, query, key] of True = may see."""
    model = AutoModelForCausalLM.from_pretrained(BUNDLED_MODELS["demo-language"]).eval()
    ids = load_with_head("demo-language").processor(text, return_tensors="pt")["input_ids"]
    for block, mask in zip(model.transformer.h, masks or [], strict=False):
        own = {"attention_mask": torch.from_numpy(mask)[None]}
        block.attn.register_forward_pre_hook(
            lambda _, args, kwargs, own=own: (args, {**kwargs, **own}), with_kwargs=True
        )
    with torch.inference_mode():
        return model(ids).logits[0].double().numpy(), ids[0].numpy()


def test_the_sinks_of_every_head_masked_against_the_models_own_masks(text_run, of_texts):
    """Columns found here on the stored attention, given to each layer as its own mask; the loss rises."""
    assert of_texts.name == "cut-found-all-mask-n3"
    for input_id in of_texts.per_input["input_id"].unique().tolist():
        attention, masks, n_cut = text_run.attention_all(input_id), [], []
        for site in text_run.sites:
            allowed = text_run.allowed(site, input_id)
            columns = sink_columns(attention[site.key], allowed, SinkRule())
            mask = allowed & ~columns[:, None, :]
            blind = ~mask.any(axis=-1)
            masks.append(np.where(blind[..., None], allowed, mask))
            n_cut.append(columns.any(axis=1).sum())
        assert n_cut[1] == 8, "every head of layer 1 rests on the first token"
        text = text_run.inputs()["text"][input_id]
        (plain, ids), (cut, _) = language_model_with(text, None), language_model_with(text, masks)
        p, q = softmax(plain)[:-1], softmax(cut)[:-1]
        at = np.arange(len(ids) - 1), ids[1:]
        expected = {
            "loss": [-np.log(p[at]).mean(), -np.log(q[at]).mean()],
            "probability": [p[at].mean(), q[at].mean()],
            "top_1_right": [(p.argmax(axis=1) == ids[1:]).mean(), (q.argmax(axis=1) == ids[1:]).mean()],
            "kl_bits": [0, entropy(p, q, base=2, axis=1).mean()],
        }
        for name, values in expected.items():
            assert moments(of_texts, name, input_id) == pytest.approx(values, rel=2e-5, abs=2e-5), name
        loss = moments(of_texts, "loss", input_id)
        assert loss[1] > loss[0] + 1


def test_the_examples_are_the_models_own_probabilities(text_run, of_texts):
    example = of_texts.facts["examples"][0]
    text = text_run.inputs()["text"][example["input_id"]]
    logits, ids = language_model_with(text, None)
    before = softmax(logits)[example["position"]]
    tokenizer = load_with_head("demo-language").processor
    change = max(example["changes"], key=lambda row: abs(row["after"] - row["before"]))
    assert change == example["changes"][0]
    number = tokenizer.convert_tokens_to_ids(change["text"].replace(" ", "Ġ"))
    assert change["before"] == pytest.approx(before[number], abs=1e-5)
    assert text.startswith(example["context"]) or example["context"] in text
    assert example["truth"] == tokenizer.decode(ids[example["position"] + 1])
    assert len(of_texts.facts["examples"]) == LIMIT
    divergences = [row["kl_bits"] for row in of_texts.facts["examples"]]
    assert divergences == sorted(divergences, reverse=True)


def test_layer_by_layer_is_each_layer_named_alone(text_run):
    by_layer = cut_sinks(text_run.path, CutVariant("position:0", by="layer"), limit=1)
    assert [made["layer"] for made in by_layer.facts["cuts"]] == [0, 1, 2, 3]
    (input_id,) = by_layer.per_input["input_id"].unique().tolist()
    named = cut_sinks(text_run.path, CutVariant("position:0", "L2H0,l2h1,L2H2,L2H3,L2H4,L2H5,L2H6,L2H7"), limit=1)
    assert named.facts["n_heads"] == 8
    for measure in by_layer.per_input["measure"].unique():
        alone = moments(by_layer, measure, input_id, f"{by_layer.name}.L2")
        assert alone == pytest.approx(moments(named, measure, input_id), rel=1e-4, abs=1e-5)
    first = cut_sinks(text_run.path, CutVariant("position:0", "L1H3"), limit=1)
    before = text_run.attention(text_run.sites[1], 3, input_id)[:, 0]
    assert moments(first, "sink_mass", input_id) == pytest.approx([before.mean(), 1 / len(before)], abs=2e-3)


def redistributing(weights_of: list, real):
    """Attention computed in the open, with rows changed in fp64 where a layer has a change."""
    layers = iter(weights_of)

    def attend(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
        change = next(layers)
        if change is None:
            return real(q, k, v, attn_mask=attn_mask, scale=scale)
        columns, queries, receivers = change
        scores = (q.double() @ k.double().transpose(-1, -2) * scale).numpy()[0]
        weights = softmax(scores)
        for head, query in np.argwhere(queries):
            row, sinks = weights[head, query], columns[head]
            freed, to = 0.4 * row[sinks].sum(), receivers & ~sinks
            row[to] += freed * row[to] / row[to].sum()
            row[sinks] *= 0.6
        return torch.from_numpy(weights)[None].float() @ v

    return attend


def test_image_centric_heads_redistribute_as_published(image_run, monkeypatch):
    """Rows of the head made by hand: sinks keep 0.6, patches that are no sinks get the rest, the last layer nothing."""
    variant = CutVariant(heads="image-centric", mode="redistribute", rule=SinkRule(0.2))
    found = cut_sinks(image_run.path, variant, limit=1)
    assert found.name == "cut-found-t0.2-image-centric-redistribute-0.6-n1"
    (input_id,) = found.per_input["input_id"].unique().tolist()
    attention, n_tokens = image_run.attention_all(input_id), 65
    is_patch, changes, mass, n_cells = np.arange(n_tokens) > 0, [], 0.0, 0
    for site in image_run.sites[:-1]:
        weights = attention[site.key]
        columns = sink_columns(weights, np.ones((n_tokens, n_tokens), dtype=bool), SinkRule(0.2))
        of_image, of_sinks = weights[:, :, 1:].sum(axis=-1), (weights * columns[:, None])[:, :, 1:].sum(axis=-1)
        queries = (of_image >= 0.2) & (of_sinks <= 0.5 * of_image)
        changes.append((columns, queries, is_patch))
        mass += (weights * columns[:, None]).sum(axis=-1)[queries].sum()
        n_cells += queries.sum()
    assert any(columns[:, 0].any() for columns, _, _ in changes), "CLS is a sink"
    assert any(columns[:, 1:].any() for columns, _, _ in changes), "so are patches"
    assert found.facts["query_share"] == pytest.approx(n_cells / (30 * n_tokens))
    assert 0 < n_cells < 30 * n_tokens
    assert moments(found, "sink_mass", input_id)[0] == pytest.approx(mass / n_cells, abs=2e-3)

    model = AutoModelForImageClassification.from_pretrained(BUNDLED_MODELS["demo-vision"]).eval()
    pixels = torch.from_numpy(measured_of(image_run, variant).questions.inputs.tensors(input_id)["pixel_values"])[None]
    truth = model.config.label2id[image_run.inputs()["label"][input_id]]
    with torch.inference_mode():
        plain = softmax(model(pixels).logits[0].double().numpy())
        real = torch.nn.functional.scaled_dot_product_attention
        by_hand = redistributing([*changes, None], real)
        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", by_hand)
        cut = softmax(model(pixels).logits[0].double().numpy())
    assert moments(found, "loss", input_id) == pytest.approx([-np.log(plain[truth]), -np.log(cut[truth])], abs=1e-5)
    assert moments(found, "kl_bits", input_id)[1] == pytest.approx(entropy(plain, cut, base=2), rel=1e-2, abs=1e-6)
    assert moments(found, "probability", input_id) == pytest.approx([plain[truth], cut[truth]], abs=1e-5)
    assert abs(plain - cut).max() > 1e-4
    change = found.facts["examples"][0]["changes"][0]
    assert change["after"] == pytest.approx(cut[model.config.label2id[change["text"]]], abs=1e-5)
    assert found.facts["examples"][0]["position"] is None


def measured_of(run, variant):
    from analysis.pipeline.sink_cuts.request import checked

    return measuring.Measuring(run, checked(run, variant, 1, 0), None, None)


def test_image_centric_by_hand():
    weights = np.array([[[0.85, 0.1, 0.05], [0.1, 0.5, 0.4], [0.1, 0.3, 0.6]]])
    is_image, sinks = np.array([False, True, True]), np.array([[True, True, False]])
    assert image_centric(weights, is_image, sinks).tolist() == [[False, False, True]]
    assert image_centric(weights, is_image, sinks, sink_part=0.6).tolist() == [[False, True, True]]
    assert image_centric(weights, is_image, sinks, 0.1, 1.0).tolist() == [[True, True, True]]


def test_summary_by_hand():
    rows = [("b", 0, "loss", 1.0, 3.0), ("b", 1, "loss", 2.0, 3.0), ("b", 0, "flips", 0.0, 0.5)]
    found = summarise_cuts(pd.DataFrame(rows, columns=["cut", "input_id", "measure", "before", "after"]), seed=3)
    assert found["measure"].tolist() == ["loss", "flips"]
    assert found.loc[0, ["before", "after", "change", "n"]].tolist() == [1.5, 3.0, 1.5, 2]
    low, high = bootstrap_interval(np.array([[2.0, 1.0]]), seed=3)
    assert found.loc[0, ["ci_low", "ci_high"]].tolist() == [low[0], high[0]]
    assert found.loc[1, ["ci_low", "ci_high"]].isna().all()


def test_an_interrupted_call_goes_on_and_ends_with_the_same_table(folder, image_run, monkeypatch):
    variant = CutVariant("special", mode="redistribute", keep=0.25)

    def interrupt(progress):
        if progress.stage == "capture" and progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_sinks(image_run.path, variant, limit=LIMIT, report=interrupt)
    assert (image_run.path / ".add-cut-special-all-redistribute-0.25-n3.parts").is_dir()
    assert verify(image_run.path).ok
    assert "cut-special-all-redistribute-0.25-n3" not in published(image_run)
    asked, measure = [], measuring.Measuring._measure
    monkeypatch.setattr(measuring.Measuring, "plan", lambda self: measuring.Plan("", 0, 0, 0, 0, 0.0, {}))
    monkeypatch.setattr(
        measuring.Measuring, "_measure", lambda self, number: asked.append(number) or measure(self, number)
    )
    resumed = cut_sinks(image_run.path, variant, limit=LIMIT)
    assert len(asked) == 1
    assert not (image_run.path / ".add-cut-special-all-redistribute-0.25-n3.parts").exists()
    again = shutil.copytree(image_run.path, folder / "again" / "images", ignore=shutil.ignore_patterns("add-*"))
    whole = cut_sinks(again, variant, limit=LIMIT)
    pd.testing.assert_frame_equal(resumed.per_input, whole.per_input, check_exact=True)
    pd.testing.assert_frame_equal(resumed.summary, whole.summary, check_exact=True)
    assert resumed.facts == whole.facts
    assert verify(image_run.path).ok


def test_the_table_and_the_manifest_say_what_was_found(text_run, of_texts):
    stored = text_run.sink_cuts(of_texts.name)
    keys = ["measure", "input_id"]
    pd.testing.assert_frame_equal(
        stored.sort_values(keys, ignore_index=True), of_texts.per_input.sort_values(keys, ignore_index=True),
        check_dtype=False, check_exact=True,
    )  # fmt: skip
    assert set(stored["measure"]) < set(MEASURES)
    assert published(text_run)[of_texts.name] == json.loads(json.dumps(of_texts.facts))
    assert of_texts.facts["truth"] == "the next token of the text"
    assert of_texts.facts["n_inputs_cut"] == LIMIT
    again = cut_sinks(text_run.path, limit=LIMIT)
    pd.testing.assert_frame_equal(again.summary, of_texts.summary, check_exact=True)
    assert (of_texts.summary["n"] == LIMIT).all()
    assert text_run.sink_cuts("cut-nothing").empty


def test_without_a_head_only_states_and_attention_are_compared(folder):
    texts = folder / "texts.txt"
    texts.write_text(
        "A red ball lies in the garden of a house.\nThe cat sat on the mat and saw a dog.", encoding="utf-8"
    )
    with analysis.extract(
        model=minilm(), data=texts, out_dir=folder / "runs", projection=["none"], run_id="minilm", layers="0-4"
    ) as run:
        found = cut_sinks(run.path, CutVariant("token:[SEP]"), model=minilm())
        before = [np.mean([head[..., -1] for head in run.attention_all(number).values()]) for number in (0, 1)]
    assert set(found.summary["measure"]) == {"sink_mass", "token_change", "cls_change"}
    mass = found.summary.set_index("measure").loc["sink_mass"]
    assert mass["before"] == pytest.approx(np.mean(before), abs=1e-3)
    assert mass["after"] == 0
    assert found.facts["examples"] == []
    assert "no head" in found.facts["notes"][0]
    assert found.facts["notes"][0].endswith("Only the states of the model are compared, not its predictions.")


def test_masked_models_are_held_against_the_masked_tokens(folder):
    model = save_tiny_bert_mlm(folder / "bert")
    texts = folder / "texts_mlm.txt"
    texts.write_text("A red ball lies in the garden.\nThe cat sat on the mat and the dog did not.", encoding="utf-8")
    with analysis.extract(
        model=model, data=texts, out_dir=folder / "runs", projection=["none"], run_id="masked"
    ) as run:  # fmt: skip
        found = cut_sinks(run.path, CutVariant("token:the"), model=model)
        tokenizer, text = load_run_model(run, model).processor, run.inputs()["text"][1]
    whole = AutoModelForMaskedLM.from_pretrained(model).eval()
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    chosen = masked_positions(np.arange(1, ids.shape[1] - 1), np.random.default_rng([0, 1]))
    masked = ids.clone()
    masked[0, chosen] = tokenizer.mask_token_id
    kept = (ids != tokenizer.convert_tokens_to_ids("the")).long()
    at = torch.arange(len(chosen)), ids[0, chosen]
    with torch.inference_mode():
        losses = [
            -float(torch.log_softmax(whole(masked, attention_mask=mask).logits[0, chosen], dim=-1)[at].mean())
            for mask in (torch.ones_like(ids), kept)
        ]
    assert moments(found, "loss", 1) == pytest.approx(losses, abs=1e-5)
    assert abs(losses[0] - losses[1]) > 1e-3
    assert any(example["context_after"] for example in found.facts["examples"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sinks": "position"}, r"--sinks expects found, special, position:N \(counted from 0\) or token:TEXT"),
        ({"sinks": "position:-1"}, "--sinks expects found"),
        ({"sinks": "token:"}, "--sinks expects found"),
        ({"sinks": "position:500"}, r"No token has position 500: the longest of the 8 inputs looked at has \d+"),
        ({"sinks": "token:zebra"}, "No token reads 'zebra' in the 8 inputs looked at"),
        ({"rule": SinkRule(0.99), "heads": "L0H1"}, "No sink was found: .* gets 99% or more"),
        ({"heads": "L9H1"}, "There is no head L9H1 whose attention can be cut; known: L0H0 to L3H7"),
        ({"heads": "first"}, "--heads expects all, image-centric or names such as L2H3,L4H1; got 'first'"),
        ({"heads": "image-centric"}, "this run holds texts"),
        ({"mode": "blur"}, "mode 'blur' is not known: choose mask or redistribute"),
        ({"keep": 0.5}, "leave out --keep"),
        ({"mode": "redistribute", "keep": 1.0}, "--keep is 1; give the share"),
        ({"by": "head"}, "got --by 'head'"),
        ({"sink_part": 2.0}, "--sink-part is 2; give a share from 0 to 1"),
    ],
)
def test_wrong_requests_are_one_sentence_of_what_to_do(text_run, settings, message):
    with pytest.raises(UserError, match=message):
        plan_cut(text_run.path, CutVariant(**settings))


def test_names_are_made_of_what_is_not_usual():
    assert CutVariant("token:.", "L1H2,L0H3").name == "cut-token-x2e-L0H3-L1H2-mask"
    assert CutVariant(rule=SinkRule(0.2, 4, True), by="layer").name == "cut-found-t0.2-q4-own-all-mask-by-layer"
    long = CutVariant("token:" + "ü" * 40, ",".join(f"L{n}H{n}" for n in range(30)), "redistribute", 0.123456789)
    assert len(long.name) < 60
    assert long.name != CutVariant("token:" + "ü" * 41, long.heads, "redistribute", 0.123456789).name


def test_the_command(text_run, of_texts, folder, capsys):
    runs = str(folder / "runs")
    ask = ["cut", "texts", "--out", runs, "--limit", str(LIMIT)]
    assert main([*ask, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["n_heads"], plan["n_inputs"], plan["n_passes"]) == (32, LIMIT, 2 * LIMIT)
    assert plan["seconds"] > 0
    assert main([*ask, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == of_texts.name
    assert found["summary"][0]["measure"] == "loss"
    assert main([*ask, "--csv"]) == 0
    assert capsys.readouterr().out.startswith("cut,measure,before,after,change,ci_low,ci_high,n")
    assert main([*ask, "--heads", "L9H9"]) == 2
    assert capsys.readouterr().err.startswith("error: There is no head L9H9")
    assert main(["export", "texts", "--out", runs, "--to", str(folder / "files"), "--format", "csv"]) == 0
    exported = pd.read_csv(folder / "files" / "sink_cuts.csv")
    assert of_texts.name in set(exported["cut"])


def test_the_cost_is_told_first(text_run):
    told = []

    def stop(progress):
        told.append(progress)
        if progress.stage == "capture":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_sinks(text_run.path, CutVariant("special", by="layer"), limit=2, report=stop)
    assert "32 heads on 2 inputs, 4 layers one at a time, 10 forward passes, about" in told[-1].message
