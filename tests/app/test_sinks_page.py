"""The page Sinks as a whole: what of a link it takes, and what it says of runs with much and with little to show."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from unittest import mock

import pytest
from streamlit.testing.v1 import AppTest

from analysis.pipeline.sinks import sum_up_sinks
from analysis.sinks import PUBLISHED, USUAL, SinkRule
from analysis.store import open_run
from app.charts.sink_heads import make_learned
from app.views.sinks_parts.choice import COSINE, QUERIES, THRESHOLD, read_level, read_number, rules_of
from tests.sinks.run_with_states import FIRST, KEPT, LIVES, make_run_with_states
from tests.store.synthetic import make_synthetic_run

PARTS = ("massive", "made", "weakening", "geometry", "frames", "by_head", "cuts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("sinks")
    make_run_with_states(runs, "texts", n_inputs=5, n_tokens=20, n_layers=8, n_heads=3, causal=True)
    make_run_with_states(runs, "images", modality="vision", n_inputs=3, n_tokens=17, n_layers=6, n_heads=2)
    make_run_with_states(runs, "bare", n_inputs=4, n_tokens=16, n_layers=2, n_heads=2, with_states=False)
    small = dict(n_inputs=3, n_tokens=12, n_layers=2, n_heads=2, with_states=False)
    make_run_with_states(runs, "learned", learned=True, **small)
    make_synthetic_run(runs, "old")
    return runs


@pytest.fixture(autouse=True)
def runs(folder, monkeypatch) -> Path:
    monkeypatch.setenv("QK_ATLAS_RUNS", str(folder))
    return folder


def draw(selection: dict, opened: list) -> None:
    """The page for AppTest, which runs this text by itself."""
    import streamlit as st

    from app import cache
    from app.state import read_link, resolve
    from app.views.sinks import render_sinks

    for part in opened:
        st.session_state[f"sinks_part_{part}"] = True
    st.query_params.from_dict(selection)
    render_sinks(resolve(read_link(selection)[0], cache.facts(selection["run"]))[0])


def drawn(*opened: str, **selection: str) -> AppTest:
    return AppTest.from_function(draw, args=(selection, list(opened)), default_timeout=90).run()


def said(app: AppTest) -> str:
    html = [unescape(re.sub(r"<[^>]+>", "", each.proto.body)) for each in app.get("html")]
    words = [*html, *(each.value for each in app.caption), *(each.value for each in app.markdown)]
    return "\n".join(words).replace("\\", "")


def test_the_sentence_is_that_of_the_library_and_follows_the_thresholds(folder):
    with open_run("texts", folder) as run:
        usual, low = sum_up_sinks(run), sum_up_sinks(run, rule=SinkRule(0.6))
    assert usual != low
    followed = said(drawn(run="texts", threshold="0.6"))
    assert low in followed
    assert usual not in followed


@pytest.mark.parametrize("run", ["texts", "images"])
def test_every_part_is_drawn_without_an_error(run, folder):
    app = drawn(*PARTS, run=run)
    assert not app.exception
    assert not app.error
    words = said(app)
    with open_run(run, folder) as opened:
        assert sum_up_sinks(opened) in words
    assert f"Of {24 if run == 'texts' else 12} heads, the primary sink has" in words
    assert "rank correlation" in words
    assert "Nothing has been cut in this run yet." in words


def test_a_run_without_states_says_what_to_do():
    app = drawn("massive", "made", "weakening", run="bare")
    assert not app.exception
    assert said(app).count("--states on") == 5  # levels and norms, and the three parts


def test_a_learned_sink_has_a_part_of_its_own_with_what_the_rows_lack():
    with mock.patch("app.views.sinks_parts.below.make_learned", wraps=make_learned) as made:
        app = drawn("learned", run="learned")
    assert not app.exception
    (table, _), _ = made.call_args
    assert table["name"].tolist() == ["L0H0", "L0H1", "L1H0", "L1H1"]
    assert table["score"].tolist() == pytest.approx([1 - KEPT] * 4, abs=1e-3)


def test_a_run_made_before_says_what_would_be_here():
    app = drawn(run="old")
    assert not app.exception
    assert "No sinks measured in this run" in said(app)
    assert "extract it again" in said(app)
    assert app.button(key="sinks_see_runs")


def test_two_runs_side_by_side_have_their_numbers():
    tables = [each.value for each in drawn(run="texts", beside_run="images").dataframe]
    own = [table for table in tables if "received" in table]
    assert len(own) == 3  # both sides, and the first run's own picture below
    assert own[0].equals(own[2])
    assert not own[0].equals(own[1])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"mark": f"level:{FIRST}.{LIVES}", "short": "1", "long": "6"}, [f"From layer {FIRST} for {LIVES} layers"]),
        ({"mark": "layer:3", "own": "yes", "queries": "3", "cosine": "0.5"}, ["Layer 3"]),
        ({"mark": "class:punctuation", "group": "class", "beside_run": "images"},
         ["punctuation", "Two runs side by side"]),
        ({"mark": "position:2", "group": "position"}, ["position 2"]),
        ({"mark": "token:no such", "group": "token"}, ["Nothing of this run has that mark"]),
        ({"site": "text.dec.self.1", "head": "1"}, ["Head L1H1"]),
        ({"beside_run": "old"}, ["Two runs side by side"]),
    ],
)  # fmt: skip
def test_any_words_of_a_link_are_drawn(words, told):
    app = drawn(run="texts", **words)
    assert not app.exception
    if "old" not in words.values():
        assert not app.error
    seen = said(app)
    assert all(each in seen for each in told)
    assert not app.warning


def test_words_that_mean_nothing_are_told_and_left_out():
    app = drawn(run="texts", threshold="7", queries="2.5", mark="nonsense:1", cosine="x", short="5", long="3")
    assert not app.exception
    assert app.warning[0].value.count("The link says") == 5
    assert "the strongest" in str(app.selectbox(key="sinks_mark").format_func("nothing"))


def test_numbers_of_a_link_are_taken_within_their_limits():
    notes: list[str] = []
    assert read_number("0.25", THRESHOLD, notes) == 0.25
    assert read_number("12", QUERIES, notes) == 12
    assert read_number(None, COSINE, notes) is None
    assert notes == []
    for bad, name in (("0", THRESHOLD), ("nan", THRESHOLD), ("1e9", QUERIES), ("3.5", QUERIES), ("1", COSINE)):
        assert read_number(bad, name, notes) is None
    assert len(notes) == 5
    assert read_level("2.10") == (2, 10)
    assert read_level("2.") is read_level("a.b") is read_level("1.2.3") is None


def test_the_own_query_counts_in_tables_only_unless_the_link_says_otherwise():
    nothing = {THRESHOLD: None, QUERIES: None}
    assert rules_of(nothing, "") == (USUAL, PUBLISHED)
    assert rules_of({THRESHOLD: 0.5, QUERIES: 4}, "yes") == (SinkRule(0.5, 4, True), SinkRule(0.5, 4, True))
    assert rules_of(nothing, "no") == (USUAL, USUAL)
