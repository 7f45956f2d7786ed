"""Texts that the model goes on with by itself: what it was given, and behind it what it wrote, as one input."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.errors import InputError
from analysis.inputs.records import CATEGORICAL, ColumnInfo, RawData, Skipped
from analysis.inputs.table import EncodedRows
from analysis.inputs.text_tokens import TEXT_COLUMNS, TokenArrays, describe, special_ids, tensor_reader, tokenise
from analysis.inputs.token_text import read_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.models import LoadedModel

WRITTEN_COLUMN = ColumnInfo("written", CATEGORICAL, "", "The model itself wrote the token, behind what it was given.")


def encode_continued(
    raw: RawData, model: LoadedModel, max_tokens: int | None, n_new: int, wrote: Callable[[int], None]
) -> EncodedRows:
    """Tokenise every text, let the model go on with it, and describe the whole.

    What the tokenizer puts behind a text (an end of text) is left out: the model would go on with another one.

    Args:
        raw: Rows of texts.
        model: A decoder with its `writer`.
        max_tokens: Longest input in tokens, written ones counted: texts are cut to leave room for them.
        n_new: Tokens that it writes at most.
        wrote: Told for how many inputs it has written.

    Raises:
        InputError: There is no room for what it is to write, or no text gives a token.
    """
    room = None if max_tokens is None else max_tokens - n_new
    if room is not None and room < 1:
        raise InputError(
            f"{model.name} reads at most {max_tokens:,} tokens, which leaves no room for {n_new:,} to write: "
            f"give --generate less than {max_tokens:,}."
        )
    given = tokenise(raw.rows, model.processor, room)
    spans = [_without_end(given, first, last) for first, last in pairwise(given.starts)]
    kept = [row for row, (first, last) in enumerate(spans) if last > first]
    if not kept:
        raise InputError(f"The tokenizer makes no token of any text in {raw.name}; give other texts or another model.")
    empty = sorted(set(range(len(spans))) - set(kept))
    skipped = [Skipped(raw.row_names[row], "the tokenizer makes no token of it") for row in empty]
    spans = [spans[row] for row in kept]
    rows = model.goes_on([given.ids[first:last] for first, last in spans], n_new, wrote)
    arrays, texts, written = _joined(given, spans, rows, [raw.rows[row] for row in kept], model)
    inputs = pd.DataFrame({"text": pd.array(texts, dtype="str"), "n_cut": given.n_cut[kept]})
    return EncodedRows(
        kept=np.array(kept),
        starts=arrays.starts,
        inputs=inputs,
        tokens=describe(arrays, arrays.starts, texts, model.processor).assign(written=written),
        columns=[*TEXT_COLUMNS, WRITTEN_COLUMN],
        skipped=skipped,
        notes=[
            f"The model went on with every text by itself, always with the likeliest token, for {n_new:,} at most: "
            f"{int(written.sum()):,} tokens of {len(texts):,} inputs are its own (column written)."
        ],
        read_tensors=tensor_reader(arrays, arrays.starts, "token_type_ids" in model.processor.model_input_names),
    )


def _without_end(given: TokenArrays, first: int, last: int) -> tuple[int, int]:
    """The span of a text without the special tokens that close it."""
    end = last
    while end > first + 1 and given.is_special[end - 1] and given.char_start[end - 1] < 0:
        end -= 1
    return int(first), int(end)


def _joined(
    given: TokenArrays, spans: list[tuple[int, int]], rows: list[list[int]], texts: list[str], model: LoadedModel
) -> tuple[TokenArrays, list[str], np.ndarray]:
    """The tokens given and written of each input, the texts they spell, and which are written."""
    special_of = set(special_ids(model.processor))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("ids", "start", "end", "special", "segment", "written")}
    spelled = []
    for (first, last), row, text in zip(spans, rows, texts, strict=True):
        own = np.array(row, dtype=np.int32)
        special = np.array([token in special_of for token in row], dtype=bool)
        _, plain = read_tokens(model.processor, own) if len(own) else (None, np.array([], dtype=object))
        cut = int(given.char_end[first:last].max(initial=0))
        begin = text[: cut if cut else len(text)]
        sizes = np.where(special, 0, [len(each) for each in plain]).astype(np.int64)
        ends = len(begin) + np.cumsum(sizes)
        spelled.append(begin + "".join(each for each, is_special in zip(plain, special) if not is_special))
        shown = sizes > 0
        for name, values in (
            ("ids", (given.ids[first:last], own)),
            ("start", (given.char_start[first:last], np.where(shown, ends - sizes, -1))),
            ("end", (given.char_end[first:last], np.where(shown, ends, -1))),
            ("special", (given.is_special[first:last], special)),
            ("segment", (given.segment[first:last], np.zeros(len(own), dtype=np.int8))),
            ("written", (np.zeros(last - first, dtype=bool), np.ones(len(own), dtype=bool))),
        ):
            parts[name] += values
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    sizes = [last - first + len(row) for (first, last), row in zip(spans, rows, strict=True)]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    arrays = TokenArrays(
        whole["ids"].astype(np.int32), starts, whole["start"].astype(np.int32), whole["end"].astype(np.int32),
        whole["special"], whole["segment"].astype(np.int8), np.zeros(len(spans), dtype=np.int32),
    )  # fmt: skip
    return arrays, spelled, whole["written"]
