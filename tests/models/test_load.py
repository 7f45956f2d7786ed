"""Loading: the right tower, eval mode, honest limits, and nothing random or unsafe in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from analysis.capture import make_plan, run_batch
from analysis.capture.doctor import doctor, dry_input
from analysis.cli import main
from analysis.errors import CaptureRefused, InputError, ModelError
from analysis.models import load_model
from tests.capture import zoo

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "When", "Mary", "and", "John", "went", "to", "the", "store", "gave", "a"]


def save_tokenizer(folder: Path, longest: int = int(1e30)) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special, model_max_length=longest).save_pretrained(folder)


def save_image_processor(folder: Path, kind: str = "ViTImageProcessorPil", **settings: object) -> None:
    getattr(hf, kind)(size={"height": 32, "width": 32}, **settings).save_pretrained(folder)


def save(folder: Path, model: hf.PreTrainedModel, longest: int = int(1e30)) -> str:
    model.save_pretrained(folder)
    save_tokenizer(folder, longest)
    save_image_processor(folder)
    return str(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tiny"


def test_a_text_model_comes_ready_to_run(folder: Path) -> None:
    loaded = load_model(save(folder, zoo.make_model("bert")), device="cpu")
    assert (loaded.name, loaded.modality, loaded.model_type, loaded.dtype) == ("tiny", "text", "bert", "float32")
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    assert loaded.processor.is_fast
    plan = make_plan(loaded, dry_input(loaded))
    captures = run_batch(loaded, plan, [(0, dry_input(loaded))])[0]
    np.testing.assert_allclose(captures[0].attention.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "longest", "expected"),
    [("bert", int(1e30), 64), ("bert", 20, 20), ("roberta", int(1e30), 63), ("t5", int(1e30), None), ("t5", 512, 512)],
)
def test_the_longest_input_is_what_positions_and_tokenizer_allow(
    folder: Path, name: str, longest: int, expected: int | None
) -> None:
    model = zoo._t5() if name == "t5" else zoo.make_model(name)
    loaded = load_model(save(folder, model, longest), device="cpu")
    assert loaded.max_tokens == expected


def test_an_input_of_the_longest_length_runs(folder: Path) -> None:
    loaded = load_model(save(folder, zoo.make_model("roberta")), device="cpu")
    longest = {"input_ids": np.full(loaded.max_tokens, 5)}
    assert make_plan(loaded, longest).sites[0].n_heads == 4
    with pytest.raises(CaptureRefused, match=r"tiny does not run on this text input \(input_ids \[1, 64\]"):
        make_plan(loaded, {"input_ids": np.full(loaded.max_tokens + 1, 5)})


@pytest.mark.parametrize("make", [zoo._t5, zoo._bart], ids=["t5", "bart"])
def test_an_encoder_decoder_is_run_whole_or_its_encoder_alone(folder: Path, make: object) -> None:
    name = save(folder, make())
    loaded = load_model(name, device="cpu")
    assert (loaded.part, loaded.sequences, loaded.writer) == ("whole", (("encoder", "text"), ("decoder", "text")), None)
    stacks = {site.stack_label for site in make_plan(loaded, dry_input(loaded)).sites}
    assert stacks == {"text.enc.self", "text.dec.self", "text.dec.cross"}
    loaded = load_model(name, device="cpu", part="encoder")
    assert (loaded.part, loaded.sequences) == ("encoder", ())
    plan = make_plan(loaded, dry_input(loaded))
    assert [site.label for site in plan.sites] == ["text.enc.self.0", "text.enc.self.1"]
    with pytest.raises(InputError, match="no part 'decoder'"):
        load_model(name, part="decoder")


@pytest.mark.parametrize("kind", ["T5", "Bart"])
def test_an_encoder_decoder_that_writes_brings_its_head(folder: Path, kind: str) -> None:
    config = (zoo._t5() if kind == "T5" else zoo._bart()).config
    torch.manual_seed(0)
    whole = getattr(hf, f"{kind}ForConditionalGeneration")(config).eval()
    loaded = load_model(save(folder, whole), device="cpu")
    assert not loaded.writer.training
    assert (
        dict(loaded.module.named_modules()).keys() >= dict(whole.get_encoder().named_modules(prefix="encoder")).keys()
    )
    inputs = [np.array([5, 6, 7, 8]), np.array([9])]
    for ids, read in zip(inputs, loaded.decoder_writes(inputs), strict=True):
        own = whole.generate(torch.tensor(ids)[None], do_sample=False, num_beams=1, max_new_tokens=64)[0].tolist()
        assert read == (own[:-1] if len(own) > 1 else own)
    labels = torch.tensor([[5, 6, 7]])
    assert loaded.decoder_reads([5, 6, 7]) == whole.prepare_decoder_input_ids_from_labels(labels)[0].tolist()


def test_a_head_that_would_be_random_writes_nothing(folder: Path) -> None:
    config = zoo._bart().config
    config.tie_word_embeddings = False
    name = save(folder, hf.BartForConditionalGeneration(config))
    weights = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if k != "lm_head.weight"}, folder / "model.safetensors", {"format": "pt"}
    )
    assert load_model(name, device="cpu").writer is None
    save_file(
        {k: v for k, v in weights.items() if "decoder.layers.0" not in k},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ModelError, match="lacks"):
        load_model(name)


@pytest.mark.parametrize("family", ["CLIP", "Siglip"])
@pytest.mark.parametrize("modality", ["text", "vision"])
def test_of_two_towers_the_one_for_the_data_is_run(folder: Path, family: str, modality: str) -> None:
    torch.manual_seed(0)
    model = zoo._clip(getattr(hf, f"{family}Config"), getattr(hf, f"{family}Model"))
    loaded = load_model(save(folder, model), modality=modality, device="cpu")
    assert loaded.modality == modality
    assert loaded.n_parameters < sum(parameter.numel() for parameter in model.parameters())
    plan = make_plan(loaded, dry_input(loaded))
    assert [site.label for site in plan.sites] == [f"{modality}.enc.self.0", f"{modality}.enc.self.1"]


def test_the_wrong_modality_is_told(folder: Path) -> None:
    name = save(folder, zoo.make_model("bert"))
    with pytest.raises(InputError, match="tiny reads text, but the data is vision"):
        load_model(name, modality="vision")
    with pytest.raises(InputError, match="no modality 'smell'"):
        load_model(name, modality="smell")
    with pytest.raises(ModelError, match="no dtype 'int3'"):
        load_model(name, dtype="int3")


def test_weights_that_are_not_there_are_never_random_in_silence(folder: Path) -> None:
    name = save(folder, zoo.make_model("bert"))
    weights = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in weights.items() if "layer.1.attention.self.query" not in key}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 2 weights of a BertModel.*query\.bias"):
        load_model(name)
    no_pooler = {key: value for key, value in weights.items() if not key.startswith("pooler")}
    save_file(no_pooler, folder / "model.safetensors", {"format": "pt"})
    assert load_model(name, device="cpu").model_type == "bert"


def test_a_checkpoint_with_a_head_loads_its_base_model(folder: Path) -> None:
    torch.manual_seed(0)
    model = hf.GPT2LMHeadModel(hf.GPT2Config(**zoo._TEXT, n_embd=32, n_layer=2, n_head=4, n_positions=64))
    loaded = load_model(save(folder, model), device="cpu")
    assert type(loaded.module).__name__ == "GPT2Model"
    torch.testing.assert_close(loaded.module.h[1].attn.c_attn.weight, model.transformer.h[1].attn.c_attn.weight)


def test_own_code_in_the_folder_is_never_run(folder: Path, tmp_path: Path) -> None:
    name = save(folder, zoo.make_model("bert"))
    trace = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w')\nclass Own: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="code of its own"):
        load_model(name)
    assert not trace.exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_code_of_the_hub_is_never_asked_for(folder: Path, key: str) -> None:
    """Where the package kernels is installed, transformers downloads and runs what a config names here."""
    name = save(folder, zoo.make_model("bert"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: "someone/kernel"}))
    with pytest.raises(ModelError, match=r"tiny asks for attention code of the hub \('someone/kernel'"):
        load_model(name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_type": {"a": 1}},
        {"model_type": "<img src=x onerror=alert(1)>"},
        {"hidden_size": "wide"},
        {"num_attention_heads": 0},
        {"vocab_size": -5},
        "[" * 100_000,
    ],
)
def test_a_config_of_nonsense_is_one_clear_sentence_without_folders(folder: Path, wrong: dict | str) -> None:
    name = save(folder, zoo.make_model("bert"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(wrong if isinstance(wrong, str) else json.dumps({**config, **wrong}))
    with pytest.raises(ModelError, match="tiny ") as refused:
        load_model(name)
    assert str(folder.parent) not in str(refused.value)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_one_clear_sentence(folder: Path, file: str) -> None:
    name = save(folder, zoo.make_model("bert"))
    (folder / file).write_bytes(b"{ broken")
    with pytest.raises(ModelError, match="tiny"):
        load_model(name)


def test_a_model_without_tokenizer_or_image_processor_says_so(folder: Path) -> None:
    zoo.make_model("bert").save_pretrained(folder)
    with pytest.raises(ModelError, match="has no tokenizer: expected one of"):
        load_model(folder)
    other = folder.parent / "other"
    zoo.make_model("vit").save_pretrained(other)
    with pytest.raises(ModelError, match="no image processor that loads"):
        load_model(other)


def test_half_precision_is_captured_and_told(folder: Path) -> None:
    loaded = load_model(save(folder, zoo.make_model("llama")), device="cpu", dtype="bfloat16")
    plan = make_plan(loaded, dry_input(loaded))
    captures = run_batch(loaded, plan, [(0, dry_input(loaded))])[0]
    assert captures[0].queries.dtype == np.float32
    assert 0 < plan.certificate["attention_max_abs_diff"] < 4e-2


def test_the_doctor_needs_no_data(folder: Path) -> None:
    report = doctor(save(folder, zoo.make_model("mistral")), device="cpu")
    assert report.is_healthy
    assert "causal, window 5" in report.as_text()
    assert str(folder.parent) not in report.as_text() + json.dumps(report.as_dict())


def test_the_doctor_reports_on_both_towers_or_the_one_asked_for(folder: Path, capsys: pytest.CaptureFixture) -> None:
    name = save(folder, zoo._clip(hf.CLIPConfig, hf.CLIPModel))
    assert main(["doctor", "--model", name]) == 0
    both = capsys.readouterr().out
    assert "text.enc.self.1" in both
    assert "vision.enc.self.1" in both
    assert main(["doctor", "--model", name, "--modality", "vision", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["modality"] == "vision"
    assert main(["doctor", "--model", name, "--json"]) == 0
    assert [report["modality"] for report in json.loads(capsys.readouterr().out)] == ["text", "vision"]


def test_a_refused_model_is_status_2_after_its_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise CaptureRefused("Nothing reaches its attention.")

    monkeypatch.setattr("analysis.capture.doctor.make_plan", refuse)
    name = save(folder, zoo.make_model("bert"))
    capsys.readouterr()
    assert main(["doctor", "--model", name]) == 2
    printed = capsys.readouterr()
    assert "refused: Nothing reaches its attention." in printed.out
    assert printed.err.strip() == "error: Nothing reaches its attention."


@pytest.mark.parametrize("family", zoo.MODELS)
def test_every_family_goes_from_a_folder_to_a_plan(folder: Path, family: str) -> None:
    """Saved, found again by transformers' Auto classes and planned: what the tests of capture make in memory."""
    model = zoo.make_whole(family)
    modality = "text" if family in zoo.TEXT_MODELS else "vision"
    part = "encoder" if family in ("t5", "bart") else "whole"
    loaded = load_model(save(folder, model), modality=modality, device="cpu", part=part)
    assert loaded.processor is not None
    assert type(loaded.module).__name__ == type(zoo.make_model(family)).__name__
    plan = make_plan(loaded, dry_input(loaded))
    assert [site.depth for site in plan.sites] == [0, 1]
    assert {site.modality for site in plan.sites} == {modality}
    # SigLIP pools its patches with torch's own attention, behind the last layer.
    assert set(plan.certificate["left_out"]) == ({"head.attention#0"} if family == "siglip_vision" else set())


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("vit", ("CLS",)),
        ("deit", ("CLS", "DIST")),
        ("dinov2", ("CLS",)),
        ("dinov2_with_registers", ("CLS", "REG0", "REG1", "REG2")),
        ("beit", ("CLS",)),
        ("clip_vision", ("CLS",)),
        ("siglip_vision", ()),
    ],
)
def test_the_layout_of_an_image_is_what_the_model_makes_of_it(name: str, prefix: tuple[str, ...]) -> None:
    loaded = zoo.load(name)
    plan = make_plan(loaded, zoo.make_input(name))
    n_tokens = run_batch(loaded, plan, [(0, zoo.make_input(name))])[0][0].queries.shape[1]
    layout = loaded.image_layout(32, 32, n_tokens)
    assert layout.prefix == prefix
    assert len(layout.prefix) + layout.rows * layout.columns == n_tokens
    assert (layout.rows, layout.columns, layout.patch_height, layout.patch_width) == (4, 4, 8, 8)


@pytest.mark.parametrize("name", ["vit", "dinov2", "beit", "clip_vision", "siglip_vision"])
def test_patches_follow_row_by_row(name: str) -> None:
    """Changing the pixels of one patch changes the key of the token that the layout says, in the first layer, most."""
    loaded = zoo.load(name)
    image = zoo.make_input(name)
    plan = make_plan(loaded, image)
    row, column = 2, 3
    changed = image["pixel_values"].copy()
    changed[:, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] += 3
    before, after = (one[0].keys for one in run_batch(loaded, plan, [(0, image), (1, {"pixel_values": changed})]))
    layout = loaded.image_layout(32, 32, before.shape[1])
    moved = np.abs(after - before).sum(axis=(0, 2))
    assert int(moved.argmax()) == len(layout.prefix) + row * layout.columns + column
    assert np.sort(moved)[-2] == 0


def test_a_grid_that_does_not_fit_is_told() -> None:
    with pytest.raises(ModelError, match="fewer than its 4 x 4 patches"):
        zoo.load("vit").image_layout(32, 32, 9)
    with pytest.raises(ModelError, match="no patch size"):
        zoo.load("bert").image_layout(32, 32, 17)
