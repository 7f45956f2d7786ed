"""The two texts of an input of an encoder-decoder as one: that of the decoder behind that of the encoder."""

from __future__ import annotations

import pandas as pd

from analysis.types import DECODER

BETWEEN = " ‖ "
"""What stands between the two, a sign that a context shows."""


def joined(inputs: pd.DataFrame) -> dict[int, str]:
    """The texts by input id."""
    both = zip(inputs["input_id"].tolist(), inputs["text"].tolist(), inputs["target"].tolist())
    return {input_id: f"{text}{BETWEEN}{target}" for input_id, text, target in both}


def moved_on(tokens: pd.DataFrame, inputs: pd.DataFrame) -> pd.DataFrame:
    """Tokens whose places in the text are those in the joined one."""
    lengths = dict(zip(inputs["input_id"].tolist(), inputs["text"].str.len().tolist()))
    behind = tokens["input_id"].map(lengths) + len(BETWEEN)
    shift = behind.where(tokens["sequence"] == DECODER, 0).astype("Int32")
    places = {name: tokens[name].astype("Int32") + shift for name in ("char_start", "char_end")}
    return tokens.assign(**places)


def of_one(tokens: pd.DataFrame, text: str, target: str) -> tuple[pd.DataFrame, str]:
    """`moved_on` and `joined` for the tokens of a single input."""
    inputs = pd.DataFrame({"input_id": [int(tokens["input_id"].iloc[0])], "text": [text], "target": [target]})
    return moved_on(tokens, inputs), f"{text}{BETWEEN}{target}"
