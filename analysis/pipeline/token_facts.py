"""What metrics are told of the tokens of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.metrics.tokens import TokenFacts
from analysis.types import DECODER, ENCODER, IMAGE_PART, TEXT_PART, VISION_AND_TEXT

if TYPE_CHECKING:
    import pandas as pd

    from analysis.inputs import Inputs

FULL_WIDTH = "。！？｡"
"""These end a sentence without a space behind them."""

ENDS_SENTENCE = tuple(".!?…؟।" + FULL_WIDTH)
CLOSES = "\"')]}»”’」』"


def token_facts(inputs: Inputs, processor: Any) -> TokenFacts:
    """Facts of every token of a data set, from its token table.

    Args:
        inputs: The encoded data.
        processor: The model's tokenizer, or its image processor.
    """
    names = {}
    if inputs.modality in ("text", VISION_AND_TEXT):
        names = {"cls": processor.cls_token, "separator": processor.sep_token}
    return facts_of_tables(inputs.inputs, inputs.tokens, names)


def facts_of_tables(inputs: pd.DataFrame, tokens: pd.DataFrame, names: dict[str, str | None]) -> TokenFacts:
    """Facts of the tokens of some inputs, as the tables of a data set or of a run tell them.

    Args:
        inputs: n_tokens, of texts ``text``, and ``target`` where a decoder reads another one: one row an input.
        tokens: The tokens of these inputs, in the same order.
        names: Of texts, what the tokenizer calls its ``cls`` and its ``separator``; None where it has none.
    """
    starts = np.concatenate([[0], np.cumsum(inputs["n_tokens"].to_numpy())]).astype(np.int64)
    special = tokens["is_special"].to_numpy(dtype=bool)
    fields = {"special": special} if special.any() else {}
    spans = _spans(tokens, starts)
    if "sequence" in tokens and (set(tokens["sequence"]) == {IMAGE_PART, TEXT_PART} or "text" not in inputs):
        each = tokens.groupby("sequence", sort=False)
        return TokenFacts(starts, fields, parts={name: _of_part(inputs, own, names) for name, own in each})
    if spans:
        texts = [text for pair in zip(inputs["text"], inputs["target"], strict=True) for text in pair]
        bounds = np.append(np.stack([spans[name][0] for name in (ENCODER, DECODER)], axis=1).ravel(), starts[-1])
        fields |= _of_texts(texts, tokens, bounds, names)
    else:
        fields |= _of_texts(inputs["text"].tolist(), tokens, starts, names) if "text" in inputs else _of_images(tokens)
    return TokenFacts(starts, {name: values for name, values in fields.items() if values is not None}, spans)


def _of_part(inputs: pd.DataFrame, tokens: pd.DataFrame, names: dict[str, str | None]) -> TokenFacts:
    """Facts of the tokens of the vision tower, which lie on a grid, of frames of a sound, or of the language model or a
    decoder, which are a text: there the places of a picture's tokens count in the text, as those of its words do."""
    counts = tokens.groupby("input_id", sort=False).size().reindex(inputs["input_id"]).to_numpy()
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    special = tokens["is_special"].to_numpy(dtype=bool)
    if (tokens["sequence"] == TEXT_PART).all():
        fields = _of_texts(inputs["text"].tolist(), tokens, starts, names)
        fields["identity"] = np.where(tokens["span"] == "image", -1, fields["identity"]).astype(np.int32)
    elif "target" in inputs and (tokens["sequence"] == DECODER).all():
        fields = _of_texts(inputs["target"].tolist(), tokens, starts, names)
    else:
        fields = _of_images(tokens)
    fields = {**fields, "special": special if special.any() else None}
    return TokenFacts(starts, {name: values for name, values in fields.items() if values is not None})


def _spans(tokens: pd.DataFrame, starts: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Where the two sequences of each input begin and end; empty where an input is one."""
    if "sequence" not in tokens or not set(tokens["sequence"]) <= {ENCODER, DECODER}:
        return {}
    is_encoder = (tokens["sequence"] == ENCODER).to_numpy(dtype=np.int64)
    middles = starts[:-1] + np.add.reduceat(is_encoder, starts[:-1])
    return {ENCODER: (starts[:-1], middles), DECODER: (middles, starts[1:])}


def _of_images(tokens: pd.DataFrame) -> dict[str, np.ndarray | None]:
    if not tokens["row"].notna().any():
        return {}  # frames of a sound have no places on a grid
    cls = (tokens["text"] == "CLS").to_numpy(dtype=bool)
    fields = {name: tokens[name].fillna(-1).to_numpy(np.int32) for name in ("row", "column")}
    labels = tokens["object"].astype("category").cat.codes.to_numpy(np.int32) if "object" in tokens else None
    return {**fields, "cls": cls if cls.any() else None, "label": labels}


def _of_texts(
    texts: Sequence[str], tokens: pd.DataFrame, starts: np.ndarray, names: dict[str, str | None]
) -> dict[str, np.ndarray | None]:
    special = tokens["is_special"].to_numpy(dtype=bool)
    kinds = {}
    for kind, name in names.items():
        found = special & (tokens["text"] == name).to_numpy(dtype=bool)
        kinds[kind] = found if name is not None and found.any() else None
    punctuation = (tokens["word_class"] == "punctuation").to_numpy(dtype=bool)
    segment = np.where(special, -1, tokens["segment"].to_numpy(np.int32))
    return {
        **kinds,
        "identity": tokens["text"].astype("category").cat.codes.to_numpy(np.int32),
        "punctuation": punctuation if punctuation.any() else None,
        "sentence": _sentences(tokens, starts, texts),
        "segment": segment if (segment > 0).any() else None,
        "written": tokens["written"].to_numpy(dtype=bool) if "written" in tokens else None,
    }


def _sentences(tokens: pd.DataFrame, starts: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Number of the sentence of each token within its input: one ends at a full stop, an exclamation or a question mark
    that a space or the end of the text follows, with the quotes and brackets that close behind it."""
    special = tokens["is_special"].to_numpy(dtype=bool)
    is_mark = (tokens["word_class"] == "punctuation").to_numpy(dtype=bool)
    ends = tokens["char_end"].fillna(-1).to_numpy(np.int64)
    shown = tokens["text"].str.rstrip(CLOSES).str.endswith(ENDS_SENTENCE).to_numpy(dtype=bool)
    closed = np.zeros(len(tokens), dtype=bool)
    inputs = np.repeat(np.arange(len(texts)), np.diff(starts))
    for place in np.flatnonzero(is_mark & shown):
        text, end = texts[inputs[place]], ends[place]
        after = end + len(text[end:]) - len(text[end:].lstrip(CLOSES))
        if end >= 0 and (after >= len(text) or text[after].isspace() or text[end - 1] in FULL_WIDTH):
            while place + 1 < len(ends) and inputs[place + 1] == inputs[place] and 0 <= ends[place + 1] <= after:
                place += 1
            closed[place] = True
    number = np.concatenate([[0], np.cumsum(closed)[:-1]])
    first = np.repeat(number[starts[:-1]], np.diff(starts))
    return np.where(special, -1, number - first).astype(np.int32)
