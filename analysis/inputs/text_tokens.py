"""Texts to tokens: ids, offsets and the columns computed from them, as flat arrays over all inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from analysis.errors import InputError
from analysis.inputs.records import CATEGORICAL, SEQUENTIAL, ColumnInfo, RawData, Skipped
from analysis.inputs.table import EncodedRows, nullable, position_columns
from analysis.inputs.token_text import SPECIAL, UNKNOWN, classify, read_tokens

_CHUNK = 2_000

TEXT_COLUMNS = [
    ColumnInfo("length", SEQUENTIAL, "characters", "Characters without outer spaces; none for special tokens."),
    ColumnInfo("frequency", SEQUENTIAL, "tokens", "How often this token occurs in the whole data set."),
    ColumnInfo("word_class", CATEGORICAL, "", "Word, number, punctuation, symbol, whitespace, unknown or special."),
    ColumnInfo("is_word_start", CATEGORICAL, "", "The token begins a word: a letter or digit with none before it."),
]  # fmt: skip


@dataclass(frozen=True)
class TokenArrays:
    """Tokens of many texts after each other; input i owns ``starts[i]:starts[i + 1]``.

    Attributes:
        char_start: First character in the text, -1 where the token stands for none of it.
        n_cut: Tokens lost to the limit, per input.
    """

    ids: Int[np.ndarray, " token"]
    starts: Int[np.ndarray, " input_and_one"]
    char_start: Int[np.ndarray, " token"]
    char_end: Int[np.ndarray, " token"]
    is_special: Bool[np.ndarray, " token"]
    segment: Int[np.ndarray, " token"]
    n_cut: Int[np.ndarray, " input"]


def encode_texts(raw: RawData, tokenizer: Any, max_tokens: int | None) -> EncodedRows:
    """Tokenise and describe every text.

    Args:
        raw: Rows of texts.
        tokenizer: A fast tokenizer of transformers; a slow one works without character offsets.
        max_tokens: Longest input in tokens, special tokens counted.

    Raises:
        InputError: No text gives a token.
    """
    arrays = tokenise(raw.rows, tokenizer, max_tokens)
    sizes = np.diff(arrays.starts)
    kept = np.flatnonzero(sizes > 0)
    if not len(kept):
        raise InputError(f"The tokenizer makes no token of any text in {raw.name}; give other texts or another model.")
    skipped = [Skipped(raw.row_names[i], "the tokenizer makes no token of it") for i in np.flatnonzero(sizes == 0)]
    starts = np.concatenate([[0], np.cumsum(sizes[kept])])
    texts = [raw.rows[i] for i in kept]
    inputs = pd.DataFrame({"text": pd.array(texts, dtype="str"), "n_cut": arrays.n_cut[kept]})
    return EncodedRows(
        kept=kept,
        starts=starts,
        inputs=inputs,
        tokens=describe(arrays, starts, texts, tokenizer),
        columns=TEXT_COLUMNS,
        skipped=skipped,
        notes=[],
        read_tensors=tensor_reader(arrays, starts, "token_type_ids" in tokenizer.model_input_names),
    )


def tokenise(
    texts: list[str], tokenizer: Any, max_tokens: int | None, *, as_target: bool = False, adds_special: bool = True
) -> TokenArrays:
    """Ids, offsets and flags of every text, cut to `max_tokens` with the closing special token kept.

    Args:
        texts: Any number.
        tokenizer: As in `encode_texts`.
        max_tokens: Special tokens counted; None for no limit.
        as_target: As a decoder's text, which some tokenizers frame in another way.
        adds_special: Special tokens are put round the texts.
    """
    fields: dict[str, list[np.ndarray]] = {name: [] for name in ("ids", "offsets", "special", "segment")}
    sizes, n_cut = [], []
    for encoding, lost in _encodings(texts, tokenizer, max_tokens, as_target, adds_special):
        sizes.append(len(encoding.ids))
        n_cut.append(lost)
        fields["ids"].append(np.array(encoding.ids, dtype=np.int32))
        fields["offsets"].append(np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2))
        fields["special"].append(np.array(encoding.special_tokens_mask, dtype=bool))
        fields["segment"].append(np.array(encoding.type_ids, dtype=np.int8))
    ids, offsets, special, segment = (np.concatenate(parts) for parts in fields.values())
    special |= np.isin(ids, special_ids(tokenizer))
    offsets[offsets[:, 0] == offsets[:, 1]] = -1
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return TokenArrays(ids, starts, offsets[:, 0], offsets[:, 1], special, segment, np.array(n_cut, dtype=np.int32))


def _encodings(
    texts: list[str], tokenizer: Any, max_tokens: int | None, as_target: bool, adds_special: bool
) -> Iterator[tuple[Any, int]]:
    """Each text's encoding and the number of tokens cut from it."""
    frame = {} if adds_special else {"add_special_tokens": False}
    for first in range(0, len(texts), _CHUNK):
        chunk = texts[first : first + _CHUNK]
        for text, encoding in zip(chunk, _encode_batch(tokenizer, chunk, as_target, truncation=False, **frame)):
            n_full = len(encoding.ids)
            if max_tokens is not None and n_full > max_tokens:
                cut = {"truncation": True, "max_length": max_tokens, **frame}
                (encoding,) = _encode_batch(tokenizer, [text], as_target, **cut)
            yield encoding, n_full - len(encoding.ids)


def _encode_batch(tokenizer: Any, texts: list[str], as_target: bool, **cut: Any) -> list[Any]:
    given = {"text_target" if as_target else "text": texts}
    encoded = tokenizer(**given, padding=False, verbose=False, return_special_tokens_mask=True, **cut)
    if encoded.encodings:
        return encoded.encodings
    flags = encoded["special_tokens_mask"]
    return [
        SimpleNamespace(ids=ids, offsets=[(0, 0)] * len(ids), special_tokens_mask=mask, type_ids=[0] * len(ids))
        for ids, mask in zip(encoded["input_ids"], flags)
    ]


def special_ids(tokenizer: Any) -> list[int]:
    """Every special id, also where the text itself spells one; the unknown token stands for content."""
    unknown = tokenizer.unk_token_id
    others = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    return [number for number in tokenizer.all_special_ids if number != unknown or number in others]


def describe(arrays: TokenArrays, starts: np.ndarray, texts: list[str], tokenizer: Any) -> pd.DataFrame:
    """The columns of the token table that can be told from the tokens and their texts, one row a token."""
    shown, plain = read_tokens(tokenizer, arrays.ids)
    codes, offset_of = _codepoints(texts)
    base = np.repeat(offset_of, np.diff(starts))
    has_place = arrays.char_start >= 0
    begin = np.where(has_place, base + arrays.char_start, 0)
    _drop_added_space(shown, plain, has_place & (arrays.char_start == 0) & ~_is_space(codes)[begin])
    unique, where = np.unique(plain.astype(str), return_inverse=True)
    classes = np.array([classify(text) for text in unique], dtype=object)[where]
    classes[np.isin(arrays.ids, [-1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id])] = UNKNOWN
    classes[arrays.is_special] = SPECIAL
    lengths = np.array([len(text.strip()) or len(text) for text in unique], dtype=np.int32)[where]
    _, which, counts = np.unique(arrays.ids, return_inverse=True, return_counts=True)
    return pd.DataFrame(
        {
            "text": pd.array(shown, dtype="str"),
            "char_start": nullable(arrays.char_start, ~has_place),
            "char_end": nullable(arrays.char_end, ~has_place),
            "is_special": arrays.is_special,
            "segment": arrays.segment,
            **position_columns(starts),
            "length": nullable(lengths, arrays.is_special),
            "frequency": counts[which].astype(np.int32),
            "word_class": pd.array(classes, dtype="str"),
            "is_word_start": has_place & _starts_word(codes, begin, base + arrays.char_end),
        }
    )


def _codepoints(texts: list[str]) -> tuple[Int[np.ndarray, " character"], Int[np.ndarray, input]]:
    """All texts as one array of code points with a line end after each, and where each text begins."""
    joined = "\n".join([*texts, ""])
    ends = np.cumsum([len(text) + 1 for text in texts])
    codes = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32)
    return codes, np.concatenate([[0], ends[:-1]]).astype(np.int64)


def _is_space(codes: np.ndarray) -> np.ndarray:
    return _lookup(codes, str.isspace)


def _lookup(codes: np.ndarray, test: Callable[[str], bool]) -> np.ndarray:
    unique, where = np.unique(codes, return_inverse=True)
    return np.array([test(chr(code)) for code in unique], dtype=bool)[where]


def _starts_word(codes: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """True where the first character that is not a space is a letter or digit and the one before it is neither."""
    is_space, is_letter = _is_space(codes), _lookup(codes, str.isalnum)
    not_space = np.flatnonzero(~is_space)
    if not len(not_space):
        return np.zeros(len(begin), dtype=bool)
    first = not_space[np.minimum(np.searchsorted(not_space, begin), len(not_space) - 1)]
    letter_before = np.concatenate([[False], is_letter[:-1]])
    return (first >= begin) & (first < end) & is_letter[first] & ~letter_before[first]


def _drop_added_space(shown: np.ndarray, plain: np.ndarray, at_start: np.ndarray) -> None:
    """Take off the space that some tokenizers put before a text that has none."""
    for index in np.flatnonzero(at_start):
        if shown[index].startswith(" ") and shown[index].strip():
            shown[index], plain[index] = shown[index][1:], plain[index][1:]


def tensor_reader(
    arrays: TokenArrays, starts: np.ndarray, has_segments: bool
) -> Callable[[int], dict[str, np.ndarray]]:
    """What reads the tensors of one input: ids, a mask of ones and, where the model has segments, which one."""
    spans = list(pairwise(starts.tolist()))

    def read(input_id: int) -> dict[str, np.ndarray]:
        span = slice(*spans[input_id])
        ids = arrays.ids[span].astype(np.int64)
        tensors = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if has_segments:
            tensors["token_type_ids"] = arrays.segment[span].astype(np.int64)
        return tensors

    return read
