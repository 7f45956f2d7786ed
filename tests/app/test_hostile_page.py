"""Runs, typed paths and links that strangers made, on the page: each is a sentence, and none hides the rest."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.cache.run_list import spec
from tests.store.synthetic import make_synthetic_run

HOSTILE = "<img src=x onerror=alert(1)>![a](http://203.0.113.1/x.png)"
SPEC = {"model": "demo-language", "data": "demo-sentences", "seed": 1, "limit": 2, "layers": [0], "projection": ["pca"]}


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("QK_ATLAS_RUNS", str(tmp_path / "telling-folder"))
    return tmp_path / "telling-folder"


def draw(name: str, link: dict) -> None:
    """A page for AppTest, which runs this text by itself."""
    import streamlit as st

    from app import cache
    from app.state import read_link, resolve
    from app.views import VIEWS

    st.query_params.from_dict(link)
    selection = read_link(link)[0]
    if "run" in link:
        selection = resolve(selection, cache.facts(link["run"]))[0]
    next(view for view in VIEWS if view.name == name).render(selection)


def drawn(name: str, **link: str) -> AppTest:
    page = AppTest.from_function(draw, args=(name, link), default_timeout=90).run()
    assert not page.exception
    return page


def said(page: AppTest) -> str:
    return " ".join(each.value for kind in ("error", "warning", "caption", "code") for each in page.get(kind))


def test_the_list_of_runs_stands_whatever_lies_in_the_folder(runs):
    make_synthetic_run(runs, "whole", n_inputs=2, n_tokens=5, n_layers=1, n_heads=2)
    shutil.copytree(runs / "whole", runs / "unlike")
    size = (runs / "unlike" / "run.duckdb").stat().st_size
    (runs / "unlike" / "run.duckdb").write_bytes(os.urandom(size))
    for name in ("a <b>", b"\xff\xfe".decode("utf-8", "surrogateescape"), "[x](javascript:1)"):
        (runs / name).mkdir()
    (runs / "half.partial").mkdir()
    (runs / "half.partial" / "spec.json").write_text("[" * 100_000)
    (runs / "stray.duckdb").write_bytes(b"x")
    table = drawn("runs").dataframe[0].value
    states = dict(zip(table["run_id"], table["state"]))
    assert states == {
        "whole": "ready", "unlike": "ready", "half": "unfinished", "a <b>": "damaged", "\ufffd\ufffd": "damaged",
        "[x](javascript:1)": "damaged",
    }  # fmt: skip
    words = said(drawn("runs", row="unlike"))
    assert "cannot be opened" in words.replace("\\", "")
    assert "telling" not in words
    assert "cannot be a run id" in said(drawn("runs", row="\ufffd\ufffd")).replace("\\", "")


@pytest.mark.parametrize(
    "odd",
    [
        {"seed": "x"}, {"limit": "many"}, {"layers": 5}, {"layers": ["0;rm -rf"]}, {"projection": [["a"]]},
        {"model": ["demo-language"]}, {"data": {"a": 1}}, {"dtype": 3},
    ],
)  # fmt: skip
def test_settings_of_the_wrong_kind_make_no_command(runs, odd):
    (runs / "half.partial").mkdir(parents=True)
    (runs / "half.partial" / "spec.json").write_text(json.dumps(SPEC))
    assert spec("half") == SPEC
    (runs / "half.partial" / "spec.json").write_text(json.dumps({**SPEC, **odd}))
    assert spec("half") == {}


@pytest.mark.parametrize("typed", ["x" * 5000, "~nobody-of-that-name/x", "a\0b", f"/{HOSTILE}"])
def test_a_path_that_is_none_is_a_sentence(runs, typed):
    page = drawn("runs", form="1")
    page.segmented_control(key="form_model_way").set_value("folder").run()
    page.segmented_control(key="form_data_way").set_value("path").run()
    page.text_input(key="form_model_folder").set_value(typed)
    page.text_input(key="form_data_path").set_value(typed).run()
    page.button(key="form_start").click().run()
    assert not page.exception
    words = page.error[0].value.replace("\\", "")
    assert "There is no file or folder" in words or "cannot be the path" in words
    assert "<img" not in page.error[0].value.replace("\\<", "")


def test_words_of_a_link_that_mean_nothing_leave_every_page_standing(runs):
    make_synthetic_run(runs, "one", n_inputs=2, n_tokens=5, n_layers=1, n_heads=2)
    words = "by group scale null filter limits labels show order draw flows across up beside_run mark cut cut_heads "
    link = dict.fromkeys((words + "near lasso want step spot part").split(), HOSTILE)
    for name in ("heads", "input", "sinks"):
        drawn(name, run="one", **link)
