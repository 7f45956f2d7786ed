"""From what a run has written down back to the command that makes it."""

from __future__ import annotations

from app.jobs.requests.extraction import JobRequest, is_repeatable, request_of
from app.model_kind import OTHER, PAIR, UNKNOWN, WRITES, model_kind

SPEC = {
    "model": "demo-language", "model_revision": "sha256:77", "data": "demo-sentences", "limit": 40, "layers": [0, 2, 3],
    "attention": "store", "projection": ["atlas", "linear"], "seed": 5,
}  # fmt: skip


def test_every_setting_of_a_run_is_in_its_command():
    assert request_of(SPEC, "half").command() == (
        "python -m analysis extract --model=demo-language --data=demo-sentences --seed=5 --limit=40 --layers=0,2,3 "
        "--attention=store --run-id=half --projection atlas linear"
    )


def test_a_run_without_maps_says_so():
    assert request_of({**SPEC, "projection": []}, "half").projections == ("none",)


def test_what_the_command_reads_is_the_same_spec():
    from analysis.cli import make_parser

    options = make_parser().parse_args(request_of(SPEC, "half").arguments())
    assert (options.limit, options.layers, options.attention, options.seed) == (40, "0,2,3", "store", 5)
    assert list(options.projection) == ["atlas", "linear"]
    assert options.run_id == "half"


def test_how_a_model_is_loaded_and_what_it_writes_is_in_the_command():
    from analysis.cli import make_parser

    spec = {
        **SPEC, "part": "encoder", "target": "same", "generate": 7, "dtype": "bfloat16", "load_in": "8bit",
        "device_map": "auto",
    }  # fmt: skip
    options = make_parser().parse_args(request_of(spec, "half").arguments())
    assert (options.part, options.target, options.generate) == ("encoder", "same", 7)
    assert (options.dtype, options.load_in, options.device_map) == ("bfloat16", "8bit", "auto")
    assert not is_repeatable({**SPEC, "device_map": {"h": "disk"}})  # the file of the map is not known


def test_settings_are_asked_for_where_they_make_sense(tmp_path):
    import json

    kinds = [model_kind(name) for name in ("demo-language", "demo-vision", "owner/name", "")]
    assert kinds == [WRITES, OTHER, UNKNOWN, UNKNOWN]
    (tmp_path / "config.json").write_text(json.dumps({"is_encoder_decoder": True}), encoding="utf-8")
    assert model_kind(str(tmp_path)) == PAIR
    (tmp_path / "config.json").write_text("[]", encoding="utf-8")
    assert model_kind(str(tmp_path)) == UNKNOWN


def test_only_names_that_lead_back_are_repeatable():
    assert is_repeatable(SPEC)
    assert is_repeatable({**SPEC, "model": "owner/name", "model_revision": "0123abcd"})
    assert not is_repeatable({**SPEC, "model": "my-model"})  # a folder: only its fingerprint is known
    assert not is_repeatable({**SPEC, "data": "texts.csv"})
    assert not is_repeatable({})


def test_an_old_record_without_attention_is_still_a_request():
    assert JobRequest(model="m", data="d", projections=["atlas"]).settings() == ["--seed=0", "--projection", "atlas"]
