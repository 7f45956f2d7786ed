"""The parts of the token table that texts and images share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int

from analysis.inputs.records import CATEGORICAL, SEQUENTIAL, ColumnInfo, Skipped

POSITION_COLUMNS = [
    ColumnInfo("position", SEQUENTIAL, "tokens", "Place in the input, the first token being 0."),
    ColumnInfo("position_share", SEQUENTIAL, "0 to 1", "Place in the input: 0 the first token, 1 the last."),
    ColumnInfo("position_from_end", SEQUENTIAL, "tokens", "Tokens that follow in the input; the last has 0."),
]
SPECIAL_COLUMN = ColumnInfo(
    "is_special", CATEGORICAL, "", "Put in by the model's own format ([CLS], <s>, registers), not by the data."
)
SEGMENT_COLUMN = ColumnInfo("segment", CATEGORICAL, "", "Which of two joined texts the token belongs to.")


@dataclass(frozen=True)
class EncodedRows:
    """What the encoding of texts or of images gives; `encode` joins the user columns to it.

    Attributes:
        kept: Which rows of the raw data became inputs, in order.
        starts: Input i owns rows ``starts[i]:starts[i + 1]`` of `tokens`.
        inputs: Own columns of the inputs, without ids and counts.
        tokens: Own columns of the tokens, without ids.
        used_columns: Columns of the data that became part of the inputs: they are no labels any more.
        target: Where the decoder's text comes from; see `analysis.inputs.two_sequences`. Empty without a decoder.
    """

    kept: Int[np.ndarray, " input"]
    starts: Int[np.ndarray, " input_and_one"]
    inputs: pd.DataFrame
    tokens: pd.DataFrame
    columns: list[ColumnInfo]
    skipped: list[Skipped]
    notes: list[str]
    read_tensors: Callable[[int], dict[str, np.ndarray]]
    used_columns: tuple[str, ...] = ()
    target: str = ""


def position_columns(starts: Int[np.ndarray, " input_and_one"]) -> dict[str, np.ndarray]:
    """Position, its share of the input (0 to 1; 0 for a lone token) and the distance from the end.

    Args:
        starts: Input i owns tokens ``starts[i]:starts[i + 1]``.
    """
    sizes = np.diff(starts)
    position = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)
    last = np.repeat(sizes - 1, sizes)
    return {
        "position": position.astype(np.int32),
        "position_share": (position / np.maximum(last, 1)).astype(np.float32),
        "position_from_end": (last - position).astype(np.int32),
    }


def nullable(values: np.ndarray, is_missing: np.ndarray) -> pd.arrays.IntegerArray:
    """Whole numbers of which some are missing, kept whole."""
    return pd.arrays.IntegerArray(values.astype(np.int32), is_missing.astype(bool))
