"""What a search finds, on a table whose answer is plain to see."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.errors import UserError
from app.search import find_tokens

TEXTS = {3: "A jumping dog.", 8: "Dogs jump!"}
TOKENS = pd.DataFrame(
    [
        (3, 0, "[CLS]", 0, 0, "sea"),
        (3, 1, "A", 0, 1, "sea"),
        (3, 2, "jump", 2, 6, "sea"),
        (3, 3, "ing", 6, 9, "sea"),
        (3, 4, "dog", 10, 13, "sea"),
        (3, 5, ".", 13, 14, "sea"),
        (8, 0, "[CLS]", 0, 0, "Garden"),
        (8, 1, "Dogs", 0, 4, "Garden"),
        (8, 2, "jump", 5, 9, "Garden"),
        (8, 3, "!", 9, 10, "Garden"),
    ],
    columns=["input_id", "position", "text", "char_start", "char_end", "topic"],
)


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("dog", [4, 7]),
        ("jumping", [2, 3]),
        ("ing dog", [3, 4]),
        ("[CLS]", [0, 6]),
        (".", [5]),
        ("/^dog|!$/", [4, 7, 9]),
        ("/z*/", list(range(10))),
        ("topic=GARDEN", [6, 7, 8, 9]),
        ("position=0", [0, 6]),
        ("nocolumn=sea", []),
        ("/", []),
    ],
)
def test_finds(words, rows):
    assert np.flatnonzero(find_tokens(words, TOKENS, TEXTS)).tolist() == rows


def test_images_are_searched_by_what_their_tokens_show():
    assert np.flatnonzero(find_tokens("cls", TOKENS, {})).tolist() == [0, 6]


@pytest.mark.parametrize(("words", "said"), [("/(/", "not a regular expression"), ("x" * 201, "201 letters")])
def test_bad_search_is_one_sentence(words, said):
    with pytest.raises(UserError, match=said):
        find_tokens(words, TOKENS, TEXTS)


def test_a_search_without_end_is_stopped():
    texts = {3: "a" * 4000 + "!"}
    tokens = pd.DataFrame({"input_id": [3], "text": ["x"], "char_start": [0], "char_end": [4001]})
    with pytest.raises(UserError, match="took over"):
        find_tokens("/(a|aa)+$/", tokens, texts)
