"""What metrics know of the tokens of a batch, and of a whole data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int


class Tokens(NamedTuple):
    """The tokens of a batch, padded like its attention. None where nothing of the kind is known.

    Attributes:
        identity: Equal numbers are tokens that read the same; texts only.
        special: Put in by the model's own format.
        cls: The CLS token, at most one an input.
        separator: SEP and its like.
        punctuation: Punctuation marks.
        sentence: Number of the sentence within the input; -1 for special tokens.
        segment: Which of two joined texts; -1 for special tokens.
        row: Patch row; -1 for what is no patch.
        column: Patch column; -1 for what is no patch.
        label: Number of the user's label of the token; -1 for none.
        written: Written by the model itself behind the text that it was given.
    """

    identity: Int[np.ndarray, "input token"] | None = None
    special: Bool[np.ndarray, "input token"] | None = None
    cls: Bool[np.ndarray, "input token"] | None = None
    separator: Bool[np.ndarray, "input token"] | None = None
    punctuation: Bool[np.ndarray, "input token"] | None = None
    sentence: Int[np.ndarray, "input token"] | None = None
    segment: Int[np.ndarray, "input token"] | None = None
    row: Int[np.ndarray, "input token"] | None = None
    column: Int[np.ndarray, "input token"] | None = None
    label: Int[np.ndarray, "input token"] | None = None
    written: Bool[np.ndarray, "input token"] | None = None


UNKNOWN = Tokens()


@dataclass(frozen=True)
class TokenFacts:
    """The tokens of a whole data set after each other; input i owns ``starts[i]:starts[i + 1]``.

    Attributes:
        fields: By the names of `Tokens`, those that are known.
        spans: Where an input is several sequences: the first token of each input in each, and the one behind its last.
        parts: Facts of single sequences, where other things are known of each: patches of pictures, words of texts.
    """

    starts: Int[np.ndarray, " input_and_one"]
    fields: dict[str, np.ndarray]
    spans: dict[str, tuple[Int[np.ndarray, " input"], Int[np.ndarray, " input"]]] = field(default_factory=dict)
    parts: dict[str, TokenFacts] = field(default_factory=dict)

    def batch(self, inputs: Sequence[int] | Int[np.ndarray, " input"], n_tokens: int, sequence: str = "") -> Tokens:
        """The tokens of some inputs, or those of one sequence of them, padded to one length: with -1, or False."""
        if sequence in self.parts:
            return self.parts[sequence].batch(inputs, n_tokens)
        firsts, ends = self.spans[sequence] if sequence else (self.starts[:-1], self.starts[1:])
        places = firsts[np.asarray(inputs)][:, None] + np.arange(n_tokens)
        inside = places < ends[np.asarray(inputs)][:, None]
        places = np.minimum(places, self.starts[-1] - 1)
        padded = {}
        for name, values in self.fields.items():
            padding = False if values.dtype == bool else -1
            padded[name] = np.where(inside, values[places], padding)
        return Tokens(**padded)


def same(
    numbers: Int[np.ndarray, "input token"], queries: Int[np.ndarray, " query"]
) -> Bool[np.ndarray, "input query key"]:
    """True where the tokens at these positions and another token carry the same number, -1 being none."""
    own = numbers[:, queries]
    return (own[:, :, None] == numbers[:, None, :]) & (own >= 0)[:, :, None]


def grids(
    tokens: Tokens,
) -> Iterator[tuple[Int[np.ndarray, " input"], Int[np.ndarray, " token"], Int[np.ndarray, " token"]]]:
    """The inputs of a batch by the grid of their patches.

    Yields:
        Which inputs, and the row and column that their tokens have in common.
    """
    places = np.concatenate([tokens.row, tokens.column], axis=1)
    if (places == places[0]).all():
        yield np.arange(len(places)), tokens.row[0], tokens.column[0]
        return
    _, which = np.unique(places, axis=0, return_inverse=True)
    for number in range(which.max() + 1):
        members = np.flatnonzero(which.ravel() == number)
        yield members, tokens.row[members[0]], tokens.column[members[0]]
