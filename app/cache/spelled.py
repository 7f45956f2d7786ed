"""The frames of a sound as a text that the page can show: what each is called, one behind the other."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.types import ENCODER


def has_frames(tokens: pd.DataFrame, modality: str) -> bool:
    """True for a run of sounds whose tokens are frames, without places on a picture."""
    return modality == "audio" and not tokens["row"].notna().any()


def as_text(tokens: pd.DataFrame, inputs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tokens and inputs as those of a text: frames have places in it, and inputs a column ``text``.

    Args:
        tokens: Of a run of sounds; where an input is two sequences, the encoder's are frames.
        inputs: Its inputs.
    """
    is_frame = np.ones(len(tokens), dtype=bool)
    if "sequence" in tokens:
        is_frame = (tokens["sequence"] == ENCODER).to_numpy(dtype=bool)
    frames = tokens.loc[is_frame, ["input_id", "text"]]
    sizes = frames["text"].str.len() + 1
    ends = sizes.groupby(frames["input_id"]).cumsum() - 1
    places = {name: tokens[name].astype("Int32") for name in ("char_start", "char_end")}
    places["char_start"][is_frame], places["char_end"][is_frame] = ends - sizes + 1, ends
    texts = frames.groupby("input_id")["text"].agg(" ".join)
    return tokens.assign(**places), inputs.assign(text=inputs["input_id"].map(texts))
