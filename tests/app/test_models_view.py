"""Is my model supported? The answer, for names as people write them, and for every kind of verdict."""

from __future__ import annotations

import pandas as pd
import pytest

from app.cache.coverage import coverage, find_types
from app.views.models import ROUTES, answer, summary_of, verdict

TYPES = ["bert", "gpt2", "llama", "llama4", "mamba", "qwen2", "qwen2_moe", "roberta", "xlm-roberta", "vit"]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("bert", "bert"),
        ("BertModel", "bert"),
        ("meta-llama/Llama-3.1-8B", "llama"),
        ("meta-llama/Llama-4-Scout", "llama4"),
        ("Qwen/Qwen2-0.5B", "qwen2"),
        ("google-bert/bert-base-uncased", "bert"),
        ("FacebookAI/xlm-roberta-base", "xlm-roberta"),
        ("google/vit-base-patch16-224", "vit"),
        ("GPT-2", "gpt2"),
    ],
)
def test_names_as_people_write_them(words: str, first: str) -> None:
    assert find_types(words, TYPES)[0] == first


def test_nothing_is_found_for_what_is_no_type_and_everything_for_nothing() -> None:
    assert find_types("zzz", TYPES) == []
    assert find_types("<script>alert(1)</script>", TYPES) == []
    assert find_types("", TYPES) == find_types(" / ", TYPES) == TYPES


def _row(**changes: object) -> pd.DataFrame:
    row = {
        "model_type": "bert", "route": "interface", "n_sites": 2, "exact": True, "attention_max_abs_diff": 2e-7,
        "note": "", "modality": "text",
    }  # fmt: skip
    return pd.DataFrame([{**row, **changes}])


@pytest.mark.parametrize(
    ("changes", "word", "sentence"),
    [
        ({}, "✓ exact", "Yes: bert is captured, within 2e-07 of its own attention, through transformers"),
        ({"attention_max_abs_diff": 0.0}, "✓ exact", "Yes: bert is captured, to the last bit of its own"),
        ({"exact": False}, "partly", "In part: 2 attention calls of bert are captured"),
        ({"exact": False, "route": "output_attentions"}, "attention only", "no map"),
        ({"exact": False, "route": "refused", "note": "no softmax"}, "no", "No: bert cannot be captured; no softmax."),
        ({"exact": False, "route": "no attention"}, "no attention", "has no attention to look at"),
        ({"exact": False, "route": "not tested"}, "not tested", "Not known"),
    ],
)
def test_every_verdict_has_its_sentence(changes: dict, word: str, sentence: str) -> None:
    found = _row(**changes)
    assert verdict(found.iloc[0]) == word
    assert sentence in answer("bert", found)


def test_what_is_not_found_is_answered() -> None:
    assert "No type of transformers goes by “nonesuch”" in answer("nonesuch", _row().iloc[:0])


def test_the_table_that_ships_is_the_one_the_page_tells_of() -> None:
    table, versions = coverage()
    assert set(table["route"]) <= set(ROUTES)
    assert table["model_type"].is_unique
    assert {"gpt2", "bert", "llama", "vit", "t5", "deberta-v2", "mamba"} <= set(table["model_type"])
    exact = int(table["exact"].sum())
    assert exact >= 384
    assert (table["route"] != "not tested").sum() > 422
    assert f"{exact} are captured exactly" in summary_of(table, versions)
    assert not (table["exact"] & (table["attention_max_abs_diff"] > 1e-5)).any()
