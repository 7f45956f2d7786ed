"""What a model wrote, step by step: the row that chose each token, and nothing of what came later."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import analysis
from app.charts.steps import Step, lookback_at, not_yet, step_of, written_places

WRITTEN = np.array([False, False, True, True])


def test_the_row_of_a_step_is_that_of_the_token_before():
    assert step_of("1", WRITTEN) == Step(1, 2, row=1, written=2)
    assert step_of("2", WRITTEN) == Step(2, 2, row=2, written=3)
    assert [step_of(said, WRITTEN) for said in (None, "0", "3", "-1", "²", "1" * 12)] == [None] * 6
    assert written_places(np.array([True, True])) == [1]


def test_what_was_not_there_yet_is_absent():
    assert not_yet(step_of("1", WRITTEN), 4).tolist() == [False, False, True, True]
    assert not_yet(step_of("2", WRITTEN), 4).tolist() == [False, False, False, True]
    assert not not_yet(None, 4).any()


def test_the_lookback_ratio_of_a_step_by_hand():
    rows = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.3, 0.3, 0.4, 0], [0.1, 0.3, 0.2, 0.4]])
    even = np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None]
    allowed = np.tril(np.ones((4, 4), dtype=bool))
    attention = np.stack([rows, even]).astype(np.float32)
    assert lookback_at(step_of("1", WRITTEN), attention, allowed, WRITTEN) is None
    assert lookback_at(step_of("2", WRITTEN), attention, allowed, WRITTEN) == pytest.approx((0.3 / 0.7 + 0.5) / 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    (folder / "texts.txt").write_text("The cat sat on the mat, and the cat\nThe dog", encoding="utf-8")
    analysis.extract(
        model="demo-language", data=folder / "texts.txt", out_dir=folder, projection=(), generate=5, run_id="written"
    ).close()
    return folder


def draw(selection: dict) -> None:
    """The page for AppTest, which runs this text by itself."""
    import streamlit as st

    from app.state import read_link
    from app.views.input import render_input

    if "drawn_once" not in st.session_state:
        st.session_state["drawn_once"] = True
        st.query_params.from_dict(selection)
    render_input(read_link(selection)[0])


def said(app: AppTest) -> str:
    html = [unescape(re.sub(r"<[^>]+>", "", each.proto.body)) for each in app.get("html")]
    return "\n".join([*html, *(each.value for each in (*app.caption, *app.markdown))]).replace("\\", "")


def test_the_page_goes_through_the_steps(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QK_ATLAS_RUNS", str(folder))
    with analysis.open_run("written", folder) as run:
        tokens = run.tokens()
        of_input = tokens[tokens["input_id"] == 0].sort_values("position")
        texts = of_input["text"].tolist()
        written = of_input["written"].to_numpy(dtype=bool)
        attention = run.attention(run.sites[1], 2, 0)
    step = step_of("3", written)
    app = AppTest.from_function(
        draw, args=({"run": "written", "input": "0", "site": "text.dec.self.1", "head": "2", "step": "3"},),
        default_timeout=120,
    ).run()  # fmt: skip
    assert not app.exception
    words = said(app)
    named = [f"“{texts[place].strip()}”" for place in (step.written, step.row)]
    assert f"Step 3 of {step.n_steps}: the model wrote {named[0]} after {named[1]} ({step.row})" in words
    ratio = lookback_at(step, attention[None], np.tril(np.ones_like(attention, dtype=bool)), written)
    assert f"{ratio:.2f} (1 = looks at what it was given alone" in words
    (listed,) = (each.value for each in app.dataframe if "weight" in each.value)
    top = np.argsort(-attention[step.row, : step.written], kind="stable")[:3]
    assert [int(at) for at in listed["at"]][:3] == top.tolist()
    assert max(int(at) for at in listed["at"]) < step.written

    slider = next(each for each in app.slider if each.key == "input_step")
    assert (slider.value, slider.max) == (3, step.n_steps)
    slider.set_value(1).run()
    assert "Nothing of its own was there yet" in said(app)
    assert app.query_params["step"] == "1"
    assert app.query_params["token"] == str(written_places(written)[0] - 1)
    slider = next(each for each in app.slider if each.key == "input_step")
    slider.set_value(0).run()
    assert "step" not in app.query_params
    assert f"The model wrote the last {step.n_steps} tokens: the slider" in said(app)
