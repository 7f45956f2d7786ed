"""The table of coverage: a sample of types is tried each time and has to come out as the table says."""

from __future__ import annotations

import json
import os

import pytest

from analysis.coverage import matrix
from analysis.coverage.report import INTERFACE, NOT_TESTED, TypeReport
from analysis.errors import InputError
from app.cache.coverage import TABLE


@pytest.fixture(scope="module")
def shipped() -> dict[str, dict]:
    """The table that comes with the page, by type."""
    return {row["model_type"]: row for row in json.loads(TABLE.read_text(encoding="utf-8"))["types"]}


@pytest.mark.parametrize("model_type", matrix.SAMPLE)
def test_a_type_is_captured_as_the_table_says(model_type: str, shipped: dict[str, dict]) -> None:
    report, row = matrix.try_type(model_type), shipped[model_type]
    assert (report.route, report.is_exact, report.n_sites) == (row["route"], row["exact"], row["n_sites"]), report.note
    if report.is_exact:
        assert report.attention_max_abs_diff <= 1e-5
        assert report.outputs_max_abs_diff == 0


def test_the_table_has_every_type_and_the_versions_it_was_measured_with(shipped: dict[str, dict]) -> None:
    assert set(shipped) == set(matrix.model_types())
    versions = json.loads(TABLE.read_text(encoding="utf-8"))["versions"]
    assert set(versions) == {"transformers", "torch"}


def test_a_model_that_attends_otherwise_than_it_says_is_not_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.bert import modeling_bert

    own = modeling_bert.eager_attention_forward

    def sharper(module, query, *args, **kwargs):
        return own(module, query * 1.01, *args, **kwargs)

    monkeypatch.setattr(modeling_bert, "eager_attention_forward", sharper)
    report = matrix.try_type("bert")
    assert not report.is_exact
    assert report.n_left_out == 2
    assert "differs from the model's own" in report.note


def _fall_over(model_type: str) -> TypeReport:
    if model_type == "bad":
        os._exit(7)
    return TypeReport(model_type, "text", INTERFACE)


def test_a_type_that_takes_its_process_with_it_is_told_and_the_others_go_on() -> None:
    told: list[str] = []
    reports = matrix.measure(["a", "bad", "b"], 1, lambda report: told.append(report.model_type), _fall_over)
    assert [report.route for report in reports] == [INTERFACE, NOT_TESTED, INTERFACE]
    assert sorted(told) == ["a", "b", "bad"]
    assert "ended without a word" in reports[1].note


def test_a_type_that_there_is_not_is_one_sentence() -> None:
    with pytest.raises(InputError, match="no model type 'gpt_2'"):
        matrix.choose(["gpt2", "gpt_2"])
