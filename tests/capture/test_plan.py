"""The plan, its certificate, and what is refused or left out, with the reason."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
import transformers as hf
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from analysis.capture import CapturePlan, make_plan
from analysis.capture.certificate import eager, largest_difference
from analysis.capture.doctor import DoctorReport
from analysis.errors import CaptureRefused
from analysis.models import LoadedModel
from tests.capture import zoo


def wrap(model: torch.nn.Module, modality: str = "text") -> LoadedModel:
    return LoadedModel(model.eval(), None, "tiny", "none", modality, "tiny", 1, 64, "float32", "cpu")


def test_keep_restricts_everything_to_some_layers() -> None:
    plan = make_plan(zoo.load("gpt_oss"), zoo.make_input("gpt_oss"))
    kept = plan.keep({1})
    assert [site.depth for site in kept.sites] == [1]
    assert set(kept.key_offsets) == set(kept.sink_logits) == {kept.sites[0].key}
    assert len(plan.sites) == 2
    with pytest.raises(CaptureRefused, match=r"depths \[7\]; the model has 0 to 1"):
        plan.keep({7})


def test_key_offsets_are_mean_keys_and_zero_where_moving_keys_would_change_the_softmax() -> None:
    plan = make_plan(zoo.load("bert"), zoo.make_input("bert"))
    assert all(np.abs(offset).max() > 0.01 for offset in plan.key_offsets.values())
    assert next(iter(plan.key_offsets.values())).shape == (4, 8)
    for name in ("gemma2", "gpt_oss"):
        offsets = make_plan(zoo.load(name), zoo.make_input(name)).key_offsets
        assert all(not offset.any() for offset in offsets.values())
        assert next(iter(offsets.values())).shape == (2, 8)


def test_the_plan_is_plain_json() -> None:
    plan = make_plan(zoo.load("gpt_oss"), zoo.make_input("gpt_oss"))
    read = json.loads(json.dumps(plan.as_dict()))
    assert read["certificate"]["outputs_max_abs_diff"] == 0
    assert len(read["sites"]) == len(read["sink_logits"]) == 2


def test_a_large_shared_key_bias_is_taken_off_before_rounding() -> None:
    model = zoo.make_model("bert")
    model.encoder.layer[0].attention.self.key.bias.fill_(30.0)
    plan = make_plan(wrap(model), zoo.make_input("bert"))
    key = plan.sites[0].key
    assert float(plan.key_offsets[key].mean()) == pytest.approx(30, abs=3)
    assert plan.certificate["sites"][key]["recomputed_max_abs_diff"] < 2e-3


def test_keys_too_large_for_fp16_make_the_site_stored() -> None:
    model = zoo.make_model("gpt_oss")
    model.layers[0].self_attn.k_proj.bias.fill_(1e5)
    plan = make_plan(wrap(model), zoo.make_input("gpt_oss"))
    assert [site.recomputable for site in plan.sites] == [False, True]


def test_eager_for_a_while_puts_every_name_back_also_after_an_error() -> None:
    model = zoo._clip(hf.CLIPConfig, hf.CLIPModel)
    before = [part.config._attn_implementation for part in (model, model.text_model, model.vision_model)]

    def stop_in_the_middle() -> None:
        with eager(model):
            assert model.text_model.config._attn_implementation == "eager"
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_in_the_middle()
    assert [part.config._attn_implementation for part in (model, model.text_model, model.vision_model)] == before
    assert before == ["sdpa"] * 3


def test_a_model_that_draws_random_numbers_is_refused() -> None:
    torch.manual_seed(0)
    model = hf.ViTMAEModel(hf.ViTMAEConfig(**zoo._IMAGE))
    with pytest.raises(CaptureRefused, match="other outputs every time"):
        make_plan(wrap(model, "vision"), zoo.make_input("vit"))


def test_a_model_that_twists_its_attention_is_left_out_with_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def twisted(module, query, key, value, *args, **kwargs):
        return kernel(module, query * 1.5, key, value, *args, **kwargs)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", twisted)
    with pytest.raises(CaptureRefused, match=r"none of its 2 attention calls holds up .*own output"):
        make_plan(zoo.load("bert"), zoo.make_input("bert"))


def test_a_model_whose_eager_weights_differ_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.bert import modeling_bert

    own = modeling_bert.eager_attention_forward

    def sharper(module, query, *args, **kwargs):
        return own(module, query * 1.2, *args, **kwargs)

    monkeypatch.setattr(modeling_bert, "eager_attention_forward", sharper)
    with pytest.raises(CaptureRefused, match="differs from the model's own by"):
        make_plan(zoo.load("bert"), zoo.make_input("bert"))


def test_attention_that_is_neither_passed_nor_followed_is_refused_with_what_was_tried() -> None:
    torch.manual_seed(0)
    model = hf.LongformerModel(hf.LongformerConfig(**zoo._BERT, attention_window=4)).eval()
    words = "none was found among its operations, and what it returns for output_attentions is no matrix of tokens"
    with pytest.raises(CaptureRefused, match=words):
        make_plan(wrap(model), zoo.make_input("bert"))


def test_a_model_without_attention_is_refused() -> None:
    model = hf.ResNetModel(hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_channels=3))
    with pytest.raises(CaptureRefused, match="use another model"):
        make_plan(wrap(model, "vision"), zoo.make_input("vit"))


def test_patches_that_are_not_where_the_layout_says_are_refused() -> None:
    torch.manual_seed(0)
    model = hf.YolosModel(hf.YolosConfig(**{**zoo._IMAGE, "image_size": [32, 32]}, num_detection_tokens=3))
    with pytest.raises(CaptureRefused, match="row 0, column 0 are its token 1, expected 4 after 4 special tokens"):
        make_plan(wrap(model, "vision"), zoo.make_input("vit"))


def test_models_that_merge_patches_say_that_there_is_no_grid() -> None:
    torch.manual_seed(0)
    sizes = dict(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 4], window_size=4)
    plan = make_plan(wrap(hf.SwinModel(hf.SwinConfig(**sizes)), "vision"), zoo.make_input("vit"))
    assert "merge patches" in plan.certificate["no_grid"]
    assert "not over the input's 16" in next(iter(plan.certificate["left_out"].values()))
    assert make_plan(zoo.load("vit"), zoo.make_input("vit")).certificate["no_grid"] == ""


def test_largest_difference_counts_every_tensor_and_distrusts_other_shapes() -> None:
    one = {"a": torch.zeros(3), "b": (torch.ones(2), None)}
    other = {"a": torch.zeros(3), "b": (torch.tensor([1.0, 1.5]), None)}
    assert largest_difference(one, one) == 0
    assert largest_difference(one, other) == pytest.approx(0.5)
    assert largest_difference(one, {"a": torch.zeros(2)}) == float("inf")
    assert largest_difference({"a": torch.tensor([torch.nan])}, {"a": torch.tensor([0.0])}) == float("inf")


def test_the_doctor_tells_the_plan_or_the_refusal() -> None:
    loaded = zoo.load("gemma2")
    report = DoctorReport(loaded, make_plan(loaded, zoo.make_input("gemma2")))
    text = report.as_text()
    assert report.is_healthy
    for words in ("gemma2", "identical", "text.dec.self.1", "(2 key heads)", "causal, window 5", "soft-cap 2"):
        assert words in text
    refused = DoctorReport(loaded, None, "nothing reaches it")
    assert "refused: nothing reaches it" in refused.as_text()
    assert refused.as_dict()["sites"] == []
    assert not refused.is_healthy
    left_out = dataclasses.replace(report.plan, certificate={**report.plan.certificate, "left_out": {"x": "odd"}})
    assert "x: odd" in DoctorReport(loaded, left_out).as_text()
    assert isinstance(report.plan, CapturePlan)
