"""What reading and encoding hand around: rows before a model is known, inputs and tokens after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

if TYPE_CHECKING:
    import pandas as pd

TEXT, VISION, AUDIO = "text", "vision", "audio"
SEQUENTIAL, CATEGORICAL, CYCLIC = "sequential", "categorical", "cyclic"


RESERVED_COLUMNS = frozenset(
    """input_id text image audio name width height n_tokens n_cut position char_start char_end is_special segment row
    column position_share position_from_end length frequency word_class is_word_start hue saturation luminance
    edge_energy
    object seconds duration loudness crossings centroid level hertz is_padding
    span crop left top right bottom
    site head kind metric value null x y z projection""".split()
)
"""Names of the input, token and coordinate tables; a user column of such a name becomes ``user_<name>``."""


class Unreadable(Exception):
    """One row, file or image cannot be used; the message is the reason shown in the list of skipped ones."""


class Skipped(NamedTuple):
    """One row or file that was left out: its name (``line 7``, ``cats/003.png``) and why."""

    name: str
    reason: str


Row = tuple[str, dict]


@dataclass
class Table:
    """A file being read.

    Attributes:
        columns: Names found so far, as the file spells them; None when rows may each have their own (JSON lines).
        rows: (row name, cells) in file order; read once.
        skipped: Filled while `rows` is read.
    """

    columns: list[str] | None
    rows: Iterator[Row]
    skipped: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """What a column of the token table means, so that a page can choose a colour scale and an axis title.

    Attributes:
        kind: ``sequential`` (low to high), ``categorical`` or ``cyclic`` (the ends of the range meet).
        unit: A word for the axis, as in ``tokens``, ``degrees``, ``0 to 1``; empty for categories.
        description: One sentence.
    """

    name: str
    kind: str
    unit: str
    description: str

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {"name": self.name, "kind": self.kind, "unit": self.unit, "description": self.description}


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Where one image is, not yet decoded.

    Attributes:
        name: As the data calls it: a path relative to the data, or ``row 3`` for bytes in a table.
        path: The file, or None when `content` holds the bytes.
        mask: An image of object numbers with the same geometry, or None.
        mask_names: Object number to name; numbers it lacks are shown as ``object 3``.
        mask_problem: Why the mask that the data names was refused, or None.
    """

    name: str
    path: Path | None = None
    content: bytes | None = None
    mask: Path | None = None
    mask_names: Mapping[int, str] = field(default_factory=dict)
    mask_problem: str | None = None


@dataclass(frozen=True, slots=True)
class SoundSource:
    """Where one sound is, not yet decoded: as `ImageSource`."""

    name: str
    path: Path | None = None
    content: bytes | None = None


@dataclass(frozen=True)
class RawData:
    """The readable rows of a data set, before any model.

    Attributes:
        name: Bundled name or base name of the file or folder; never a path of this machine.
        modality: ``text``, ``vision`` or ``audio``.
        rows: Texts (str), images (`ImageSource`) or sounds (`SoundSource`).
        row_names: How to name each row to the user, as in ``line 7``.
        user_columns: Column name to one value a row (str, int, float or None).
        skipped: Rows and files left out, with the reason.
        notes: Sentences on what was changed or left out in bulk (blank lines, replaced bytes).
        data_hash: ``sha256:...`` over the rows read and their user columns, whatever file format held them.
        texts: Of images, the text beside each, where the data has a column ``text`` too; it is a user column as well.
    """

    name: str
    modality: str
    rows: list[str] | list[ImageSource] | list[SoundSource]
    row_names: list[str]
    user_columns: dict[str, list]
    skipped: list[Skipped]
    notes: list[str]
    data_hash: str
    texts: list[str] | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Inputs:
    """A data set as one model sees it.

    Attributes:
        inputs: One row an input: input_id (0, 1, ... without gaps), for text ``text``, for images ``name``,
            ``image`` (PNG bytes of what the model sees, at most 256 pixels a side), ``width`` and ``height`` (pixels
            of what the model sees), then n_tokens, n_cut and the user columns.
        tokens: One row a token in (input_id, position) order; the columns are described in `token_columns`.
        n_cut_inputs: How many inputs were longer than the model's limit.
        token_columns: What can colour a token, in display order.
        target: Where the decoder's text comes from, ``target`` (a column of the data), ``generate`` or ``same``; empty
            without a decoder. With one, `tokens` have a column ``sequence`` and `inputs` a column ``target``.
    """

    inputs: pd.DataFrame
    tokens: pd.DataFrame
    token_columns: dict[str, ColumnInfo]
    skipped: list[Skipped]
    notes: list[str]
    modality: str
    data_name: str
    data_hash: str
    read_tensors: Callable[[int], dict[str, np.ndarray]] = field(repr=False)
    target: str = ""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def is_in_parts(self) -> bool:
        """An input is several sequences, as the column ``sequence`` of its tokens says."""
        return "sequence" in self.tokens

    def lengths(self, sequence: str = "") -> Int[np.ndarray, " input"]:
        """Tokens of every input that are of a sequence (`Site.query_sequence`); all of them for ``""``."""
        if not sequence:
            return self._lengths
        if sequence not in self._of_sequence:
            is_of = (self.tokens["sequence"] == sequence).to_numpy(dtype=bool)
            counted = np.bincount(self.tokens["input_id"].to_numpy()[is_of], minlength=len(self))
            self._of_sequence[sequence] = counted
        return self._of_sequence[sequence]

    @property
    def n_cut_inputs(self) -> int:
        """How many inputs lost tokens to the model's limit."""
        return int((self.inputs["n_cut"] > 0).sum())

    def n_tokens(self, input_id: int) -> int:
        """Tokens of one input, special tokens counted."""
        return int(self._lengths[input_id])

    @cached_property
    def _of_sequence(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _lengths(self) -> np.ndarray:
        return self.inputs["n_tokens"].to_numpy()

    def tensors(self, input_id: int) -> dict[str, np.ndarray]:
        """Model inputs of one input without the batch axis; an image is decoded anew on every call.

        Raises:
            InputError: The image has gone or changed since it was read.
        """
        return self.read_tensors(input_id)
