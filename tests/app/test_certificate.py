"""Certificate and manifest in words."""

from __future__ import annotations

from analysis.provenance import certificate_sentences, made_by
from app.charts.certificate import certificate_table, left_out
from app.charts.fidelity import sample_note

SITE = {"label": "text.dec.self.0", "attention_max_abs_diff": 3e-7, "recomputed_max_abs_diff": 4e-3}
CERTIFICATE = {
    "n_tokens": 1043, "outputs_max_abs_diff": 0.0, "attention_max_abs_diff": 1.44e-6, "eager": "compared",
    "values_max_abs_diff": 5e-7, "recomputed_max_abs_diff": 4e-3,
    "sites": {"h.0": {**SITE, "is_recomputable": False}, "h.1": {"label": "text.dec.self.1", "is_recomputable": True}},
    "left_out": {"h.1": "attention differs by 3.0e-01", "h.9": "its attention is never called"},
}  # fmt: skip


def test_each_check_is_one_sentence_with_its_figure():
    said = certificate_sentences(CERTIFICATE)
    assert said[0] == "Checked on the longest input, 1,043 tokens."
    assert said[1] == "The model's outputs are identical, bit for bit, with and without capture."
    assert "at most 1.4e-06" in said[2]
    assert "to within 4.0e-03" in said[4]
    assert said[5].endswith("text.dec.self.0: there the attention itself is stored.")
    assert len(said) == 6


def test_sites_found_by_their_operations_are_told():
    sites = {key: {**SITE, "route": route} for key, route in (("a", "interface"), ("b", "optrace"), ("c", "optrace"))}
    certificate = {**CERTIFICATE, "sites": sites, "left_out": {"c": "its keys are not finite"}}
    assert any(each.startswith("One attention site goes round") for each in certificate_sentences(certificate))
    assert certificate_table(certificate)["reached by"].tolist() == ["interface", "tracing"]
    assert "reached by" not in certificate_table(CERTIFICATE)
    assert not any("goes round" in each for each in certificate_sentences(CERTIFICATE))


def test_a_model_that_attends_otherwise_in_eager_mode_is_told():
    sites = {"h.0": {**SITE, "between_implementations_max_abs_diff": 0.9}}
    said = [each for each in certificate_sentences({**CERTIFICATE, "sites": sites}) if "eager mode" in each]
    assert said == [
        "In eager mode the model itself attends otherwise than as it ran here, by up to 9.0e-01 at text.dec.self.0: "
        "the run holds what it did as it ran."
    ]
    sites["h.0"]["between_implementations_max_abs_diff"] = 2e-6
    assert not any("eager mode" in each for each in certificate_sentences({**CERTIFICATE, "sites": sites}))


def test_outputs_that_moved_are_not_called_identical():
    said = certificate_sentences({"outputs_max_abs_diff": 2e-6, "left_out": {}})
    assert "identical" not in said[0]
    assert "2.0e-06" in said[0]
    assert said[1] == "No attention site was left out."


def test_no_comparison_is_said_with_its_reason():
    said = certificate_sentences({**CERTIFICATE, "attention_max_abs_diff": None, "eager": "it returns no weights"})
    assert any("could not be compared" in each and "it returns no weights" in each for each in said)


def test_a_certificate_without_figures_says_nothing():
    assert certificate_sentences({"attention_max_abs_diff": {}}) == []


def test_what_was_left_out_is_named_with_its_reason_and_has_no_row_of_figures():
    missing = left_out(CERTIFICATE)
    assert missing["attention site"].tolist() == ["text.dec.self.1", "h.9"]
    assert missing["reason"].iloc[1] == "its attention is never called"
    assert certificate_table(CERTIFICATE)["attention site"].tolist() == ["text.dec.self.0"]


def test_what_made_a_run_reads_from_its_manifest():
    said = dict(made_by({
        "model": "m", "n_parameters": 2123904, "model_revision": "sha256:7", "data_hash": "sha256:2",
        "created": "2026-01-02T03:04:05", "versions": {"torch": "2.0"}, "code_version": "0.1.0",
        "spec": {"limit": None, "layers": [0, 2], "projection": [], "seed": 0},
    }))  # fmt: skip
    assert said["Model"] == "m, 2,123,904 parameters"
    assert (said["Inputs"], said["Layers"], said["Maps"], said["Seed"]) == ("all", "0, 2", "none", "0")
    assert said["Versions"] == "QK Atlas 0.1.0, torch 2.0"
    assert said["Made"] == "2026-01-02 03:04:05 UTC"
    assert "Data" not in said


def test_a_map_of_a_sample_says_so_and_one_of_all_tokens_says_nothing():
    assert sample_note({"n_fitted": 20000, "n_placed": 44000}) == (
        "Fitted on 20,000 of 64,000 tokens; the others are placed beside their nearest neighbours, and the neighbour "
        "figures are of the sample."
    )
    assert "by the same matrices" in sample_note({"n_fitted": 5, "n_placed": 1, "query_matrix": [[1]]})
    assert sample_note({"n_fitted": 20000, "n_placed": 0}) == sample_note({}) == ""
