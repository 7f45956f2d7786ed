"""Texts for an encoder-decoder: what its encoder reads, and behind it what its decoder reads."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.errors import InputError
from analysis.inputs.records import CATEGORICAL, SEQUENTIAL, ColumnInfo, RawData, Skipped
from analysis.inputs.table import EncodedRows, position_columns
from analysis.inputs.text_tokens import TEXT_COLUMNS, TokenArrays, describe, special_ids, tokenise
from analysis.inputs.token_text import read_tokens
from analysis.types import DECODER, ENCODER

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.models import LoadedModel

AUTO, GENERATE, SAME = "auto", "generate", "same"
TARGETS = (AUTO, GENERATE, SAME)
"""What the decoder reads: the column ``target`` of the data, or else what the model writes, or else the input text;
always what the model writes; always the input text."""

TARGET_COLUMN = "target"

SEQUENCE_COLUMNS = [
    ColumnInfo("sequence", CATEGORICAL, "", "Whether the encoder or the decoder reads the token."),
    ColumnInfo("position", SEQUENTIAL, "tokens", "Place in the input: the encoder's tokens and then the decoder's."),
    ColumnInfo("position_share", SEQUENTIAL, "0 to 1", "Place in its own sequence: 0 the first token, 1 the last."),
    ColumnInfo("position_from_end", SEQUENTIAL, "tokens", "Tokens that follow in its own sequence; the last has 0."),
]


def encode_pairs(
    raw: RawData,
    model: LoadedModel,
    max_tokens: int | None,
    target: str = AUTO,
    wrote: Callable[[int], None] = lambda done: None,
) -> EncodedRows:
    """Tokenise and describe every text and what the decoder reads beside it.

    The decoder's tokens are those it reads, not those it predicts: its first token, then the text but for the last
    token. An input's tokens are the encoder's and then the decoder's, and positions run on.

    Args:
        raw: Rows of texts; its column ``target`` is the decoder's text.
        model: An encoder-decoder.
        max_tokens: Longest sequence in tokens.
        target: One of `TARGETS`.
        wrote: Told for how many inputs the model has written.

    Raises:
        InputError: An unknown `target`, a model that cannot write is asked to, or no row can be read.
    """
    column = target_column(raw)
    rule = _rule(target, column, model)
    texts = raw.rows if rule != TARGET_COLUMN else raw.user_columns[column]
    able = np.array([text is not None and bool(str(text).strip()) for text in texts])
    encoder = tokenise(raw.rows, model.processor, max_tokens)
    kept = np.flatnonzero((np.diff(encoder.starts) > 0) & able)
    if not len(kept):
        raise InputError(f"No row of {raw.name} has both a text and a target; give texts in the column {column!r}.")
    skipped = [Skipped(raw.row_names[i], "it has no target for the decoder") for i in np.flatnonzero(~able)]
    skipped += [
        Skipped(raw.row_names[i], "the tokenizer makes no token of it")
        for i in np.flatnonzero((np.diff(encoder.starts) == 0) & able)
    ]
    encoder = _of_rows(encoder, kept)
    if rule == GENERATE:
        rows = model.decoder_writes([encoder.ids[first:last] for first, last in pairwise(encoder.starts)], wrote)
        decoder, read_texts = written_arrays(rows, model.processor)
    else:
        read_texts = [str(texts[i]) for i in kept]
        decoder = moved_on(tokenise(read_texts, model.processor, max_tokens, as_target=True), model)
    source_texts = [raw.rows[i] for i in kept]
    inputs = pd.DataFrame(
        {
            "text": pd.array(source_texts, dtype="str"),
            TARGET_COLUMN: pd.array(read_texts, dtype="str"),
            "n_cut": encoder.n_cut + decoder.n_cut,
        }
    )
    own = {column.name for column in SEQUENCE_COLUMNS}
    return EncodedRows(
        kept=kept,
        starts=encoder.starts + decoder.starts,
        inputs=inputs,
        tokens=_described(model.processor, (encoder, source_texts), (decoder, read_texts)),
        columns=[*SEQUENCE_COLUMNS, *(column for column in TEXT_COLUMNS if column.name not in own)],
        skipped=skipped,
        notes=[_NOTES[rule].format(column=column)],
        read_tensors=_tensor_reader(encoder, decoder, "token_type_ids" in model.processor.model_input_names),
        used_columns=(column,) if rule == TARGET_COLUMN else (),
        target=rule,
    )


_NOTES = {
    TARGET_COLUMN: "The decoder reads the column {column!r} of the data (teacher forcing).",
    GENERATE: "The decoder reads what the model itself wrote for each text: always the likeliest token, at most 64.",
    SAME: "The decoder reads the input text itself.",
}


def target_column(raw: RawData) -> str | None:
    """The column of the data that holds the decoder's text, as the file spells it."""
    return next((name for name in raw.user_columns if name.casefold() == TARGET_COLUMN), None)


def _rule(target: str, column: str | None, model: LoadedModel) -> str:
    if target not in TARGETS:
        raise InputError(f"There is no target {target!r} for the decoder; known: {', '.join(TARGETS)}.")
    if target == AUTO:
        return TARGET_COLUMN if column else GENERATE if model.writer is not None else SAME
    if target == GENERATE and model.writer is None:
        raise InputError(
            f"{model.name} has no head that writes text: give data with a column target, or --target same, with which "
            "the decoder reads the input text."
        )
    return target


def _of_rows(arrays: TokenArrays, rows: np.ndarray) -> TokenArrays:
    """The tokens of some texts."""
    sizes = np.diff(arrays.starts)[rows]
    places = [np.arange(arrays.starts[row], arrays.starts[row + 1]) for row in rows]
    chosen = np.concatenate(places) if len(places) else np.empty(0, dtype=np.int64)
    fields = ("ids", "char_start", "char_end", "is_special", "segment")
    return TokenArrays(
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), n_cut=arrays.n_cut[rows],
        **{name: getattr(arrays, name)[chosen] for name in fields},
    )  # fmt: skip


def moved_on(labels: TokenArrays, model: LoadedModel) -> TokenArrays:
    """What the decoder reads while it is taught these labels: its first tokens are its own, the rest are labels."""
    ids, start, end = labels.ids.copy(), labels.char_start.copy(), labels.char_end.copy()
    special, moved = labels.is_special.copy(), np.arange(len(ids)) - 1
    for first, last in pairwise(labels.starts):
        if first == last:
            continue
        ids[first:last] = model.decoder_reads(labels.ids[first:last].tolist())
        moved[first] = first
    start, end, special = start[moved], end[moved], special[moved]
    begins = labels.starts[:-1][np.diff(labels.starts) > 0]
    start[begins], end[begins], special[begins] = -1, -1, True
    return replace(labels, ids=ids, char_start=start, char_end=end, is_special=special)


def written_arrays(rows: list[list[int]], tokenizer: Any) -> tuple[TokenArrays, list[str]]:
    """What the decoder reads while the model writes, a row an input, and the texts that these tokens spell."""
    ids = np.array([token for row in rows for token in row], dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    special = np.isin(ids, special_ids(tokenizer))
    special[starts[:-1]] = True
    _, plain = read_tokens(tokenizer, ids)
    sizes = np.where(special, 0, [len(text) for text in plain])
    ends = np.cumsum(sizes)
    base = np.repeat(ends[starts[:-1]] - sizes[starts[:-1]], np.diff(starts))
    char_end = np.where(sizes > 0, ends - base, -1).astype(np.int32)
    char_start = np.where(sizes > 0, ends - sizes - base, -1).astype(np.int32)
    texts = [
        "".join(text for text, is_special in zip(plain[first:last], special[first:last]) if not is_special)
        for first, last in pairwise(starts)
    ]
    n_cut = np.zeros(len(rows), dtype=np.int32)
    return TokenArrays(ids, starts, char_start, char_end, special, np.zeros(len(ids), np.int8), n_cut), texts


def _described(tokenizer: Any, *sequences: tuple[TokenArrays, list[str]]) -> pd.DataFrame:
    """One row a token: of each input the encoder's, then the decoder's."""
    parts, inputs, ranks, ids = [], [], [], []
    for rank, (arrays, texts) in enumerate(sequences):
        sizes = np.diff(arrays.starts)
        parts.append(describe(arrays, arrays.starts, texts, tokenizer).assign(sequence=(ENCODER, DECODER)[rank]))
        inputs.append(np.repeat(np.arange(len(sizes)), sizes))
        ranks.append(np.full(len(arrays.ids), rank))
        ids.append(arrays.ids)
    order = np.lexsort([np.concatenate(ranks), np.concatenate(inputs)])
    tokens = pd.concat(parts, ignore_index=True).iloc[order].reset_index(drop=True)
    sizes = sum(np.diff(arrays.starts) for arrays, _ in sequences)
    position = position_columns(np.concatenate([[0], np.cumsum(sizes)]))["position"]
    _, which, counts = np.unique(np.concatenate(ids)[order], return_inverse=True, return_counts=True)
    return tokens.assign(
        sequence=pd.array(tokens["sequence"], dtype="str"), position=position, frequency=counts[which].astype(np.int32)
    )


def _tensor_reader(
    encoder: TokenArrays, decoder: TokenArrays, has_segments: bool
) -> Callable[[int], dict[str, np.ndarray]]:
    def of(arrays: TokenArrays, values: np.ndarray, input_id: int) -> np.ndarray:
        return values[arrays.starts[input_id] : arrays.starts[input_id + 1]].astype(np.int64)

    def read(input_id: int) -> dict[str, np.ndarray]:
        ids = of(encoder, encoder.ids, input_id)
        tensors = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if has_segments:
            tensors["token_type_ids"] = of(encoder, encoder.segment, input_id)
        return {**tensors, "decoder_input_ids": of(decoder, decoder.ids, input_id)}

    return read
