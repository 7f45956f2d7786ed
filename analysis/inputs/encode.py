"""Raw rows to what one model sees, with a described row for every token."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.errors import InputError
from analysis.inputs.chat import has_template
from analysis.inputs.records import AUDIO, TEXT, ColumnInfo, Inputs, RawData
from analysis.inputs.user_columns import describe_user_column, rides_with_tokens
from analysis.types import VISION_AND_TEXT

if TYPE_CHECKING:
    from analysis.inputs.table import EncodedRows
    from analysis.models import LoadedModel

_FIRST_COLUMNS = "input_id position sequence text char_start char_end is_special segment row column".split()


def encode(
    raw: RawData,
    model: LoadedModel,
    *,
    max_tokens: int | None = None,
    target: str = "auto",
    generate: int = 0,
    wrote: Callable[[int], None] = lambda done: None,
    order: Callable[[dict[str, np.ndarray]], np.ndarray] | None = None,
    chat: str = "off",
) -> Inputs:
    """Turn rows into model inputs and the token table.

    Args:
        raw: From `read_data`.
        model: Its processor, limits and image layout are used; the model itself is run only to write what its decoder
            reads.
        max_tokens: Cut texts shorter than the model's own limit.
        target: What the decoder of an encoder-decoder reads; see `analysis.inputs.two_sequences.TARGETS`.
        generate: Tokens at most that a decoder goes on with behind every text, all of them captured together.
        wrote: Told for how many inputs the model has written.
        order: Of an input whose pixels are a list of patches, which of them each token of the vision tower is; see
            `analysis.capture.patch_order`. Without it they are taken to keep their order.
        chat: ``auto``: texts are turns of a chat where the model has a template for it, ``off``: they are plain texts.

    Raises:
        InputError: Texts for a model of images or the other way round, or nothing can be encoded.
    """
    if model.modality == VISION_AND_TEXT and raw.texts is not None:
        from analysis.inputs.image_texts import encode_image_texts

        limits = [limit for limit in (model.max_tokens, max_tokens) if limit is not None]
        return _assemble(raw, encode_image_texts(raw, model, min(limits, default=None), order), VISION_AND_TEXT)
    if raw.modality != model.modality:
        words = {"text": "texts", "vision": "images", "audio": "sounds"}
        reads = words.get(model.modality, model.modality)
        raise InputError(
            f"{raw.name} holds {words[raw.modality]} and {model.name} reads {reads}; "
            "give data or a model of the same kind."
        )
    if raw.modality == TEXT:
        from analysis.inputs.text_tokens import encode_texts

        limits = [limit for limit in (model.max_tokens, max_tokens) if limit is not None]
        if getattr(model, "sequences", ()):
            from analysis.inputs.two_sequences import encode_pairs

            encoded = encode_pairs(raw, model, min(limits, default=None), target, wrote)
        elif chat == "auto" and has_template(model.processor):
            from analysis.inputs.chat_texts import encode_chats

            if generate:
                raise InputError("A chat is not gone on with yet: give --generate or --chat auto, not both.")
            encoded = encode_chats(raw, model.processor, min(limits, default=None))
        elif generate:
            from analysis.inputs.continued import encode_continued

            encoded = encode_continued(raw, model, min(limits, default=None), generate, wrote)
        else:
            encoded = encode_texts(raw, model.processor, min(limits, default=None))
    elif raw.modality == AUDIO:
        if model.sequences:
            from analysis.inputs.sound_pairs import encode_sound_pairs

            limits = [limit for limit in (model.max_tokens, max_tokens) if limit is not None]
            encoded = encode_sound_pairs(raw, model, min(limits, default=None), target, wrote)
        else:
            from analysis.inputs.sound_tokens import encode_sounds

            encoded = encode_sounds(raw, model)
    else:
        from analysis.inputs.image_tokens import encode_images

        encoded = encode_images(raw, model)
    return _assemble(raw, encoded)


def _assemble(raw: RawData, encoded: EncodedRows, modality: str | None = None) -> Inputs:
    sizes = np.diff(encoded.starts)
    user = {
        f"user_{name}" if encoded.target and name.casefold() in ("sequence", "target") else name: [
            values[i] for i in encoded.kept
        ]
        for name, values in raw.user_columns.items()
        if name not in encoded.used_columns
    }
    riding = {name: values for name, values in user.items() if rides_with_tokens(values)}
    inputs = encoded.inputs.assign(n_tokens=sizes.astype(np.int32))
    if "n_cut" not in inputs:
        inputs = inputs.assign(n_cut=np.int32(0))
    inputs.insert(0, "input_id", np.arange(len(sizes), dtype=np.int32))
    own = [name for name in inputs if name not in ("n_tokens", "n_cut")]
    user_frame = pd.DataFrame({name: pd.Series(values) for name, values in user.items()}, index=inputs.index)
    inputs = pd.concat([inputs[[*own, "n_tokens", "n_cut"]], user_frame], axis=1)
    repeated = user_frame[list(riding)].iloc[np.repeat(np.arange(len(sizes)), sizes)].reset_index(drop=True)
    tokens = pd.concat([_ordered(encoded.tokens, sizes), repeated], axis=1)
    notes = [*raw.notes, *encoded.notes, *_riding_note(user, riding)]
    return Inputs(
        inputs=inputs,
        tokens=tokens,
        token_columns=_token_columns(tokens, encoded.columns, riding),
        skipped=[*raw.skipped, *encoded.skipped],
        notes=notes,
        modality=modality or raw.modality,
        data_name=raw.name,
        data_hash=raw.data_hash,
        read_tensors=encoded.read_tensors,
        target=encoded.target,
    )


def _ordered(tokens: pd.DataFrame, sizes: np.ndarray) -> pd.DataFrame:
    tokens = tokens.copy(deep=False)
    tokens.insert(0, "input_id", np.repeat(np.arange(len(sizes), dtype=np.int32), sizes))
    for name in ("char_start", "char_end", "row", "column"):
        if name not in tokens:
            tokens[name] = pd.array([pd.NA] * len(tokens), dtype="Int32")
    if "segment" not in tokens:
        tokens["segment"] = np.int8(0)
    first = [name for name in _FIRST_COLUMNS if name in tokens]
    return tokens[[*first, *(name for name in tokens if name not in _FIRST_COLUMNS)]]


def _token_columns(tokens: pd.DataFrame, own: list[ColumnInfo], user: dict[str, list]) -> dict[str, ColumnInfo]:
    from analysis.inputs.table import POSITION_COLUMNS, SEGMENT_COLUMN, SPECIAL_COLUMN

    columns = [*(column for column in POSITION_COLUMNS if column.name not in {one.name for one in own}), *own]
    columns.append(SPECIAL_COLUMN)
    if tokens["segment"].nunique() > 1:
        columns.append(SEGMENT_COLUMN)
    columns += [describe_user_column(name, values) for name, values in user.items()]
    return {column.name: column for column in columns if column.name in tokens}


def _riding_note(user: dict[str, list], riding: dict[str, list]) -> list[str]:
    left = [name for name in user if name not in riding]
    return [f"The long texts of {', '.join(left)} stay with the inputs and do not colour tokens."] if left else []
