"""Which kind of token each is, as far as sinks are concerned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from analysis.types import IMAGE_PART

if TYPE_CHECKING:
    import pandas as pd

BOS, CLS, SEP, EOS, SPECIAL = "BOS", "CLS", "SEP", "EOS", "other special token"
PUNCTUATION, NEWLINE, NUMBER, WORD, OTHER = "punctuation", "newline", "number", "word", "other text"
REGISTER, PATCH, BACKGROUND = "register", "patch", "background patch"
FRAME, PADDING = "frame", "padding"

_BY_WORD_CLASS = {"punctuation": PUNCTUATION, "number": NUMBER, "word": WORD, "image": PATCH}


def token_classes(tokens: pd.DataFrame, special_tokens: Mapping[str, str | None] | None = None) -> np.ndarray:
    """The class of every token of a run.

    Args:
        tokens: The token table: position, text, is_special, and word_class (texts), row and object (images), or
            seconds and is_padding (sounds).
        special_tokens: What the tokenizer writes for ``cls``, ``bos``, ``sep`` and ``eos``. Without it they are told by
            their text and place.

    Returns:
        An object array [token] of the words above. A patch is background where the masks of the data say so; without
        masks every patch is a patch.
    """
    special = tokens["is_special"].to_numpy(dtype=bool)
    if "word_class" in tokens:
        words = tokens["word_class"].map(_BY_WORD_CLASS).fillna(OTHER).to_numpy(dtype=object)
        words[tokens["text"].str.contains("\n", regex=False, na=False).to_numpy(dtype=bool) & ~special] = NEWLINE
        names = _special_text(tokens, special_tokens or {})
        if "sequence" in tokens:
            of_tower = (tokens["sequence"] == IMAGE_PART).to_numpy(dtype=bool)
            names[of_tower] = _special_patches(tokens[of_tower])
    else:
        words = np.full(len(tokens), PATCH, dtype=object)
        if "object" in tokens:
            words[(tokens["object"] == "background").fillna(False).to_numpy(dtype=bool)] = BACKGROUND
        names = _special_patches(tokens)
    if "seconds" in tokens:
        is_frame = (tokens["seconds"].notna() & tokens["row"].isna()).to_numpy(dtype=bool)
        is_padding = tokens["is_padding"].fillna(False).to_numpy(dtype=bool)
        words[is_frame], names[is_padding] = FRAME, PADDING
    return np.where(special, names, words)


def _special_patches(tokens: pd.DataFrame) -> np.ndarray:
    text = tokens["text"].astype(str)
    is_cls, is_register = text.str.contains(r"(?:^| )CLS$"), text.str.contains(r"(?:^| )REG\d*$")
    return np.select([is_cls, is_register], [CLS, REGISTER], SPECIAL).astype(object)


def _special_text(tokens: pd.DataFrame, special_tokens: Mapping[str, str | None]) -> np.ndarray:
    text, first = tokens["text"].astype(str), tokens["position"].to_numpy() == 0
    known = {
        name: text == str(special_tokens[name]) for name in ("cls", "sep", "bos", "eos") if special_tokens.get(name)
    }
    if not known:
        lower = text.str.lower()
        known = {"cls": lower.str.contains("cls"), "sep": lower.str.contains("sep|</s>"), "bos": first, "eos": ~first}
    never = np.zeros(len(tokens), dtype=bool)
    # A tokenizer may write one token for several purposes: at the start it is the one, elsewhere the other.
    choices = [
        known.get("cls", never),
        known.get("bos", never) & first,
        known.get("sep", never),
        known.get("eos", never),
    ]
    return np.select(choices, [CLS, BOS, SEP, EOS], SPECIAL).astype(object)
