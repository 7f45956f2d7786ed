"""The table of sinks, by hand: scores, rates, intervals, nulls, and which tokens count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.errors import UserError
from analysis.sinks import PUBLISHED, SinkRule, find_sinks, token_classes
from analysis.sinks.groups import SiteReceived, able_tokens
from analysis.sinks.reading import even_received
from analysis.types import Band

RULE = SinkRule(threshold=0.3, min_queries=2, counts_own=True)


def tokens_of(*texts: str) -> pd.DataFrame:
    rows = [(number, place, word) for number, text in enumerate(texts) for place, word in enumerate(text.split())]
    frame = pd.DataFrame(rows, columns=["input_id", "position", "text"])
    kinds = {"<bos>": "special", ".": "punctuation", "7": "number"}
    word_class = frame["text"].map(lambda word: kinds.get(word, "word"))
    return frame.assign(is_special=frame["text"] == "<bos>", word_class=word_class)


TOKENS = tokens_of("<bos> a . b", "<bos> c . b", "<bos> a 7")
SEEN = np.concatenate([[4, 3, 2, 1], [4, 3, 2, 1], [3, 2, 1]])
RECEIVED = np.array(
    [[0.8, 0.1, 0.4, 1, 0.6, 0.1, 0.2, 1, 0.2, 0.1, 1], [0.1, 0.1, 0.1, 1, 0.1, 0.1, 0.1, 1, 0.1, 0.1, 1]]
)
EVEN = np.concatenate([even_received(Band(right=0).allowed(n)) for n in (4, 4, 3)])


def found(received: np.ndarray = RECEIVED, rule: SinkRule = RULE):
    def sites():
        yield SiteReceived("h.0#0", received.astype(np.float32), SEEN, EVEN, SEEN)

    return find_sinks(sites, TOKENS, token_classes(TOKENS, {"bos": "<bos>", "eos": "<eos>"}), rule=rule)


def row(table: pd.DataFrame, **where) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_by_position_by_hand():
    first = row(found().by_head, head=0, kind="position", position=0)
    assert first["score"] == pytest.approx((0.8 + 0.6 + 0.2) / 3)
    assert first["rate"] == pytest.approx(2 / 3)
    assert first["n"] == 3
    assert first["token"] == "<bos>"
    assert 0 <= first["ci_low"] < 2 / 3 < first["ci_high"] <= 1


def test_tokens_that_too_few_see_are_left_out():
    told = found().by_head
    assert 3 not in told.loc[told["kind"] == "position", "position"].tolist()
    assert "b" not in told.loc[told["kind"] == "token", "token"].tolist()
    assert "number" not in told.loc[told["kind"] == "class", "token"].tolist()


def test_by_class_and_by_string_each_input_counts_once():
    told = found().by_head
    mark = row(told, head=0, kind="class", token="punctuation")
    assert (mark["score"], mark["rate"], mark["n"]) == (pytest.approx(0.3), pytest.approx(0.5), 2)
    a = row(told, head=0, kind="token", token="a")
    assert (a["score"], a["n"]) == (pytest.approx(0.1), 2)
    bos = row(told, head=0, kind="class", token="BOS")
    assert bos["score"] == pytest.approx(row(told, head=0, kind="position", position=0)["score"])


def test_the_null_is_even_attention():
    first = row(found().by_head, head=1, kind="position", position=0)
    harmonic = {4: (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, 3: (1 + 1 / 2 + 1 / 3) / 3}
    assert first["null"] == pytest.approx((2 * harmonic[4] + harmonic[3]) / 3)
    even = found(np.stack([EVEN, EVEN])).by_head
    told = even[even["kind"] != "learned"]
    np.testing.assert_allclose(told["score"], told["null"], atol=1e-6)


def test_of_the_model_the_rate_is_the_share_of_heads():
    first = row(found().overall, kind="position", position=0)
    assert first["rate"] == pytest.approx((2 / 3 + 0) / 2)
    assert first["score"] == pytest.approx(((0.8 + 0.6 + 0.2) / 3 + 0.1) / 2)


def test_of_two_sites_every_head_counts_once():
    def sites():
        yield SiteReceived("h.0#0", RECEIVED.astype(np.float32), SEEN, EVEN, SEEN)
        yield SiteReceived("h.1#0", np.full((1, 11), 0.4, np.float32), SEEN, EVEN, SEEN)

    told = find_sinks(sites, TOKENS, token_classes(TOKENS, {"bos": "<bos>", "eos": "<eos>"}), rule=RULE)
    first = row(told.overall, kind="position", position=0)
    assert first["rate"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert first["score"] == pytest.approx(((0.8 + 0.6 + 0.2) / 3 + 0.1 + 0.4) / 3)
    assert set(told.by_head["site"]) == {"h.0#0", "h.1#0"}


def test_a_rate_that_is_the_same_everywhere_has_no_spread():
    sure = row(found().by_head, head=1, kind="position", position=0)
    assert (sure["rate"], sure["ci_low"], sure["ci_high"]) == (0, 0, 0)


def test_another_threshold_finds_other_sinks():
    assert row(found(rule=SinkRule(0.7, 2, True)).by_head, head=0, kind="position", position=0)["rate"] == 1 / 3


def test_a_short_input_has_its_most_seen_token():
    able = able_tokens(np.array([4, 3, 2, 1, 9, 8, 7]), np.array([0, 0, 0, 0, 1, 1, 1]), SinkRule(min_queries=8))
    assert able.tolist() == [True, False, False, False, True, True, False]


def test_bounds_of_the_rule():
    with pytest.raises(UserError, match="over 0, at most 1"):
        SinkRule(threshold=0.0)
    with pytest.raises(UserError, match="1 or more"):
        SinkRule(min_queries=0)
    assert PUBLISHED.threshold == 0.3
    assert PUBLISHED.counts_own


def test_classes_of_texts_and_images():
    text = pd.DataFrame(
        {
            "position": range(8),
            "text": ["[CLS]", "word", "!", "12", "\n", "[SEP]", "¤", "[MASK]"],
            "is_special": [True, False, False, False, False, True, False, True],
            "word_class": ["special", "word", "punctuation", "number", "whitespace", "special", "symbol", "special"],
        }
    )
    expected = ["CLS", "word", "punctuation", "number", "newline", "SEP", "other text", "other special token"]
    assert token_classes(text, {"cls": "[CLS]", "sep": "[SEP]"}).tolist() == expected
    gpt = text.assign(text=["<|e|>", *text["text"][1:5], "<|e|>", "¤", "[MASK]"])
    assert token_classes(gpt, {"bos": "<|e|>", "eos": "<|e|>"})[[0, 5]].tolist() == ["BOS", "EOS"]
    assert token_classes(text)[[0, 5]].tolist() == ["CLS", "SEP"]
    image = pd.DataFrame(
        {
            "position": range(5),
            "text": ["CLS", "REG0", "r0c0", "r0c1", "r0c2"],
            "is_special": [True, True, False, False, False],
            "object": [None, None, "background", "red circle", None],
        }
    )
    assert token_classes(image).tolist() == ["CLS", "register", "background patch", "patch", "patch"]
