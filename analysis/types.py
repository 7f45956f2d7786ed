"""The words of the project as types: what every other module hands around.

Axes are always in the order ``batch site head query key d_head``. Sizes are ``n_heads``, ``n_kv_heads``,
``n_tokens``, ``d_head``; indices start at zero. Only numpy here: torch stays in `analysis.capture`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

IMPLICIT, RETURNED = "implicit", "output_attentions"
"""Routes by which attention is reached without queries and keys; see `Site.route`."""

QUERY, KEY = "query", "key"
"""The two kinds of point. No other words (source, target, ...) are used for them anywhere."""

ENCODER, DECODER = "encoder", "decoder"
"""The sequences of an input that has two: what the encoder reads, and what the decoder reads. The input's tokens are
those of the one and then those of the other, and positions run on."""

IMAGE_PART, TEXT_PART = "image", "text"
"""The sequences of an input of a language model that sees: the tokens of the vision tower, and those of the language
model, among which images take their place."""

VISION_AND_TEXT = "vision and text"
"""The modality of a language model that sees, and of its runs."""


STAGE = "stage "
"""What the sequences of a vision model that merges patches begin with: its stages, ``stage 1``, ``stage 2`` ..., each a
grid of its own."""


class InputSequence(NamedTuple):
    """One of the token lists that an input of a model is made of.

    Attributes:
        name: As in the column ``sequence`` of the token table: `ENCODER`, `DECODER`, `IMAGE_PART`, `TEXT_PART` ...
        modality: ``text``, ``vision`` or ``audio``: what its tokens are.
    """

    name: str
    modality: str


@dataclass(frozen=True, slots=True)
class Band:
    """Which keys a query may attend to, as a band round the diagonal.

    Query ``i`` may attend to key ``j`` when ``i - j <= left`` and ``j - i <= right``; ``None`` means unbounded.
    ``Band()`` is full attention, ``Band(right=0)`` causal, ``Band(left=w - 1, right=0)`` a causal sliding window
    of ``w`` tokens (the query itself counted), ``Band(w, w)`` a two-sided window.
    """

    left: int | None = None
    right: int | None = None

    @property
    def is_causal(self) -> bool:
        """True when no query sees a later key."""
        return self.right == 0

    def allowed(self, n_queries: int, n_keys: int | None = None) -> Bool[np.ndarray, "query key"]:
        """The mask for one input: True where the query may attend to the key."""
        return self.rows(0, n_queries, n_queries if n_keys is None else n_keys)

    def rows(self, first: int, end: int, n_keys: int) -> Bool[np.ndarray, "query key"]:
        """The mask of the queries from `first` to the one before `end`."""
        return self.among(np.arange(first, end), np.arange(n_keys))

    def describes(self, mask: Bool[np.ndarray, "query key"]) -> bool:
        """Whether this is the mask, compared some rows at a time."""
        n_queries, n_keys = mask.shape
        n_rows = max(1, 2**22 // max(n_keys, 1))
        return all(
            np.array_equal(mask[first : first + n_rows], self.rows(first, min(first + n_rows, n_queries), n_keys))
            for first in range(0, n_queries, n_rows)
        )

    def among(self, queries: Int[np.ndarray, " query"], keys: Int[np.ndarray, " key"]) -> Bool[np.ndarray, "query key"]:
        """The mask of queries and keys at these positions."""
        # No matrix of distances: at 16,000 tokens it would take 2 GB, and the mask takes 256 MB.
        mask = np.ones((len(queries), len(keys)), dtype=bool)
        if self.left is not None:
            mask &= keys[None, :] >= queries[:, None] - self.left
        if self.right is not None:
            mask &= keys[None, :] <= queries[:, None] + self.right
        return mask

    def n_pairs(self, n_queries: int, n_keys: int | None = None) -> int:
        """How many (query, key) pairs of one input may attend: what `allowed` counts, without the matrix."""
        at, n_keys = np.arange(n_queries), n_queries if n_keys is None else n_keys
        first = np.zeros_like(at) if self.left is None else np.maximum(at - self.left, 0)
        last = np.full_like(at, n_keys - 1) if self.right is None else np.minimum(at + self.right, n_keys - 1)
        return int(np.maximum(last - first + 1, 0).sum())


@dataclass(frozen=True, slots=True)
class Site:
    """One attention call of a model, found by dry run.

    Attributes:
        index: Order of the call in the forward pass.
        key: Qualified module name and call ordinal, as in ``encoder.layer.3.attention.self#0``.
        label: ``modality.stack.role.depth``, as in ``text.enc.self.3``; unique in a model.
        n_kv_heads: Key heads; smaller than `n_heads` when queries share keys (grouped queries).
        d_head: Width of a query and of a key; 0 where attention was reached without them, see `has_vectors`.
        d_value: Width of a value; may differ from `d_head`.
        scale: Factor on q·k before the softmax.
        band: Who may attend to whom. None when no band describes the mask: attention is then stored.
        softcap: ``c`` of ``c * tanh(score / c)`` before the softmax, or None.
        has_sink_logits: The softmax has a learned extra column, so rows sum to less than 1.
        route: How the call was reached: ``interface``, ``optrace``, ``output_attentions`` (the model returns the
            attention and no queries and keys) or ``implicit`` (computed from a state-space layer, see `is_signed`).
        recomputable: Attention computed from the stored q and k is within 2e-3 of the model's own.
        query_sequence: Which sequence of the input its queries are the tokens of, as in `InputSequence.name`; empty
            where an input is one sequence.
        key_sequence: The same of its keys; another one at sites of cross-attention.
        has_position_bias: Something is added to the scaled q·k before the softmax that is no mask: ALiBi, a relative
            position bias, the position terms of disentangled attention. False too in runs older than this field.
    """

    index: int
    key: str
    label: str
    modality: str
    stack: str
    role: str
    depth: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_value: int
    scale: float
    band: Band | None = field(default_factory=Band)
    softcap: float | None = None
    has_sink_logits: bool = False
    route: str = "interface"
    recomputable: bool = True
    query_sequence: str = ""
    key_sequence: str = ""
    has_position_bias: bool = False

    @property
    def is_cross(self) -> bool:
        """True when the keys are tokens of another sequence than the queries."""
        return self.query_sequence != self.key_sequence

    @property
    def is_in_windows(self) -> bool:
        """True where patches attend within windows of a stage's grid; a row sums to less than 1 where a window at the
        edge is filled up with padding, which takes the rest."""
        return self.query_sequence.startswith(STAGE)

    @property
    def has_vectors(self) -> bool:
        """False where attention is all there is: no queries and keys, and so no joint map."""
        return self.d_head > 0

    @property
    def is_signed(self) -> bool:
        """True for the implicit attention of a state-space layer: weights of both signs, whose rows need not sum to 1.
        Measures are taken of `analysis.attention.shares_of` them."""
        return self.route == IMPLICIT

    @property
    def stack_label(self) -> str:
        """The tower this site belongs to, as in ``text.dec.self``."""
        return f"{self.modality}.{self.stack}.{self.role}"

    def kv_head(self, head: int) -> int:
        """The key head that query head `head` reads."""
        return head // (self.n_heads // self.n_kv_heads)

    def as_dict(self) -> dict[str, Any]:
        """Plain values only, for JSON and the run file; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Site:
        """The inverse of `as_dict`."""
        band = values.get("band")
        return cls(**{**values, "band": None if band is None else Band(**band)})


def head_name(depth: int, head: int) -> str:
    """``L3H5``: the name of a head inside its stack."""
    return f"L{depth}H{head}"


@dataclass(frozen=True)
class SiteCapture:
    """What one site did on one input, padding already trimmed.

    Attributes:
        site: Where it was captured.
        input_id: Which input of the run.
        queries: After rotary embedding, fp32; or fp16, where only what is stored was asked for.
        keys: After rotary embedding, not repeated for grouped queries, fp32; or fp16 with the plan's key offset
            subtracted, where only what is stored was asked for.
        value_norms: Euclidean norm of each value vector.
        allowed: True where the query may attend to the key.
        attention: After the softmax, in fp32; signed where `Site.is_signed`. None when nobody asked for it.
        must_store: The stored q and k would not give this attention back (irregular mask, position bias, ...).
    """

    site: Site
    input_id: int
    queries: Float[np.ndarray, "head query d_head"]
    keys: Float[np.ndarray, "kv_head key d_head"]
    value_norms: Float[np.ndarray, "kv_head key"]
    allowed: Bool[np.ndarray, "query key"]
    attention: Float[np.ndarray, "head query key"] | None = None
    must_store: bool = False


@dataclass(frozen=True)
class BatchStates:
    """Residual states of the tokens of a padded batch in one tower.

    Attributes:
        stack: `Site.stack_label` of its self-attention.
        input_ids: The inputs of the batch.
        n_tokens: Tokens of each, padding not counted.
        states: In front of each captured layer in order, and behind the last, fp32.
        mlp_outputs: What the MLP of each layer adds, fp32; None where it was not found.
    """

    stack: str
    input_ids: tuple[int, ...]
    n_tokens: tuple[int, ...]
    states: list[Float[np.ndarray, "input token d_model"]]
    mlp_outputs: list[Float[np.ndarray, "input token d_model"]] | None = None
