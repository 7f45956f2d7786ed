"""Sounds for an encoder-decoder: the frames that its encoder hears, and behind them what its decoder reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.errors import InputError
from analysis.inputs.records import ColumnInfo, RawData, Skipped
from analysis.inputs.sound_tokens import encode_sounds
from analysis.inputs.table import EncodedRows, position_columns
from analysis.inputs.text_tokens import TEXT_COLUMNS, TokenArrays, describe, tokenise
from analysis.inputs.two_sequences import (
    AUTO,
    GENERATE,
    SEQUENCE_COLUMNS,
    TARGET_COLUMN,
    moved_on,
    target_column,
    written_arrays,
)
from analysis.types import DECODER, ENCODER

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.models.transcribing import TranscribingModel

_NOTES = {
    TARGET_COLUMN: "The decoder reads the column {column!r} of the data (teacher forcing).",
    GENERATE: "The decoder reads what the model itself wrote of each sound: always the likeliest token, at most 64.",
}


def encode_sound_pairs(
    raw: RawData,
    model: TranscribingModel,
    max_tokens: int | None,
    target: str = AUTO,
    wrote: Callable[[int], None] = lambda done: None,
) -> EncodedRows:
    """Describe every sound as the encoder hears it, and behind it what the decoder reads.

    Args:
        raw: Rows of sounds; their column ``target`` is the decoder's text.
        model: An encoder-decoder of sounds and texts.
        max_tokens: Longest text of the decoder in tokens.
        target: As `analysis.inputs.two_sequences.TARGETS`, but that no sound can be read as a text: not ``same``.
        wrote: Told for how many inputs the model has written.

    Raises:
        InputError: There is nothing that the decoder could read, or no row can be heard.
    """
    column = target_column(raw)
    rule = _rule(raw, target, column, model)
    texts = [""] * len(raw) if rule == GENERATE else raw.user_columns[column]
    able = [i for i, text in enumerate(texts) if rule == GENERATE or (text is not None and str(text).strip())]
    skipped = [Skipped(raw.row_names[i], "it has no target for the decoder") for i in set(range(len(raw))) - set(able)]
    if not able:
        raise InputError(f"No row of {raw.name} has a target; give texts in the column {column!r}.")
    sounds = encode_sounds(replace(raw, rows=[raw.rows[i] for i in able]), model)
    kept = np.array(able)[sounds.kept]
    if rule == GENERATE:
        rows = []
        for number in range(len(kept)):
            rows.append(model.writes_for(sounds.read_tensors(number)))
            wrote(len(rows))
        decoder, read_texts = written_arrays(rows, model.processor)
    else:
        read_texts = [str(texts[i]) for i in kept]
        labels = tokenise(read_texts, model.processor, max_tokens, as_target=True)
        decoder = moved_on(_without_start(labels, model), model)
    written = describe(decoder, decoder.starts, read_texts, model.processor)
    tokens = behind_each_other({ENCODER: (sounds.tokens, sounds.starts), DECODER: (written, decoder.starts)})
    own = {info.name for info in SEQUENCE_COLUMNS}
    return EncodedRows(
        kept=kept,
        starts=sounds.starts + decoder.starts,
        inputs=sounds.inputs.assign(
            **{TARGET_COLUMN: pd.array(read_texts, dtype="str")}, n_cut=sounds.inputs["n_cut"] + decoder.n_cut
        ),
        tokens=tokens,
        columns=[*SEQUENCE_COLUMNS, *sounds.columns, *_own_columns(TEXT_COLUMNS, own)],
        skipped=[*skipped, *sounds.skipped],
        notes=[_NOTES[rule].format(column=column), *sounds.notes],
        read_tensors=lambda input_id: sounds.read_tensors(input_id) | {"decoder_input_ids": _ids(decoder, input_id)},
        used_columns=(column,) if rule == TARGET_COLUMN else (),
        target=rule,
    )


def _rule(raw: RawData, target: str, column: str | None, model: TranscribingModel) -> str:
    if target == AUTO and column:
        return TARGET_COLUMN
    if target in (AUTO, GENERATE) and model.writer is not None:
        return GENERATE
    why = (
        "a sound is no text that it could read itself" if target not in (AUTO, GENERATE) else "it has no head to write"
    )
    raise InputError(
        f"Nothing is there for the decoder of {model.name} to read ({why}): give the data as a table with the columns "
        "audio and target, or look at the encoder alone with --part encoder."
    )


def _own_columns(columns: list[ColumnInfo], taken: set[str]) -> list[ColumnInfo]:
    return [column for column in columns if column.name not in taken]


def _ids(arrays: TokenArrays, input_id: int) -> np.ndarray:
    return arrays.ids[arrays.starts[input_id] : arrays.starts[input_id + 1]].astype(np.int64)


def _without_start(labels: TokenArrays, model: TranscribingModel) -> TokenArrays:
    """Labels without the token that a decoder begins with, where the tokenizer has put it in front of all of them."""
    firsts = labels.starts[:-1]
    if not len(firsts) or (np.diff(labels.starts) < 2).any():
        return labels
    (start,) = model.decoder_reads([int(labels.ids[0])])[:1]
    if not (labels.ids[firsts] == start).all():
        return labels
    stays = np.ones(len(labels.ids), dtype=bool)
    stays[firsts] = False
    fields = ("ids", "char_start", "char_end", "is_special", "segment")
    shorter = {name: getattr(labels, name)[stays] for name in fields}
    return replace(labels, starts=labels.starts - np.arange(len(labels.starts)), **shorter)


def behind_each_other(parts: dict[str, tuple[pd.DataFrame, np.ndarray]]) -> pd.DataFrame:
    """The token tables of the sequences of some inputs as one: of each input the first sequence's, then the next one's.

    Args:
        parts: By name of the sequence its tokens, and where each input's begin and end.

    Returns:
        All their columns, empty where a sequence lacks one (False where it tells yes or no), with ``sequence``, and
        ``position`` through the whole input.
    """
    tables, inputs, ranks = [], [], []
    flags = {name for tokens, _ in parts.values() for name in tokens if tokens[name].dtype == bool}
    for rank, (name, (tokens, starts)) in enumerate(parts.items()):
        lacking = dict.fromkeys(flags - set(tokens), False)
        tables.append(tokens.assign(sequence=pd.array([name] * len(tokens), dtype="str"), **lacking))
        inputs.append(np.repeat(np.arange(len(starts) - 1), np.diff(starts)))
        ranks.append(np.full(len(tokens), rank))
    order = np.lexsort([np.concatenate(ranks), np.concatenate(inputs)])
    tokens = pd.concat(tables, ignore_index=True).iloc[order].reset_index(drop=True)
    sizes = sum(np.diff(starts) for _, starts in parts.values())
    position = position_columns(np.concatenate([[0], np.cumsum(sizes)]))["position"]
    segment = tokens["segment"].fillna(0).astype(np.int8) if "segment" in tokens else np.int8(0)
    return tokens.assign(position=position, segment=segment)
