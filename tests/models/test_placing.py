"""Half precision, 8 bits, and a model spread over devices: captured as exactly as one that lies whole in memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

import analysis
from analysis.capture import make_plan, run_batch
from analysis.capture.doctor import dry_input
from analysis.cli import main
from analysis.errors import ModelError
from analysis.models import forward_module, load_model, load_with_head
from tests.model_folders import save_tiny_bart, save_tiny_bloom, save_tiny_llama

SPLIT = {
    "llama": {"embed_tokens": "cpu", "layers.0": "disk", "layers.1": "cpu", "norm": "disk", "rotary_emb": "cpu"},
    # Its attention is found by its operations, among weights that come anew from the disk at every pass.
    "bloom": {"word_embeddings": "disk", "word_embeddings_layernorm": "cpu", "h.0": "disk", "h": "cpu", "ln_f": "cpu"},
    "bart": {"shared": "cpu", "encoder": "cpu", "decoder.layers.0": "disk", "decoder": "cpu"},
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("placing")
    return {
        "llama": save_tiny_llama(root / "llama", max_tokens=128),
        "bloom": save_tiny_bloom(root / "bloom", n_layers=2),
        "bart": save_tiny_bart(root / "bart"),
    }


@pytest.mark.parametrize("name", SPLIT)
def test_a_model_split_over_memory_and_disk_is_captured_to_the_bit(folders: dict[str, Path], name: str) -> None:
    whole = load_model(folders[name], device="cpu")
    split = load_model(folders[name], device_map=SPLIT[name])
    assert (set(split.devices), split.device) == ({"cpu", "disk"}, "cpu")
    assert {weight.device.type for weight in split.module.parameters()} == {"cpu", "meta"}
    given = dry_input(whole)
    plans = [make_plan(loaded, given) for loaded in (whole, split)]
    assert [site.key for site in plans[0].sites] == [site.key for site in plans[1].sites]
    assert plans[1].certificate["outputs_max_abs_diff"] == 0
    pair = [run_batch(loaded, plan, [(0, given)])[0] for loaded, plan in zip((whole, split), plans, strict=True)]
    for of_whole, of_split in zip(*pair, strict=True):
        for part in ("queries", "keys", "attention", "value_norms"):
            np.testing.assert_array_equal(getattr(of_whole, part), getattr(of_split, part))
    tensors = {key: torch.from_numpy(value)[None] for key, value in given.items()}
    outputs = [forward_module(loaded.module, tensors).last_hidden_state for loaded in (whole, split)]
    assert torch.equal(*outputs)


def test_a_run_of_a_split_model_is_that_of_the_whole(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(json.dumps(SPLIT["bloom"]), encoding="utf-8")
    (tmp_path / "texts.txt").write_text("The cat sat on the mat.\nThe dog did not.", encoding="utf-8")
    asked = ["extract", "--model", str(folders["bloom"]), "--data", str(tmp_path / "texts.txt"), "--projection", "none"]
    for run_id, more in (("whole", []), ("split", ["--device-map", str(tmp_path / "map.json")])):
        assert main([*asked, "--out", str(tmp_path), "--run-id", run_id, "--states", "on", *more]) == 0
    with analysis.open_run(tmp_path / "whole") as whole, analysis.open_run(tmp_path / "split") as split:
        assert split.manifest["device"] == "disk and cpu"
        assert split.manifest["spec"]["device_map"] == SPLIT["bloom"]
        for site in whole.sites:
            np.testing.assert_array_equal(whole.queries(site, 0), split.queries(site.key, 0))
        same = whole.head_scores().merge(split.head_scores(), on=["metric", "site", "head"])
        np.testing.assert_array_equal(same["value_x"], same["value_y"])
        assert len(same) == len(split.head_scores())


def test_a_head_that_the_map_does_not_name_goes_with_the_last_part(folders: dict[str, Path]) -> None:
    split = load_with_head("demo-language", device_map={"wte": "cpu", "wpe": "cpu", "h": "disk", "ln_f": "cpu"})
    assert split.predicts == "next token"
    assert set(split.devices) == {"cpu", "disk"}
    written = [
        load_model("demo-language", writes=True, device_map=placed).goes_on([np.array([5, 6, 7])], 4)
        for placed in (None, {"transformer.wte": "disk", "wpe": "cpu", "h": "disk", "ln_f": "cpu"})
    ]
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("nowhere.json", r"There is no device map nowhere\.json: give auto, none, or a JSON file"),
        ({"layers": True}, "is none: expected JSON such as"),
        ({"layers": "cuda:7"}, r"names 'cuda:7'; this machine has cpu, disk and"),
        (
            {"": "cpu", "blocks.0": "disk"},
            r"names 'blocks\.0', which a LlamaModel has not; it has embed_tokens, layers",
        ),
        ({"layers": "cpu", "norm": "disk"}, r"has no device for embed_tokens\.weight of a LlamaModel"),
    ],
)
def test_a_map_that_fits_nothing_is_refused_in_one_sentence(folders: dict, given: object, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        load_model(folders["llama"], device_map=given)


def test_what_is_not_installed_is_named(folders: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.models.placing.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs the package bitsandbytes, which is not installed: pip install"):
        load_model(folders["llama"], load_in="8bit")
    with pytest.raises(ModelError, match="needs the package accelerate, which is not installed: pip install"):
        load_model(folders["llama"], device_map="auto")


def test_in_8_bits_the_run_has_the_attention_of_the_model_in_8_bits(tmp_path: Path) -> None:
    text = "The cat sat on the mat and looked at the dog."
    (tmp_path / "texts.txt").write_text(text, encoding="utf-8")
    asked = ["extract", "--model", "demo-language", "--data", str(tmp_path / "texts.txt"), "--out", str(tmp_path)]
    assert main([*asked, "--projection", "none", "--run-id", "bits", "--load-in", "8bit"]) == 0
    model, whole = (load_model("demo-language", load_in=bits, device="cpu").module for bits in ("8bit", None))
    kinds = {str(weight.dtype) for weight in model.parameters()}
    assert "torch.int8" in kinds
    own, exact = (attention_of(each, text) for each in (model, whole))
    with analysis.open_run(tmp_path / "bits") as run:
        assert run.manifest["spec"]["load_in"] == "8bit"
        assert run.manifest["certificate"]["outputs_max_abs_diff"] == 0
        stored = np.stack([[run.attention(site, head, 0) for head in range(site.n_heads)] for site in run.sites])
    np.testing.assert_allclose(stored, own, atol=2e-3)
    assert np.abs(own - exact).max() > 1e-3, "8 bits must show, or nothing is tested here"


def attention_of(model: torch.nn.Module, text: str) -> np.ndarray:
    """``[layer, head, query, key]`` by the model itself."""
    model.set_attn_implementation("eager")
    ids = torch.tensor([load_model("demo-language", device="cpu").processor(text)["input_ids"]])
    with torch.no_grad():
        return torch.cat(model(ids, output_attentions=True).attentions).float().numpy()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_reaches_the_run_and_its_certificate(dtype: str, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("The cat sat on the mat.", encoding="utf-8")
    asked = ["extract", "--model", "demo-language", "--data", str(tmp_path / "texts.txt"), "--out", str(tmp_path)]
    assert main([*asked, "--projection", "none", "--run-id", "half", "--dtype", dtype]) == 0
    with analysis.open_run(tmp_path / "half") as run:
        certificate = run.manifest["certificate"]
        assert (run.manifest["dtype"], run.manifest["spec"]["dtype"], certificate["dtype"]) == (dtype, dtype, dtype)
        assert 0 < certificate["attention_max_abs_diff"] < certificate["rounding"]
        queries = run.queries(run.sites[0], 0)
    model = load_model("demo-language", dtype=dtype, device="cpu")
    assert {weight.dtype for weight in model.module.parameters()} == {getattr(torch, dtype)}
    ids = torch.tensor([model.processor("The cat sat on the mat.")["input_ids"]])
    with analysis.Capture(model.module) as capture:
        forward_module(model.module, {"input_ids": ids})
    np.testing.assert_allclose(queries, capture.calls[0].q[0, 0].float().numpy(), atol=1e-3)


def test_large_scores_in_half_precision_are_no_reason_to_leave_a_site_out(tmp_path: Path) -> None:
    """Sinks score 50 and more in real models, where bfloat16 rounds by 0.25."""
    folder = save_tiny_llama(tmp_path / "llama", max_tokens=128)
    model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attn.q_proj.weight.mul_(20)
            layer.self_attn.k_proj.weight.mul_(20)
    model.save_pretrained(folder)
    loaded = load_model(folder, dtype="bfloat16", device="cpu")
    certificate = make_plan(loaded, dry_input(loaded)).certificate
    assert not certificate["left_out"]
    assert 4e-2 < certificate["attention_max_abs_diff"] < certificate["rounding"]
    whole = load_model(folder, device="cpu")
    assert make_plan(whole, dry_input(whole)).certificate["rounding"] < 1e-5
