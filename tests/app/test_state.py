"""The selection and its link are the same thing, and what a run does not have is said."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from analysis.types import Site
from app.state import RunFacts, Selection, read_link, resolve, switch_sinks, write_link


def site(depth: int, n_heads: int = 4, stack: str = "dec") -> Site:
    label = f"text.{stack}.self.{depth}"
    return Site(depth, f"{stack}.{depth}#0", label, "text", stack, "self", depth, n_heads, n_heads, 8, 8, 0.35)


FACTS = RunFacts(
    run="r1", sites=(site(0), site(1), site(0, 6, "enc")), maps=("atlas-2d", "pca-3d"), columns=("position", "genre"),
    scores=("entropy",), n_tokens={0: 5, 7: 9},
)  # fmt: skip


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection("r1", "pca-3d", "text.dec.self.1", 0, 0, 0, "key", "genre", "entropy"),
        Selection(run="ünïcode & co", colour="a=b").having(order="rank"),
        *(Selection(head=head, input=text) for head, text in itertools.product((None, 0, 11), (None, 0, 3))),
    ],
)
def test_a_link_read_back_is_the_selection(selection):
    assert read_link(write_link(selection)) == (selection, [])


def test_an_untouched_page_has_an_empty_link():
    assert write_link(Selection()) == {}


def test_a_run_opens_on_a_site_that_is_in_its_maps():
    implicit = replace(site(0), d_head=0)
    assert RunFacts(run="hybrid", sites=(implicit, site(1))).site(None).depth == 1
    assert RunFacts(run="hybrid", sites=(implicit, site(1))).site(implicit.label).depth == 0
    assert RunFacts(run="mamba", sites=(implicit,)).site(None).depth == 0


def test_zero_is_a_choice_and_not_the_absence_of_one():
    assert write_link(Selection(head=0, input=0, token=0)) == {"head": "0", "input": "0", "token": "0"}


def test_having_changes_a_copy_and_none_takes_an_option_away():
    first = Selection(head=3).having(order="rank")
    second = first.having(order=None, head=None)
    assert (first.options, first.head) == ({"order": "rank"}, 3)
    assert (second.options, second.head) == ({}, None)


@pytest.mark.parametrize("bad", ["-1", "1.5", "", "x", "٣", "1" * 13, "<script>"])
def test_a_number_that_is_none_is_left_out_and_said(bad):
    selection, notes = read_link({"head": bad, "run": "r1"})
    assert selection == Selection(run="r1")
    assert len(notes) == 1
    assert "whole number" in notes[0]


def test_resolve_fills_in_what_nobody_chose():
    selection, notes = resolve(Selection(run="r1"), FACTS)
    assert notes == []
    assert (selection.site, selection.head, selection.map, selection.input) == ("text.dec.self.0", 0, "atlas-2d", None)


@pytest.mark.parametrize(
    ("asked", "said", "got"),
    [
        ({"site": "nope"}, "no attention site 'nope'", {"site": "text.dec.self.0"}),
        ({"head": 4}, "heads 0 to 3", {"head": 0}),
        ({"map": "umap"}, "atlas-2d, pca-3d", {"map": "atlas-2d"}),
        ({"colour": "hue"}, "no token column 'hue'", {"colour": "kind"}),
        ({"score": "zest"}, "no head score 'zest'", {"score": None}),
        ({"input": 3}, "inputs 0 to 7", {"input": None, "token": None}),
        ({"input": 7, "token": 9}, "tokens 0 to 8", {"input": 7, "token": None}),
    ],
)
def test_what_the_run_does_not_have_is_said_once_and_replaced(asked, said, got):
    selection, notes = resolve(Selection(run="r1", **asked), FACTS)
    assert len(notes) == 1
    assert said in notes[0]
    assert {name: getattr(selection, name) for name in got} == got


def test_resolve_keeps_what_the_run_has():
    asked = Selection("r1", "pca-3d", "text.enc.self.0", 5, 7, 8, "key", "genre", "entropy")
    assert resolve(asked, FACTS) == (asked, [])


def test_long_values_are_cut_in_messages():
    _, notes = resolve(Selection(run="r1", site="x" * 5000), FACTS)
    assert len(notes[0]) < 300


def test_a_token_without_an_input_is_one_of_the_first_input_which_is_the_one_shown():
    facts = RunFacts(run="r", n_tokens={4: 3, 1: 9})
    shown, notes = resolve(Selection(run="r", token=2), facts)
    assert (shown.input, shown.token, notes) == (4, 2, [])
    shown, notes = resolve(Selection(run="r", token=3), facts)
    assert shown.token is None
    assert "tokens 0 to 2" in notes[0]


TWINS = RunFacts(
    run="r1", sites=(site(0),), maps=("atlas-2d", "pca-3d", "atlas-2d-without-sinks"),
    without_sinks={"atlas-2d": "atlas-2d-without-sinks"},
)  # fmt: skip


def shown(selection: Selection) -> str | None:
    return resolve(selection, TWINS)[0].map


@pytest.mark.parametrize(
    ("chosen", "hidden"),
    [(None, "atlas-2d-without-sinks"), ("atlas-2d", "atlas-2d-without-sinks"), ("pca-3d", "pca-3d")],
)
def test_hiding_sinks_shows_the_map_without_them_and_back_the_former_one(chosen, hidden):
    first = Selection(run="r1", map=chosen)
    on = first.having(**switch_sinks(first, TWINS))
    assert on.hides_sinks
    assert write_link(on)["sinks"] == "hidden"
    assert shown(on) == hidden
    off = on.having(**switch_sinks(on, TWINS))
    assert off == first
    assert shown(off) == (chosen or "atlas-2d")


def test_a_map_chosen_while_sinks_are_hidden_stays():
    on = Selection(run="r1", map="atlas-2d")
    on = on.having(**switch_sinks(on, TWINS))
    for chosen in ("atlas-2d", "pca-3d"):
        other = on.having(map=chosen)
        assert shown(other) == chosen
        off = other.having(**switch_sinks(other, TWINS))
        assert (shown(off), off.hides_sinks) == (chosen, False)
    own = Selection(run="r1", map="atlas-2d-without-sinks")
    own = own.having(**switch_sinks(own, TWINS))
    assert shown(own.having(**switch_sinks(own, TWINS))) == "atlas-2d-without-sinks"


def test_other_words_do_not_hide_sinks():
    assert not Selection().having(sinks="yes").hides_sinks
