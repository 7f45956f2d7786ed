"""Hidden sinks on the page: what is said, what is drawn of several heads, and notes on picked tokens; by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.sinks import SinkRule, hide_sinks
from analysis.types import KEY, QUERY
from app.charts.hidden_words import emptied_words, hidden_words, inputs_words
from app.charts.image_flows import strongest_arrows
from app.charts.neighbours import describe_pick
from app.charts.shown import each_alone, show_attention, strongest
from app.charts.text_attention import attention_table, make_lines
from app.views.input_parts.hiding import HiddenHere

CAUSAL = np.tril(np.ones((4, 4), dtype=bool))
RULE = SinkRule(min_queries=2)
ONE = np.array([[1, 0, 0, 0], [0.8, 0.2, 0, 0], [0.5, 0.1, 0.4, 0], [0.6, 0, 0.1, 0.3]], dtype=np.float32)
"""Without its sink, key 0: nothing; 1; 0.2, 0.8; 0, 0.25, 0.75."""

TWO = np.array([[1, 0, 0, 0], [0.2, 0.8, 0, 0], [0.2, 0.2, 0.6, 0], [0.2, 0.2, 0.2, 0.4]], dtype=np.float32)
"""Has no sink: key 0 gets 0.2 of three others, key 1 gets 0.2 of two."""


def here(*heads: np.ndarray) -> HiddenHere:
    return HiddenHere([hide_sinks(each, CAUSAL, RULE) for each in heads])


def test_sinks_are_hidden_before_heads_are_averaged_and_rows_still_sum_to_1():
    both = here(ONE, TWO)
    mean = both.mean([each.weights for each in both.heads])
    by_hand = [[1, 0, 0, 0], [0.1, 0.9, 0, 0], [0.1, 0.2, 0.7, 0], [0.1, 0.1, 0.225, 0.575]]
    np.testing.assert_allclose(mean, by_hand, atol=1e-6)
    assert not both.columns.any()
    assert not both.emptied.any()


def test_the_sentence_of_one_input():
    one = here(ONE)
    assert one.sentence("L0H1", ["<bos>", "a", "b", "c"], 2) == (
        "73\u00a0% of L0H1’s attention here, on 1 token (“<bos>” at 0), is hidden; rows are scaled to sum to 1. Of the "
        "picked query’s it is 50\u00a0%. Nothing is left of 1 query, which looks at sinks only."
    )
    assert here(ONE, TWO).sentence("", [], None) == (
        "36\u00a0% of these heads’ attention here, on 0.5 tokens a head, is hidden; rows are scaled to sum to 1."
    )
    assert here(TWO).sentence("L0H0", ["a"] * 4, 1) == "No token is a sink here, so none is hidden."


def test_the_sentence_says_what_it_rests_on_and_what_a_learned_sink_took():
    said = hidden_words(0.274, 1.21, "an input", rests_on="mean of 8 heads", learned=0.3)
    assert said == (
        "27\u00a0% of attention, on 1.2 tokens an input, is hidden (mean of 8 heads); rows are scaled to sum to 1. The "
        "softmax has a sink of its own, which took 30\u00a0%: it is left out of the rows too."
    )
    assert "softmax" in hidden_words(0, 0, "", learned=0.3)
    assert "less than 0.1 tokens" in hidden_words(0.001, 0.02, "an input")
    assert emptied_words(0) == ""
    assert emptied_words(2.34, "an input") == " Nothing is left of 2.3 queries an input, which look at sinks only."
    assert emptied_words(0.97, "an input") == " Nothing is left of 1 query an input, which looks at sinks only."
    assert (inputs_words(48, 1900), inputs_words(60, 60)) == ("48 of 1,900 inputs", "all 60 inputs")


def test_a_hidden_sink_is_no_key_any_more_and_still_a_query():
    found = hide_sinks(ONE, CAUSAL, RULE)
    shown = show_attention(found.weights, CAUSAL, np.zeros(4, dtype=bool), each_alone(4), found.columns)
    assert shown.sinks.tolist() == [True, False, False, False]
    assert len(shown) == 4
    assert np.isnan(shown.seen()[:, 0]).all()
    np.testing.assert_allclose(shown.weights[2], [0, 0.2, 0.8, 0], atol=1e-6)
    assert strongest(shown.weights, shown.allowed)[0][3].tolist() == [3, 2, 1]


def test_sinks_and_hidden_tokens_together_and_words_of_which_all_tokens_are_hidden():
    found = hide_sinks(ONE, CAUSAL, RULE)
    hidden = np.array([False, False, True, False])
    shown = show_attention(found.weights, CAUSAL, hidden, each_alone(4), found.columns)
    np.testing.assert_allclose(shown.weights, [[0, 0, 0], [0, 1, 0], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(shown.hidden_mass, [0, 0, 0.25], atol=1e-6)
    assert shown.sinks.tolist() == [True, False, False]
    words = show_attention(found.weights, CAUSAL, ~np.ones(4, bool), np.array([0, 0, 1, 1]), found.columns)
    assert words.sinks.tolist() == [False, False]
    np.testing.assert_allclose(words.weights, [[0.5, 0], [0.1, 0.9]], atol=1e-6)


@pytest.fixture
def tokens() -> pd.DataFrame:
    return pd.DataFrame({"input_id": 0, "position": range(4), "text": list("abcd"), "char_start": 0, "char_end": 0})


def test_notes_on_a_picked_token_say_what_is_left(tokens):
    found = hide_sinks(ONE, CAUSAL, RULE)
    notes = {
        place: describe_pick(found.weights, tokens, 0, place, kind, None, hidden=found.columns)
        for place, kind in ((3, QUERY), (0, KEY))
    }
    assert [row["at"] for row in notes[3]["sees"]["rows"]] == ["3", "2"]
    assert notes[3]["sees"]["note"].endswith("100\u00a0% of its attention without sinks.")
    assert notes[0]["seen"]["note"] == "Its key is a sink of this head in this input, and hidden."
    assert notes[0]["sees"]["note"] == "Its query looks at hidden sinks only."
    whole = describe_pick(ONE, tokens, 0, 0, KEY, None)
    assert whole["seen"]["rows"][0]["at"] == "0"
    assert "an even share" in whole["seen"]["note"]


def test_lines_keep_the_place_of_a_token_that_looks_at_sinks_only_and_mark_its_key():
    found = hide_sinks(ONE, CAUSAL, RULE)
    keep = (CAUSAL & ~found.columns) | np.eye(4, dtype=bool)
    table = attention_table(found.weights, list("abcd"), list("0123"), keep)
    chart = make_lines(table, list("abcd"), [False] * 4, sinks=found.columns.tolist()).to_dict()
    drawn = [row for rows in chart["datasets"].values() for row in rows if "label" in row]
    keys = {row["key"]: row["label"] for row in drawn if "key" in row}
    queries = {row["query"]: row["label"] for row in drawn if "query" in row}
    assert (keys[0], keys[1], queries[0]) == ("⊘ a", "b", "a")


def test_a_patch_that_looks_at_sinks_only_has_no_arrow():
    table = pd.DataFrame(
        {"position": range(3), "name": list("abc"), "is_patch": True, "left": range(3), "right": range(1, 4),
         "top": 0.0, "bottom": 1.0}
    )  # fmt: skip
    weights = np.array([[np.nan, 0, 0], [np.nan, 0.2, 0.8], [np.nan, 1, 0]])
    assert strongest_arrows(weights, table)[["query", "key"]].to_numpy().tolist() == [[1, 2], [2, 1]]
