"""What a widget writes to the address, and what it does not: values that a slow browser sends late are no picks."""

from __future__ import annotations

from typing import Any

import pytest
import streamlit as st

from app.widgets import bound


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The session's state: what a browser sends is put here, and then called back."""
    state: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", state)
    return state


@pytest.fixture
def written() -> list[Any]:
    return []


def test_a_pick_is_written_once(session, written):
    box = bound("map", "atlas", written.append)
    assert session["map"] == "atlas"
    session["map"] = "pca"
    box["on_change"]()
    assert written == ["pca"]
    assert bound("map", "pca", written.append)["key"] == "map"  # the user's own pick keeps the box, and its focus


def test_a_widget_that_went_away_writes_nothing_when_its_value_comes_late(session, written):
    box = bound("target", "whole", written.append)
    session.pop("target")  # Streamlit forgets what a run did not draw
    session["target"] = "whole"  # but the browser still sends it with the next click, as news
    box["on_change"]()
    assert written == []


def test_a_value_from_elsewhere_makes_a_new_widget_and_the_late_old_value_is_not_a_pick(session, written):
    old = bound("map", "atlas", written.append)
    new = bound("map", "umap", written.append)
    assert (old["key"], new["key"], session["map_1"]) == ("map", "map_1", "umap")
    session["map"] = "atlas"
    old["on_change"]()
    assert written == []
    session["map_1"] = "pca"
    new["on_change"]()
    assert written == ["pca"]


def test_back_and_forth_before_the_page_was_drawn_again_are_two_picks(session, written):
    box = bound("sinks", False, written.append)
    for value in (True, False):
        session["sinks"] = value
        box["on_change"]()
    assert written == [True, False]


def test_a_pick_that_is_refused_is_shown_as_it_was(session, written):
    box = bound("limit", 0.5, written.append)
    session["limit"] = 7.0
    box["on_change"]()
    again = bound("limit", 0.5, written.append)
    assert again["key"] == "limit_1"
    assert session["limit_1"] == 0.5
