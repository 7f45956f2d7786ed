"""Importance of heads against definitions recomputed here, on the bundled models and tiny ones; resume and refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM, AutoModelForImageClassification

import analysis
from analysis.cli import main
from analysis.errors import InputError, ModelError, RunError, UserError
from analysis.metrics.importance_measures import MEASURES, describe, every_variant, normalise_gradients, rank_agreement
from analysis.models import BUNDLED_MODELS, load_with_head
from analysis.pipeline import importance, plan_importance
from analysis.pipeline.asking.questions import masked_positions, ring_of, true_classes
from analysis.pipeline.head_importance import measuring
from analysis.pipeline.new_input import load_run_model
from analysis.store import verify
from tests.model_folders import minilm, save_tiny_bert_mlm, save_tiny_llama

LIMIT = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("importance")


@pytest.fixture(scope="module")
def text_run(folder):
    with analysis.extract(
        model="demo-language", data="demo-sentences", limit=12, out_dir=folder / "runs", projection=["none"],
        run_id="texts",
    ) as run:  # fmt: skip
        yield run


@pytest.fixture(scope="module")
def image_run(folder):
    with analysis.extract(
        model="demo-vision", data="demo-scenes", limit=12, out_dir=folder / "runs", projection=["none"], run_id="images"
    ) as run:
        yield run


@pytest.fixture(scope="module")
def of_texts(text_run):
    return importance(text_run.path, limit=LIMIT)


@pytest.fixture(scope="module")
def of_images(image_run):
    return importance(image_run.path, limit=LIMIT)


def logits_after_surgery(run, input_id: int, layer: int, head: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of the bundled language model as it is and without one head's rows of W_O, and the token ids."""
    folder = BUNDLED_MODELS["demo-language"]
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = load_with_head("demo-language").processor(run.inputs()["text"][input_id], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        plain = model(ids).logits[0].double().numpy()
        model.transformer.h[layer].attn.c_proj.weight[head * 24 : (head + 1) * 24] = 0
        edited = model(ids).logits[0].double().numpy()
    return plain, edited, ids[0].numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def value_of(run, metric: str, site: int, head: int, input_id: int) -> float:
    rows = run.head_input_scores(metric, run.sites[site], head)
    return float(rows.loc[rows["input_id"] == input_id, "value"].iloc[0])


@pytest.mark.parametrize(("layer", "head"), [(0, 6), (3, 2)])
def test_texts_against_surgery_and_scipy(text_run, of_texts, layer, head):
    input_id = int(text_run.head_input_scores("ablation_loss")["input_id"].iloc[0])
    plain, edited, ids = logits_after_surgery(text_run, input_id, layer, head)
    is_special = text_run.tokens().query("input_id == @input_id")["is_special"].to_numpy(bool)
    later = np.flatnonzero(~is_special)
    later = later[later > 0]
    p, q = softmax(plain)[later - 1], softmax(edited)[later - 1]
    at = np.arange(len(later)), ids[later]
    expected = {
        "ablation_loss": np.mean(np.log(p[at]) - np.log(q[at])),
        "ablation_probability": np.mean(p[at] - q[at]),
        "ablation_divergence": np.mean(jensenshannon(p, q, base=2, axis=1) ** 2),
        "ablation_flips": np.mean(p.argmax(axis=1) != q.argmax(axis=1)),
    }
    for name, value in expected.items():
        assert value_of(text_run, name, layer, head, input_id) == pytest.approx(value, abs=2e-6), name
    assert expected["ablation_divergence"] > 1e-3


def test_states_of_texts_against_surgery(text_run, of_texts):
    input_id = int(text_run.head_input_scores("ablation_loss")["input_id"].iloc[0])
    model = AutoModelForCausalLM.from_pretrained(BUNDLED_MODELS["demo-language"]).eval()
    ids = load_with_head("demo-language").processor(text_run.inputs()["text"][input_id], return_tensors="pt")
    with torch.inference_mode():
        plain = model(**ids, output_hidden_states=True).hidden_states
        model.transformer.h[1].attn.c_proj.weight[72:96] = 0
        edited = model(**ids, output_hidden_states=True).hidden_states
    for name, layer in (("ablation_token_change_block", 2), ("ablation_token_change", -1)):
        far = (edited[layer] - plain[layer]).norm(dim=-1) / plain[layer].norm(dim=-1)
        assert value_of(text_run, name, 1, 3, input_id) == pytest.approx(float(far.mean()), rel=1e-5)


def test_images_against_surgery(image_run, of_images):
    """The class of the data's own label; CLS and patch states behind the layer and at the end."""
    input_id = int(image_run.head_input_scores("ablation_loss")["input_id"].iloc[-1])
    model = AutoModelForImageClassification.from_pretrained(BUNDLED_MODELS["demo-vision"]).eval()
    questions = measuring_of(image_run)._questions
    pixels = {"pixel_values": torch.from_numpy(questions.inputs.tensors(input_id)["pixel_values"])[None]}
    with torch.inference_mode():
        plain = model(**pixels, output_hidden_states=True)
        model.vit.layers[2].attention.o_proj.weight[:, 96:120] = 0
        edited = model(**pixels, output_hidden_states=True)
    p, q = softmax(plain.logits[0].double().numpy()), softmax(edited.logits[0].double().numpy())
    truth = model.config.label2id[image_run.inputs()["label"][input_id]]
    assert of_images.facts["truth"] == "the class in the column label"
    assert value_of(image_run, "ablation_loss", 2, 4, input_id) == pytest.approx(np.log(p / q)[truth], abs=1e-5)
    assert value_of(image_run, "ablation_probability", 2, 4, input_id) == pytest.approx((p - q)[truth], abs=1e-6)
    divergence = jensenshannon(p, q, base=2) ** 2
    assert value_of(image_run, "ablation_divergence", 2, 4, input_id) == pytest.approx(divergence, abs=1e-6)
    far = (edited.hidden_states[3] - plain.hidden_states[3]).norm(dim=-1) / plain.hidden_states[3].norm(dim=-1)
    assert value_of(image_run, "ablation_cls_change_block", 2, 4, input_id) == pytest.approx(float(far[0, 0]), rel=1e-5)
    patches = float(far[0, 1:].mean())
    assert value_of(image_run, "ablation_patch_change_block", 2, 4, input_id) == pytest.approx(patches, rel=1e-5)


def measuring_of(run, **settings):
    from analysis.pipeline.head_importance import Variant
    from analysis.pipeline.head_importance.request import checked

    request = checked(run, Variant(**settings), LIMIT, None, 0)
    return measuring.Measuring(run, request, None, None)


def test_every_score_has_an_interval_and_a_null(text_run, of_texts):
    names = ("loss", "probability", "divergence", "flips", "token_change", "token_change_block")
    assert set(of_texts.scores["metric"]) == {*(f"ablation_{name}" for name in names), "gradient_importance"}
    assert len(of_texts.scores) == 7 * 32
    assert (of_texts.scores["n"] == LIMIT).all()
    assert (of_texts.scores["ci_low"] <= of_texts.scores["value"] + 1e-12).all()
    assert (of_texts.scores["value"] <= of_texts.scores["ci_high"] + 1e-12).all()
    nulls = of_texts.scores.groupby("metric")["null"].unique()
    assert all(nulls[name].tolist() == [0.0] for name in nulls.index.drop("gradient_importance"))
    assert nulls["gradient_importance"].tolist() == pytest.approx([8**-0.5])
    pd.testing.assert_frame_equal(
        of_texts.scores.sort_values(["metric", "site", "head"], ignore_index=True),
        text_run.head_scores().merge(of_texts.scores[["metric", "site", "head"]]),
        check_dtype=False,
    )
    assert verify(text_run.path).ok


def test_the_gradient_is_that_of_finite_differences_and_normalised_in_its_layer(text_run, of_texts):
    from analysis.capture import Edit, Gate
    from analysis.capture.ablation import gate_gradients

    measured = measuring_of(text_run)
    model, input_id = measured._model, measured.request.input_ids[0]
    question = measured._questions.question(input_id)
    model.whole.double()
    site = text_run.sites[2]
    found = gate_gradients(model, question, [site])[site.key]
    ids = torch.from_numpy(question.tensors["input_ids"])[None]
    at = torch.from_numpy(question.positions)

    def loss(gates: torch.Tensor) -> float:
        with torch.no_grad(), Edit(model.module, [Gate(site.key, gates)]):
            log_p = torch.log_softmax(model.whole(ids).logits[0, at], dim=-1)
        return -float(log_p[torch.arange(len(at)), torch.from_numpy(question.targets)].mean())

    for head in (0, 5):
        moved = torch.zeros(8, dtype=torch.float64)
        moved[head] = 1e-4
        numeric = (loss(1 + moved) - loss(1 - moved)) / 2e-4
        assert found[head] == pytest.approx(numeric, rel=1e-4)
    layers = of_texts.scores[of_texts.scores["metric"] == "gradient_importance"].groupby("site")["value"]
    assert layers.agg(lambda values: np.linalg.norm(values)).to_numpy() == pytest.approx(np.ones(4))


def test_normalised_gradients_by_hand():
    rows = [("g", "a", 0, 0, 3.0), ("g", "a", 0, 1, -3.0), ("g", "a", 1, 0, 4.0), ("g", "a", 1, 1, -4.0)]
    rows += [("g", "b", 0, 0, 0.0), ("g", "b", 0, 1, 0.0)]
    table = pd.DataFrame(rows, columns=["metric", "site", "head", "input_id", "value"]).assign(null=np.nan)
    found = normalise_gradients(table)
    assert found["value"].tolist() == pytest.approx([0.6, 0.6, 0.8, 0.8, 0, 0])
    assert found["null"].tolist() == pytest.approx([2**-0.5] * 4 + [1, 1])
    assert table["value"].min() == -4.0, "the input is left as it is"


def test_rank_agreement_is_scipys_and_of_sizes(text_run, of_texts):
    per_input = text_run.head_input_scores()
    per_input = per_input[per_input["metric"].isin(of_texts.scores["metric"])]
    sizes = per_input.assign(value=per_input["value"].abs()).groupby(["metric", "site", "head"])["value"].mean()
    for name, figures in of_texts.facts["agreement"].items():
        pair = sizes["gradient_importance"].to_numpy(), sizes[name].to_numpy()
        assert figures["all_heads"] == pytest.approx(spearmanr(*pair).statistic)
        layers = [spearmanr(pair[0][at : at + 8], pair[1][at : at + 8]).statistic for at in range(0, 32, 8)]
        assert figures["within_layers"] == pytest.approx(np.mean(layers))
    assert of_texts.facts["agreement"]["ablation_loss"]["all_heads"] > 0.3
    stored = json.loads((text_run.path / "add-importance-zero.json").read_text())
    assert stored["importance"]["agreement"] == of_texts.facts["agreement"]
    assert rank_agreement(per_input[per_input["metric"] != "gradient_importance"]) == {}


def test_mean_ablation_against_a_mean_by_hand(text_run):
    """The mean is of the head's own outputs, attention times values, over every token of the sample."""
    found = importance(text_run.path, mode="mean", limit=LIMIT, layers="1")
    assert found.name == "importance-mean-layers-1"
    assert set(found.scores["site"]) == {text_run.sites[1].key}
    measured = measuring_of(text_run, mode="mean")
    model, head = measured._model, 2
    outputs = []
    for input_id in measured.request.input_ids:
        ids = torch.from_numpy(measured._questions.inputs.tensors(input_id)["input_ids"])[None]
        with torch.inference_mode():
            states = model.module(ids, output_hidden_states=True).hidden_states[1]
            block = model.module.h[1]
            values = block.attn.c_attn(block.ln_1(states))[0, :, 2 * 192 + head * 24 : 2 * 192 + (head + 1) * 24]
        outputs.append(text_run.attention(text_run.sites[1], head, input_id) @ values.numpy())
    mean = np.concatenate(outputs).mean(axis=0)
    assert measured._means()[text_run.sites[1].key][head] == pytest.approx(mean, abs=2e-3)  # stored attention is fp16

    whole, input_id = model.whole, measured.request.input_ids[0]
    question = measured._questions.question(input_id)
    ids = torch.from_numpy(question.tensors["input_ids"])[None]
    with torch.inference_mode():
        plain = whole(ids).logits[0].double().numpy()
        projection = whole.transformer.h[1].attn.c_proj
        exact = torch.from_numpy(measured._means()[text_run.sites[1].key][head])
        projection.bias += exact @ projection.weight[head * 24 : (head + 1) * 24]
        projection.weight[head * 24 : (head + 1) * 24] = 0
        edited = whole(ids).logits[0].double().numpy()
    at = question.positions, question.targets
    expected = np.mean(np.log(softmax(plain)[at]) - np.log(softmax(edited)[at]))
    assert value_of(text_run, "ablation_loss_mean", 1, head, input_id) == pytest.approx(expected, abs=1e-5)


def test_parts_of_images_change_only_what_follows(image_run, of_images):
    cls, patches = (importance(image_run.path, part=part, limit=LIMIT) for part in ("cls", "patches"))
    names = set(cls.scores["metric"])
    assert "ablation_cls_change_block_cls_rows" in names
    assert "ablation_patch_change_block_cls_rows" not in names, "other rows cannot change in the same layer"
    assert "ablation_cls_change_block_patch_rows" not in set(patches.scores["metric"])
    whole = of_images.scores.set_index(["metric", "site", "head"])["value"]
    for found, name, suffix in ((cls, "ablation_cls_change_block", "_cls_rows"),
                                (patches, "ablation_patch_change_block", "_patch_rows")):  # fmt: skip
        part = found.scores.set_index(["metric", "site", "head"])["value"]
        assert part[name + suffix].to_numpy() == pytest.approx(whole[name].to_numpy(), rel=1e-4)
    last = image_run.sites[-1].key
    at_end = rows_of(patches.scores, "ablation_loss_patch_rows", last)
    # Two passes may sum in another order, a rounding step apart.
    assert at_end.abs().max() < 1e-6, "what patches hold behind the last layer does not reach the class"
    assert rows_of(cls.scores, "ablation_divergence_cls_rows", last).max() > 1e-4


def rows_of(scores: pd.DataFrame, metric: str, site: str) -> pd.Series:
    return scores.loc[(scores["metric"] == metric) & (scores["site"] == site), "value"]


def test_a_ring_is_taken_from_the_softmax(image_run):
    found = importance(image_run.path, ring=1, limit=LIMIT, layers="0")
    assert found.name == "importance-ring-1-layers-0"
    change = found.scores[found.scores["metric"] == "ablation_patch_change_block_ring1"]
    assert (change["value"] > 0).all()
    measured = measuring_of(image_run, ring=1)
    input_id, site, head = measured.request.input_ids[0], image_run.sites[0], 1
    model, question = measured._model, measured._questions.question(input_id)
    blocked = measured._questions.ring(input_id, 1)
    assert blocked.sum() == 2 * (2 * 8 * 7 + 2 * 49)
    assert not blocked[0].any()
    pixels = {"pixel_values": torch.from_numpy(question.tensors["pixel_values"])[None]}
    attention = image_run.attention(site, head, input_id)
    without = np.where(blocked, 0, attention)
    without /= without.sum(axis=1, keepdims=True)
    with torch.inference_mode():
        states = model.module(**pixels, output_hidden_states=True).hidden_states
        block = model.module.layers[0]
        values = block.attention.v_proj(block.layernorm_before(states[0]))[0, :, head * 24 : (head + 1) * 24]
        added = torch.from_numpy((without - attention).astype(np.float32)) @ values
        seen = []
        hook = block.attention.o_proj.register_forward_pre_hook(
            lambda module, args: (args[0] + torch.nn.functional.pad(added, (head * 24, 144 - (head + 1) * 24)),)
        )
        block.register_forward_hook(lambda module, args, output: seen.append(output))
        model.module(**pixels)
        hook.remove()
    edited = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    far = ((edited - states[1]).norm(dim=-1) / states[1].norm(dim=-1))[0, 1:].mean()
    expected = value_of(image_run, "ablation_patch_change_block_ring1", 0, head, input_id)
    assert expected == pytest.approx(float(far), rel=0.02)  # stored attention is fp16


def test_without_a_head_only_states_are_compared(folder):
    texts = folder / "texts.txt"
    texts.write_text("A red ball lies in the garden.\nThe cat sat on the mat.\nOne two three.", encoding="utf-8")
    with analysis.extract(
        model=minilm(), data=texts, out_dir=folder / "runs", projection=["none"], run_id="minilm", layers="0,5"
    ) as run:
        found = importance(run.path, model=minilm())
        assert set(found.scores["metric"]) == {
            f"ablation_{tokens}_change{where}" for tokens in ("cls", "token") for where in ("", "_block")
        }
        assert (found.scores["value"] > 0).all()
        assert found.facts["agreement"] == {}
        assert "no head" in found.facts["notes"][0]
        with pytest.raises(ModelError, match="give that folder"):
            importance(run.path, mode="mean")


def test_masked_models_are_held_against_the_masked_tokens(folder):
    model = save_tiny_bert_mlm(folder / "bert")
    texts = folder / "texts_mlm.txt"
    texts.write_text("A red ball lies in the garden.\nThe cat sat on the mat and the dog did not.", encoding="utf-8")
    with analysis.extract(
        model=model, data=texts, out_dir=folder / "runs", projection=["none"], run_id="masked"
    ) as run:  # fmt: skip
        found = importance(run.path, model=model, seed=3)
        assert "15%" in found.facts["truth"]
        assert {"ablation_loss", "ablation_cls_change", "gradient_importance"} <= set(found.scores["metric"])
        from transformers import AutoModelForMaskedLM

        whole = AutoModelForMaskedLM.from_pretrained(model).eval()
        tokenizer = load_run_model(run, model).processor
        ids = tokenizer(run.inputs()["text"][1], return_tensors="pt")["input_ids"]
        ordinary = np.arange(1, ids.shape[1] - 1)
        chosen = masked_positions(ordinary, np.random.default_rng([3, 1]))
        assert len(chosen) == round(0.15 * len(ordinary))
        masked = ids.clone()
        masked[0, chosen] = tokenizer.mask_token_id
        with torch.inference_mode():
            plain = torch.log_softmax(whole(masked).logits[0, chosen], dim=-1)
            whole.bert.encoder.layer[1].attention.output.dense.weight[:, 8:16] = 0
            edited = torch.log_softmax(whole(masked).logits[0, chosen], dim=-1)
        at = torch.arange(len(chosen)), ids[0, chosen]
        loss = float((plain[at] - edited[at]).mean())
        assert value_of(run, "ablation_loss", 1, 1, 1) == pytest.approx(loss, abs=1e-5)


def test_grouped_queries_without_a_head(folder):
    model = save_tiny_llama(folder / "llama")
    texts = folder / "texts_llama.txt"
    texts.write_text("A red ball lies in the garden.\nThe cat sat on the mat.", encoding="utf-8")
    with analysis.extract(
        model=model, data=texts, out_dir=folder / "runs", projection=["none"], run_id="llama"
    ) as run:  # fmt: skip
        found = importance(run.path, model=model)
    assert set(found.scores["metric"]) == {"ablation_token_change", "ablation_token_change_block"}
    assert len(found.scores) == 2 * 2 * 8


def test_an_interrupted_call_goes_on_and_ends_with_the_same_table(folder, image_run, monkeypatch):
    settings = {"mode": "mean", "limit": LIMIT}
    n_done = []

    def interrupt(progress):
        if progress.stage == "capture" and progress.done:
            n_done.append(progress.done)
        if len(n_done) == LIMIT + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importance(image_run.path, **settings, report=interrupt)
    assert (image_run.path / ".add-importance-mean.parts").is_dir()
    assert verify(image_run.path).ok
    assert "ablation_loss_mean" not in set(image_run.head_scores()["metric"])
    asked = []
    ask = measuring.Measuring._of_input
    monkeypatch.setattr(measuring.Measuring, "_of_input", lambda self, *args: asked.append(args[0]) or ask(self, *args))
    found = importance(image_run.path, **settings)
    assert 0 < len(asked) < LIMIT
    assert not (image_run.path / ".add-importance-mean.parts").exists()
    again = shutil.copytree(image_run.path, folder / "again" / "images", ignore=shutil.ignore_patterns("add-*"))
    whole = importance(again, **settings)
    pd.testing.assert_frame_equal(found.scores, whole.scores, check_exact=True)
    pd.testing.assert_frame_equal(image_run.head_input_scores("ablation_loss_mean"), run_rows(again), check_exact=True)


def run_rows(path: Path) -> pd.DataFrame:
    with analysis.open_run(path) as run:
        return run.head_input_scores("ablation_loss_mean")


def test_the_same_call_again_gives_what_is_there_and_other_settings_are_refused(text_run, of_texts):
    again = importance(text_run.path, limit=LIMIT)
    pd.testing.assert_frame_equal(again.scores, of_texts.scores, check_dtype=False)
    assert again.facts == of_texts.facts
    with pytest.raises(RunError, match="measured on 2 inputs with seed 0, and results are never changed"):
        importance(text_run.path, limit=LIMIT, seed=1)
    with pytest.raises(RunError, match=r"already has these measures of text\.dec\.self\.2"):
        importance(text_run.path, limit=LIMIT, layers="2")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "median"}, "mode 'median' is not known"),
        ({"part": "cls"}, "this run holds texts"),
        ({"ring": 2}, "this run holds texts"),
        ({"layers": "7"}, "No layer of the run"),
        ({"limit": 0}, "limit on inputs is 0"),
    ],
)
def test_wrong_requests_are_one_sentence_of_what_to_do(text_run, settings, message):
    with pytest.raises(UserError, match=message):
        importance(text_run.path, **settings)


def test_rings_go_with_nothing_else_and_images_must_be_here(image_run, folder):
    with pytest.raises(UserError, match="leave out --part"):
        importance(image_run.path, ring=1, part="cls")
    with pytest.raises(InputError, match="other images or columns"):
        importance(image_run.path, mode="mean", part="cls", data=BUNDLED_MODELS["demo-vision"].parent / "scenes")


def test_classes_are_found_in_any_column_that_names_them_all():
    names = {0: "red_circle", 1: "Tench, Tinca tinca"}
    table = pd.DataFrame(
        {"input_id": [0, 1, 2], "note": ["a", "b", "c"], "kind": ["Red circle", None, "tinca  TINCA"], "n": [0, 1, 1]}
    )
    column, classes = true_classes(table, names)
    assert column == "kind"
    assert classes.tolist() == [0, -1, 1]
    assert true_classes(table.assign(kind=["red circle", "red", "tench"]), names) == ("", None)


def test_a_ring_by_hand():
    row, column = np.array([np.nan, 0, 0, 1, 2]), np.array([np.nan, 0, 1, 1, 0])
    assert np.argwhere(ring_of(row, column, 2)).tolist() == [[1, 4], [2, 4], [4, 1], [4, 2]]
    assert np.argwhere(ring_of(row, column, 0)).tolist() == [[1, 1], [2, 2], [3, 3], [4, 4]]


def test_measures_are_described_with_their_variants():
    assert describe("ablation_loss_mean_cls_rows").title == "Change of loss (replaced by its mean, CLS row only)"
    assert describe("ablation_patch_change_block_ring2").title == "Change of patch states, own layer (without ring 2)"
    assert describe("entropy") is None
    assert all(describe(name) == measure for name, measure in MEASURES.items())
    assert {"gradient_importance", "ablation_flips_mean_patch_rows", "ablation_loss_ring0"} <= set(every_variant())


def test_the_command(text_run, of_texts, folder, capsys):
    runs = str(folder / "runs")
    assert main(["importance", "texts", "--out", runs, "--limit", str(LIMIT), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["n_heads"], plan["n_inputs"], plan["n_backward"]) == (32, LIMIT, LIMIT)
    assert plan["n_passes"] == LIMIT * (32 + 1 + 1)
    assert plan["seconds"] > 0
    assert main(["importance", "texts", "--out", runs, "--limit", str(LIMIT), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "importance-zero"
    assert len(found["scores"]) == 7 * 32
    assert main(["importance", "texts", "--out", runs, "--limit", str(LIMIT), "--csv"]) == 0
    assert capsys.readouterr().out.startswith("metric,site,head,value")
    assert main(["scores", "texts", "--out", runs, "--metric", "ablation_loss", "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 33
    assert main(["importance", "texts", "--out", runs, "--part", "cls"]) == 2
    assert capsys.readouterr().err.startswith("error: --part and --ring are of images")


def test_the_cost_is_told_first(image_run):
    told = []
    with pytest.raises(KeyboardInterrupt):
        importance(
            image_run.path, part="cls", mode="mean", limit=LIMIT, report=lambda progress: stop_at(progress, told)
        )
    assert "36 heads on 2 inputs, 78 forward passes, about" in told[-1].message
    plan = plan_importance(image_run.path, part="cls", mode="mean", limit=LIMIT)
    assert plan.n_passes == LIMIT * (36 + 2 + 1)


def stop_at(progress, told: list) -> None:
    told.append(progress)
    if progress.stage == "capture":
        raise KeyboardInterrupt
