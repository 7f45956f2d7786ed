"""Encoder-decoder models of texts from model and data to an open run, against the models' own output_attentions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers as hf

import analysis
from analysis.errors import InputError, UserError
from analysis.metrics import METRICS, metric_names
from analysis.pipeline import plan_extraction
from analysis.pipeline.head_importance import importance
from analysis.pipeline.new_input import capture_new
from analysis.pipeline.sink_cuts import cut_sinks
from analysis.pipeline.sinks import levels_of, sinks_of, sum_up_sinks
from analysis.pipeline.without_sinks import heads_without_sinks
from analysis.sinks import SinkRule
from analysis.sinks.towers import read_tower
from analysis.store.one_sequence import of_stack
from tests.model_folders import minilm, save_tiny_bart, save_tiny_t5

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "A dog sleeps.",
    "Over and over. The fox jumps, and on and on.",
]
TARGETS = ["Der schnelle Fuchs.", "Ein Hund schläft. Er träumt, und träumt weiter.", "Immer wieder."]
KINDS = {"text.enc.self": "encoder_attentions", "text.dec.self": "decoder_attentions",
         "text.dec.cross": "cross_attentions"}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {"bart": save_tiny_bart(root / "bart"), "t5": save_tiny_t5(root / "t5"),
            "headless": save_tiny_bart(root / "headless", with_head=False)}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    pd.DataFrame({"text": TEXTS, "Target": TARGETS, "sequence": ["x", "y", "x"]}).to_csv(
        root / "pairs.csv", index=False
    )
    (root / "plain.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return {"pairs": root / "pairs.csv", "plain": root / "plain.txt"}


@pytest.fixture(scope="module", params=[("bart", "recompute"), ("t5", "auto")], ids="-".join)
def made(request, folders, data, tmp_path_factory):
    """Model folder and the run of it on pairs."""
    family, attention = request.param
    out = tmp_path_factory.mktemp("runs")
    settings = {"projection": [], "states": "on", "attention": attention}
    with analysis.extract(model=folders[family], data=data["pairs"], out_dir=out, **settings) as run:
        yield folders[family], run


def own_attention(folder: Path, ids: np.ndarray, decoder_ids: np.ndarray) -> dict[str, np.ndarray]:
    """The model's own attention by label, run without any of our code."""
    model = hf.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        output = model(
            input_ids=torch.tensor(ids)[None], decoder_input_ids=torch.tensor(decoder_ids)[None], output_attentions=True
        )
    return {
        f"{stack}.{depth}": layer[0].numpy()
        for stack, name in KINDS.items()
        for depth, layer in enumerate(output[name])
    }


def taught(folder: Path, text: str) -> np.ndarray:
    """Labels moved on by transformers' own head model, as while it is trained."""
    model = hf.AutoModelForSeq2SeqLM.from_pretrained(folder)
    labels = torch.tensor([hf.AutoTokenizer.from_pretrained(folder)(text_target=text)["input_ids"]])
    return model.prepare_decoder_input_ids_from_labels(labels)[0].numpy()


def test_every_site_head_and_input_is_the_models_own_attention(made):
    folder, run = made
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    assert {site.stack_label for site in run.sites} == set(KINDS)
    for input_id, (text, target) in enumerate(zip(TEXTS, TARGETS, strict=True)):
        own = own_attention(folder, np.array(tokenizer(text)["input_ids"]), taught(folder, target))
        for site in run.sites:
            stored = run.attention_all(input_id)[site.key]
            assert stored.shape == own[site.label].shape
            assert np.abs(stored - own[site.label]).max() < 2e-3
            assert np.abs(run.attention(site, 3, input_id) - own[site.label][3]).max() < 2e-3
    assert run.certificate["attention_max_abs_diff"] < 1e-5
    assert run.certificate["left_out"] == {}


def test_an_inputs_tokens_are_the_encoders_and_then_those_the_decoder_reads(made):
    folder, run = made
    tokens, tokenizer = run.tokens(), hf.AutoTokenizer.from_pretrained(folder)
    for input_id, (text, target) in enumerate(zip(TEXTS, TARGETS, strict=True)):
        own = tokens[tokens["input_id"] == input_id]
        n = [len(tokenizer(text)["input_ids"]), len(taught(folder, target))]
        assert own["sequence"].tolist() == ["encoder"] * n[0] + ["decoder"] * n[1]
        assert own["position"].tolist() == list(range(sum(n)))
        assert own["is_special"].tolist()[:2] == [True, False]
        assert own["is_special"].to_numpy()[n[0]]
        for sequence, whole in (("encoder", text), ("decoder", target)):
            words = own[(own["sequence"] == sequence) & ~own["is_special"]]
            assert "".join(words["text"]).replace("[1/2]", "").replace("[2/2]", "")[:9] == whole[:9]
            spans = [whole[start:end] for start, end in zip(words["char_start"], words["char_end"])]
            assert spans[0] == whole[: len(spans[0])]
            assert words["position_share"].between(0, 1).all()
    assert run.inputs()["target"].tolist() == TARGETS
    assert list(run.inputs()["user_sequence"]) == ["x", "y", "x"]
    assert run.token_columns()["sequence"].kind == "categorical"
    assert run.manifest["decoder_reads"] == "target"
    assert any("teacher forcing" in note for note in run.manifest["notes"])


def test_cross_attention_has_no_scores_of_distance_and_others_are_as_by_hand(made):
    _, run = made
    scores, cross = run.head_scores(), next(site for site in run.sites if site.is_cross)
    told = set(scores.loc[scores["site"] == cross.key, "metric"])
    assert {"entropy", "effective_keys", "special_share", "nmi"} <= told
    assert told <= {name for name in metric_names() if METRICS[name].on_cross}
    encoder = set(scores.loc[scores["site"] == run.sites[0].key, "metric"])
    assert {"previous_token", "attention_distance", "self_token", "map_similarity"} <= encoder - told
    by_input = run.head_input_scores("entropy", cross, 2).set_index("input_id")["value"]
    weights = run.attention(cross, 2, 0).astype(np.float64)
    bits = -(weights * np.log2(np.maximum(weights, 1e-30))).sum(axis=1).mean()
    assert by_input[0] == pytest.approx(bits, abs=5e-3)
    special = run.tokens()["is_special"].to_numpy()[run.key_positions(cross, 0)]
    share = run.head_input_scores("special_share", cross, 2).set_index("input_id")["value"]
    assert share[0] == pytest.approx(weights[:, special].sum(axis=1).mean(), abs=2e-3)
    assert set(run.head_profiles()["site"]) == {site.key for site in run.sites if not site.is_cross}


def test_probes_are_read_by_encoder_and_decoder(made):
    _, run = made
    scores = run.head_scores()
    where = {name: set(scores.loc[scores["metric"] == name, "site"]) for name in ("induction", "induction_two_sided")}
    by_stack = {site.stack_label: site.key for site in run.sites}
    assert by_stack["text.dec.self"] in where["induction"]
    assert by_stack["text.enc.self"] in where["induction_two_sided"]
    assert by_stack["text.dec.cross"] not in where["induction"] | where["induction_two_sided"]


def test_attention_received_is_the_mean_over_the_queries_of_the_other_sequence(made):
    _, run = made
    for site in run.sites:
        received = run.received(site, counts_own=True)
        assert received.shape == (site.n_heads, len(run.key_rows(site)))
        weights, allowed = run.attention(site, 1, 1), run.allowed(site, 1)
        first = len(run.key_positions(site, 0))
        found = received[1, first : first + weights.shape[1]]
        assert found == pytest.approx(weights.sum(axis=0) / allowed.sum(axis=0), abs=3e-3)
    cross = next(site for site in run.sites if site.is_cross)
    assert np.array_equal(run.received(cross), run.received(cross, counts_own=True))
    sinks = run.sinks()
    assert {site.key for site in run.sites} == set(sinks["site"])
    first = sinks[(sinks["kind"] == "position") & (sinks["position"] == 0)].groupby("site")["token"].first()
    assert set(first) == {"<s>", *(run.tokens().query("sequence == 'decoder'")["text"].iloc[:1])}
    assert set(sinks_of(run).overall["sequence"]) == {"encoder", "decoder"}


def test_the_sinks_of_every_stack_are_summed_up(made):
    _, run = made
    for stack in KINDS:
        said = sum_up_sinks(run, stack)
        assert said.startswith(("No token is a sink", "The ", "One "))
        part = of_stack(run, stack)
        tower = read_tower(part, stack)
        assert len(tower.inputs) == len(part.tokens()) == len(run.key_rows(f"{stack}.0"))
        assert (levels_of(run, tower) is None) == (stack == "text.dec.cross")
    assert "of the decoder's attention" in said
    cross = read_tower(of_stack(run, "text.dec.cross"), "text.dec.cross", SinkRule(0.01, 1))
    masses = [
        run.attention("text.dec.cross.1", 2, i).sum() / len(run.query_positions("text.dec.cross.1", i))
        for i in range(3)
    ]
    np.testing.assert_allclose(cross.mass[1][2], masses, atol=0.05)
    assert (cross.mass[1] <= 1 + 1e-5).all()


def test_sinks_are_hidden_among_the_keys_and_the_rest_is_scored(made):
    _, run = made
    found = heads_without_sinks(run, ["entropy", "previous_token"], rule=SinkRule(0.2, 2)).heads
    cross = next(site for site in run.sites if site.is_cross)
    rows = found[found["site"] == cross.key].set_index("head")
    shares = []
    for input_id in range(3):
        weights = run.attention(cross, 1, input_id)
        shares.append(weights[:, weights.mean(axis=0) >= 0.2].sum() / len(weights) if len(weights) >= 2 else 0)
    assert rows["hidden"][1] == pytest.approx(np.mean(shares), abs=1e-5)
    assert rows["previous_token"].isna().all()
    assert rows["entropy"].notna().all()
    assert found.loc[found["site"] == run.sites[0].key, "previous_token"].notna().all()


def test_a_new_text_is_captured_with_what_the_decoder_reads_to_it(made):
    folder, run = made
    new = capture_new(run, text="A fox sleeps.", model=folder)
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("A fox sleeps.", return_tensors="pt")
    written = hf.AutoModelForSeq2SeqLM.from_pretrained(folder).generate(
        **ids, do_sample=False, num_beams=1, max_new_tokens=64
    )[0]
    own = own_attention(folder, ids["input_ids"][0].numpy(), written[:-1].numpy())
    for site in run.sites:
        assert np.abs(new.attention(site, 2) - own[site.label][2]).max() < 1e-5
        assert new.attention(site, 2).shape == (len(new.query_positions(site)), len(new.key_positions(site)))
    assert new.tokens["sequence"].tolist().count("decoder") == len(written) - 1
    assert isinstance(new.target, str)
    assert any("the model itself wrote" in note for note in new.notes)


def test_what_is_not_measured_in_pairs_says_so(made):
    folder, run = made
    for measure in (importance, cut_sinks):
        with pytest.raises(UserError, match="not measured in encoder-decoder models yet"):
            measure(run.path, model=folder)


def test_states_are_measured_in_both_stacks(made):
    _, run = made
    n = run.tokens()["sequence"].value_counts()
    assert run.state_figures("text.enc.self")["norm"].shape == (3, n["encoder"])
    assert run.state_figures("text.dec.self")["norm"].shape == (3, n["decoder"])


def test_without_a_target_the_model_writes_what_its_decoder_reads(folders, data, tmp_path):
    tokenizer = hf.AutoTokenizer.from_pretrained(folders["bart"])
    model = hf.AutoModelForSeq2SeqLM.from_pretrained(folders["bart"])
    with analysis.extract(model=folders["bart"], data=data["plain"], out_dir=tmp_path, projection=[]) as run:
        assert run.manifest["decoder_reads"] == "generate"
        for input_id, text in enumerate(TEXTS):
            encoded = tokenizer(text, return_tensors="pt")
            own = model.generate(**encoded, do_sample=False, num_beams=1, max_new_tokens=64)[0]
            assert len(run.query_positions("text.dec.self.0", input_id)) == len(own) - 1
            attention = own_attention(folders["bart"], encoded["input_ids"][0].numpy(), own[:-1].numpy())
            assert (
                np.abs(run.attention("text.dec.cross.1", 0, input_id) - attention["text.dec.cross.1"][0]).max() < 2e-3
            )


def test_the_decoder_reads_the_text_itself_on_request_and_where_nothing_else_is_there(folders, data, tmp_path):
    tokenizer = hf.AutoTokenizer.from_pretrained(folders["bart"])
    expected = [len(tokenizer(text)["input_ids"]) for text in TEXTS]
    for number, (family, source, target) in enumerate(
        [("bart", "pairs", "same"), ("headless", "plain", "auto"), ("headless", "plain", "same")]
    ):
        settings = {"projection": [], "target": target, "run_id": f"run-{number}", "layers": "1"}
        with analysis.extract(model=folders[family], data=data[source], out_dir=tmp_path, **settings) as run:
            assert run.manifest["decoder_reads"] == "same"
            assert [len(run.query_positions("text.dec.cross.1", i)) for i in range(3)] == expected
            assert {site.depth for site in run.sites} == {1}
            assert ("user_Target" in run.inputs()) == (source == "pairs")
    with pytest.raises(InputError, match="no head that writes text: give data with a column target"):
        analysis.extract(model=folders["headless"], data=data["plain"], out_dir=tmp_path, target="generate")


def test_the_encoder_alone_is_run_on_request(folders, data, tmp_path):
    with analysis.extract(
        model=folders["bart"], data=data["pairs"], out_dir=tmp_path, projection=[], part="encoder"
    ) as run:
        assert {site.stack_label for site in run.sites} == {"text.enc.self"}
        assert run.sequences == ("",)
        assert "Target" in run.inputs()
    with pytest.raises(InputError, match="no encoder-decoder: leave --part encoder out"):
        analysis.extract(model=minilm(), data=data["plain"], out_dir=tmp_path, part="encoder")
    with pytest.raises(UserError, match="the whole or the encoder can be looked at; got 'decoder'"):
        analysis.extract(model=folders["bart"], data=data["plain"], out_dir=tmp_path, part="decoder")


def test_the_estimate_of_a_pair_counts_both_sequences(folders, data, tmp_path):
    settings = {"model": folders["bart"], "data": data["pairs"], "projection": [], "attention": "recompute"}
    plan = plan_extraction(**settings)
    with analysis.extract(**settings, out_dir=tmp_path) as run:
        sizes = "sum(octet_length(q)) AS q, sum(octet_length(k)) AS k, sum(octet_length(v_norm)) AS v"
        held = run.sql(f"SELECT {sizes} FROM vectors").sum(axis=1).iloc[0]
        received = run.sql("SELECT sum(octet_length(attention) + octet_length(others)) AS n FROM received")["n"].iloc[0]
    assert held + received <= plan.disk_bytes <= held + 2 * received
