"""What a reader sees of a token: no ``Ġ``, ``##``, ``▁`` or ``</w>``, and whole characters where bytes were split."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import numpy as np
from jaxtyping import Int

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
WORD, NUMBER, PUNCTUATION, SYMBOL, WHITESPACE, UNKNOWN, SPECIAL = (
    "word number punctuation symbol whitespace unknown special".split()
)


def read_tokens(tokenizer: Any, ids: Int[np.ndarray, " token"]) -> tuple[np.ndarray, np.ndarray]:
    """Texts of tokens as a reader sees them, leading spaces kept.

    A character whose bytes are split over several tokens is shown in each of them with its place, as in ``🙂[1/3]``;
    bytes that make no character are shown as ``\\xNN``.

    Args:
        tokenizer: A fast tokenizer of transformers.
        ids: Token ids in reading order, any number of inputs after each other.

    Returns:
        Two object arrays [token]: the text to show, and the same without place marks (to measure and classify).
    """
    unique, where = np.unique(ids, return_inverse=True)
    spell = Spelling(tokenizer)
    contents = [
        spell.content(int(i), token) for i, token in zip(unique, tokenizer.convert_ids_to_tokens(unique.tolist()))
    ]
    whole = [_decoded(content) for content in contents]
    shown = np.array([text or "" for text in whole], dtype=object)[where]
    is_split = np.array([text is None for text in whole], dtype=bool)[where]
    plain = shown.copy()
    for first, end in _runs(is_split):
        shown[first:end], plain[first:end] = join_pieces([contents[index] for index in where[first:end]])
    return shown, plain


class Spelling:
    """How one tokenizer writes bytes, spaces and continued words into its vocabulary, read from its own parts."""

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        parts = [getattr(backend, name, None) for name in ("decoder", "pre_tokenizer", "normalizer")]
        described = [json.loads(part.__getstate__()) for part in parts if part is not None]
        text = json.dumps(described, ensure_ascii=False)
        model = getattr(backend, "model", None)
        self.is_byte_level = '"ByteLevel"' in text
        self.has_metaspace = "▁" in text or backend is None
        self.prefix = getattr(model, "continuing_subword_prefix", None) or ""
        self.suffix = getattr(model, "end_of_word_suffix", None) or ""
        self.added = {number: str(token) for number, token in getattr(tokenizer, "added_tokens_decoder", {}).items()}

    def content(self, token_id: int, token: str) -> bytes:
        """The bytes that a token stands for, in UTF-8."""
        if token_id in self.added:
            return self.added[token_id].encode()
        token = token.removeprefix(self.prefix) if self.prefix and token != self.prefix else token
        token = token.removesuffix(self.suffix) if self.suffix else token
        if self.is_byte_level:
            return b"".join(_BYTE_OF.get(letter, letter.encode()) for letter in token)
        if match := _BYTE_TOKEN.fullmatch(token):
            return bytes([int(match[1], 16)])
        return (token.replace("▁", " ") if self.has_metaspace else token).encode("utf-8", "replace")


def join_pieces(pieces: list[bytes]) -> tuple[list[str], list[str]]:
    """Consecutive tokens that split characters between them, as texts with and without place marks."""
    owner = [number for number, piece in enumerate(pieces) for _ in piece]
    data = b"".join(pieces)
    shown, plain = [""] * len(pieces), [""] * len(pieces)
    at = 0
    while at < len(data):
        character, size = _character_at(data, at)
        owners = list(dict.fromkeys(owner[at : at + size]))
        for place, number in enumerate(owners, start=1):
            shown[number] += character if len(owners) == 1 else f"{character}[{place}/{len(owners)}]"
            plain[number] += character if size > 1 or data[at] < 128 else "\ufffd"
        at += size
    return shown, plain


def classify(text: str) -> str:
    """``word`` (holds a letter), ``number``, ``punctuation``, ``symbol`` (emoji, signs) or ``whitespace``."""
    text = text.strip()
    if not text:
        return WHITESPACE
    if any(letter.isalpha() or unicodedata.category(letter)[0] == "M" for letter in text):
        return WORD
    if any(letter.isnumeric() for letter in text):
        return NUMBER
    if all(unicodedata.category(letter)[0] == "P" for letter in text):
        return PUNCTUATION
    return SYMBOL


def _decoded(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _character_at(data: bytes, at: int) -> tuple[str, int]:
    for size in (1, 2, 3, 4):
        character = _decoded(data[at : at + size])
        if character:
            return character, size
    return f"\\x{data[at]:02x}", 1


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def _byte_letters() -> dict[str, bytes]:
    """Letter to byte of byte-level vocabularies: GPT-2's table, as in its `bytes_to_unicode` (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): bytes([byte]) for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(256 + number): bytes([byte]) for number, byte in enumerate(others)}


_BYTE_OF = _byte_letters()
