"""The suggested path: which head it leads to, what it picks there, and the words of every step."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from app.components.tour.steps import Example, make_steps, path_name, pick_example, pick_head
from app.guide import step_on

HEADS = pd.DataFrame({
    "site": ["text.dec.self.0", "text.dec.self.0", "text.dec.self.1", "text.dec.cross.1"],
    "head": [0, 1, 0, 0],
    "name": ["L0H0", "L0H1", "L1H0", "L1H0"],
    "previous_token": [0.2, 0.9, 0.1, 0.95],
    "kl_explained": [0.5, 0.6, 0.7, 0.8],
})  # fmt: skip
EXAMPLE = Example(input=3, query=9, key=4, weight=0.87, query_text="red", key_text="ball")


def test_the_path_leads_to_the_highest_induction_score_where_there_is_one():
    head, score = pick_head(HEADS.assign(induction=[0.1, 0.2, 0.85, np.nan]))
    assert (head["name"], score) == ("L1H0", "induction")
    assert path_name(score) == "Find the induction head"


def test_else_to_the_highest_previous_token_score_of_self_attention():
    head, score = pick_head(HEADS)
    assert (head["name"], head["site"], score) == ("L0H1", "text.dec.self.0", "previous_token")


def test_else_to_the_first_head_and_without_heads_nowhere():
    head, score = pick_head(HEADS.drop(columns="previous_token"))
    assert (head["name"], score) == ("L0H0", None)
    assert pick_head(HEADS.iloc[:0]) is None


def test_the_example_is_the_largest_weight_of_its_kind():
    attention = np.array([[1, 0, 0, 0], [0.4, 0.6, 0, 0], [0.1, 0.3, 0.6, 0], [0.1, 0.5, 0.2, 0.2]], dtype=np.float32)
    before = attention.copy()
    allowed = np.tril(np.ones((4, 4), dtype=bool))
    allowed[:, 0] = allowed[0] = False
    assert pick_example(attention, allowed, "previous_token") == (2, 1)
    assert pick_example(attention, allowed, "induction") == (3, 1)
    assert pick_example(attention, allowed, None) == (3, 1)
    assert pick_example(attention, np.zeros_like(allowed), None) is None
    np.testing.assert_array_equal(attention, before)


def steps(score: str | None, **more):
    told = {"example": EXAMPLE, "is_image": False, "has_map": True, "low": 0.01, "high": 0.85, **more}
    return make_steps(HEADS.iloc[1], score, told.pop("example"), **told)


def test_six_steps_through_atlas_head_and_input():
    made = steps("induction")
    assert [step.page for step in made] == ["atlas", "atlas", "head", "head", "input", "input"]
    assert made[1].words["score"] == "induction"
    assert "0.85" in made[1].text
    assert "L0H1" in made[1].text
    assert made[3].words == {**made[2].words, "input": 3, "token": 9}
    assert "“red” at 9 puts 0.87 of its weight on “ball” at 4" in made[3].text
    assert made[5].targets == [["nav .copy"]]


def test_without_induction_it_says_so():
    assert "no induction score" in steps("previous_token")[1].text
    assert "no head scores" in steps(None)[1].text


@pytest.mark.parametrize(("more", "pages"), [
    ({"has_map": False}, ["atlas", "atlas", "input", "input"]),
    ({"example": None}, ["atlas", "atlas", "head", "head"]),
])  # fmt: skip
def test_a_run_that_lacks_something_has_a_shorter_tour(more, pages):
    assert [step.page for step in steps("induction", **more)] == pages


@pytest.mark.parametrize(("page", "now", "shown"), [
    ("atlas", 2, 2), ("head", 2, 3), ("head", 4, 4), ("input", 2, 5), ("atlas", 5, 2), ("runs", 3, None),
    ("input", 9, 6),
])  # fmt: skip
def test_somebody_who_goes_ahead_takes_the_tour_along(page, now, shown):
    assert step_on(page, [step.page for step in steps("induction")], now) == shown


def test_images_are_spoken_of_as_images():
    said = " ".join(step.title + step.text for step in steps("previous_token", is_image=True))
    assert "patch 9" in said
    assert "sentence" not in said
