"""Vectors and attention of a run: the same calls for a published run and for one that is being written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb
import numpy as np
from jaxtyping import Bool, Float

from analysis.attention import recompute, score_parts, shares_of
from analysis.errors import RunError
from analysis.store.packing import unpack_attention, unpack_rows
from analysis.store.windows import WindowedAttention
from analysis.types import Site


class Reader(WindowedAttention):
    """Reads a run. Safe to use from many threads.

    Args:
        cursor: Gives a connection of the calling thread's own, with the run's tables as its current database.
        is_frozen: Nothing is written to the run any more, so that what was read once holds.
    """

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection], is_frozen: bool = False) -> None:
        super().__init__(cursor)
        self._is_frozen = is_frozen
        self._sites_with: dict[str, frozenset[int]] = {}

    @property
    def mapped_sites(self) -> list[Site]:
        """Sites with queries and keys, which a joint map can be made of."""
        return [site for site in self.sites if site.has_vectors]

    def queries(
        self, site: Site | str, head: int, inputs: Sequence[int] | None = None
    ) -> Float[np.ndarray, "point d_head"]:
        """Every query of a head, or those of some inputs (rising), in token-table order: of the tokens of its query
        sequence, see `query_rows`."""
        found = self._head(site, head)
        return self._vectors("q", found, head, found.d_head, inputs)

    def keys(
        self, site: Site | str, head: int, inputs: Sequence[int] | None = None
    ) -> Float[np.ndarray, "point d_head"]:
        """Every key that a head reads, or those of some inputs (rising), in token-table order: of the tokens of its key
        sequence, see `key_rows`. Heads that share keys give the same."""
        found = self._head(site, head)
        keys = self.centred_keys(found, head, inputs)
        keys += self._plan.key_offsets[found.key][found.kv_head(head)]
        return keys

    def centred_keys(
        self, site: Site | str, head: int, inputs: Sequence[int] | None = None
    ) -> Float[np.ndarray, "point d_head"]:
        """The keys as they are stored: less the head's `key_offset`."""
        found = self._head(site, head)
        return self._vectors("k", found, _first_of_group(found, head), found.d_head, inputs)

    def key_offset(self, site: Site | str) -> Float[np.ndarray, "kv_head d_head"]:
        """What was subtracted from every key of a head before it was rounded."""
        return self._plan.key_offsets[self.site(site).key]

    def sink_logits(self, site: Site | str) -> Float[np.ndarray, " head"] | None:
        """The learned logit of each head that joins the softmax, or None where there is none."""
        return self._plan.sink_logits.get(self.site(site).key)

    def value_norms(self, site: Site | str, head: int) -> Float[np.ndarray, " point"]:
        """The Euclidean norm of every value that a head reads, one a key."""
        found = self._head(site, head)
        return self._vectors("v_norm", found, _first_of_group(found, head), 1)[:, 0]

    def attention(self, site: Site | str, head: int, input_id: int) -> Float[np.ndarray, "query key"]:
        """Attention of one head on one input: as stored, or recomputed from q and k within 2e-3.

        Returns:
            Weights in 0..1, [query, key]: queries are the tokens at `query_positions`, keys those at `key_positions`,
            other tokens at a site of cross-attention. A row sums to 1, to less with a learned sink, to 0 where a query
            may attend to nothing. Signed at sites of implicit attention (`Site.is_signed`); `shares` are not.

        Raises:
            UnknownName: No such site, head or input.
        """
        found = self._head(site, head)
        allowed = self.allowed(found, input_id)
        where = [input_id, found.index, head]
        if found.index in self._where("attention"):
            query = "SELECT weights FROM attention WHERE input_id = ? AND site = ? AND head = ?"
            for (weights,) in self._rows(query, where):
                return unpack_attention(weights, allowed)
        query = "SELECT {} FROM vectors WHERE input_id = ? AND site = ? AND head = ?"
        first = _first_of_group(found, head)
        if first == head:
            q, k = self._one(query.format("q, k"), where)
        else:
            (q,), (k,) = self._one(query.format("q"), where), self._one(query.format("k"), [*where[:2], first])
        return self._recompute(found, [q], [k], allowed, [head])[0]

    def shares(self, site: Site | str, head: int, input_id: int) -> Float[np.ndarray, "query key"]:
        """`attention` as measures take it, in 0..1; see `analysis.attention.shares_of`."""
        return shares_of(self.site(site), self.attention(site, head, input_id))

    def shares_all(self, input_id: int) -> dict[str, Float[np.ndarray, "head query key"]]:
        """`attention_all` as measures take it."""
        everything = self.attention_all(input_id)
        return {site.key: shares_of(site, everything[site.key]) for site in self.sites}

    def shares_by_input(self, site: Site | str, head: int) -> list[Float[np.ndarray, "query key"]]:
        """`attention_by_input` as measures take it."""
        return [shares_of(self.site(site), weights) for weights in self.attention_by_input(site, head)]

    def score_parts(
        self, site: Site | str, head: int, input_id: int
    ) -> tuple[Float[np.ndarray, "query key"], Float[np.ndarray, "query key"]]:
        """What one head would attend to by content alone and by position alone, on one input; see
        `analysis.attention.score_parts`.

        Raises:
            RunError: Nothing but a mask is added to the scores of this site, so that there is one part only.
            UnknownName: No such site, head or input.
        """
        found = self._head(site, head)
        if not found.has_position_bias:
            raise RunError(f"{found.label} adds no position bias to its scores: its attention is all content.")
        return score_parts(
            self.queries(found, head, [input_id]),
            self.centred_keys(found, head, [input_id]),
            self.attention(found, head, input_id),
            self.allowed(found, input_id),
            found.scale,
            found.softcap,
        )

    def attention_all(self, input_id: int) -> dict[str, Float[np.ndarray, "head query key"]]:
        """Attention of every head of every site on one input, by site key."""
        self._n_tokens(input_id)
        stored = self._by_site("attention", "weights", input_id) if self._where("attention") else {}
        everything_stored = all(site.index in stored for site in self.sites)
        vectors = {} if everything_stored else self._by_site("vectors", "q, k", input_id)
        out = {}
        for site in self.sites:
            allowed = self.allowed(site, input_id)
            if site.index in stored:
                out[site.key] = np.stack([unpack_attention(row[0], allowed) for row in stored[site.index]])
                continue
            if len(vectors.get(site.index, ())) != site.n_heads:
                raise RunError(f"The run lacks captures of {site.key} on input {input_id}: run verify on it.")
            queries, keys = zip(*vectors[site.index])
            shared = [key for key in keys if key is not None]
            out[site.key] = self._recompute(site, queries, shared, allowed, range(site.n_heads))
        return out

    def attention_by_input(
        self, site: Site | str, head: int, inputs: Sequence[int] | None = None
    ) -> list[Float[np.ndarray, "query key"]]:
        """Attention of one head on every input in order, or on some (rising), as `attention` gives it, with a few
        queries in all."""
        found, allowed = self._head(site, head), self.allowed_by_input(site, inputs)
        lengths = self.lengths_of(found.query_sequence, inputs)
        stored: dict[int, bytes] = {}
        if found.index in self._where("attention"):
            query = f"SELECT input_id, weights FROM attention WHERE site = ? AND head = ?{_only(inputs)}"
            stored = dict(self._rows(query, [found.index, head, *_listed(inputs)]))
        if len(stored) == len(lengths):
            return [unpack_attention(stored[input_id], mask) for input_id, mask in zip(lengths, allowed)]
        ends, key_ends = (np.cumsum([mask.shape[axis] for mask in allowed])[:-1] for axis in (0, 1))
        queries = np.split(self._vectors("q", found, head, found.d_head, inputs), ends)
        keys = np.split(self.centred_keys(found, head, inputs), key_ends)
        return [
            unpack_attention(stored[input_id], mask)
            if input_id in stored
            else self._weights(found, q[None], k[None], mask, [head])[0]
            for input_id, mask, q, k in zip(lengths, allowed, queries, keys)
        ]

    def allowed(self, site: Site | str, input_id: int) -> Bool[np.ndarray, "query key"]:
        """True where the query may attend to the key; rows and columns as in `attention`."""
        found, _ = self.site(site), self._n_tokens(input_id)
        shape = self._length(found.query_sequence, input_id), self._length(found.key_sequence, input_id)
        if found.index in self._where("masks"):
            query = "SELECT allowed FROM masks WHERE input_id = ? AND site = ?"
            for (bits,) in self._rows(query, [input_id, found.index]):
                cells = np.unpackbits(np.frombuffer(bits, np.uint8), count=shape[0] * shape[1])
                return cells.reshape(shape).astype(bool)
        if found.band is None:
            raise RunError(f"The run lacks the mask of {found.key} on input {input_id}: run verify on it.")
        return found.band.allowed(*shape)

    def allowed_by_input(
        self, site: Site | str, inputs: Sequence[int] | None = None
    ) -> list[Bool[np.ndarray, "query key"]]:
        """The mask of a site on every input in order, or on some (rising), as `allowed` gives it."""
        found = self.site(site)
        lengths, n_keys = (self.lengths_of(name, inputs) for name in (found.query_sequence, found.key_sequence))
        odd: set[int] = set()
        if found.index in self._where("masks"):
            rows = self._rows("SELECT input_id FROM masks WHERE site = ?", [found.index])
            odd = {input_id for (input_id,) in rows}
        masks: dict[tuple[int, int], np.ndarray] = {}
        shapes = {input_id: (n_queries, n_keys[input_id]) for input_id, n_queries in lengths.items()}
        for input_id, shape in shapes.items():
            if found.band is not None and input_id not in odd and shape not in masks:
                masks[shape] = found.band.allowed(*shape)
        return [
            self.allowed(found, input_id) if found.band is None or input_id in odd else masks[shape]
            for input_id, shape in shapes.items()
        ]

    def _recompute(
        self, site: Site, queries: Sequence[bytes], keys: Sequence[bytes], allowed: np.ndarray, heads: Sequence[int]
    ) -> Float[np.ndarray, "head query key"]:
        q, k = (
            unpack_rows(blobs, [n] * len(blobs), site.d_head).reshape(-1, n, site.d_head)
            for blobs, n in zip((queries, keys), allowed.shape, strict=True)
        )
        return self._weights(site, q, k, allowed, heads)

    def _weights(
        self, site: Site, q: np.ndarray, centred: np.ndarray, allowed: np.ndarray, heads: Sequence[int]
    ) -> Float[np.ndarray, "head query key"]:
        sinks = self._plan.sink_logits.get(site.key)
        if site.softcap is not None or sinks is not None:
            # Elsewhere the softmax is the same without the offset, and the products are smaller.
            first, last = site.kv_head(heads[0]), site.kv_head(heads[-1])
            centred = centred + self._plan.key_offsets[site.key][first : last + 1, None, :]
        logits = None if sinks is None else sinks[list(heads)]
        return recompute(q, centred, allowed, site.scale, site.softcap, logits)

    def _vectors(
        self, column: str, site: Site, head: int, width: int, inputs: Sequence[int] | None = None
    ) -> Float[np.ndarray, "point width"]:
        only = _only(inputs)
        query = f"SELECT input_id, {column} FROM vectors WHERE site = ? AND head = ?{only} ORDER BY input_id"
        if not site.has_vectors:
            raise RunError(f"{site.label} has attention alone ({site.route}): there are no queries, keys or values.")
        sequence = site.query_sequence if column == "q" else site.key_sequence
        rows, lengths = self._rows(query, [site.index, head, *_listed(inputs)]), self.lengths_of(sequence, inputs)
        if [row[0] for row in rows] != list(lengths):
            raise RunError(f"{len(rows)} of {len(lengths)} inputs have captures of {site.key}: the run is unfinished.")
        return unpack_rows([row[1] for row in rows], list(lengths.values()), width)

    def _by_site(self, table: str, columns: str, input_id: int) -> dict[int, list[tuple]]:
        out: dict[int, list[tuple]] = {}
        query = f"SELECT site, {columns} FROM {table} WHERE input_id = ? ORDER BY site, head"
        for index, *values in self._rows(query, [input_id]):
            out.setdefault(index, []).append(tuple(values))
        return out

    def _where(self, table: str) -> frozenset[int]:
        """The sites that have rows in a table."""
        if table in self._sites_with:
            return self._sites_with[table]
        found = frozenset(index for (index,) in self._rows(f"SELECT DISTINCT site FROM {table}", ()))
        if self._is_frozen:
            self._sites_with[table] = found
        return found


def _first_of_group(site: Site, head: int) -> int:
    return head - head % (site.n_heads // site.n_kv_heads)


def _only(inputs: Sequence[int] | None) -> str:
    return "" if inputs is None else " AND input_id IN (SELECT unnest(?::INTEGER[]))"


def _listed(inputs: Sequence[int] | None) -> list[list[int]]:
    return [] if inputs is None else [[int(input_id) for input_id in inputs]]
